/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on a socket pair: descriptors stay with their frame however the
 * bytes arrive, and bytes that are no frame end the connection.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ctl_frame.h"
#include "base/fd.h"
#include "base/js.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

struct fixture {
	int p[2];			/* [0] non-blocking reader */
	struct ctl_in in;
	struct ctl_out out;
	unsigned fds_before;
};

static int start(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err e = ERR_INIT;

	f->fds_before = tmp_open_fds();
	if (fd_pair(f->p, &e) < 0 || fd_set_nonblock(f->p[0], true, &e) < 0 || fd_set_nonblock(f->p[1], true, &e) < 0)
		return -1;
	*state = f;
	return 0;
}

/* Every test ends with as many descriptors as it began with. */
static int end(void **state)
{
	struct fixture *f = *state;
	unsigned before = f->fds_before;

	ctl_in_fini(&f->in);
	ctl_in_fini(&f->in);
	ctl_out_fini(&f->out);
	ctl_out_fini(&f->out);
	fd_close(&f->p[0]);
	fd_close(&f->p[1]);
	free(f);
	return tmp_open_fds() == before ? 0 : -1;
}

/* Queues {"n": n} with n_fds new descriptors. */
static void put(struct fixture *f, int n, size_t n_fds)
{
	AUTO_JSON json_t *msg = json_pack("{si}", "n", n);
	AUTO_BUF struct buf b = { 0 };
	int fds[CTL_CALL_FDS_MAX];
	struct err e = ERR_INIT;

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(ctl_encode(msg, &b, &e), 0);
	ctl_out_put(&f->out, &b, fds, n_fds);
	assert_null(b.p);
}

/* The next frame must be {"n": n} with n_fds descriptors, which are closed. */
static void want(struct fixture *f, int n, size_t n_fds)
{
	AUTO_JSON json_t *msg = NULL;
	int fds[CTL_CALL_FDS_MAX];
	struct err e = ERR_INIT;

	assert_int_equal(ctl_in_step(&f->in, f->p[0], &msg, &e), CTL_STEP_FRAME);
	assert_int_equal(json_integer_value(json_object_get(msg, "n")), n);
	assert_int_equal(ctl_in_take_fds(&f->in, fds), n_fds);
	assert_int_equal(ctl_in_take_fds(&f->in, fds), 0);
	for (size_t i = 0; i < n_fds; i++)
		fd_close(&fds[i]);
}

static void want_step(struct fixture *f, enum ctl_step step, enum err_code code)
{
	json_t *msg = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(ctl_in_step(&f->in, f->p[0], &msg, &e), step);
	assert_int_equal(e.code, code);
	assert_null(msg);
}

static void descriptors_stay_with_their_frame(void **state)
{
	static const size_t n_fds[] = { 1, 0, 3, 8, 0, 2 };
	struct fixture *f = *state;

	want_step(f, CTL_STEP_AGAIN, ERR_NONE);
	for (size_t i = 0; i < ARRAY_LEN(n_fds); i++)
		put(f, (int)i, n_fds[i]);
	assert_int_equal(ctl_out_flush(&f->out, f->p[1]), 0);	/* all lie in the socket at once */
	assert_int_equal(f->out.bytes, 0);
	for (size_t i = 0; i < ARRAY_LEN(n_fds); i++)
		want(f, (int)i, n_fds[i]);
	want_step(f, CTL_STEP_AGAIN, ERR_NONE);
}

static void what_is_not_taken_is_closed(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON json_t *msg = NULL;
	struct err e = ERR_INIT;

	put(f, 1, 4);
	put(f, 2, 0);
	assert_int_equal(ctl_out_flush(&f->out, f->p[1]), 0);
	assert_int_equal(ctl_in_step(&f->in, f->p[0], &msg, &e), CTL_STEP_FRAME);
	want(f, 2, 0);
	put(f, 3, 4);			/* left queued: goes with ctl_out_fini */
}

static void byte_by_byte(void **state)
{
	static const char frame[] = "\7\0\0\0{\"n\":5}";
	struct fixture *f = *state;
	int fd = STDERR_FILENO;

	for (size_t i = 0; i + 1 < sizeof(frame) - 1; i++) {
		assert_int_equal(fd_send_with(f->p[1], frame + i, 1, &fd, i == 0), 1);
		want_step(f, CTL_STEP_AGAIN, ERR_NONE);
	}
	assert_int_equal(fd_write_full(f->p[1], "}", 1), 0);
	want(f, 5, 1);
}

/* Descriptors that come with the body are strays. */
static void strays_are_closed(void **state)
{
	static const char frame[] = "\7\0\0\0{\"n\":5}";
	struct fixture *f = *state;
	int fds[] = { 0, 1, 2 };

	for (size_t at = CTL_HEAD_BYTES; at < sizeof(frame) - 1; at++) {
		assert_int_equal(fd_send_with(f->p[1], frame, at, NULL, 0), (ssize_t)at);
		assert_int_equal(fd_send_with(f->p[1], frame + at, sizeof(frame) - 1 - at, fds, 3),
				 (ssize_t)(sizeof(frame) - 1 - at));
		want(f, 5, 0);
	}
}

static void too_many_descriptors(void **state)
{
	static const char frame[] = "\7\0\0\0{\"n\":5}";
	struct fixture *f = *state;
	int fds[FD_PASS_MAX] = { 0 };

	assert_int_equal(fd_send_with(f->p[1], frame, sizeof(frame) - 1, fds, FD_PASS_MAX), 11);
	want(f, 5, CTL_CALL_FDS_MAX);
	/* Some with each byte of the header. */
	for (int i = 0; i < CTL_HEAD_BYTES; i++) {
		assert_int_equal(fd_send_with(f->p[1], frame + i, 1, fds, 3), 1);
		want_step(f, CTL_STEP_AGAIN, ERR_NONE);
	}
	assert_int_equal(fd_write_full(f->p[1], frame + CTL_HEAD_BYTES, 7), 0);
	want(f, 5, CTL_CALL_FDS_MAX);
}

static void broken_bytes(void **state)
{
	static const struct { const char *bytes; size_t n; enum err_code want; } cases[] = {
		{ "\0\0\0\0", 4, ERR_LIMIT },
		{ "\1\0\0\0x", 5, ERR_LIMIT },
		{ "\1\0\x40\0", 4, ERR_LIMIT },			/* 4 MiB + 1 */
		{ "\xff\xff\xff\xff", 4, ERR_LIMIT },
		{ "GET / HTTP/1.1\r\n", 16, ERR_LIMIT },
		{ "\2\0\0\0[]", 6, ERR_CORRUPT },
		{ "\2\0\0\0{x", 6, ERR_CORRUPT },
		{ "\4\0\0\0{}{}", 8, ERR_CORRUPT },
		{ "\2\0\0\0{", 5, ERR_NET },			/* and no more */
		{ "\2\0", 2, ERR_NET },
		{ "", 0, ERR_NET },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct fixture *f = *state;

		assert_int_equal(fd_write_full(f->p[1], cases[i].bytes, cases[i].n), 0);
		assert_int_equal(shutdown(f->p[1], SHUT_WR), 0);
		want_step(f, CTL_STEP_END, cases[i].want);
		assert_int_equal(end(state), 0);
		assert_int_equal(start(state), 0);
	}
}

/* A length announced is not memory spent. */
static void memory_follows_the_bytes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fd_write_full(f->p[1], "\0\0\x40\0{\"x\"", 8), 0);	/* just the limit */
	want_step(f, CTL_STEP_AGAIN, ERR_NONE);
	assert_true(f->in.body.cap <= 256 << 10);
}

static void large_frames_both_ways(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *text = mem_alloc(CTL_MSG_BYTES_MAX + 1);
	AUTO_BUF struct buf b = { 0 };
	AUTO_JSON json_t *msg = NULL, *got = NULL;
	enum ctl_step step = CTL_STEP_AGAIN;
	struct err e = ERR_INIT;

	memset(text, 'x', CTL_MSG_BYTES_MAX - 8);
	msg = json_pack("{ss}", "t", text);		/* {"t":"..."} is 8 bytes more */
	assert_int_equal(ctl_encode(msg, &b, &e), 0);
	ctl_out_put(&f->out, &b, NULL, 0);
	while (step == CTL_STEP_AGAIN) {
		int rc = ctl_out_flush(&f->out, f->p[1]);

		assert_true(rc == 0 || rc == -EAGAIN);
		step = ctl_in_step(&f->in, f->p[0], &got, &e);
	}
	assert_int_equal(step, CTL_STEP_FRAME);
	assert_true(json_equal(msg, got));
	text[CTL_MSG_BYTES_MAX - 8] = 'x';
	json_object_set_new(msg, "t", json_string(text));
	assert_int_equal(ctl_encode(msg, &b, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(b.len, 0);
}

/* A frame that goes in pieces carries its descriptors once. */
static void descriptors_go_once(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE uint8_t *piece = mem_alloc(1 << 20);
	AUTO_BUF struct buf b = { 0 };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), rc = -EAGAIN;
	size_t pieces = 0, fds = 0, bytes = 0;

	buf_reserve(&b, CTL_MSG_BYTES_MAX);
	memset(b.p, ' ', CTL_MSG_BYTES_MAX);
	b.len = CTL_MSG_BYTES_MAX;
	ctl_out_put(&f->out, &b, &fd, 1);
	while (bytes < CTL_MSG_BYTES_MAX) {
		int got[CTL_CALL_FDS_MAX];
		size_t n = CTL_CALL_FDS_MAX;
		ssize_t len;

		if (rc == -EAGAIN)
			rc = ctl_out_flush(&f->out, f->p[1]);
		pieces += rc == -EAGAIN;
		len = fd_recv_with(f->p[0], piece, 1 << 20, got, &n);
		assert_true(len > 0);
		bytes += (size_t)len;
		fds += n;
		while (n-- > 0)
			fd_close(&got[n]);
	}
	assert_true(pieces > 0);
	assert_int_equal(fds, 1);
}

static void broken_pipe(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 1);
	fd_close(&f->p[0]);
	assert_int_equal(ctl_out_flush(&f->out, f->p[1]), -EPIPE);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(descriptors_stay_with_their_frame), T(what_is_not_taken_is_closed), T(byte_by_byte),
		T(strays_are_closed), T(too_many_descriptors), T(broken_bytes), T(memory_follows_the_bytes),
		T(large_frames_both_ways), T(descriptors_go_once), T(broken_pipe),
	};

	return check_main(tests);
}

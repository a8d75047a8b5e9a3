/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump between a worker's pair and TLS: bounded when nobody reads, half
 * close both ways, and a cut that can be told from an end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "link/pump.h"

enum { WAIT_MS = 20000, HELD_BYTES_MAX = 64 << 20 };

static struct loop *loop;
static struct identity *id;
static char dir[64];
static struct tls *tls[2];
static unsigned n_ended, n_clean;

#define until(cond) do { \
	uint64_t end_ = clock_mono_ms() + WAIT_MS; \
	while (!(cond)) { \
		loop_once(loop, 10); \
		if (clock_mono_ms() > end_) \
			fail_msg("waited for %s", #cond); \
	} \
} while (0)

static bool anybody(void *arg, const char *alpn, const struct tls_peer *peer, struct err *why)
{
	(void)arg;
	(void)alpn;
	(void)peer;
	(void)why;
	return true;
}

static void connect_pair(int out[2])
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct err e = ERR_INIT;

	out[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(l, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(connect(out[0], (struct sockaddr *)&sa, sizeof(sa)), 0);
	out[1] = accept(l, NULL, NULL);
	fd_close(&l);
	for (int i = 0; i < 2; i++)
		assert_int_equal(fd_set_nonblock(out[i], true, &e), 0);
}

static int up(void **state)
{
	static const char *const alpn[] = { "x", NULL };
	enum tls_step step[2] = { TLS_WANT_READ, TLS_WANT_READ };
	struct err e = ERR_INIT;
	int fds[2];

	(void)state;
	n_ended = n_clean = 0;
	snprintf(dir, sizeof(dir), "/tmp/pump-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(loop_new(&loop, &e), 0);
	assert_int_equal(identity_open(dir, "x", &id, &e), 0);
	connect_pair(fds);
	for (int i = 0; i < 2; i++) {
		struct tls_setup s = { .side = i ? TLS_SERVER : TLS_CLIENT, .fd = fds[i], .id = id, .alpn = alpn,
				       .judge = anybody };

		assert_int_equal(tls_new(&s, &tls[i], &e), 0);
	}
	for (int i = 0; step[0] != TLS_DONE || step[1] != TLS_DONE; i++) {
		if (step[i & 1] != TLS_DONE)
			step[i & 1] = tls_handshake(tls[i & 1], &e);
		if (step[i & 1] == TLS_FAILED)
			fail_msg("%s", e.detail);
	}
	return 0;
}

static int down(void **state)
{
	char path[96];

	(void)state;
	loop_free(loop);
	identity_put(id);
	snprintf(path, sizeof(path), "%s/key.der", dir);
	(void)remove(path);
	snprintf(path, sizeof(path), "%s/cert.der", dir);
	(void)remove(path);
	(void)remove(dir);
	return 0;
}

static void ended(void *arg, struct pump *p, bool clean)
{
	(void)arg;
	(void)p;
	n_ended++;
	n_clean += clean;
}

/* A pump at that end; returns the worker's descriptor, not blocking. */
static int pump_at(int end)
{
	struct pump *p;
	struct err e = ERR_INIT;
	int fd = -1;

	assert_int_equal(pump_new(loop, tls[end], ended, NULL, &fd, &p, &e), 0);
	assert_int_equal(fd_set_nonblock(fd, true, &e), 0);
	return fd;
}

/* Writes until nothing goes for a while; returns how much went. */
static size_t stuff(int fd)
{
	static uint8_t part[65536];
	size_t total = 0;
	int idle = 0;

	while (idle < 20 && total < HELD_BYTES_MAX) {
		ssize_t n;

		for (size_t i = 0; i < sizeof(part); i++)
			part[i] = (uint8_t)((total + i) * 7 + ((total + i) >> 12));
		n = send(fd, part, sizeof(part), MSG_NOSIGNAL);
		idle = n > 0 ? 0 : idle + 1;
		total += n > 0 ? (size_t)n : 0;
		loop_once(loop, n > 0 ? 0 : 5);
	}
	return total;
}

static size_t drain(int fd, bool *eof)
{
	uint8_t part[65536];
	static size_t total;
	size_t before;
	ssize_t n;

	if (*eof)
		total = 0;
	before = total;
	*eof = false;
	while ((n = read(fd, part, sizeof(part))) > 0) {
		for (size_t i = 0; i < (size_t)n; i++)
			if (part[i] != (uint8_t)((total + i) * 7 + ((total + i) >> 12)))
				fail_msg("byte %zu is wrong", total + i);
		total += (size_t)n;
	}
	*eof = n == 0;
	return total - before;
}

static void who_does_not_read_stops_the_other(void **state)
{
	int a = pump_at(0), b = pump_at(1);
	size_t held, got = 0;
	bool eof = true;

	(void)state;
	held = stuff(a);
	assert_true(held > 0 && held < HELD_BYTES_MAX);
	assert_int_equal(shutdown(a, SHUT_WR), 0);
	do {
		loop_once(loop, 5);
		got += drain(b, &eof);
	} while (!eof);
	assert_int_equal(got, held);
	fd_close(&a);
	fd_close(&b);
	until(n_ended == 2);
	assert_int_equal(n_clean, 2);
}

static void half_closed_goes_on_the_other_way(void **state)
{
	int a = pump_at(0), b = pump_at(1);
	struct pollfd p = { .fd = b, .events = POLLIN };
	char c[8];

	(void)state;
	assert_int_equal(send(a, "abc", 3, 0), 3);
	assert_int_equal(shutdown(a, SHUT_WR), 0);
	until(read(b, c, sizeof(c)) == 3);
	until(read(b, c, sizeof(c)) == 0);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_false(p.revents & POLLHUP);	/* a clean end: writing goes on */
	assert_int_equal(send(b, "defg", 4, MSG_NOSIGNAL), 4);
	until(read(a, c, sizeof(c)) == 4);
	assert_int_equal(shutdown(b, SHUT_WR), 0);
	until(read(a, c, sizeof(c)) == 0);
	until(n_ended == 2);
	assert_int_equal(n_clean, 2);
	fd_close(&a);
	fd_close(&b);
}

/* A worker that writes its last and closes at once: all of it arrives. */
static void last_words_arrive(void **state)
{
	int a = pump_at(0), b = pump_at(1);
	size_t held = stuff(a), got = 0;
	bool eof = true;

	(void)state;
	fd_close(&a);
	do {
		loop_once(loop, 5);
		got += drain(b, &eof);
	} while (!eof);
	assert_int_equal(got, held);
	fd_close(&b);
	until(n_ended == 2);
}

static void a_cut_can_be_told(void **state)
{
	int a = pump_at(0);
	struct pollfd p = { .fd = a, .events = POLLIN };
	char c[8];

	(void)state;
	assert_int_equal(tls_write(tls[1], "abc", 3), 3);
	tls_free(tls[1]);			/* no close_notify */
	until(read(a, c, sizeof(c)) == 3);
	until(read(a, c, sizeof(c)) == 0);
	until(n_ended == 1);
	assert_int_equal(n_clean, 0);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_true(p.revents & POLLHUP);
	assert_int_equal(send(a, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	fd_close(&a);
}

/* Bytes that are no record of this connection. */
static void forged_bytes_cut(void **state)
{
	int a = pump_at(0);
	char c;

	(void)state;
	assert_int_equal(send(tls_fd(tls[1]), "\x17\x03\x03\x00\x20 forged forged forged forged forged", 40, 0), 40);
	until(n_ended == 1);
	assert_int_equal(n_clean, 0);
	assert_int_equal(read(a, &c, 1), 0);
	fd_close(&a);
	tls_free(tls[1]);
}

/* The peer keeps the connection after the worker has gone: not for ever. */
static void lingering_ends(void **state)
{
	int a = pump_at(0);
	uint64_t start = clock_mono_ms();

	(void)state;
	fd_close(&a);
	until(n_ended == 1);
	assert_true(clock_mono_ms() - start < PUMP_LINGER_MS + 2000);
	tls_free(tls[1]);
}

/* An idle pump must not turn the loop. */
static void idle_means_idle(void **state)
{
	int a = pump_at(0), b = pump_at(1), turns = 0;
	uint64_t end_ms;

	(void)state;
	(void)stuff(a);
	assert_int_equal(shutdown(b, SHUT_WR), 0);
	for (int i = 0; i < 50; i++)
		loop_once(loop, 1);
	end_ms = clock_mono_ms() + 200;
	while (clock_mono_ms() < end_ms) {
		loop_once(loop, 50);
		turns++;
	}
	assert_true(turns < 20);
	fd_close(&a);
	fd_close(&b);
	until(n_ended == 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_does_not_read_stops_the_other, up, down),
		cmocka_unit_test_setup_teardown(half_closed_goes_on_the_other_way, up, down),
		cmocka_unit_test_setup_teardown(last_words_arrive, up, down),
		cmocka_unit_test_setup_teardown(a_cut_can_be_told, up, down),
		cmocka_unit_test_setup_teardown(forged_bytes_cut, up, down),
		cmocka_unit_test_setup_teardown(lingering_ends, up, down),
		cmocka_unit_test_setup_teardown(idle_means_idle, up, down),
	};

	return check_main(tests);
}

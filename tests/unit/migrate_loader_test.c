/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's stream: only what is whole and in order reaches its end, a slow
 * reader holds the line, and it can be freed whatever its thread waits for.
 */
#include "tests/unit/check.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "migrate/guest/loader.h"
#include "migrate/stream/raw_sum.h"

enum { PART_BYTES = 1 << 20, TURN_MS = 10, TURNS = 1000 };

struct bench {
	struct loop *loop;
	struct loader *loader;
	int fd;				/* hvdomd's end */
	unsigned progress, done, failed;
	struct err why;
	struct codec_counts counts;
	struct encoder *enc;
	struct raw_sum *sum;
	uint64_t seq;
	struct buf sent;
	/* a line whose reading is held */
	struct mig_link *link;
	int line;
	unsigned datas;
};

static void on_progress(void *arg, const struct codec_counts *c)
{
	struct bench *t = arg;

	t->progress++;
	t->counts = *c;
}

static void on_done(void *arg)
{
	((struct bench *)arg)->done++;
}

static void on_failed(void *arg, const struct err *why)
{
	struct bench *t = arg;

	t->failed++;
	t->why = *why;
}

static const struct loader_ops ops = { on_progress, on_done, on_failed };

static void no_msg(void *arg, struct mig_link *l, const struct mig_msg *m)
{
	(void)arg, (void)l, (void)m;
}

static void on_data(void *arg, struct mig_link *l, uint64_t seq, struct buf batch)
{
	struct bench *t = arg;

	(void)l;
	t->datas++;
	loader_data(t->loader, seq, batch);
}

static void no_down(void *arg, struct mig_link *l, const struct err *why)
{
	(void)arg, (void)l, (void)why;
}

static const struct mig_link_ops link_ops = { no_msg, on_data, no_down };

static int setup(void **state)
{
	struct bench *t = mem_alloc(sizeof(*t));
	struct err e = ERR_INIT;
	int pair[2], line[2];

	t->sum = raw_sum_new();
	if (loop_new(&t->loop, &e) < 0 || fd_pair(pair, &e) < 0 || fd_pair(line, &e) < 0 ||
	    encoder_new(CODEC_NONE, 16, &t->enc, &e) < 0 ||
	    mig_link_new(t->loop, line[0], &link_ops, t, &t->link, &e) < 0 ||
	    loader_new(t->loop, t->link, pair[0], 16, &ops, t, &t->loader, &e) < 0)
		return -1;
	t->line = line[1];
	t->fd = pair[1];
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct bench *t = *state;

	loader_free(t->loader);
	mig_link_free(t->link);
	for (int i = 0; i < 20; i++)
		loop_once(t->loop, 2);		/* its thread's end */
	loop_free(t->loop);
	encoder_free(t->enc);
	raw_sum_free(t->sum);
	buf_fini(&t->sent);
	fd_close(&t->fd);
	fd_close(&t->line);
	free(t);
	return 0;
}

/* One batch of n bytes; the caller hands it on. */
static struct buf batch(struct bench *t, size_t n)
{
	AUTO_FREE uint8_t *raw = mem_alloc(n);
	struct buf wire = { 0 };

	for (size_t i = 0; i < n; i++)
		raw[i] = (uint8_t)(t->seq * 7 + i);
	buf_put(&t->sent, raw, n);
	raw_sum_add(t->sum, raw, n);
	encoder_bytes(t->enc, raw, n, &wire);
	return wire;
}

static void give(struct bench *t, size_t n)
{
	struct buf b = batch(t, n);

	loader_data(t->loader, t->seq++, b);
}

static void end(struct bench *t)
{
	loader_end(t->loader, t->seq, t->sent.len, raw_sum_value(t->sum));
}

static void wait_over(struct bench *t, unsigned done, unsigned failed)
{
	for (int i = 0; i < TURNS && !(t->done + t->failed); i++)
		loop_once(t->loop, TURN_MS);
	for (int i = 0; i < 3; i++)
		loop_once(t->loop, 1);
	assert_int_equal(t->done, done);
	assert_int_equal(t->failed, failed);
}

/* What hvdomd's end has to read now; -1: nothing and no end. */
static ssize_t read_now(struct bench *t)
{
	uint8_t part[4096];

	return recv(t->fd, part, sizeof(part), MSG_DONTWAIT);
}

static void test_whole(void **state)
{
	struct bench *t = *state;
	AUTO_BUF struct buf got = { 0 };

	for (size_t n = 1; n < 2000; n = n * 3 + 1)
		give(t, n);
	end(t);
	wait_over(t, 1, 0);
	buf_reserve(&got, t->sent.len + 10);
	assert_int_equal(fd_read_full(t->fd, got.p, t->sent.len), 0);
	assert_memory_equal(got.p, t->sent.p, t->sent.len);
	assert_int_equal(read_now(t), 0);		/* and then the end */
	assert_int_equal(t->counts.raw_bytes, t->sent.len);	/* the last counts came, too */
}

/* hvdomd must not take the end of what broke off for the end of the guest. */
static void broke(struct bench *t, enum err_code code)
{
	ssize_t n;

	wait_over(t, 0, 1);
	assert_int_equal(t->why.code, code);
	while ((n = read_now(t)) > 0)
		;
	assert_int_equal(n, -1);
}

static void test_out_of_order(void **state)
{
	struct bench *t = *state;

	give(t, 100);
	t->seq++;
	give(t, 100);
	broke(t, ERR_CORRUPT);
}

static void test_damaged(void **state)
{
	struct bench *t = *state;
	struct buf b = batch(t, 100);

	b.p[0] = 0x77;
	loader_data(t->loader, 0, b);
	broke(t, ERR_CORRUPT);
}

static void test_wrong_count(void **state)
{
	struct bench *t = *state;

	give(t, 100);
	loader_end(t->loader, 2, t->sent.len, raw_sum_value(t->sum));
	broke(t, ERR_CORRUPT);
}

static void test_wrong_bytes(void **state)
{
	struct bench *t = *state;

	give(t, 100);
	loader_end(t->loader, 1, t->sent.len + 1, raw_sum_value(t->sum));
	broke(t, ERR_CORRUPT);
}

static void test_wrong_sum(void **state)
{
	struct bench *t = *state;

	give(t, 100);
	loader_end(t->loader, 1, t->sent.len, raw_sum_value(t->sum) ^ 1);
	broke(t, ERR_CORRUPT);
}

static void test_reader_goes(void **state)
{
	struct bench *t = *state;

	fd_close(&t->fd);
	give(t, 100);
	end(t);
	wait_over(t, 0, 1);
	assert_non_null(strstr(t->why.detail, "hvdomd"));
}

/* Nobody reads: the queue fills, the line is held; somebody does: it goes on, to the end. */
static void test_holds_the_line(void **state)
{
	struct bench *t = *state;
	AUTO_BUF struct buf got = { 0 };
	struct err e = ERR_INIT;

	while (t->sent.len < LOADER_QUEUE_BYTES + 4 * PART_BYTES)
		give(t, PART_BYTES);
	AUTO_BUF struct buf wire = { 0 };
	struct buf last = batch(t, 10);
	struct mig_hdr h = { .type = MIG_DATA, .len_bytes = (uint32_t)last.len, .seq = t->seq++ };

	mig_hdr_encode(&h, &wire);
	buf_put(&wire, last.p, last.len);
	buf_fini(&last);
	assert_int_equal(fd_write_full(t->line, wire.p, wire.len), 0);
	for (int i = 0; i < 10; i++)
		loop_once(t->loop, TURN_MS);
	assert_int_equal(t->datas, 0);			/* held */
	assert_int_equal(fd_set_nonblock(t->fd, true, &e), 0);
	for (int i = 0; i < 100000 && got.len < t->sent.len; i++) {
		buf_reserve(&got, PART_BYTES);
		ssize_t n = recv(t->fd, got.p + got.len, PART_BYTES, 0);

		got.len += n > 0 ? (size_t)n : 0;
		loop_once(t->loop, n > 0 ? 0 : 1);
	}
	assert_int_equal(t->datas, 1);
	assert_int_equal(got.len, t->sent.len);
	assert_memory_equal(got.p, t->sent.p, got.len);
	end(t);
	wait_over(t, 1, 0);
}

static void freed_quickly(struct bench *t)
{
	uint64_t t0 = clock_mono_ms();

	loader_free(t->loader);
	t->loader = NULL;
	assert_true(clock_mono_ms() - t0 < 500);
	/* Its thread lets go of the socket: hvdomd finds the end. */
	for (int i = 0; i < TURNS; i++) {
		struct pollfd p = { .fd = t->fd, .events = POLLRDHUP };

		loop_once(t->loop, TURN_MS);
		if (poll(&p, 1, 0) > 0 && p.revents & POLLHUP)
			break;
		assert_true(i + 1 < TURNS);
	}
	assert_int_equal(t->done + t->failed, 0);
}

static void test_free_while_it_waits(void **state)
{
	give(*state, 10);
	freed_quickly(*state);
}

static void test_free_while_it_writes(void **state)
{
	struct bench *t = *state;

	for (int i = 0; i < 6; i++)
		give(t, PART_BYTES);
	loop_once(t->loop, TURN_MS);
	freed_quickly(t);
}

static void test_free_afterwards(void **state)
{
	struct bench *t = *state;

	give(t, 10);
	end(t);
	wait_over(t, 1, 0);
	loader_forget_link(t->loader);
	loader_free(t->loader);
	t->loader = NULL;
	loader_free(NULL);
	loader_forget_link(NULL);
}

#define LOADER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		LOADER(test_whole), LOADER(test_out_of_order), LOADER(test_damaged), LOADER(test_wrong_count),
		LOADER(test_wrong_bytes), LOADER(test_wrong_sum), LOADER(test_reader_goes), LOADER(test_holds_the_line),
		LOADER(test_free_while_it_waits), LOADER(test_free_while_it_writes), LOADER(test_free_afterwards),
	};

	signal(SIGPIPE, SIG_IGN);
	return check_main(tests);
}

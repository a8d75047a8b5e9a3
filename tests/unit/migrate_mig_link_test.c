/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of a move: frames whole and in order whatever the socket
 * does, back-pressure both ways, and its end at awkward moments.
 */
#include "tests/unit/check.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "migrate/mig_link.h"

enum { PUSH_BYTES = 60000, PUSHES = 100 };

struct pipe_end {
	struct loop *loop;
	struct mig_link *link;
	int fd;				/* the other end, for the test to read and write */
	unsigned msgs, datas, downs;
	enum mig_type last;
	uint64_t seqs;			/* the next number that is due */
	bool wrong;			/* bytes or order */
	bool why;
	bool hold_after_data;		/* holds itself after each batch */
	/* the pusher's */
	pthread_t thread;
	unsigned pushed, batch_bytes;
	bool refused;
};

static void on_msg(void *arg, struct mig_link *l, const struct mig_msg *m)
{
	struct pipe_end *p = arg;

	(void)l;
	p->msgs++;
	p->last = m->type;
}

static void on_data(void *arg, struct mig_link *l, uint64_t seq, struct buf batch)
{
	struct pipe_end *p = arg;

	p->wrong |= seq != p->seqs++;
	for (size_t i = 0; i < batch.len; i++)
		p->wrong |= batch.p[i] != (uint8_t)(seq + i);
	p->datas++;
	buf_fini(&batch);
	if (p->hold_after_data)
		mig_link_hold(l, true);
}

static void on_down(void *arg, struct mig_link *l, const struct err *why)
{
	struct pipe_end *p = arg;

	(void)l;
	p->downs++;
	p->why = why != NULL;
}

static const struct mig_link_ops ops = { on_msg, on_data, on_down };

static int setup(void **state)
{
	struct pipe_end *p = mem_alloc(sizeof(*p));
	struct err e = ERR_INIT;
	int pair[2];

	p->batch_bytes = PUSH_BYTES;
	if (loop_new(&p->loop, &e) < 0 || fd_pair(pair, &e) < 0 ||
	    mig_link_new(p->loop, pair[0], &ops, p, &p->link, &e) < 0)
		return -1;
	p->fd = pair[1];
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pipe_end *p = *state;

	mig_link_free(p->link);
	fd_close(&p->fd);
	for (int i = 0; i < 3; i++)
		loop_once(p->loop, 0);		/* a flush that is posted frees it */
	loop_free(p->loop);
	free(p);
	return 0;
}

static void frame(struct buf *out, uint64_t seq, size_t bytes)
{
	struct mig_hdr h = { .type = MIG_DATA, .len_bytes = (uint32_t)bytes, .seq = seq };

	mig_hdr_encode(&h, out);
	for (size_t i = 0; i < bytes; i++)
		buf_put_u8(out, (uint8_t)(seq + i));
}

static void ping(struct buf *out, uint64_t seq)
{
	struct err e = ERR_INIT;

	assert_int_equal(mig_encode(&(struct mig_msg){ .type = MIG_PING, .seq = seq }, out, &e), 0);
}

static void spin(struct pipe_end *p, unsigned turns)
{
	while (turns--)
		loop_once(p->loop, 5);
}

/* ---- reading ---- */

/* Byte by byte, so that every place where a frame can be cut is met. */
static void test_reads_byte_by_byte(void **state)
{
	struct pipe_end *p = *state;
	AUTO_BUF struct buf b = { 0 };

	ping(&b, 7);
	frame(&b, 0, 40);
	frame(&b, 1, 0);
	frame(&b, 2, 3);
	ping(&b, 8);
	for (size_t i = 0; i < b.len; i++) {
		assert_int_equal(fd_write_full(p->fd, b.p + i, 1), 0);
		loop_once(p->loop, 100);
	}
	assert_int_equal(p->msgs, 2);
	assert_int_equal(p->datas, 3);
	assert_false(p->wrong);
	assert_int_equal(p->downs, 0);
}

static void test_end_in_a_frame(void **state)
{
	struct pipe_end *p = *state;
	AUTO_BUF struct buf b = { 0 };

	frame(&b, 0, 40);
	assert_int_equal(fd_write_full(p->fd, b.p, b.len - 1), 0);
	fd_close(&p->fd);
	spin(p, 5);
	assert_int_equal(p->downs, 1);
	assert_int_equal(p->datas, 0);
}

static void test_garbage(void **state)
{
	struct pipe_end *p = *state;
	uint8_t bad[MIG_HDR_BYTES] = { 0xee };

	assert_int_equal(fd_write_full(p->fd, bad, sizeof(bad)), 0);
	spin(p, 5);
	assert_int_equal(p->downs, 1);
	assert_true(p->why);
	mig_link_send(p->link, &(struct mig_msg){ .type = MIG_PING });	/* nothing happens */
	assert_false(mig_link_push(p->link, 0, (struct span){ bad, sizeof(bad) }));
	assert_int_equal(p->downs, 1);
}

/* Held: nothing is read, so the sender's socket fills; released: all of it comes, in order. */
static void test_hold(void **state)
{
	struct pipe_end *p = *state;
	AUTO_BUF struct buf b = { 0 };
	size_t from = 0;
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < 30; i++)
		frame(&b, i, PUSH_BYTES);
	assert_int_equal(fd_set_nonblock(p->fd, true, &e), 0);
	mig_link_hold(p->link, true);
	for (ssize_t n; (n = send(p->fd, b.p + from, b.len - from, MSG_NOSIGNAL)) > 0; from += (size_t)n)
		;
	assert_true(from < b.len);		/* it is full */
	spin(p, 3);
	assert_int_equal(p->datas, 0);
	p->hold_after_data = true;		/* one batch a release */
	mig_link_hold(p->link, false);
	for (int i = 0; i < 20 && !p->datas; i++)
		loop_once(p->loop, 50);
	spin(p, 3);
	assert_int_equal(p->datas, 1);
	p->hold_after_data = false;
	mig_link_hold(p->link, false);
	for (unsigned i = 0; i < 1000 && p->datas < 30; i++) {
		ssize_t n = send(p->fd, b.p + from, b.len - from, MSG_NOSIGNAL);

		from += n > 0 ? (size_t)n : 0;
		loop_once(p->loop, 10);
	}
	assert_int_equal(p->datas, 30);
	assert_false(p->wrong);
}

/* The other side sent its last words and went while we held: they are read, then comes the end; and no spinning. */
static void test_hangup_while_held(void **state)
{
	struct pipe_end *p = *state;
	AUTO_BUF struct buf b = { 0 };

	frame(&b, 0, 1000);
	ping(&b, 1);
	mig_link_hold(p->link, true);
	assert_int_equal(fd_write_full(p->fd, b.p, b.len), 0);
	fd_close(&p->fd);
	uint64_t t0 = clock_mono_ms();

	spin(p, 10);
	assert_true(clock_mono_ms() - t0 >= 30);	/* it waits, rather than being woken by the HUP each time */
	assert_int_equal(p->datas + p->downs, 0);
	mig_link_hold(p->link, false);
	spin(p, 5);
	assert_int_equal(p->datas, 1);
	assert_int_equal(p->msgs, 1);
	assert_int_equal(p->downs, 1);
	mig_link_hold(p->link, true);		/* late words from the loader */
	mig_link_hold(p->link, false);
	spin(p, 2);
	assert_int_equal(p->downs, 1);
}

/* ---- writing ---- */

static void *pusher(void *arg)
{
	struct pipe_end *p = arg;
	AUTO_BUF struct buf b = { 0 };

	for (unsigned i = 0; i < PUSHES; i++) {
		b.len = 0;
		for (size_t k = 0; k < p->batch_bytes; k++)
			buf_put_u8(&b, (uint8_t)(i + k));
		if (!mig_link_push(p->link, i, (struct span){ b.p, b.len })) {
			__atomic_store_n(&p->refused, true, __ATOMIC_SEQ_CST);
			return NULL;
		}
		__atomic_add_fetch(&p->pushed, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static unsigned pushed(struct pipe_end *p)
{
	return __atomic_load_n(&p->pushed, __ATOMIC_SEQ_CST);
}

/* Nobody reads: the pusher stops at the queue's limit, a message is still taken, and stop_pushing frees it. */
static void test_push_waits(void **state)
{
	struct pipe_end *p = *state;
	unsigned before = PUSHES + 1;

	pthread_create(&p->thread, NULL, pusher, p);
	while (pushed(p) != before) {
		before = pushed(p);
		spin(p, 10);
	}
	assert_true(before < PUSHES);
	assert_true(mig_link_backlog(p->link) >= MIG_LINK_QUEUE_BYTES);
	assert_true(mig_link_backlog(p->link) < 3 * MIG_LINK_QUEUE_BYTES);
	mig_link_send(p->link, &(struct mig_msg){ .type = MIG_PING, .seq = 1 });
	mig_link_stop_pushing(p->link);
	pthread_join(p->thread, NULL);
	assert_true(p->refused);
	assert_int_equal(p->downs, 0);
}

/* Reads frames as the other side would, from the test's end. */
static void read_frames(struct pipe_end *p, struct pipe_end *other, unsigned datas)
{
	struct err e = ERR_INIT;

	*other = (struct pipe_end){ .loop = p->loop, .fd = -1 };
	assert_int_equal(mig_link_new(p->loop, p->fd, &ops, other, &other->link, &e), 0);
	p->fd = -1;
	for (unsigned i = 0; i < 5000 && other->datas < datas; i++)
		loop_once(p->loop, 10);
	assert_int_equal(other->datas, datas);
	assert_false(other->wrong);
}

static void test_push_all_arrives(void **state)
{
	struct pipe_end *p = *state, other;

	pthread_create(&p->thread, NULL, pusher, p);
	read_frames(p, &other, PUSHES);
	pthread_join(p->thread, NULL);
	assert_int_equal(mig_link_backlog(p->link), 0);
	assert_int_equal(mig_link_sent(p->link), (uint64_t)PUSHES * (PUSH_BYTES + MIG_HDR_BYTES));
	mig_link_free(other.link);
}

static void test_rate(void **state)
{
	struct pipe_end *p = *state, other;
	enum { RATE = 4 << 20, BYTES = 20000 };
	uint64_t t0 = clock_mono_ms(), due_ms = (uint64_t)PUSHES * BYTES * 1000 / RATE;

	p->batch_bytes = BYTES;
	mig_link_set_rate(p->link, RATE);
	pthread_create(&p->thread, NULL, pusher, p);
	read_frames(p, &other, PUSHES);
	pthread_join(p->thread, NULL);
	uint64_t took_ms = clock_mono_ms() - t0;

	if (took_ms + MIG_LINK_BURST_MS + 20 < due_ms || took_ms > due_ms * 3 + 1000)
		fail_msg("%llu ms for what takes %llu", (unsigned long long)took_ms, (unsigned long long)due_ms);
	mig_link_free(other.link);
}

/* A wait for the rate ends with stop_pushing, not with the rate. */
static void test_rate_is_interrupted(void **state)
{
	struct pipe_end *p = *state;

	mig_link_set_rate(p->link, 1000);
	pthread_create(&p->thread, NULL, pusher, p);
	while (!pushed(p))
		loop_once(p->loop, 5);
	uint64_t t0 = clock_mono_ms();

	mig_link_stop_pushing(p->link);
	pthread_join(p->thread, NULL);
	assert_true(p->refused);
	assert_true(clock_mono_ms() - t0 < 2000);
}

/* The peer goes while a pusher waits. */
static void test_peer_goes(void **state)
{
	struct pipe_end *p = *state;

	pthread_create(&p->thread, NULL, pusher, p);
	while (mig_link_backlog(p->link) < MIG_LINK_QUEUE_BYTES)
		loop_once(p->loop, 5);
	fd_close(&p->fd);
	for (int i = 0; i < 1000 && !p->downs; i++)
		loop_once(p->loop, 10);
	pthread_join(p->thread, NULL);
	assert_true(p->refused);
	assert_int_equal(p->downs, 1);
}

/* Freed between a push and the loop's turn: the flush that is posted finds it freed. */
static void test_free_with_posted_flush(void **state)
{
	struct pipe_end *p = *state;

	assert_true(mig_link_push(p->link, 0, (struct span){ (const uint8_t *)"abc", 3 }));
	mig_link_free(p->link);
	p->link = NULL;
	spin(p, 3);
	assert_int_equal(p->downs, 0);
}

static void test_flush_is_bounded(void **state)
{
	struct pipe_end *p = *state;
	AUTO_BUF struct buf b = { 0 };

	buf_reserve(&b, PUSH_BYTES);
	b.len = PUSH_BYTES;
	memset(b.p, 1, b.len);
	for (unsigned i = 0; i < 15; i++)
		assert_true(mig_link_push(p->link, i, (struct span){ b.p, b.len }));
	uint64_t t0 = clock_mono_ms();

	mig_link_flush(p->link);
	uint64_t took_ms = clock_mono_ms() - t0;

	assert_true(took_ms >= MIG_LINK_FLUSH_MS - 50 && took_ms < MIG_LINK_FLUSH_MS + 1000);
	fd_close(&p->fd);
	t0 = clock_mono_ms();
	mig_link_flush(p->link);		/* at once: there is nobody */
	assert_true(clock_mono_ms() - t0 < 500);
	assert_int_equal(p->downs, 1);
}

static void test_not_a_socket(void **state)
{
	struct pipe_end *p = *state;
	struct mig_link *l = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(mig_link_new(p->loop, -1, &ops, p, &l, &e), -1);
	assert_null(l);
	assert_int_not_equal(e.code, ERR_NONE);
	mig_link_free(NULL);
}

#define LINK(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		LINK(test_reads_byte_by_byte), LINK(test_end_in_a_frame), LINK(test_garbage), LINK(test_hold),
		LINK(test_hangup_while_held), LINK(test_push_waits), LINK(test_push_all_arrives), LINK(test_rate),
		LINK(test_rate_is_interrupted), LINK(test_peer_goes), LINK(test_free_with_posted_flush),
		LINK(test_flush_is_bounded), LINK(test_not_a_socket),
	};

	signal(SIGPIPE, SIG_IGN);
	return check_main(tests);
}

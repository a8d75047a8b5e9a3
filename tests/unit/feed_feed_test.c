/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed's rules one by one: what a barrier waits for and holds, who may
 * resume from where, what is known after a restart.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "feed/feed.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { DISK_BYTES = 256 << 20, GRAIN = 65536 };

static const struct feed_disk disks[2] = {
	{ .key = "xvda", .bytes = DISK_BYTES }, { .key = "xvdb", .bytes = 1 << 20, .bytes_max = 2 << 20 },
};

static _Atomic unsigned wakes;

static void on_wake(void *arg)
{
	(void)arg;
	atomic_fetch_add(&wakes, 1);
}

static struct feed *open_feed(int log_fd)
{
	struct feed_cfg cfg = { .disks = disks, .n_disks = 2, .wake = on_wake };
	struct feed *f = NULL;
	struct err e = ERR_INIT;

	if (log_fd >= 0) {
		cfg.log_ops = &act_log_file_ops;
		cfg.log_io = (void *)(intptr_t)log_fd;
	}
	assert_int_equal(feed_new(&cfg, &f, &e), 0);
	return f;
}

static struct feed_consumer *attach(struct feed *f, const char *name, uint64_t position, struct feed_attached *info)
{
	struct feed_stats st;
	struct feed_attach a = { .name = name, .has_position = position > 0, .position = position,
				 .ring_bytes = RING_BYTES_MIN };
	struct feed_consumer *c = NULL;
	struct err e = ERR_INIT;

	feed_get_stats(f, &st);
	a.feed_id = st.feed_id;
	assert_int_equal(feed_attach(f, &a, &c, info, &e), 0);
	close(info->wake_fd);
	return c;
}

static void write_done(struct feed *f, unsigned disk, uint64_t off, uint64_t len, int res)
{
	static uint8_t data[1 << 20];
	struct iovec iov = { data, len };

	feed_after_write(f, disk, off, &iov, 1, len, res);
}

/* As the queue does: asks again while the activity log works. */
static void do_write(struct feed *f, unsigned disk, uint64_t off, uint64_t len)
{
	while (feed_before(f, disk, off, len) == FEED_WAIT)
		(void)poll(NULL, 0, 1);
	write_done(f, disk, off, len, 0);
}

static void on_cut(void *arg, const struct feed_cut *cut)
{
	*(struct feed_cut *)arg = *cut;
}

static struct feed_cut barrier(struct feed_consumer *c)
{
	struct feed_cut cut = { 0 };
	struct err e = ERR_INIT;

	assert_int_equal(feed_barrier(c, on_cut, &cut, &e), 0);
	assert_true(cut.position > 0);
	return cut;
}

static void ack(struct feed_consumer *c, uint64_t position)
{
	struct err e = ERR_INIT;

	assert_int_equal(feed_ack(c, position, &e), 0);
}

static void barrier_waits_and_holds(void **state)
{
	struct feed *f = open_feed(-1);
	struct feed_attached info;
	struct feed_consumer *c = attach(f, "a", 0, &info);
	struct feed_cut cut = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	ack(c, barrier(c).position);
	assert_int_equal(feed_before(f, 0, 0, 512), FEED_GO);
	assert_int_equal(feed_before(f, 1, 4096, 512), FEED_GO);
	assert_int_equal(feed_barrier(c, on_cut, &cut, &e), 0);
	assert_int_equal(feed_before(f, 0, 8192, 512), FEED_WAIT);
	assert_int_equal(feed_barrier(c, on_cut, &cut, &e), -1);
	assert_int_equal(e.code, ERR_BUSY);
	write_done(f, 0, 0, 512, 0);
	assert_int_equal(cut.position, 0);		/* the other disk's write is still on its way */
	atomic_store(&wakes, 0);
	write_done(f, 1, 4096, 512, 0);
	assert_true(cut.position > 0 && cut.ring && cut.complete);
	assert_int_equal(atomic_load(&wakes), 1);
	assert_int_equal(feed_map_bytes(c), 2 * GRAIN);
	assert_int_equal(feed_before(f, 0, 8192, 512), FEED_GO);
	write_done(f, 0, 8192, 512, 0);
	assert_int_equal(feed_map_bytes(c), 2 * GRAIN);	/* after the barrier: not in its map */
	feed_free(f);
}

static void barrier_is_given_up(void **state)
{
	struct feed *f = open_feed(-1);
	struct feed_attached info;
	struct feed_consumer *c = attach(f, "a", 0, &info);
	struct feed_cut cut = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(feed_before(f, 0, 0, 512), FEED_GO);
	assert_int_equal(feed_barrier(c, on_cut, &cut, &e), 0);
	assert_int_equal(feed_before(f, 0, 8192, 512), FEED_WAIT);
	atomic_store(&wakes, 0);
	assert_true(feed_barrier_cancel(c));
	assert_false(feed_barrier_cancel(c));
	assert_int_equal(atomic_load(&wakes), 1);
	assert_int_equal(feed_before(f, 0, 8192, 512), FEED_GO);
	write_done(f, 0, 0, 512, 0);
	write_done(f, 0, 8192, 512, 0);
	assert_int_equal(cut.position, 0);
	feed_free(f);
}

static void hold_keeps_writes_out(void **state)
{
	struct feed *f = open_feed(-1);
	struct feed_attached info;
	struct feed_consumer *c = attach(f, "mirror", 0, &info);

	(void)state;
	feed_hold(f);
	assert_int_equal(feed_before(f, 0, 0, 512), FEED_GO);	/* only from the next cut on */
	write_done(f, 0, 0, 512, 0);
	(void)barrier(c);
	atomic_store(&wakes, 0);
	assert_int_equal(feed_before(f, 0, 0, 512), FEED_WAIT);
	(void)barrier(c);				/* still possible: nothing is in flight */
	feed_release(f);
	assert_int_equal(atomic_load(&wakes), 1);
	assert_int_equal(feed_before(f, 0, 0, 512), FEED_GO);
	write_done(f, 0, 0, 512, 0);
	feed_free(f);
}

static void map_ends_with_the_disk(void **state)
{
	struct feed *f = open_feed(-1);
	struct feed_attached info;
	struct feed_consumer *c = attach(f, "a", 0, &info);
	struct dirty_run run;

	(void)state;
	assert_true(info.full && !info.coarse);
	assert_true(feed_map_next(c, 1, 0, UINT64_MAX, &run));
	assert_int_equal(run.bytes, 1 << 20);		/* not its possible size */
	feed_set_bytes(f, 1, (1 << 20) + 512);
	(void)barrier(c);
	assert_true(feed_map_next(c, 1, 0, UINT64_MAX, &run));
	assert_int_equal(run.bytes, (1 << 20) + 512);
	ack(c, barrier(c).position);
	assert_false(feed_map_next(c, 1, 0, UINT64_MAX, &run));
	do_write(f, 1, 1 << 20, 512);
	(void)barrier(c);
	assert_true(feed_map_next(c, 1, 0, UINT64_MAX, &run));
	assert_int_equal(run.off, 1 << 20);
	assert_int_equal(run.bytes, 512);
	feed_free(f);
}

static void failed_writes_are_dirty(void **state)
{
	struct feed *f = open_feed(-1);
	struct feed_attached info;
	struct feed_consumer *c = attach(f, "a", 0, &info);

	(void)state;
	ack(c, barrier(c).position);
	assert_int_equal(feed_before(f, 0, 0, 512), FEED_GO);
	write_done(f, 0, 0, 512, -EIO);
	assert_int_equal(feed_before(f, 0, GRAIN, 512), FEED_GO);
	feed_after_unknown(f, 0, GRAIN, 512);
	assert_int_equal(feed_before(f, 0, 2 * GRAIN, 512), FEED_GO);
	feed_after_nothing(f);
	(void)barrier(c);
	assert_int_equal(feed_map_bytes(c), 2 * GRAIN);
	feed_free(f);
}

/* Positions that may come back, and what they get. */
static void resume_rules(void **state)
{
	struct feed *f = open_feed(-1);
	struct feed_attached info;
	struct feed_consumer *c = attach(f, "a", 0, &info);
	struct feed_attach twice = { .name = "a" }, bad = { .name = "A b" };
	struct err e = ERR_INIT;
	uint64_t p1, p2;

	(void)state;
	assert_int_equal(feed_attach(f, &twice, &c, &info, &e), -1);
	assert_int_equal(e.code, ERR_BUSY);
	assert_int_equal(feed_attach(f, &bad, &c, &info, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	p1 = barrier(c).position;
	ack(c, p1);
	do_write(f, 0, 0, 512);
	p2 = barrier(c).position;
	do_write(f, 0, 5 * GRAIN, 512);
	assert_int_equal(feed_ack(c, p2 + 1, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	feed_detach(c);
	do_write(f, 0, 9 * GRAIN, 512);			/* while he is away */
	c = attach(f, "a", p1, &info);
	assert_false(info.full);
	assert_int_equal(info.dirty_bytes, 3 * GRAIN);
	feed_detach(c);
	c = attach(f, "a", p2, &info);			/* he had it, only the ack was lost */
	assert_false(info.full);
	assert_int_equal(info.dirty_bytes, 2 * GRAIN);
	feed_detach(c);
	c = attach(f, "a", p1, &info);			/* an old copy of him: what lies between is forgotten */
	assert_true(info.full);
	feed_detach(c);
	c = attach(f, "a", p2 + 1000000, &info);
	assert_true(info.full);
	feed_detach(c);
	assert_int_equal(feed_forget(f, "a", &e), 0);
	c = attach(f, "a", p2, &info);
	assert_true(info.full);
	feed_free(f);
}

static void dead_consumer_costs_nothing(void **state)
{
	struct feed *f = open_feed(-1);
	struct feed_attached info;
	struct feed_consumer *c = attach(f, "a", 0, &info);	/* never reads his ring */
	struct feed_stats st;
	struct feed_cut cut;

	(void)state;
	ack(c, barrier(c).position);
	for (unsigned i = 0; i < 1000; i++)
		do_write(f, 0, i * 4096ull, 4096);
	feed_get_stats(f, &st);
	assert_int_equal(st.consumers[0].ring.losses, 1);
	assert_true(st.consumers[0].ring.fill_bytes <= RING_BYTES_MIN);
	cut = barrier(c);
	assert_false(cut.complete);
	assert_int_equal(feed_map_bytes(c), (1000 * 4096 + GRAIN - 1) / GRAIN * GRAIN);
	feed_free(f);
}

static bool in_map(struct feed_consumer *c, unsigned disk, uint64_t off)
{
	struct dirty_run run;

	return feed_map_next(c, disk, off, 1, &run) && run.off <= off;
}

/* The process dies (nothing is written at the end of a feed, so feed_free is as good as SIGKILL). */
static void restart_knows_enough(void **state)
{
	struct feed_attached info;
	struct feed_consumer *c;
	struct tmp t;
	struct feed *f;
	uint64_t p1, p0;
	int fd;

	(void)state;
	tmp_init(&t);
	fd = open(tmp_path(&t, "log"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	f = open_feed(fd);
	c = attach(f, "replica", 0, &info);
	p0 = barrier(c).position;
	ack(c, p0);
	do_write(f, 0, 100 << 20, 512);
	p1 = barrier(c).position;
	do_write(f, 0, 200 << 20, 512);
	feed_free(f);

	f = open_feed(fd);
	do_write(f, 0, 5, 512);				/* before he is back */
	c = attach(f, "replica", p0, &info);
	assert_true(!info.full && info.coarse);
	assert_true(info.dirty_bytes < DISK_BYTES / 4);
	assert_true(barrier(c).position > p1);
	assert_true(in_map(c, 0, 100 << 20) && in_map(c, 0, 200 << 20) && in_map(c, 0, 0));
	assert_false(in_map(c, 0, 150 << 20));
	feed_detach(c);
	c = attach(f, "stranger", p0, &info);
	assert_true(info.full);
	feed_free(f);
	close(fd);
	tmp_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(barrier_waits_and_holds), cmocka_unit_test(barrier_is_given_up),
		cmocka_unit_test(hold_keeps_writes_out), cmocka_unit_test(map_ends_with_the_disk),
		cmocka_unit_test(failed_writes_are_dirty), cmocka_unit_test(resume_rules),
		cmocka_unit_test(dead_consumer_costs_nothing), cmocka_unit_test(restart_knows_enough),
	};

	return check_main(tests);
}

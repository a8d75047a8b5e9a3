/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed behind a queue's disks: what a consumer hears of each kind of
 * request, and that what the feed keeps goes on when it may.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "blkd/tap.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { BYTES = 1 << 20, GRAIN = 1 << 16, WAIT_MS = 5000 };

struct rig {
	struct tmp tmp;
	struct loop *loop;
	struct queue *q;
	struct disk *disks[2];
	struct qdisk *qd[2];
	struct taps *taps;
	struct feed_consumer *c;
	struct ring_reader *ring;
	int wake_fd, log_fd;
	atomic_int fail;		/* -errno of transfers */
	uint8_t p[2][BYTES];
};

struct job {
	struct req r;
	struct iovec iov;
	int res;
	bool over;
};

/* ---- a disk in memory ---- */

struct mem { struct rig *g; uint8_t *p; };

static int mem_read(void *arg, uint64_t off, void *p, size_t n)
{
	memcpy(p, ((struct mem *)arg)->p + off, n);
	return 0;
}

static int mem_write(void *arg, uint64_t off, const void *p, size_t n)
{
	struct mem *m = arg;

	if (m->g->fail)
		return m->g->fail;
	memcpy(m->p + off, p, n);
	return 0;
}

static int mem_flush(void *arg)
{
	(void)arg;
	return 0;
}

static int mem_set_bytes(void *arg, uint64_t bytes)
{
	(void)arg, (void)bytes;
	return -ENOSPC;
}

static int mem_zero(void *arg, uint64_t off, uint64_t n)
{
	memset(((struct mem *)arg)->p + off, 0, n);
	return 0;
}

static void mem_close(void *arg)
{
	free(arg);
}

static const struct blob_ops mem_ops = { .read = mem_read, .write = mem_write, .flush = mem_flush,
					 .set_bytes = mem_set_bytes, .zero = mem_zero, .close = mem_close };

static void add_disk(struct rig *g, unsigned i)
{
	struct mem *m = mem_alloc(sizeof(*m));
	struct disk_part part = { .format = disk_format("raw") };
	struct err e = ERR_INIT;

	*m = (struct mem){ g, g->p[i] };
	part.blob = blob_new(&mem_ops, m, "memory", BYTES, -1, 1, false);
	if (disk_open(&part, 1, false, &g->disks[i], &e) < 0)
		fail_msg("%s", e.detail);
	g->qd[i] = queue_add(g->q, g->disks[i], NULL);
}

static struct rig *rig_new(bool log)
{
	struct rig *g = mem_alloc(sizeof(*g));
	struct err e = ERR_INIT;
	struct taps_disk d[2] = { { .key = "xvda" }, { .key = "xvdb" } };

	tmp_init(&g->tmp);
	g->log_fd = log ? open(tmp_path(&g->tmp, "log"), O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (loop_new(&g->loop, &e) < 0 || queue_new(g->loop, &g->q, &e) < 0)
		fail_msg("%s", e.detail);
	for (unsigned i = 0; i < 2; i++) {
		add_disk(g, i);
		d[i].qd = g->qd[i];
	}
	if (taps_new(g->loop, d, 2, g->log_fd, &g->taps, &e) < 0)
		fail_msg("%s", e.detail);
	taps_put(g->taps);
	return g;
}

static void attach(struct rig *g)
{
	struct feed_attach a = { .name = "test", .from_now = true, .ring_bytes = RING_BYTES_MIN };
	struct feed_attached info;
	struct err e = ERR_INIT;

	if (feed_attach(taps_feed(g->taps), &a, &g->c, &info, &e) < 0 ||
	    ring_reader_new(info.ring_fd, &g->ring, &e) < 0)
		fail_msg("%s", e.detail);
	g->wake_fd = info.wake_fd;
}

static void rig_free(struct rig *g)
{
	if (g->c) {
		ring_reader_free(g->ring);
		fd_close(&g->wake_fd);
		feed_detach(g->c);
	}
	for (unsigned i = 0; i < 2; i++) {
		queue_remove(g->qd[i]);
		disk_close(g->disks[i]);
	}
	taps_free(g->taps);
	loop_once(g->loop, 0);		/* a wake that was under way */
	fd_close(&g->log_fd);
	queue_free(g->q);
	loop_free(g->loop);
	tmp_fini(&g->tmp);
	free(g);
}

static void done(struct req *r, int res)
{
	struct job *j = (struct job *)(void *)r;

	assert_false(j->over);
	j->over = true;
	j->res = res;
}

static void put(struct rig *g, struct job *j, unsigned disk, enum req_op op, uint64_t off, uint64_t len)
{
	static uint8_t data[4 * GRAIN];

	memset(j, 0, sizeof(*j));
	memset(data, 0x5a, sizeof(data));
	j->iov = (struct iovec){ data, len };
	j->r = (struct req){ .op = op, .disk = g->qd[disk], .off = off, .len = len, .iov = &j->iov, .n_iov = 1,
			     .done = done };
	queue_submit(g->q, &j->r);
	queue_kick(g->q);
}

static void wait_for(struct rig *g, struct job *j)
{
	for (int i = 0; i < WAIT_MS && !j->over; i++)
		loop_once(g->loop, 1);
	assert_true(j->over);
}

static int act(struct rig *g, unsigned disk, enum req_op op, uint64_t off, uint64_t len)
{
	struct job j;

	put(g, &j, disk, op, off, len);
	wait_for(g, &j);
	return j.res;
}

static void take_cut(void *arg, const struct feed_cut *cut)
{
	*(struct feed_cut *)arg = *cut;
}

static struct feed_cut barrier(struct rig *g)
{
	struct feed_cut cut = { 0 };
	struct err e = ERR_INIT;

	if (feed_barrier(g->c, take_cut, &cut, &e) < 0)
		fail_msg("%s", e.detail);
	assert_true(cut.position > 0);
	return cut;
}

/* The next record that is no mark. */
static struct ring_rec next(struct rig *g)
{
	struct err e = ERR_INIT;
	const uint8_t *data;
	struct ring_rec rec = { .flags = RING_MARK };

	while (rec.flags & RING_MARK)
		assert_int_equal(ring_next(g->ring, &rec, &data, &e), RING_REC);
	return rec;
}

static void expect(struct rig *g, unsigned disk, unsigned flags, uint64_t off, uint64_t len)
{
	struct ring_rec rec = next(g);

	assert_int_equal(rec.disk, disk);
	assert_int_equal(rec.flags, flags);
	assert_int_equal(rec.off, off);
	assert_int_equal(rec.len, len);
}

static void expect_nothing(struct rig *g)
{
	struct err e = ERR_INIT;
	const uint8_t *data;
	struct ring_rec rec;

	assert_int_equal(ring_next(g->ring, &rec, &data, &e), RING_EMPTY);
}

/* ---- cases ---- */

static void each_kind_is_told(void **state)
{
	struct rig *g = rig_new(false);
	struct dirty_run run;

	(void)state;
	attach(g);
	(void)barrier(g);
	assert_int_equal(act(g, 0, REQ_WRITE, GRAIN, 4096), 0);
	assert_int_equal(act(g, 1, REQ_ZERO, 0, 2 * GRAIN), 0);
	assert_int_equal(act(g, 1, REQ_DISCARD, 3 * GRAIN, GRAIN), 0);
	assert_int_equal(act(g, 0, REQ_READ, 0, 4096), 0);
	assert_int_equal(act(g, 0, REQ_FLUSH, 0, 0), 0);
	expect(g, 0, 0, GRAIN, 4096);
	expect(g, 1, RING_ZERO, 0, 2 * GRAIN);
	expect(g, 1, RING_UNKNOWN, 3 * GRAIN, GRAIN);
	expect_nothing(g);
	(void)barrier(g);
	assert_int_equal(feed_map_bytes(g->c), 4 * GRAIN);
	assert_true(feed_map_next(g->c, 0, 0, UINT64_MAX, &run));
	assert_int_equal(run.off, GRAIN);
	rig_free(g);
}

static void failures(void **state)
{
	struct rig *g = rig_new(false);

	(void)state;
	attach(g);
	(void)barrier(g);
	atomic_store(&g->fail, -EIO);
	assert_int_equal(act(g, 0, REQ_WRITE, 0, 4096), -EIO);		/* old, new or mixed */
	assert_int_equal(act(g, 0, REQ_WRITE, BYTES, 4096), -ENOSPC);	/* outside: never heard of */
	expect(g, 0, RING_UNKNOWN, 0, 4096);
	expect_nothing(g);
	rig_free(g);
}

/* The first write of an extent waits for its mark on stable storage, later ones do not. */
static void the_log_wakes(void **state)
{
	struct rig *g = rig_new(true);
	struct feed_stats st;
	struct job a, b;

	(void)state;
	attach(g);
	put(g, &a, 0, REQ_WRITE, 0, 4096);
	put(g, &b, 0, REQ_WRITE, 0, 4096);
	assert_false(a.over);
	wait_for(g, &a);
	wait_for(g, &b);
	assert_int_equal(a.res | b.res, 0);
	assert_int_equal(act(g, 0, REQ_WRITE, 4096, 4096), 0);
	feed_get_stats(taps_feed(g->taps), &st);
	assert_int_equal(st.log.marked, 1);
	assert_int_equal(st.log.batches, 1);
	assert_int_equal(st.writes_in_flight, 0);
	rig_free(g);
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

/* A held feed keeps writes of all disks; reads go on, a drain does not wait for the kept ones and nothing starts
 * while it lasts. */
static void hold_and_drain(void **state)
{
	struct rig *g = rig_new(false);
	struct job w, v;
	bool drained = false;

	(void)state;
	attach(g);
	feed_hold(taps_feed(g->taps));
	(void)barrier(g);
	put(g, &w, 1, REQ_WRITE, 0, 4096);
	put(g, &v, 1, REQ_WRITE, 0, 4096);	/* waits for w */
	assert_int_equal(act(g, 1, REQ_READ, 0, 4096), 0);
	assert_int_equal(qdisk_in_flight(g->qd[1]), 2);
	queue_drain(g->qd[1], set_true, &drained);
	assert_true(drained);
	feed_release(taps_feed(g->taps));
	loop_once(g->loop, 10);
	assert_false(w.over);
	queue_resume(g->qd[1]);
	wait_for(g, &w);
	wait_for(g, &v);
	assert_int_equal(w.res | v.res, 0);
	rig_free(g);
}

static void dirty_view(void **state)
{
	struct rig *g = rig_new(false);
	struct taps_view view = { .t = g->taps, .disk = 0, .consumer = "test" }, other = view;
	uint64_t len = BYTES;
	struct err e = ERR_INIT;

	(void)state;
	attach(g);
	other.consumer = "nobody";
	assert_int_equal(act(g, 0, REQ_WRITE, 2 * GRAIN, 4096), 0);
	assert_false(taps_dirty(&view, 0, &len));
	assert_int_equal(len, 2 * GRAIN);
	len = BYTES - 2 * GRAIN - 512;
	assert_true(taps_dirty(&view, 2 * GRAIN + 512, &len));
	assert_int_equal(len, GRAIN - 512);
	len = BYTES;
	assert_true(taps_dirty(&other, 0, &len));
	assert_int_equal(len, BYTES);
	assert_int_equal(feed_ack(g->c, barrier(g).position, &e), 0);
	assert_false(taps_dirty(&view, 0, &len));
	assert_int_equal(len, BYTES);
	rig_free(g);
}

/* A disk that went is not heard of; the others are. */
static void dropped(void **state)
{
	struct rig *g = rig_new(false);

	(void)state;
	attach(g);
	(void)barrier(g);
	assert_int_equal(taps_number(g->taps, g->qd[0]), 0);
	assert_true(taps_bytes_max(g->taps, g->qd[0]) >= BYTES);
	taps_drop(g->taps, g->qd[0]);
	assert_int_equal(taps_number(g->taps, g->qd[0]), -1);
	assert_int_equal(act(g, 0, REQ_WRITE, 0, 4096), 0);
	assert_int_equal(act(g, 1, REQ_WRITE, 0, 4096), 0);
	expect(g, 1, 0, 0, 4096);
	expect_nothing(g);
	rig_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_is_told), cmocka_unit_test(failures), cmocka_unit_test(the_log_wakes),
		cmocka_unit_test(hold_and_drain), cmocka_unit_test(dirty_view), cmocka_unit_test(dropped),
	};

	return check_main(tests);
}

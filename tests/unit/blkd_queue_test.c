/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue over a raw disk in memory whose transfers can be held and made to
 * fail, and over a file by io_uring with memory that O_DIRECT does not take.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "blkd/queue.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { BYTES = 1 << 20, LOG_MAX = 64, WAIT_MS = 5000 };

struct mem {				/* the blob */
	uint8_t p[BYTES];
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool hold;			/* writes and flushes wait */
	atomic_int fail_write, fail_flush;	/* -errno of the next ones, 0: none */
	atomic_uint writes, flushes;
};

struct rig {
	struct loop *loop;
	struct queue *q;
	struct disk *disk;
	struct qdisk *qd;
	struct mem *m;
	unsigned pending;
	/* The tap's log: 'b' and 'a' with the offset in sectors. */
	struct { char what; unsigned sector; int res; bool touched; } log[LOG_MAX];
	unsigned n_log;
	int tap_says;
	enum queue_on_error on_error;
	unsigned errors_asked;
	bool drained;
};

struct job {
	struct req r;
	struct iovec iov[2];
	struct rig *g;
	int res;
	bool over;
};

static void wait_held(struct mem *m)
{
	pthread_mutex_lock(&m->lock);
	while (m->hold)
		pthread_cond_wait(&m->moved, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

static void set_hold(struct mem *m, bool on)
{
	pthread_mutex_lock(&m->lock);
	m->hold = on;
	pthread_cond_broadcast(&m->moved);
	pthread_mutex_unlock(&m->lock);
}

static int mem_read(void *arg, uint64_t off, void *p, size_t n)
{
	memcpy(p, ((struct mem *)arg)->p + off, n);
	return 0;
}

static int mem_write(void *arg, uint64_t off, const void *p, size_t n)
{
	struct mem *m = arg;

	wait_held(m);
	atomic_fetch_add(&m->writes, 1);
	if (m->fail_write)
		return m->fail_write;
	memcpy(m->p + off, p, n);
	return 0;
}

static int mem_flush(void *arg)
{
	struct mem *m = arg;

	wait_held(m);
	atomic_fetch_add(&m->flushes, 1);
	return m->fail_flush;
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

/* ---- the rig ---------------------------------------------------------------------------------------- */

static enum queue_on_error on_error(void *arg, const struct req *r, int res)
{
	struct rig *g = arg;

	(void)r, (void)res;
	g->errors_asked++;
	return g->on_error;
}

static void note(struct rig *g, char what, const struct req *r, int res)
{
	assert_true(g->n_log < LOG_MAX);
	g->log[g->n_log].what = what;
	g->log[g->n_log].sector = (unsigned)(r->off / DISK_SECTOR);
	g->log[g->n_log].touched = r->touched;
	g->log[g->n_log++].res = res;
}

static int tap_before(void *arg, const struct req *r)
{
	struct rig *g = arg;

	note(g, 'b', r, g->tap_says);
	return g->tap_says;
}

static void tap_after(void *arg, const struct req *r, int res)
{
	note(arg, 'a', r, res);
}

static struct tap tap = { .before = tap_before, .after = tap_after };

static void open_with(struct rig *g, struct blob *b)
{
	struct disk_part part = { .format = disk_format("raw"), .blob = b };
	struct qdisk_setup setup = { .on_error = on_error, .arg = g };
	struct err e = ERR_INIT;

	if (loop_new(&g->loop, &e) < 0 || queue_new(g->loop, &g->q, &e) < 0)
		fail_msg("%s", e.detail);
	if (disk_open(&part, 1, false, &g->disk, &e) < 0)
		fail_msg("%s", e.detail);
	g->qd = queue_add(g->q, g->disk, &setup);
}

static void rig_init(struct rig *g)
{
	memset(g, 0, sizeof(*g));
	g->m = mem_alloc(sizeof(*g->m));
	pthread_mutex_init(&g->m->lock, NULL);
	pthread_cond_init(&g->m->moved, NULL);
	open_with(g, blob_new(&mem_ops, g->m, "memory", BYTES, -1, 1, false));
}

static void rig_fini(struct rig *g)
{
	queue_remove(g->qd);
	disk_close(g->disk);
	queue_free(g->q);
	loop_free(g->loop);
}

static void done(struct req *r, int res)
{
	struct job *j = (struct job *)(void *)r;

	assert_false(j->over);
	j->over = true;
	j->res = res;
	j->g->pending--;
}

static void put(struct rig *g, struct job *j, enum req_op op, uint64_t off, void *p, size_t n)
{
	memset(j, 0, sizeof(*j));
	j->g = g;
	j->iov[0] = (struct iovec){ p, n };
	j->r = (struct req){ .op = op, .disk = g->qd, .off = off, .len = n, .iov = j->iov, .n_iov = 1, .done = done };
	g->pending++;
	queue_submit(g->q, &j->r);
	queue_kick(g->q);
}

static void settle(struct rig *g)
{
	for (int i = 0; i < 1000 && g->pending; i++)
		loop_once(g->loop, WAIT_MS);
	assert_int_equal(g->pending, 0);
}

static int run(struct rig *g, enum req_op op, uint64_t off, void *p, size_t n)
{
	struct job j;

	put(g, &j, op, off, p, n);
	settle(g);
	return j.res;
}

/* ---- cases ------------------------------------------------------------------------------------------ */

static void what_is_refused(void **state)
{
	static uint8_t p[1024];
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_int_equal(run(&g, REQ_READ, BYTES, p, 512), -EINVAL);
	assert_int_equal(run(&g, REQ_WRITE, BYTES - 512, p, 1024), -ENOSPC);
	assert_int_equal(run(&g, REQ_WRITE, UINT64_MAX - 511, p, 1024), -ENOSPC);
	assert_int_equal(run(&g, REQ_READ, 100, p, 512), -EINVAL);
	assert_int_equal(run(&g, REQ_READ, 0, p, 100), -EINVAL);
	assert_int_equal(run(&g, REQ_READ, 0, p, 0), -EINVAL);
	assert_int_equal(g.m->writes, 0);
	rig_fini(&g);
}

static void bytes_go_round(void **state)
{
	uint8_t in[4096], out[4096];
	struct rig g;

	(void)state;
	rig_init(&g);
	memset(in, 0x77, sizeof(in));
	assert_int_equal(run(&g, REQ_WRITE, 8192, in, sizeof(in)), 0);
	assert_int_equal(run(&g, REQ_READ, 8192, out, sizeof(out)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(run(&g, REQ_ZERO, 8192 + 512, NULL, 1024), 0);
	assert_int_equal(run(&g, REQ_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(g.m->flushes, 1);
	assert_int_equal(g.m->p[8192 + 511], 0x77);
	assert_int_equal(g.m->p[8192 + 512], 0);
	assert_int_equal(g.m->p[8192 + 1536], 0x77);
	rig_fini(&g);
}

static void overlapping_writes_wait(void **state)
{
	uint8_t a[1024], b[1024], c[1024];
	struct job ja, jb, jc;
	struct rig g;

	(void)state;
	rig_init(&g);
	memset(a, 1, sizeof(a));
	memset(b, 2, sizeof(b));
	memset(c, 3, sizeof(c));
	tap.arg = &g;
	qdisk_set_tap(g.qd, &tap);
	set_hold(g.m, true);
	put(&g, &ja, REQ_WRITE, 0, a, sizeof(a));
	put(&g, &jb, REQ_WRITE, 512, b, sizeof(b));
	put(&g, &jc, REQ_WRITE, 8192, c, sizeof(c));
	assert_int_equal(g.n_log, 2);		/* b has not even been asked for */
	assert_int_equal(g.log[1].sector, 16);
	set_hold(g.m, false);
	settle(&g);
	assert_int_equal(g.n_log, 6);
	assert_int_equal(g.log[2].what, 'a');
	assert_int_equal(g.log[2].sector, 0);
	assert_int_equal(g.log[5].what, 'a');
	assert_int_equal(g.log[5].sector, 1);	/* after c: it came last to the disk */
	assert_int_equal(g.m->p[511], 1);
	assert_int_equal(g.m->p[512], 2);
	rig_fini(&g);
}

static void kept_writes_go_when_asked_again(void **state)
{
	uint8_t a[512] = { 1 };
	struct job j, k;
	struct rig g;

	(void)state;
	rig_init(&g);
	tap.arg = &g;
	qdisk_set_tap(g.qd, &tap);
	g.tap_says = 1;
	put(&g, &j, REQ_WRITE, 0, a, sizeof(a));
	put(&g, &k, REQ_WRITE, 4096, a, sizeof(a));
	queue_ask_again(g.qd);			/* still no */
	assert_int_equal(g.n_log, 4);
	assert_int_equal(g.m->writes, 0);
	g.tap_says = 0;
	queue_ask_again(g.qd);
	settle(&g);
	assert_int_equal(j.res | k.res, 0);
	assert_int_equal(g.m->writes, 2);
	assert_int_equal(g.n_log, 8);
	assert_int_equal(g.log[6].what, 'a');
	assert_true(g.log[6].touched);
	g.tap_says = -EIO;			/* its log cannot be written: nothing reaches the disk */
	assert_int_equal(run(&g, REQ_WRITE, 0, a, sizeof(a)), -EIO);
	assert_int_equal(g.m->writes, 2);
	assert_int_equal(g.n_log, 9);		/* and no after() */
	rig_fini(&g);
}

static void errors_are_reported(void **state)
{
	uint8_t a[512] = { 1 };
	struct rig g;

	(void)state;
	rig_init(&g);
	tap.arg = &g;
	qdisk_set_tap(g.qd, &tap);
	g.m->fail_write = -ENOSPC;
	assert_int_equal(run(&g, REQ_WRITE, 0, a, sizeof(a)), -ENOSPC);
	assert_int_equal(g.errors_asked, 1);
	assert_int_equal(g.log[1].res, -ENOSPC);
	assert_true(g.log[1].touched);
	g.m->fail_write = 0;
	assert_int_equal(run(&g, REQ_WRITE, 0, a, sizeof(a)), 0);
	rig_fini(&g);
}

static void errors_pause(void **state)
{
	uint8_t a[512] = { 1 }, b[512] = { 2 };
	struct job j, k;
	struct rig g;

	(void)state;
	rig_init(&g);
	g.on_error = QUEUE_PAUSE;
	g.m->fail_write = -ENOSPC;
	put(&g, &j, REQ_WRITE, 0, a, sizeof(a));
	for (int i = 0; i < 100 && !qdisk_paused(g.qd); i++)
		loop_once(g.loop, WAIT_MS);
	assert_true(qdisk_paused(g.qd));
	put(&g, &k, REQ_WRITE, 0, b, sizeof(b));	/* held */
	g.m->fail_write = 0;
	assert_false(j.over || k.over);
	queue_resume(g.qd);
	settle(&g);
	assert_int_equal(j.res | k.res, 0);
	assert_int_equal(g.m->p[0], 2);		/* in order, nothing lost */
	rig_fini(&g);
}

static void a_failed_flush_is_for_good(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	g.on_error = QUEUE_PAUSE;
	g.m->fail_flush = -EIO;
	assert_int_equal(run(&g, REQ_FLUSH, 0, NULL, 0), -EIO);
	g.m->fail_flush = 0;
	assert_int_equal(run(&g, REQ_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(g.errors_asked, 0);
	rig_fini(&g);
}

static void flushes_share(void **state)
{
	struct job j[20];
	struct rig g;

	(void)state;
	rig_init(&g);
	set_hold(g.m, true);
	for (unsigned i = 0; i < ARRAY_LEN(j); i++)
		put(&g, &j[i], REQ_FLUSH, 0, NULL, 0);
	set_hold(g.m, false);
	settle(&g);
	assert_int_equal(g.m->flushes, 2);	/* the first, and one for all that came meanwhile */
	rig_fini(&g);
}

static void on_drained(void *arg)
{
	((struct rig *)arg)->drained = true;
}

static void drain_holds_new_ones(void **state)
{
	uint8_t a[512] = { 1 };
	struct job j, k;
	struct rig g;

	(void)state;
	rig_init(&g);
	set_hold(g.m, true);
	put(&g, &j, REQ_WRITE, 0, a, sizeof(a));
	queue_drain(g.qd, on_drained, &g);
	put(&g, &k, REQ_WRITE, 512, a, sizeof(a));
	assert_false(g.drained);
	set_hold(g.m, false);
	for (int i = 0; i < 100 && !g.drained; i++)
		loop_once(g.loop, WAIT_MS);
	assert_true(g.drained);
	assert_true(j.over);
	assert_false(k.over);
	assert_int_equal(qdisk_in_flight(g.qd), 0);
	queue_resume(g.qd);
	settle(&g);
	assert_int_equal(k.res, 0);
	rig_fini(&g);
}

static void limits_hold_back(void **state)
{
	uint8_t a[512];
	struct job j[20];
	struct qdisk_stats s;
	struct rig g;

	(void)state;
	rig_init(&g);
	qdisk_set_limits(g.qd, &(struct throttle_limits){ .iops = 200, .burst_ms = 10 });
	for (unsigned i = 0; i < ARRAY_LEN(j); i++)
		put(&g, &j[i], REQ_READ, 0, a, sizeof(a));
	settle(&g);
	qdisk_stats(g.qd, &s);
	assert_true(s.throttled >= 10);
	assert_int_equal(s.ops[REQ_READ], 20);
	rig_fini(&g);
}

/* O_DIRECT takes neither this memory nor these lengths as they are; neighbours must stay. */
static void file_with_odd_memory(void **state)
{
	static uint8_t in[70000], out[70000], whole[BYTES], model[BYTES];
	uint64_t seed = 5;
	struct blob *b;
	struct rig g = { 0 };
	struct tmp t;
	struct err e = ERR_INIT;
	int fd;

	(void)state;
	tmp_init(&t);
	fd = open(tmp_path(&t, "disk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	if (blob_from_fd(fd, "disk", true, false, &b, &e) < 0)
		fail_msg("%s", e.detail);
	open_with(&g, b);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t off, n;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		off = (seed >> 33) % (BYTES / 512 - 128) * 512;
		n = ((seed >> 20) % 128 + 1) * 512;
		memset(in, (int)i, sizeof(in));
		assert_int_equal(run(&g, REQ_WRITE, off, in + 3, n), 0);
		memset(model + off, (int)i, n);
		assert_int_equal(run(&g, REQ_READ, off, out + 5, n), 0);
		assert_memory_equal(out + 5, in + 3, n);
	}
	assert_int_equal(run(&g, REQ_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(run(&g, REQ_READ, 0, whole, BYTES), 0);
	assert_memory_equal(whole, model, BYTES);
	rig_fini(&g);
	tmp_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(bytes_go_round),
		cmocka_unit_test(overlapping_writes_wait),
		cmocka_unit_test(kept_writes_go_when_asked_again),
		cmocka_unit_test(errors_are_reported),
		cmocka_unit_test(errors_pause),
		cmocka_unit_test(a_failed_flush_is_for_good),
		cmocka_unit_test(flushes_share),
		cmocka_unit_test(drain_holds_new_ones),
		cmocka_unit_test(limits_hold_back),
		cmocka_unit_test(file_with_odd_memory),
	};

	return check_main(tests);
}

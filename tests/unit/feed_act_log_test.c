/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The activity log on a file that loses power: whatever is cut, what is
 * marked afterwards is a superset of what was written and not acknowledged,
 * and not much more.  FEED_SEED and FEED_CUTS repeat or lengthen a run.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "feed/act_log.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

/* ---- a file in memory that loses power ---- */

enum { FILE_BYTES = 64 << 10, PENDING_MAX = 256, SECTOR = 512 };

struct pending { uint64_t off; size_t n; uint8_t data[ACT_LOG_BLOCK_BYTES]; };

struct medium {
	uint8_t stable[FILE_BYTES], cache[FILE_BYTES];
	struct pending pending[PENDING_MAX];
	unsigned n_pending;
	int ops_left;			/* -1: no cut planned; at 0 everything fails */
	unsigned flushes, writes;
	uint64_t seed;
};

static uint64_t random_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static bool gone(struct medium *m)
{
	if (m->ops_left > 0)
		m->ops_left--;
	return m->ops_left == 0;
}

static int m_read(void *arg, uint64_t off, void *p, size_t n)
{
	struct medium *m = arg;

	assert_true(off + n <= FILE_BYTES);
	if (gone(m))
		return -ENODEV;
	memcpy(p, m->cache + off, n);
	return 0;
}

static int m_write(void *arg, uint64_t off, const void *p, size_t n)
{
	struct medium *m = arg;
	struct pending *w;

	assert_true(off + n <= FILE_BYTES && n <= ACT_LOG_BLOCK_BYTES && m->n_pending < PENDING_MAX);
	/* The write in which the power goes may have reached the disk in part. */
	w = &m->pending[m->n_pending++];
	w->off = off;
	w->n = n;
	memcpy(w->data, p, n);
	memcpy(m->cache + off, p, n);
	m->writes++;
	return gone(m) ? -EIO : 0;
}

static int m_flush(void *arg)
{
	struct medium *m = arg;

	if (gone(m))
		return -EIO;
	memcpy(m->stable, m->cache, FILE_BYTES);
	m->n_pending = 0;
	m->flushes++;
	return 0;
}

static int m_set_bytes(void *arg, uint64_t bytes)
{
	assert_true(bytes <= FILE_BYTES);
	return gone(arg) ? -EIO : 0;
}

static const struct blob_ops medium_ops = {
	.read = m_read, .write = m_write, .flush = m_flush, .set_bytes = m_set_bytes,
};

/* 0: old, 1: new, 2: neither, as a sector that was being written. */
static void cut_sector(struct medium *m, const struct pending *w, size_t at, unsigned how)
{
	if (how == 1)
		memcpy(m->stable + w->off + at, w->data + at, SECTOR);
	else if (how == 2)
		memset(m->stable + w->off + at, 0xdb, SECTOR);
}

/* What was not flushed is there, missing, or there in some of its sectors; later writes do not imply earlier ones. */
static void power_cut(struct medium *m)
{
	for (unsigned i = 0; i < m->n_pending; i++) {
		const struct pending *w = &m->pending[i];
		unsigned how = (unsigned)(random_next(&m->seed) % 3);

		for (size_t at = 0; how && at < w->n; at += SECTOR)
			cut_sector(m, w, at, how == 1 ? 1 : (unsigned)(random_next(&m->seed) % 3));
	}
	memcpy(m->cache, m->stable, FILE_BYTES);
	m->n_pending = 0;
	m->ops_left = -1;
}

/* ---- the log on it, and the truth ---- */

enum { N_DISKS = 2, EXTENTS = 40000, SHIFT = ACT_LOG_EXTENT_SHIFT,
       LIFE_STEPS = 1500, LIFE_EXTENTS = LIFE_STEPS * 4 };
#define EXTENT_BYTES (1ull << SHIFT)

static const struct act_log_disk disks[N_DISKS] = {
	{ .key = "xvda", .bytes = EXTENTS * EXTENT_BYTES - 12345 }, { .key = "xvdb", .bytes = 10 * EXTENT_BYTES },
};

static _Atomic unsigned wakes;

static void on_wake(void *arg)
{
	(void)arg;
	atomic_fetch_add(&wakes, 1);
}

static int open_on(struct medium *m, struct act_log **out, struct act_log_found *found)
{
	struct act_log_cfg cfg = { .ops = &medium_ops, .io = m, .disks = disks, .n_disks = N_DISKS, .wake = on_wake,
				   .no_thread = true };
	struct err e = ERR_INIT;

	return act_log_open(&cfg, out, found, &e);
}

static unsigned count_marked(struct act_log *l, unsigned disk)
{
	uint64_t off, bytes;
	unsigned n = 0;

	for (off = 0; act_log_next(l, disk, off, &off, &bytes); off += bytes)
		n++;
	return n;
}

static bool is_marked(struct act_log *l, unsigned disk, uint64_t ext)
{
	uint64_t off, bytes;

	return act_log_next(l, disk, ext << SHIFT, &off, &bytes) && off == ext << SHIFT;
}

struct truth {
	uint64_t written[EXTENTS];	/* position of the last write that was let through */
	uint64_t position;
	uint64_t cut_position;		/* of the last cut, and its interval; 0: none in this life */
	uint32_t cut_interval;
	uint64_t floor;			/* last acknowledged */
};

static void try_write(struct act_log *l, struct truth *t, uint64_t ext, unsigned n)
{
	enum act_log_answer a = act_log_before(l, 0, (ext << SHIFT) + 4096, ((uint64_t)n - 1) * EXTENT_BYTES + 512);

	if (a != ACT_LOG_GO)
		return;
	t->position++;
	for (unsigned i = 0; i < n; i++)
		t->written[ext + i] = t->position;
}

/* One step of a life: mostly writes around a moving place, batches, now and then a barrier or an acknowledgement. */
static void live_step(struct act_log *l, struct truth *t, uint64_t *seed)
{
	unsigned what = (unsigned)(random_next(seed) % 128);
	uint64_t ext = random_next(seed) % 40;

	if (random_next(seed) % 4)
		ext += t->position * 3 % (EXTENTS - 128);

	if (what < 80) {
		try_write(l, t, ext, 1 + (unsigned)(random_next(seed) % 4));
	} else if (what < 125) {
		act_log_step(l);
	} else if (what == 125) {
		t->cut_interval = act_log_cut(l);
		t->cut_position = t->position;
	} else if (t->cut_interval) {
		t->floor = t->cut_position;
		act_log_acked(l, t->cut_interval, t->floor);
	}
}

static void check_superset(struct act_log *l, const struct truth *t, const struct act_log_found *found, uint64_t seed)
{
	unsigned needed = 0, marked = count_marked(l, 0);

	if (found->floor > t->floor)
		fail_msg("seed %llu: floor %llu, acknowledged %llu", (unsigned long long)seed,
			 (unsigned long long)found->floor, (unsigned long long)t->floor);
	for (uint64_t x = 0; x < EXTENTS; x++) {
		needed += t->written[x] > found->floor;
		if (t->written[x] > found->floor && !is_marked(l, 0, x))
			fail_msg("seed %llu: extent %llu, written at %llu (floor %llu), is not marked",
				 (unsigned long long)seed, (unsigned long long)x, (unsigned long long)t->written[x],
				 (unsigned long long)found->floor);
	}
	/* Idle ones, and those of the life before that waited or were just forgotten in memory. */
	if (marked > needed + ACT_LOG_IDLE_MAX + LIFE_EXTENTS)
		fail_msg("seed %llu: %u marked, %u needed", (unsigned long long)seed, marked, needed);
	assert_int_equal(count_marked(l, 1), 0);
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void cuts_never_lose(void **state)
{
	uint64_t seed = from_env("FEED_SEED", 20261124), cuts = from_env("FEED_CUTS", 3000), s = seed;
	struct medium *m = calloc(1, sizeof(*m));
	struct truth *t = calloc(1, sizeof(*t));
	unsigned opens = 0, kills = 0;

	(void)state;
	m->ops_left = -1;
	m->seed = seed;
	for (uint64_t i = 0; i < cuts; i++) {
		struct act_log *l = NULL;
		struct act_log_found found;

		/* Half of the cuts come while it opens. */
		m->ops_left = 1 + (int)(random_next(&s) % (random_next(&s) % 2 ? 14 : 1000));
		if (open_on(m, &l, &found) == 0) {
			if (found.fresh != (opens == 0))
				fail_msg("seed %llu: fresh at open %u", (unsigned long long)seed, opens);
			opens++;
			check_superset(l, t, &found, seed);
			t->cut_interval = 0;
			for (unsigned k = 0; k < LIFE_STEPS && m->ops_left; k++)
				live_step(l, t, &s);
			act_log_close(l);
		}
		if (random_next(&s) % 4 == 0) {		/* SIGKILL: the cache stays, unflushed */
			kills++;
			m->ops_left = -1;
		} else {
			power_cut(m);
		}
	}
	printf("act_log: seed %llu, %llu cuts (%u of them SIGKILL), %u opens, %llu writes let through\n",
	       (unsigned long long)seed, (unsigned long long)cuts, kills, opens, (unsigned long long)t->position);
	assert_true(opens > cuts / 4 && t->position > cuts);
	free(t);
	free(m);
}

/* ---- single properties ---- */

static struct medium *medium_new(void)
{
	struct medium *m = calloc(1, sizeof(*m));

	m->ops_left = -1;
	m->seed = 7;
	return m;
}

static struct act_log *open_ok(struct medium *m, struct act_log_found *found)
{
	struct act_log *l = NULL;

	assert_int_equal(open_on(m, &l, found), 0);
	return l;
}

static void hot_costs_nothing(void **state)
{
	struct medium *m = medium_new();
	struct act_log_found found;
	struct act_log *l = open_ok(m, &found);
	unsigned flushes = m->flushes, writes;

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(act_log_before(l, 0, i * EXTENT_BYTES, 4096), ACT_LOG_WAIT);
	assert_true(act_log_step(l));
	assert_int_equal(m->flushes, flushes + 1);	/* fifty extents, one block, one flush */
	writes = m->writes;
	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < 50; i++)
			assert_int_equal(act_log_before(l, 0, i * EXTENT_BYTES, 4096), ACT_LOG_GO);
		act_log_acked(l, act_log_cut(l), round);
		assert_false(act_log_step(l));
	}
	assert_int_equal(m->writes, writes);
	act_log_close(l);
	free(m);
}

static void idle_extents_go(void **state)
{
	struct medium *m = medium_new();
	struct act_log_found found;
	struct act_log *l = open_ok(m, &found);

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		(void)act_log_before(l, 0, i * EXTENT_BYTES, 4096);
	assert_true(act_log_step(l));
	assert_int_equal(count_marked(l, 0), 1000);
	(void)act_log_cut(l);
	assert_int_equal(act_log_before(l, 0, 0, 512), ACT_LOG_GO);	/* the oldest is in use again */
	act_log_acked(l, act_log_cut(l) - 1, 77);
	assert_int_equal(count_marked(l, 0), ACT_LOG_IDLE_MAX);
	assert_true(is_marked(l, 0, 0) && is_marked(l, 0, 999) && !is_marked(l, 0, 1));
	assert_true(act_log_step(l));
	act_log_close(l);
	l = open_ok(m, &found);
	assert_int_equal(count_marked(l, 0), ACT_LOG_IDLE_MAX);
	assert_int_equal(found.floor, 77);
	act_log_close(l);
	free(m);
}

static void names_and_disks(void **state)
{
	static const char names[2][ACT_LOG_NAME_BYTES] = { "mirror", "replica-hv2" };
	struct act_log_disk other[N_DISKS] = { disks[0], disks[1] };
	struct act_log_cfg cfg = { .ops = &medium_ops, .disks = other, .n_disks = N_DISKS, .wake = on_wake,
				   .no_thread = true };
	struct medium *m = medium_new();
	struct act_log_found found, again;
	struct act_log *l = open_ok(m, &found);
	struct err e = ERR_INIT;

	(void)state;
	assert_true(found.fresh && found.incarnation == 1);
	assert_int_equal(act_log_set_consumers(l, names, 2, &e), 0);
	act_log_close(l);
	l = open_ok(m, &again);
	assert_true(!again.fresh && again.incarnation == 2 && again.feed_id == found.feed_id);
	assert_int_equal(again.n_consumers, 2);
	assert_string_equal(again.consumers[1], "replica-hv2");
	act_log_close(l);
	snprintf(other[1].key, sizeof(other[1].key), "xvdc");
	cfg.io = m;
	assert_int_equal(act_log_open(&cfg, &l, &again, &e), 0);
	assert_true(again.fresh && again.feed_id != found.feed_id && again.n_consumers == 0);
	act_log_close(l);
	free(m);
}

/* A block of which no copy is whole: all of its extents are to be compared, and it works again afterwards. */
static void damaged_block(void **state)
{
	struct medium *m = medium_new();
	struct act_log_found found;
	struct act_log *l = open_ok(m, &found);
	unsigned blocks = 3;

	(void)state;
	act_log_close(l);
	for (unsigned copy = 0; copy < 2; copy++)
		memset(m->cache + (2 + copy * blocks) * ACT_LOG_BLOCK_BYTES + 100, 0xee, 50);
	l = open_ok(m, &found);
	assert_false(found.fresh);
	assert_int_equal(count_marked(l, 0), ACT_LOG_BLOCK_BITS);
	act_log_acked(l, act_log_cut(l), 5);
	assert_true(act_log_step(l));
	act_log_close(l);
	l = open_ok(m, &found);
	assert_int_equal(count_marked(l, 0), ACT_LOG_IDLE_MAX);
	act_log_close(l);
	free(m);
}

/* Killed with an unflushed head in the cache, then the power goes while the next life writes its own: what the first
 * left must not be taken for durable and the durable one overwritten. */
static void killed_then_cut(void **state)
{
	struct medium *m = medium_new();
	struct act_log_found found;
	struct act_log *l = open_ok(m, &found);
	int cost = 1000;

	(void)state;
	act_log_close(l);
	m->ops_left = cost;
	act_log_close(open_ok(m, &found));
	cost -= m->ops_left;
	for (unsigned i = 0; i < 200; i++) {
		m->ops_left = cost;			/* fails in the last flush */
		assert_int_equal(open_on(m, &l, &found), -1);
		m->ops_left = cost;
		assert_int_equal(open_on(m, &l, &found), -1);
		power_cut(m);
		l = open_ok(m, &found);
		assert_false(found.fresh);
		act_log_close(l);
	}
	free(m);
}

static void failing_file_fails_writes(void **state)
{
	struct medium *m = medium_new();
	struct act_log_found found;
	struct act_log_stats st;
	struct act_log *l = open_ok(m, &found);

	(void)state;
	assert_int_equal(act_log_before(l, 0, 0, 512), ACT_LOG_WAIT);
	m->ops_left = 1;
	assert_true(act_log_step(l));
	assert_int_equal(act_log_before(l, 0, 0, 512), ACT_LOG_FAILED);
	m->ops_left = -1;
	while (act_log_before(l, 0, 0, 512) == ACT_LOG_FAILED)
		(void)poll(NULL, 0, 20);
	assert_true(act_log_step(l));
	assert_int_equal(act_log_before(l, 0, 0, 512), ACT_LOG_GO);
	act_log_get_stats(l, &st);
	assert_int_equal(st.failures, 1);
	act_log_close(l);
	free(m);
}

static void real_file_and_thread(void **state)
{
	struct tmp t;
	struct act_log_cfg cfg = { .ops = &act_log_file_ops, .disks = disks, .n_disks = N_DISKS, .wake = on_wake };
	struct act_log_found found;
	struct act_log *l = NULL;
	struct err e = ERR_INIT;
	int fd;

	(void)state;
	tmp_init(&t);
	fd = open(tmp_path(&t, "log"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cfg.io = (void *)(intptr_t)fd;
	for (unsigned life = 0; life < 3; life++) {
		assert_int_equal(act_log_open(&cfg, &l, &found, &e), 0);
		assert_int_equal(found.fresh, life == 0);
		atomic_store(&wakes, 0);
		while (act_log_before(l, 1, (3 + life) * EXTENT_BYTES, 1) == ACT_LOG_WAIT)
			(void)poll(NULL, 0, 1);
		assert_int_equal(count_marked(l, 1), life + 1);
		act_log_close(l);
		assert_true(atomic_load(&wakes) > 0);
	}
	close(fd);
	tmp_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hot_costs_nothing), cmocka_unit_test(idle_extents_go),
		cmocka_unit_test(names_and_disks), cmocka_unit_test(damaged_block),
		cmocka_unit_test(killed_then_cut), cmocka_unit_test(failing_file_fails_writes),
		cmocka_unit_test(real_file_and_thread),
		cmocka_unit_test(cuts_never_lose),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New blocks of a VHD: what they cost, what is left of the file when there is
 * no room or no power, and thousands of power cuts at any call to the medium.
 */
#include "tests/unit/check.h"

#include <stdio.h>

#include "tests/unit/vhd_rig.h"

enum { DISK = 4 << 20, SECTORS = DISK / VHD_SECTOR, CUTS = 600 };

static int put_up(void **state)
{
	*state = mem_alloc(sizeof(struct rig));
	rig_init(*state);
	return 0;
}

static int tear_down(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static bool coin(void *arg)
{
	return next_random(arg) >> 40 & 1;
}

/* Blocks are prepared several at a time: one flush for all of them, and 4 KiB aligned data. */
static void test_cost(void **state)
{
	struct rig *k = *state;
	struct layer_run run;
	struct layer l;
	unsigned flushes;

	rig_create(k, "dynamic", 32 << 20, RIG_BLOCK);
	l = rig_open(k);
	flushes = k->flushes;
	for (uint64_t off = 0; off < 32 << 20; off += RIG_BLOCK) {
		assert_int_equal(l.ops->alloc(l.l, off, 512), 0);
		l.ops->map(l.l, off, 512, true, &run);
		assert_int_equal(run.where, LAYER_DATA);
		assert_int_equal(run.off % VHD_DATA_ALIGN, 0);
	}
	assert_true(k->flushes - flushes <= 12);
	assert_int_equal(k->bytes, 8192 + 64 * (RIG_BLOCK + 4096) - 4096 + 512);
	l.ops->close(l.l);
}

/* What was prepared and not used is cut off at close, and after a crash before new blocks come. */
static void test_trim(void **state)
{
	static const uint8_t junk[512] = "junk";
	struct rig *k = *state;
	struct err e = ERR_INIT;
	uint8_t back[512];
	struct layer l;

	rig_create(k, "dynamic", 32 << 20, RIG_BLOCK);
	l = rig_open(k);
	for (uint64_t b = 0; b < 5; b++)
		assert_int_equal(l.ops->alloc(l.l, b * RIG_BLOCK, 512), 0);
	assert_true(k->bytes > 8192 + 5 * (RIG_BLOCK + 4096) - 4096 + 512);
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
	l.ops->close(l.l);
	assert_int_equal(k->bytes, 8192 + 5 * (RIG_BLOCK + 4096) - 4096 + 512);
	assert_memory_equal(k->now, k->now + k->bytes - 512, 512);
	/* A longer file than the table needs, with something in it. */
	assert_int_equal(blob_set_bytes(k->b, k->bytes + RIG_BLOCK), 0);
	rig_poke(k, k->bytes - 512, k->now, 512);
	for (uint64_t at = k->bytes - RIG_BLOCK - 512; at < k->bytes - 512; at += 512)
		rig_poke(k, at, junk, sizeof(junk));
	l = rig_open(k);
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 1);
	assert_int_equal(l.ops->alloc(l.l, 20 * RIG_BLOCK, 512), 0);
	for (uint64_t at = 0; at < RIG_BLOCK; at += 512) {
		assert_int_equal(rig_get(k, &l, 20 * RIG_BLOCK + at, back, 512, 0), 0);
		assert_int_equal(back[0], 0);
	}
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
	l.ops->close(l.l);
}

static void test_no_room(void **state)
{
	struct rig *k = *state;
	struct err e = ERR_INIT;
	uint8_t byte[512] = { 1 };
	struct layer l;
	uint64_t got = 0;

	rig_create(k, "dynamic", 32 << 20, RIG_BLOCK);
	k->bytes_max = 8192 + 6 * (RIG_BLOCK + 4096);
	l = rig_open(k);
	while (!rig_put(k, &l, got * RIG_BLOCK, byte, sizeof(byte)))
		got++;
	assert_int_equal(got, 6);
	assert_int_equal(l.ops->alloc(l.l, 7 * RIG_BLOCK, 512), -ENOSPC);
	k->bytes_max = RIG_MAX;
	assert_int_equal(rig_put(k, &l, got * RIG_BLOCK, byte, sizeof(byte)), 0);
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
	l.ops->close(l.l);
	l = rig_open(k);
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
	l.ops->close(l.l);
}

/* A table write that failed may have arrived: its block is never given to another place. */
static void test_table_write_fails(void **state)
{
	struct rig *k = *state;
	struct err e = ERR_INIT;
	uint32_t doubt;
	struct layer l;

	rig_create(k, "dynamic", 32 << 20, RIG_BLOCK);
	l = rig_open(k);
	k->fail_write_at = 4096;
	assert_int_equal(l.ops->alloc(l.l, 0, 512), -EIO);
	k->fail_write_at = 0;
	doubt = htobe32((8192 - 512) / 512);
	rig_poke(k, 4096, &doubt, 4);
	assert_int_equal(l.ops->alloc(l.l, 5 * RIG_BLOCK, 512), 0);
	assert_int_equal(l.ops->alloc(l.l, 0, 512), 0);
	rig_poke(k, 4096, &doubt, 4);
	l.ops->close(l.l);
	l = rig_open(k);
	/* Overlapping blocks would not have opened; the block that entry 0 had is left over at the end. */
	assert_int_equal(l.ops->check(l.l, true, NULL, NULL, &e), 0);
	l.ops->close(l.l);
}

/* ---- power cuts ------------------------------------------------------------------------------------ */

struct model {
	uint32_t kept[SECTORS], last[SECTORS];	/* number of the write: the last one flushed, the last one; 0: none */
	uint32_t seq;
	uint64_t seed;
};

static void fill(uint8_t *p, uint32_t sector, uint32_t seq)
{
	for (size_t i = 0; i < VHD_SECTOR; i += 8) {
		memcpy(p + i, &sector, 4);
		memcpy(p + i + 4, &seq, 4);
	}
}

/* Each sector is as one write made it: the last that was flushed, or a later one. */
static void compare(struct rig *k, const struct layer *l, struct model *m, unsigned cut)
{
	AUTO_FREE uint8_t *all = mem_alloc(DISK);
	uint8_t want[VHD_SECTOR];

	assert_int_equal(rig_get(k, l, 0, all, DISK, 0), 0);
	for (uint32_t s = 0; s < SECTORS; s++) {
		const uint8_t *p = all + (size_t)s * VHD_SECTOR;
		uint32_t seq;

		memcpy(&seq, p + 4, 4);
		if (seq)
			fill(want, s, seq);
		else
			memset(want, 0, sizeof(want));
		if (seq < m->kept[s] || seq > m->last[s] || memcmp(p, want, sizeof(want)))
			fail_msg("cut %u: sector %u has write %u; flushed was %u, last %u", cut, s, seq, m->kept[s],
				 m->last[s]);
		m->kept[s] = m->last[s] = seq;
	}
}

static int write_some(struct rig *k, const struct layer *l, struct model *m)
{
	static uint8_t data[64 * VHD_SECTOR];
	uint32_t s = (uint32_t)(next_random(&m->seed) % (SECTORS - 64));
	uint32_t n = 1 + (uint32_t)(next_random(&m->seed) % 64);

	m->seq++;
	for (uint32_t i = 0; i < n; i++) {
		fill(data + (size_t)i * VHD_SECTOR, s + i, m->seq);
		m->last[s + i] = m->seq;
	}
	return rig_put(k, l, (uint64_t)s * VHD_SECTOR, data, (size_t)n * VHD_SECTOR);
}

static void work(struct rig *k, struct layer *l, struct model *m)
{
	for (int i = 0; i < 40 && k->fail_in; i++) {
		if (next_random(&m->seed) % 6 && write_some(k, l, m) == 0)
			continue;
		if (rig_sync(k, l) == 0)
			memcpy(m->kept, m->last, sizeof(m->kept));
	}
}

/* Starts over now and then, so that blocks are missing again. */
static void cuts(struct rig *k, const char *kind)
{
	AUTO_FREE struct model *m = mem_alloc(sizeof(*m));
	struct err e = ERR_INIT;
	struct layer l;

	m->seed = 0x9e3779b97f4a7c15;
	for (unsigned cut = 0; cut < CUTS; cut++) {
		if (cut % 4 == 0) {
			memset(m->kept, 0, sizeof(m->kept));
			memset(m->last, 0, sizeof(m->last));
			rig_blob(k, false);
			assert_int_equal(blob_set_bytes(k->b, 0), 0);
			rig_create(k, kind, DISK, RIG_BLOCK);
		}
		rig_blob(k, false);
		l = rig_open(k);
		compare(k, &l, m, cut);
		assert_int_equal(blob_flush(k->b), 0);
		k->fail_in = 1 + (int)(next_random(&m->seed) % 60);
		work(k, &l, m);
		k->fail_in = 0;
		l.ops->close(l.l);
		rig_cut(k, coin, &m->seed);
		if (cut % 2)
			continue;
		l = rig_open(k);
		compare(k, &l, m, cut);
		assert_true(l.ops->check(l.l, true, NULL, NULL, &e) >= 0);
		assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
		l.ops->close(l.l);
	}
}

static void test_cuts_dynamic(void **state)
{
	cuts(*state, "dynamic");
}

static void test_cuts_differencing(void **state)
{
	cuts(*state, "differencing");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, put_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(test_cost),
		CASE(test_trim),
		CASE(test_no_room),
		CASE(test_table_write_fails),
		CASE(test_cuts_dynamic),
		CASE(test_cuts_differencing),
	};

	return check_main(tests);
}

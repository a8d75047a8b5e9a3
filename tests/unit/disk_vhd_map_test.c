/* SPDX-License-Identifier: Apache-2.0 */
/* Where data of a VHD lies: blocks and gaps, bitmaps of differencing and of foreign dynamic images, sync of them. */
#include "tests/unit/check.h"

#include <stdio.h>

#include "tests/unit/vhd_rig.h"

enum { DISK = 4 << 20, DATA_0 = 8192 };	/* data of the first block of a fresh image with one table sector */

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

static void check_run(const struct layer *l, uint64_t off, uint64_t len, bool for_write, enum layer_where where,
		      uint64_t at, uint64_t bytes)
{
	struct layer_run run;

	l->ops->map(l->l, off, len, for_write, &run);
	if (run.where != where || run.bytes != bytes || (where == LAYER_DATA && run.off != at))
		fail_msg("map %llu+%llu: where %d off %llu bytes %llu", (unsigned long long)off,
			 (unsigned long long)len, run.where, (unsigned long long)run.off,
			 (unsigned long long)run.bytes);
}

static void test_fixed(void **state)
{
	struct rig *k = *state;
	struct layer l;

	rig_create(k, "fixed", DISK, 0);
	l = rig_open(k);
	check_run(&l, 0, DISK, false, LAYER_DATA, 0, DISK);
	check_run(&l, 4096, 512, true, LAYER_DATA, 4096, 512);
	assert_int_equal(l.ops->alloc(l.l, 0, DISK), 0);
	assert_false(l.ops->dirty(l.l));
	assert_int_equal(l.ops->sync(l.l), 0);
	l.ops->close(l.l);
}

static void test_dynamic(void **state)
{
	struct rig *k = *state;
	struct layer_info info;
	struct layer l;

	rig_create(k, "dynamic", DISK, RIG_BLOCK);
	l = rig_open(k);
	check_run(&l, 0, DISK, false, LAYER_ZERO, 0, DISK);
	check_run(&l, 512, DISK - 512, true, LAYER_BELOW, 0, DISK - 512);
	assert_int_equal(l.ops->alloc(l.l, 3 * RIG_BLOCK + 512, 512), 0);
	check_run(&l, 0, DISK, false, LAYER_ZERO, 0, 3 * RIG_BLOCK);
	check_run(&l, 3 * RIG_BLOCK + 1024, DISK - 3 * RIG_BLOCK - 1024, false, LAYER_DATA, DATA_0 + 1024,
		  RIG_BLOCK - 1024);
	check_run(&l, 3 * RIG_BLOCK + 1024, 2048, true, LAYER_DATA, DATA_0 + 1024, 2048);
	check_run(&l, 4 * RIG_BLOCK, DISK - 4 * RIG_BLOCK, false, LAYER_ZERO, 0, DISK - 4 * RIG_BLOCK);
	assert_int_equal(k->now[DATA_0 - 512], 0xff);
	l.ops->written(l.l, 3 * RIG_BLOCK, 512);
	assert_false(l.ops->dirty(l.l));
	l.ops->info(l.l, &info);
	assert_int_equal(info.used_bytes, RIG_BLOCK);
	l.ops->close(l.l);
}

/* Sectors are the parent's until their data is there, one by one. */
static void test_differencing(void **state)
{
	struct rig *k = *state;
	uint8_t want[RIG_BLOCK], back[RIG_BLOCK];
	struct layer l;

	memset(want, 'p', sizeof(want));
	rig_create(k, "differencing", DISK, RIG_BLOCK);
	l = rig_open(k);
	check_run(&l, 0, DISK, false, LAYER_BELOW, 0, DISK);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t at = (i * 37 % 1000) * 512, n = (1 + i % 9) * 512;

		memset(want + at, (int)i, n);
		assert_int_equal(rig_put(k, &l, RIG_BLOCK + at, want + at, n), 0);
	}
	assert_true(l.ops->dirty(l.l));
	for (int again = 0; again < 2; again++) {
		assert_int_equal(rig_get(k, &l, RIG_BLOCK, back, sizeof(back), 'p'), 0);
		assert_memory_equal(back, want, sizeof(back));
		assert_int_equal(rig_sync(k, &l), 0);
		assert_false(l.ops->dirty(l.l));
		l.ops->close(l.l);
		l = rig_open(k);
	}
	l.ops->close(l.l);
}

static void test_bit_runs(void **state)
{
	static const struct { unsigned at, n; } writes[] = {
		{ 0, 1 }, { 63, 1 }, { 64, 64 }, { 200, 500 }, { 1023, 1 },
	};
	struct rig *k = *state;
	struct layer l;

	rig_create(k, "differencing", DISK, RIG_BLOCK);
	l = rig_open(k);
	assert_int_equal(l.ops->alloc(l.l, 0, 512), 0);
	for (size_t i = 0; i < ARRAY_LEN(writes); i++)
		l.ops->written(l.l, writes[i].at * 512, writes[i].n * 512);
	assert_int_equal(rig_sync(k, &l), 0);
	l.ops->close(l.l);
	l = rig_open(k);
	check_run(&l, 0, RIG_BLOCK, false, LAYER_DATA, DATA_0, 512);
	check_run(&l, 512, RIG_BLOCK, false, LAYER_BELOW, 0, 62 * 512);
	check_run(&l, 63 * 512, RIG_BLOCK, false, LAYER_DATA, DATA_0 + 63 * 512, 65 * 512);
	check_run(&l, 128 * 512, RIG_BLOCK, false, LAYER_BELOW, 0, 72 * 512);
	check_run(&l, 300 * 512, RIG_BLOCK, false, LAYER_DATA, DATA_0 + 300 * 512, 400 * 512);
	check_run(&l, 300 * 512, 1024, false, LAYER_DATA, DATA_0 + 300 * 512, 1024);
	check_run(&l, 700 * 512, RIG_BLOCK, false, LAYER_BELOW, 0, 323 * 512);
	check_run(&l, 1023 * 512, RIG_BLOCK, false, LAYER_DATA, DATA_0 + 1023 * 512, 512);
	check_run(&l, 5 * 512, RIG_BLOCK, true, LAYER_DATA, DATA_0 + 5 * 512, RIG_BLOCK - 5 * 512);
	l.ops->close(l.l);
}

/* A dynamic image of another program: what its bitmap has not is zero, until we write it. */
static void test_foreign_bitmap(void **state)
{
	struct rig *k = *state;
	uint8_t junk[2048], back[2048], bits = 0x90;
	struct layer l;

	memset(junk, 'j', sizeof(junk));
	rig_create(k, "dynamic", DISK, RIG_BLOCK);
	l = rig_open(k);
	assert_int_equal(rig_put(k, &l, 0, junk, sizeof(junk)), 0);
	assert_int_equal(rig_sync(k, &l), 0);
	l.ops->close(l.l);
	rig_poke(k, DATA_0 - 512, &bits, 1);
	l = rig_open(k);
	check_run(&l, 512, 1024, false, LAYER_ZERO, 0, 1024);
	assert_int_equal(rig_put(k, &l, 512, (const uint8_t *)memset(back, 'n', 512), 512), 0);
	assert_true(l.ops->dirty(l.l));
	assert_int_equal(rig_sync(k, &l), 0);
	l.ops->close(l.l);
	l = rig_open(k);
	assert_int_equal(rig_get(k, &l, 0, back, sizeof(back), 0), 0);
	memset(junk + 512, 'n', 512);
	memset(junk + 1024, 0, 512);
	assert_memory_equal(back, junk, sizeof(back));
	l.ops->close(l.l);
}

/* A sync that fails keeps what it could not write; data is flushed before the bits. */
static void test_sync_fails(void **state)
{
	struct rig *k = *state;
	uint8_t byte[512] = { 1 };
	struct layer l;
	unsigned writes;

	rig_create(k, "differencing", DISK, RIG_BLOCK);
	l = rig_open(k);
	assert_int_equal(rig_put(k, &l, 0, byte, 512), 0);
	assert_int_equal(rig_put(k, &l, RIG_BLOCK, byte, 512), 0);
	for (int fail_in = 1; fail_in <= 4; fail_in++) {
		k->fail_in = fail_in;
		assert_int_equal(l.ops->sync(l.l), -EIO);
		assert_true(l.ops->dirty(l.l));
	}
	k->fail_in = -1;
	writes = k->writes;
	assert_int_equal(l.ops->sync(l.l), 0);
	assert_int_equal(k->writes - writes, 2);
	assert_false(l.ops->dirty(l.l));
	l.ops->written(l.l, 0, 512);	/* nothing new */
	assert_false(l.ops->dirty(l.l));
	l.ops->close(l.l);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, put_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(test_fixed),
		CASE(test_dynamic),
		CASE(test_differencing),
		CASE(test_bit_runs),
		CASE(test_foreign_bitmap),
		CASE(test_sync_fails),
	};

	return check_main(tests);
}

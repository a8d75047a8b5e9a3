/* SPDX-License-Identifier: Apache-2.0 */
/* Growing VHDs: in place, with the table moved, in steps; refusals; and a cut at every call to the medium. */
#include "tests/unit/check.h"

#include <stdio.h>

#include "tests/unit/vhd_rig.h"

enum { DISK = 1 << 20, LARGER = 8 << 20 };

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

static uint64_t bytes_of(const struct layer *l)
{
	struct layer_info info;

	l->ops->info(l->l, &info);
	return info.bytes;
}

static void fresh(struct rig *k, const char *kind)
{
	rig_blob(k, false);
	assert_int_equal(blob_set_bytes(k->b, 0), 0);
	rig_create(k, kind, DISK, strcmp(kind, "fixed") ? RIG_BLOCK : 0);
}

/* The first and last sector of the old disk as written, all behind it zero and writable. */
static void check_grown(struct rig *k, struct layer *l, uint64_t bytes)
{
	AUTO_FREE uint8_t *all = mem_alloc(bytes);

	assert_int_equal(bytes_of(l), bytes);
	assert_int_equal(rig_get(k, l, 0, all, bytes, 0), 0);
	assert_int_equal(all[0], 'a');
	assert_int_equal(all[DISK - 1], 'a');
	for (uint64_t i = DISK; i < bytes; i++)
		if (all[i])
			fail_msg("byte %llu of the new part is 0x%02x", (unsigned long long)i, all[i]);
}

static void write_ends(struct rig *k, const struct layer *l)
{
	uint8_t data[VHD_SECTOR];

	memset(data, 'a', sizeof(data));
	assert_int_equal(rig_put(k, l, 0, data, sizeof(data)), 0);
	assert_int_equal(rig_put(k, l, DISK - VHD_SECTOR, data, sizeof(data)), 0);
	assert_int_equal(rig_sync(k, l), 0);
}

static void test_grow(void **state)
{
	static const char *const kinds[] = { "fixed", "dynamic", "differencing" };
	struct rig *k = *state;
	struct err e = ERR_INIT;
	uint8_t data[VHD_SECTOR] = { 'z' };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct layer l;

		fresh(k, kinds[i]);
		l = rig_open(k);
		write_ends(k, &l);
		assert_int_equal(l.ops->resize(l.l, LARGER, &e), 0);
		check_grown(k, &l, LARGER);
		assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
		assert_int_equal(rig_put(k, &l, LARGER - VHD_SECTOR, data, sizeof(data)), 0);
		l.ops->close(l.l);
		rig_blob(k, false);
		l = rig_open(k);
		assert_int_equal(bytes_of(&l), LARGER);
		assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
		l.ops->close(l.l);
	}
}

/* More blocks than the table has room for before the first block: it moves, and lives on there. */
static void test_table_moves(void **state)
{
	const uint64_t bytes = 2ull << 30;
	struct rig *k = *state;
	struct err e = ERR_INIT;
	struct layer_run run;
	struct vhd_header h;
	struct layer l;

	fresh(k, "dynamic");
	l = rig_open(k);
	write_ends(k, &l);
	assert_int_equal(l.ops->resize(l.l, bytes, &e), 0);
	assert_int_equal(vhd_header_decode(k->now + 512, 512, &h, &e), 0);
	assert_true(h.table_off > 4096);
	assert_int_equal(h.entries, bytes / RIG_BLOCK);
	assert_int_equal(l.ops->alloc(l.l, bytes - 512, 512), 0);
	l.ops->close(l.l);
	rig_blob(k, false);
	l = rig_open(k);
	assert_int_equal(bytes_of(&l), bytes);
	l.ops->map(l.l, bytes - 512, 512, false, &run);
	assert_int_equal(run.where, LAYER_DATA);
	l.ops->map(l.l, 0, 512, false, &run);
	assert_int_equal(k->now[run.off], 'a');
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
	l.ops->close(l.l);
}

/* What another program keeps behind the table is not written over. */
static void test_foreign_behind_table(void **state)
{
	struct rig *k = *state;
	struct err e = ERR_INIT;
	struct vhd_header h;
	struct layer l;

	rig_create(k, "dynamic", 64 << 20, RIG_BLOCK);
	l = rig_open(k);
	assert_int_equal(l.ops->alloc(l.l, 0, 512), 0);
	rig_poke(k, 4096 + 512, "tdbatmap", 8);
	assert_int_equal(l.ops->resize(l.l, 65 << 20, &e), 0);
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
	assert_memory_equal(k->now + 4096 + 512, "tdbatmap", 8);
	assert_int_equal(vhd_header_decode(k->now + 512, 512, &h, &e), 0);
	assert_true(h.table_off > 4096);
	l.ops->close(l.l);
}

static void test_refusals(void **state)
{
	static const struct { uint64_t bytes; enum err_code code; const char *says; } cases[] = {
		{ DISK + 1, ERR_USAGE, "size 1048577" },
		{ DISK - 512, ERR_REFUSED, "less than the 1048576" },
		{ VHD_BYTES_MAX + 512, ERR_LIMIT, "holds 2190433320960 at most" },
	};
	struct rig *k = *state;
	struct layer l;

	fresh(k, "dynamic");
	l = rig_open(k);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(l.ops->resize(l.l, cases[i].bytes, &e), -1);
		assert_int_equal(e.code, cases[i].code);
		if (!strstr(e.detail, cases[i].says))
			fail_msg("'%s', wanted '%s'", e.detail, cases[i].says);
	}
	l.ops->close(l.l);
}

static bool coin(void *arg)
{
	uint64_t *s = arg;

	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s >> 40 & 1;
}

/* Every call in turn is the last before the power goes, several times over: the old size or the new, nothing else. */
static void cuts(struct rig *k, const char *kind, uint64_t to)
{
	uint64_t seed = 88172645463325252;
	unsigned olds = 0, news = 0;

	for (int at = 1; at < 24; at++)
		for (int again = 0; again < 12; again++) {
			struct err e = ERR_INIT;
			struct layer l;

			fresh(k, kind);
			l = rig_open(k);
			write_ends(k, &l);
			k->fail_in = at;
			(void)!l.ops->resize(l.l, to, &e);
			k->fail_in = 0;
			l.ops->close(l.l);
			rig_cut(k, coin, &seed);
			l = rig_open(k);
			if (bytes_of(&l) == DISK)
				olds++;
			else
				news++;
			check_grown(k, &l, bytes_of(&l) == DISK ? DISK : to);
			assert_int_equal(l.ops->resize(l.l, to, &e), 0);
			check_grown(k, &l, to);
			l.ops->close(l.l);
		}
	assert_true(olds > 12 && news > 12);
}

static void test_cuts_fixed(void **state)
{
	cuts(*state, "fixed", DISK + 8192);
}

static void test_cuts_dynamic(void **state)
{
	cuts(*state, "dynamic", 2 * DISK);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, put_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(test_grow),
		CASE(test_table_moves),
		CASE(test_foreign_behind_table),
		CASE(test_refusals),
		CASE(test_cuts_fixed),
		CASE(test_cuts_dynamic),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening VHD images: what create made, what is damaged (each with the message
 * it must give), footers that a power cut tore, and hostile guests of fixed ones.
 */
#include "tests/unit/check.h"

#include <endian.h>
#include <stdio.h>

#include "tests/unit/vhd_rig.h"

enum { DISK = 4 << 20, TABLE_AT = 4096 };

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

/* Sets big-endian bytes in a structure and its checksum right; `sum`: where that is, 0 leaves it wrong. */
static void poke_field(struct rig *k, uint64_t at, size_t n, size_t sum, size_t field, size_t bytes, uint64_t v)
{
	uint8_t raw[VHD_HEADER_BYTES];
	uint32_t all = 0;

	memcpy(raw, k->now + at, n);
	for (size_t i = 0; i < bytes; i++)
		raw[field + i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
	for (size_t i = 0; i < n; i++)
		all += i < sum || i >= sum + 4 ? raw[i] : 0;
	all = htobe32(~all);
	if (sum)
		memcpy(raw + sum, &all, 4);
	rig_poke(k, at, raw, n);
}

static void poke_footers(struct rig *k, size_t field, size_t bytes, uint64_t v, bool sum)
{
	poke_field(k, k->bytes - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES, sum ? 64 : 0, field, bytes, v);
	if (!memcmp(k->now, "conectix", 8))
		poke_field(k, 0, VHD_FOOTER_BYTES, sum ? 64 : 0, field, bytes, v);
}

static void must_fail(struct rig *k, const char *label, enum err_code code, const char *says)
{
	struct err e = ERR_INIT;
	struct layer l;

	rig_blob(k, false);
	if (vhd_format.open(k->b, &l, &e) == 0)
		fail_msg("%s: opened", label);
	if (e.code != code || !strstr(e.detail, says))
		fail_msg("%s: %s '%s', wanted %s '%s'", label, err_name(e.code), e.detail, err_name(code), says);
}

static void test_info(void **state)
{
	static const char *const kinds[] = { "fixed", "dynamic", "differencing" };
	static const uint8_t none[DISK_ID_BYTES];

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct rig *k = *state;
		struct layer_info info;
		struct layer l;

		rig_blob(k, false);
		assert_int_equal(blob_set_bytes(k->b, 0), 0);
		rig_create(k, kinds[i], DISK + 512, 0);
		assert_int_equal(vhd_format.probe(k->b), 90);
		rig_blob(k, false);
		l = rig_open(k);
		l.ops->info(l.l, &info);
		assert_string_equal(info.format, "vhd");
		assert_string_equal(info.kind, kinds[i]);
		assert_int_equal(info.bytes, DISK + 512);
		assert_int_equal(info.block_bytes, i ? VHD_BLOCK_BYTES : 0);
		assert_int_equal(info.used_bytes, i ? 0 : DISK + 512);
		assert_memory_not_equal(info.id, none, sizeof(none));
		assert_string_equal(info.parent_name, i == 2 ? "base.vhd" : "");
		assert_memory_equal(info.parent_id, i == 2 ? (const uint8_t *)"parent of tests" : none, sizeof(none));
		assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &(struct err)ERR_INIT), 0);
		l.ops->close(l.l);
	}
}

/* What each damaged field of the footers must be answered with. */
static void test_bad_footers(void **state)
{
	static const struct {
		const char *label;
		size_t field, bytes;
		uint64_t v;
		enum err_code code;
		const char *says;
	} cases[] = {
		{ "cookie", 0, 1, 'C', ERR_CORRUPT, "no cookie 'conectix'" },
		{ "features none", 8, 4, 0, ERR_CORRUPT, "features 0x00000000" },
		{ "features unknown", 8, 4, 6, ERR_CORRUPT, "features 0x00000006" },
		{ "version", 12, 4, 0x20000, ERR_CORRUPT, "version 0x00020000" },
		{ "header offset odd", 16, 8, 513, ERR_CORRUPT, "header offset 513" },
		{ "header offset far", 16, 8, 1ull << 40, ERR_CORRUPT, "header at byte 1099511627776 ends past" },
		{ "header offset no header", 16, 8, 2048, ERR_CORRUPT, "header at byte 2048: no cookie 'cxsparse'" },
		{ "size zero", 48, 8, 0, ERR_CORRUPT, "current size 0" },
		{ "size odd", 48, 8, 1000, ERR_CORRUPT, "current size 1000" },
		{ "size huge", 48, 8, VHD_BYTES_MAX + 512, ERR_LIMIT,
		  "current size 2190433321472, limit 2190433320960" },
		{ "size over table", 48, 8, 2 * DISK, ERR_CORRUPT, "8 table entries, but 8388608 bytes in blocks of" },
		{ "type old", 60, 4, 1, ERR_CORRUPT, "disk type 1" },
		{ "type new", 60, 4, 5, ERR_CORRUPT, "disk type 5" },
		{ "saved", 84, 1, 2, ERR_CORRUPT, "saved state 2" },
		{ "saved state", 84, 1, 1, ERR_REFUSED, "saved virtual machine (saved state 1)" },
	};
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		rig_blob(k, false);
		assert_int_equal(blob_set_bytes(k->b, 0), 0);
		rig_create(k, "dynamic", DISK, RIG_BLOCK);
		poke_footers(k, cases[i].field, cases[i].bytes, cases[i].v, true);
		must_fail(k, cases[i].label, cases[i].code, cases[i].says);
	}
	poke_footers(k, 30, 1, 'x', false);
	must_fail(k, "checksum", ERR_CORRUPT, "checksum 0x");
}

static void test_bad_headers(void **state)
{
	static const struct {
		const char *label;
		size_t field, bytes;
		uint64_t v;
		const char *says;
	} cases[] = {
		{ "cookie", 0, 1, 'C', "header at byte 512: no cookie 'cxsparse'" },
		{ "next", 8, 8, 4096, "next structure at 0x1000" },
		{ "table odd", 16, 8, 1537, "table offset 1537" },
		{ "table on footer", 16, 8, 0, "table offset 0" },
		{ "table on header", 16, 8, 1024, "table offset 1024 lies on the header" },
		{ "table far", 16, 8, 1ull << 50, "ends past the file's" },
		{ "version", 24, 4, 1, "version 0x00000001" },
		{ "entries none", 28, 4, 0, "0 table entries" },
		{ "entries few", 28, 4, 7, "7 table entries, but 4194304 bytes in blocks of 524288 need 8" },
		{ "entries many", 28, 4, VHD_ENTRIES_MAX + 1, "4177921 table entries" },
		{ "block odd", 32, 4, 3 << 20, "block size 3145728" },
		{ "block zero", 32, 4, 0, "block size 0" },
		{ "block small", 32, 4, 256 << 10, "block size 262144" },
		{ "block large", 32, 4, 512 << 20, "block size 536870912" },
	};
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		rig_blob(k, false);
		assert_int_equal(blob_set_bytes(k->b, 0), 0);
		rig_create(k, "dynamic", DISK, RIG_BLOCK);
		poke_field(k, 512, VHD_HEADER_BYTES, 36, cases[i].field, cases[i].bytes, cases[i].v);
		must_fail(k, cases[i].label, ERR_CORRUPT, cases[i].says);
	}
	poke_field(k, 512, VHD_HEADER_BYTES, 0, 700, 1, 9);
	must_fail(k, "checksum", ERR_CORRUPT, "header at byte 512: checksum 0x");
}

static void test_bad_tables(void **state)
{
	static const struct { const char *label; uint32_t entry[2]; const char *says; } cases[] = {
		{ "on footer", { 0, 0 }, "table entry 0: block at byte 0 lies on the footer" },
		{ "on header", { 1, 1 }, "table entry 0: block at byte 512 lies on the header" },
		{ "on table", { 8, 8 }, "table entry 0: block at byte 4096 lies on the table" },
		{ "past end", { 1 << 20, UINT32_MAX }, "table entry 0: block at byte 536870912 ends past the data" },
		{ "on end footer", { UINT32_MAX, 0xff }, "table entry 1: block at byte 130560 ends past the data" },
		{ "twice", { 15, 15 }, "blocks at sectors 15 and 15 of the file overlap (1025 sectors each)" },
		{ "by a sector", { 15, 15 + 1024 }, "blocks at sectors 15 and 1039 of the file overlap" },
	};
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t byte[512] = { 1 };
		uint32_t bat[2] = { htobe32(cases[i].entry[0]), htobe32(cases[i].entry[1]) };
		struct layer l;

		rig_blob(k, false);
		assert_int_equal(blob_set_bytes(k->b, 0), 0);
		rig_create(k, "dynamic", DISK, RIG_BLOCK);
		rig_blob(k, false);
		l = rig_open(k);
		for (int b = 0; b < (i == 4 ? 1 : 3); b++)
			assert_int_equal(rig_put(k, &l, (uint64_t)b * RIG_BLOCK, byte, sizeof(byte)), 0);
		assert_int_equal(rig_sync(k, &l), 0);
		l.ops->close(l.l);
		rig_poke(k, TABLE_AT, bat, sizeof(bat));
		must_fail(k, cases[i].label, ERR_CORRUPT, cases[i].says);
	}
	blob_close(k->b);
	k->b = NULL;
	k->bytes = 700;
	must_fail(k, "tiny", ERR_CORRUPT, "700 bytes are too few");
}

static void test_cut_short(void **state)
{
	struct rig *k = *state;
	uint8_t byte[512] = { 1 };
	struct layer l;

	rig_create(k, "fixed", DISK, 0);
	poke_footers(k, 48, 8, DISK + 512, true);
	must_fail(k, "fixed", ERR_CORRUPT, "current size 4194816, but the file has room for 4194304");
	rig_blob(k, false);
	assert_int_equal(blob_set_bytes(k->b, 0), 0);
	rig_create(k, "dynamic", DISK, RIG_BLOCK);
	l = rig_open(k);
	assert_int_equal(rig_put(k, &l, 0, byte, sizeof(byte)), 0);
	l.ops->close(l.l);
	assert_int_equal(blob_set_bytes(k->b, k->bytes - 1024), 0);
	must_fail(k, "dynamic", ERR_CORRUPT, "table entry 0: block at byte");
}

/* One footer of two is enough, whichever; the other is written again when it may be. */
static void test_one_footer(void **state)
{
	static const struct { bool front; bool cut; bool read_only; } cases[] = {
		{ true, false, false }, { false, false, false }, { false, true, false },
		{ true, false, true }, { false, false, true }, { false, true, true },
	};
	static const uint8_t zero[VHD_FOOTER_BYTES];
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t wrote[1024], back[1024];
		struct err e = ERR_INIT;
		struct layer l;

		rig_blob(k, false);
		assert_int_equal(blob_set_bytes(k->b, 0), 0);
		rig_create(k, "dynamic", DISK, RIG_BLOCK);
		l = rig_open(k);
		memset(wrote, (int)i + 1, sizeof(wrote));
		assert_int_equal(rig_put(k, &l, RIG_BLOCK - 512, wrote, sizeof(wrote)), 0);
		l.ops->close(l.l);
		if (cases[i].cut)
			assert_int_equal(blob_set_bytes(k->b, k->bytes - 300), 0);
		else
			rig_poke(k, cases[i].front ? 0 : k->bytes - VHD_FOOTER_BYTES, zero, sizeof(zero));
		rig_blob(k, cases[i].read_only);
		l = rig_open(k);
		assert_int_equal(rig_get(k, &l, RIG_BLOCK - 512, back, sizeof(back), 0), 0);
		assert_memory_equal(back, wrote, sizeof(back));
		assert_int_equal(l.ops->check(l.l, true, NULL, NULL, &e), cases[i].read_only);
		assert_int_equal(l.ops->check(l.l, true, NULL, NULL, &e), cases[i].read_only);
		l.ops->close(l.l);
		if (!cases[i].read_only)
			assert_memory_equal(k->now, k->now + k->bytes - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES);
	}
}

/* Growth of a fixed disk that stopped before the new footer: the old one is found, and sector 0 is not believed. */
static void test_lost_fixed(void **state)
{
	struct rig *k = *state, fake;
	struct layer_info info;
	struct layer l;

	rig_create(k, "fixed", DISK, 0);
	assert_int_equal(blob_set_bytes(k->b, DISK + 512 + (3 << 20)), 0);
	rig_blob(k, true);
	l = rig_open(k);
	l.ops->info(l.l, &info);
	assert_int_equal(info.bytes, DISK);
	l.ops->close(l.l);
	rig_init(&fake);
	rig_create(&fake, "dynamic", 1 << 20, 0);
	rig_poke(k, 0, fake.now, 8192);
	rig_fini(&fake);
	must_fail(k, "both", ERR_CORRUPT, "a guest has written one of them");
	k->now[0] = 0;
	rig_blob(k, false);
	l = rig_open(k);
	assert_int_equal(k->bytes, DISK + 512);
	l.ops->close(l.l);
	/* With its footer at the end nothing in the data matters. */
	k->now[0] = 'c';
	rig_blob(k, false);
	l = rig_open(k);
	l.ops->info(l.l, &info);
	assert_string_equal(info.kind, "fixed");
	l.ops->close(l.l);
}

static void test_saved_read_only(void **state)
{
	struct rig *k = *state;
	struct layer l;

	rig_create(k, "dynamic", DISK, 0);
	poke_footers(k, 84, 1, 1, true);
	rig_blob(k, true);
	l = rig_open(k);
	assert_int_equal(l.ops->alloc(l.l, 0, 512), -EROFS);
	l.ops->close(l.l);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, put_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(test_info),
		CASE(test_bad_footers),
		CASE(test_bad_headers),
		CASE(test_bad_tables),
		CASE(test_cut_short),
		CASE(test_one_footer),
		CASE(test_lost_fixed),
		CASE(test_saved_read_only),
	};

	return check_main(tests);
}

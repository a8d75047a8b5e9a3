/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and mapping VHDX images: what create made, sessions and their ids,
 * copies that are damaged, and files that must not open, each with the message
 * it must give.
 */
#include "tests/unit/check.h"

#include <stdio.h>

#include "disk/crc32c.h"
#include "tests/unit/vhdx_rig.h"

enum { DISK = 12 * RIG_BLOCK };

static void checksum(void **state)
{
	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

static void guid_text(void **state)
{
	char text[VHDX_GUID_TEXT_BYTES];
	uint8_t id[VHDX_GUID_BYTES];

	(void)state;
	vhdx_guid_text(vhdx_guid_bat, text);
	assert_string_equal(text, "{2dc27766-f623-4200-9d64-115e9bfd4a08}");
	assert_true(vhdx_guid_parse("{8B7CA206-4790-4B9A-B8FE-575F050F886E}", id));
	assert_memory_equal(id, vhdx_guid_metadata, sizeof(id));
	assert_false(vhdx_guid_parse("{8B7CA206-4790-4B9A-B8FE-575F050F886G}", id));
	assert_false(vhdx_guid_parse("8B7CA206-4790-4B9A-B8FE-575F050F886E", id));
}

static void kinds(void **state)
{
	static const struct { const char *kind; uint32_t sector, block; } cases[] = {
		{ "fixed", 512, 0 }, { "dynamic", 512, RIG_BLOCK }, { "differencing", 512, 2 * RIG_BLOCK },
		{ "fixed", 4096, 0 }, { "dynamic", 4096, 32 * RIG_BLOCK }, { "differencing", 4096, RIG_BLOCK },
	};
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct layer_info info;
		struct layer l;

		rig_file_size(&k->now, 0);
		rig_blob(k, false);
		rig_create(k, cases[i].kind, DISK, cases[i].block, cases[i].sector);
		assert_int_equal(vhdx_format.probe(k->b), 95);
		l = rig_open(k);
		l.ops->info(l.l, &info);
		assert_string_equal(info.format, "vhdx");
		assert_string_equal(info.kind, cases[i].kind);
		assert_int_equal(info.bytes, DISK);
		assert_int_equal(info.sector_bytes, cases[i].sector);
		assert_int_equal(info.block_bytes, cases[i].block);
		assert_int_equal(info.used_bytes, strcmp(info.kind, "fixed") ? 0 : DISK);
		assert_string_equal(info.parent_name, strcmp(info.kind, "differencing") ? "" : "/pool/base.vhdx");
		if (!strcmp(info.kind, "differencing"))
			assert_memory_equal(info.parent_id, "parent of tests", 16);
		l.ops->close(l.l);
	}
}

/* Random writes against plain memory, with syncs and new sessions between. */
static void round_trip(struct rig *k, const char *kind, uint32_t sector)
{
	uint8_t *want = mem_alloc(DISK), *got = mem_alloc(DISK);
	struct layer l;

	memset(want, strcmp(kind, "differencing") ? 0 : RIG_BELOW, DISK);
	rig_file_size(&k->now, 0);
	rig_blob(k, false);
	rig_create(k, kind, DISK, RIG_BLOCK, sector);
	l = rig_open(k);
	srandom(3);
	for (int i = 0; i < 300; i++) {
		uint64_t off = (uint64_t)random() % (DISK / sector) * sector;
		uint64_t n = (1 + (uint64_t)random() % 64) * sector;

		n = n > DISK - off ? DISK - off : n;
		memset(want + off, i, n);
		assert_int_equal(rig_put(k, &l, off, want + off, n), 0);
		if (i % 10 == 9)
			assert_int_equal(rig_sync(k, &l), 0);
		if (i % 50 != 49)
			continue;
		assert_int_equal(rig_get(k, &l, 0, got, DISK), 0);
		assert_memory_equal(got, want, DISK);
		l.ops->close(l.l);
		rig_blob(k, false);
		l = rig_open(k);
		assert_int_equal(rig_get(k, &l, 0, got, DISK), 0);
		assert_memory_equal(got, want, DISK);
	}
	l.ops->close(l.l);
	free(want);
	free(got);
}

static void round_trips(void **state)
{
	static const char *const kind[] = { "fixed", "dynamic", "differencing" };

	for (size_t i = 0; i < ARRAY_LEN(kind); i++) {
		round_trip(*state, kind[i], 512);
		round_trip(*state, kind[i], 4096);
	}
}

static void poke_le64(struct rig *k, uint64_t at, uint64_t v)
{
	uint8_t raw[8];

	vhdx_put_le64(raw, v);
	rig_poke(k, at, raw, sizeof(raw));
}

static void states(void **state)
{
	static const struct { uint64_t entry; enum layer_where read; enum layer_where read_diff; } cases[] = {
		{ VHDX_NOT_PRESENT, LAYER_ZERO, LAYER_BELOW }, { VHDX_UNDEFINED, LAYER_ZERO, LAYER_ZERO },
		{ VHDX_ZERO, LAYER_ZERO, LAYER_ZERO }, { VHDX_UNMAPPED, LAYER_ZERO, LAYER_ZERO },
		{ VHDX_UNMAPPED | 50ull << 20, LAYER_ZERO, LAYER_ZERO },
	};
	struct rig *k = *state;

	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		bool diff = i % 2;
		struct layer_run run;
		struct layer l;

		rig_file_size(&k->now, 0);
		rig_blob(k, false);
		rig_create(k, diff ? "differencing" : "dynamic", DISK, RIG_BLOCK, 512);
		poke_le64(k, RIG_BAT_AT + 8, cases[i / 2].entry);
		l = rig_open(k);
		l.ops->map(l.l, RIG_BLOCK, 512, false, &run);
		assert_int_equal(run.where, diff ? cases[i / 2].read_diff : cases[i / 2].read);
		l.ops->map(l.l, RIG_BLOCK, 512, true, &run);
		assert_int_equal(run.where, LAYER_BELOW);
		assert_int_equal(l.ops->alloc(l.l, RIG_BLOCK, 512), 0);
		l.ops->map(l.l, RIG_BLOCK, 512, true, &run);
		assert_int_equal(run.where, LAYER_DATA);
		/* What was zeroes stays zeroes around the write, what was the parent's the parent's. */
		l.ops->map(l.l, RIG_BLOCK, 512, false, &run);
		assert_int_equal(run.where, diff && i / 2 == 0 ? LAYER_BELOW : LAYER_DATA);
		l.ops->close(l.l);
	}
}

/* Bits that an earlier owner of the block left set do not count for the new one. */
static void stale_bits(void **state)
{
	struct rig *k = *state;
	uint8_t p[512] = { 7 }, got[512], ones[4096];
	struct layer_run run;
	struct layer l;
	uint64_t bitmap;

	memset(ones, 0xff, sizeof(ones));
	rig_create(k, "differencing", DISK, RIG_BLOCK, 512);
	l = rig_open(k);
	assert_int_equal(rig_put(k, &l, 0, p, sizeof(p)), 0);
	assert_int_equal(rig_sync(k, &l), 0);
	l.ops->close(l.l);
	rig_file_get(&k->now, RIG_BAT_AT + 8 * 4096, got, 8);
	bitmap = ((uint64_t)got[2] | (uint64_t)got[3] << 8) << 16 >> 20 << 20;
	rig_poke(k, bitmap, ones, sizeof(ones));
	rig_blob(k, false);
	l = rig_open(k);
	assert_int_equal(rig_put(k, &l, 3 * RIG_BLOCK, p, sizeof(p)), 0);
	for (int session = 0; session < 2; session++) {
		l.ops->map(l.l, 3 * RIG_BLOCK, RIG_BLOCK, false, &run);
		assert_int_equal(run.where, LAYER_DATA);
		assert_int_equal(run.bytes, 512);
		l.ops->map(l.l, 3 * RIG_BLOCK + 512, RIG_BLOCK - 512, false, &run);
		assert_int_equal(run.where, LAYER_BELOW);
		assert_int_equal(run.bytes, RIG_BLOCK - 512);
		assert_int_equal(rig_sync(k, &l), 0);
		l.ops->close(l.l);
		rig_blob(k, false);
		l = rig_open(k);
	}
	l.ops->close(l.l);
}

static struct vhdx_header header_of(struct rig *k, int i)
{
	uint8_t raw[VHDX_HEADER_BYTES];
	struct vhdx_header h = { 0 };

	rig_file_get(&k->now, VHDX_HEADER_AT + (uint64_t)i * VHDX_HEADER_STEP, raw, sizeof(raw));
	assert_true(vhdx_header_decode(raw, &h));
	return h;
}

/* Reading changes nothing; the first write gives both headers new ids; a clean image names no log. */
static void session_ids(void **state)
{
	struct rig *k = *state;
	uint8_t p[512] = { 1 };
	struct vhdx_header before, after;
	struct layer_info info;
	struct layer l;

	rig_create(k, "fixed", DISK, RIG_BLOCK, 512);
	before = header_of(k, 1);
	l = rig_open(k);
	k->writes = 0;
	assert_int_equal(rig_get(k, &l, 0, p, sizeof(p)), 0);
	l.ops->info(l.l, &info);
	assert_memory_equal(info.id, before.data_id, 16);
	assert_int_equal(k->writes, 0);
	assert_int_equal(rig_put(k, &l, 0, p, sizeof(p)), 0);
	l.ops->info(l.l, &info);
	for (int i = 0; i < 2; i++) {
		after = header_of(k, i);
		assert_memory_not_equal(after.data_id, before.data_id, 16);
		assert_memory_not_equal(after.file_id, before.file_id, 16);
		assert_memory_equal(after.data_id, info.id, 16);
		assert_memory_equal(after.log_id, vhdx_guid_none, 16);
		assert_true(after.sequence > before.sequence);
	}
	l.ops->close(l.l);
}

static void clean_after_sync(void **state)
{
	struct rig *k = *state;
	uint8_t p[512] = { 1 };
	struct layer l;

	rig_create(k, "dynamic", DISK, RIG_BLOCK, 512);
	l = rig_open(k);
	assert_false(l.ops->dirty(l.l));
	assert_int_equal(rig_put(k, &l, 0, p, sizeof(p)), 0);
	assert_true(l.ops->dirty(l.l));
	assert_memory_not_equal(header_of(k, 0).log_id, vhdx_guid_none, 16);
	assert_int_equal(rig_sync(k, &l), 0);
	assert_false(l.ops->dirty(l.l));
	assert_memory_equal(header_of(k, 0).log_id, vhdx_guid_none, 16);
	assert_memory_equal(header_of(k, 1).log_id, vhdx_guid_none, 16);
	l.ops->close(l.l);
	/* What was prepared went back: the file ends with its one block. */
	assert_int_equal(k->now.bytes, RIG_BAT_AT + VHDX_BAT_ROOM_BYTES + RIG_BLOCK);
}

static void read_only(void **state)
{
	struct rig *k = *state;
	struct layer_run run;
	struct layer l;

	rig_create(k, "dynamic", DISK, RIG_BLOCK, 512);
	rig_blob(k, true);
	l = rig_open(k);
	l.ops->map(l.l, 0, 512, true, &run);
	assert_int_equal(run.where, LAYER_BELOW);
	assert_int_equal(l.ops->alloc(l.l, 0, 512), -EROFS);
	l.ops->close(l.l);
}

struct said {
	char text[512];
	int fixed, left;
};

static void say(void *arg, bool fixed, const char *text)
{
	struct said *s = arg;

	snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text), "%s;", text);
	*(fixed ? &s->fixed : &s->left) += 1;
}

/* One copy of header or region table damaged, space at the end: opens, check says so, repair puts it right. */
static void check_and_repair(void **state)
{
	static const struct { const char *label; uint64_t at; const char *says; } cases[] = {
		{ "header 1", VHDX_HEADER_AT + 20, "header 1 has no right checksum;" },
		{ "header 2", VHDX_HEADER_AT + VHDX_HEADER_STEP, "header 2 has no right checksum;" },
		{ "regions 1", VHDX_REGIONS_AT + 5, "region table 1 has no right checksum;" },
		{ "regions 2", VHDX_REGIONS_AT + VHDX_TABLE_BYTES + 99, "region table 2 has no right checksum;" },
		{ "end", 0, "3145728 bytes at the end of the file belong to nothing;" },
	};
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct said said[3] = { 0 };
		struct err e = ERR_INIT;

		rig_file_size(&k->now, 0);
		rig_blob(k, false);
		rig_create(k, "dynamic", DISK, RIG_BLOCK, 512);
		if (cases[i].at)
			rig_poke(k, cases[i].at, "x", 1);
		else
			rig_file_size(&k->now, k->now.bytes + 3 * RIG_BLOCK);
		for (int turn = 0; turn < 3; turn++) {
			struct layer l;
			int left;

			rig_blob(k, false);
			l = rig_open(k);
			left = l.ops->check(l.l, turn == 1, say, &said[turn], &e);
			l.ops->close(l.l);
			assert_int_equal(left, turn == 0);
			assert_int_equal(said[turn].fixed, turn == 1);
			assert_string_equal(said[turn].text, turn < 2 ? cases[i].says : "");
		}
	}
}

static void resizes(void **state)
{
	struct rig *k = *state;
	struct layer_info info;
	struct err e = ERR_INIT;
	struct layer l;
	uint8_t p[512] = { 1 };

	rig_create(k, "dynamic", DISK, RIG_BLOCK, 512);
	l = rig_open(k);
	assert_int_equal(l.ops->resize(l.l, DISK + 100, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_int_equal(l.ops->resize(l.l, DISK / 2, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);
	assert_int_equal(l.ops->resize(l.l, 1ull << 40, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_string_equal(e.remedy, "convert the image to a new one, which gets room for more");
	assert_int_equal(l.ops->resize(l.l, 400ull << 30, &e), 0);
	assert_int_equal(rig_put(k, &l, (400ull << 30) - 512, p, sizeof(p)), 0);
	assert_int_equal(rig_sync(k, &l), 0);
	l.ops->close(l.l);
	rig_blob(k, false);
	l = rig_open(k);
	l.ops->info(l.l, &info);
	assert_int_equal(info.bytes, 400ull << 30);
	assert_int_equal(rig_get(k, &l, (400ull << 30) - 512, p, sizeof(p)), 0);
	assert_int_equal(p[0], 1);
	l.ops->close(l.l);
}

enum fix { PLAIN, HEADERS, REGIONS };

/* Bytes in a structure of a differencing image, its checksum right again; what open says. */
static const struct damage {
	const char *label;
	enum fix fix;
	uint64_t at;
	unsigned bytes;
	uint64_t value;
	enum err_code code;
	const char *says;
} damages[] = {
	{ "sign", PLAIN, 0, 1, 'x', ERR_CORRUPT, "no file identifier 'vhdxfile' at byte 0" },
	{ "version", HEADERS, 66, 2, 2, ERR_INCOMPATIBLE, "header version 2, not 1" },
	{ "log_version", HEADERS, 64, 2, 1, ERR_INCOMPATIBLE, "log version 1, not 0" },
	{ "sequence", HEADERS, 8, 8, UINT64_MAX, ERR_CORRUPT,
	  "header sequence number 18446744073709551615 leaves no room" },
	{ "log_far", HEADERS, 72, 8, 1ull << 40, ERR_CORRUPT,
	  "log of 1048576 bytes at byte 1099511627776: not in the file" },
	{ "log_odd", HEADERS, 72, 8, RIG_LOG_AT + 4096, ERR_CORRUPT, "log of 1048576 bytes at byte 1052672" },
	{ "log_none", HEADERS, 68, 4, 0, ERR_CORRUPT, "log of 0 bytes" },
	{ "log_on_bat", HEADERS, 72, 8, RIG_BAT_AT, ERR_CORRUPT, "two regions overlap at byte 3145728" },
	{ "regions_many", REGIONS, 8, 4, 2048, ERR_CORRUPT, "region table with 2048 entries, limit 2047" },
	{ "regions_few", REGIONS, 8, 4, 1, ERR_CORRUPT, "the region table names no metadata" },
	{ "region_unknown", REGIONS, 48, 1, 7, ERR_INCOMPATIBLE,
	  "required region {8b7ca207-4790-4b9a-b8fe-575f050f886e} is not known" },
	{ "region_odd", REGIONS, 32, 8, RIG_BAT_AT + 512, ERR_CORRUPT, "region 0: 4194304 bytes at byte 3146240" },
	{ "region_far", REGIONS, 32, 8, 1ull << 50, ERR_CORRUPT, "region 0: 4194304 bytes at byte 1125899906842624" },
	{ "region_long", REGIONS, 40, 4, 1u << 31, ERR_CORRUPT, "region 0: 2147483648 bytes at byte 3145728" },
	{ "meta_sign", PLAIN, RIG_META_AT, 1, 'M', ERR_CORRUPT, "no 'metadata' at byte 2097152" },
	{ "meta_many", PLAIN, RIG_META_AT + 10, 2, 2048, ERR_CORRUPT, "metadata table with 2048 entries, limit 2047" },
	{ "meta_none", PLAIN, RIG_META_AT + 10, 2, 0, ERR_CORRUPT, "metadata: no item 'file parameters'" },
	{ "item_unknown", PLAIN, RIG_META_AT + 32, 1, 0x38, ERR_INCOMPATIBLE,
	  "required metadata item {caa16738-fa36-4d43-b3b6-33f0aa44e76b} is not known" },
	{ "item_far", PLAIN, RIG_META_AT + 48, 4, 1u << 30, ERR_CORRUPT,
	  "item 'file parameters': 8 bytes at 1073741824" },
	{ "item_short", PLAIN, RIG_META_AT + 52, 4, 4, ERR_CORRUPT, "item 'file parameters': 4 bytes" },
	{ "item_long", PLAIN, RIG_META_AT + 52, 4, UINT32_MAX, ERR_CORRUPT,
	  "item 'file parameters': 4294967295 bytes" },
	{ "block_odd", PLAIN, RIG_META_AT + 65536, 4, 3 << 20, ERR_CORRUPT, "block size 3145728: no power of two" },
	{ "block_small", PLAIN, RIG_META_AT + 65536, 4, 1 << 19, ERR_CORRUPT, "block size 524288" },
	{ "block_large", PLAIN, RIG_META_AT + 65536, 4, 1 << 29, ERR_CORRUPT, "block size 536870912" },
	{ "size_zero", PLAIN, RIG_META_AT + 65544, 8, 0, ERR_CORRUPT, "disk of 0 bytes" },
	{ "size_odd", PLAIN, RIG_META_AT + 65544, 8, 1000, ERR_CORRUPT, "disk of 1000 bytes" },
	{ "size_large", PLAIN, RIG_META_AT + 65544, 8, 1ull << 47, ERR_CORRUPT, "disk of 140737488355328 bytes" },
	{ "size_past_bat", PLAIN, RIG_META_AT + 65544, 8, 1ull << 45, ERR_CORRUPT, "BAT with room for 524288 entries" },
	{ "logical", PLAIN, RIG_META_AT + 65568, 4, 1024, ERR_CORRUPT, "sectors of 1024 (logical)" },
	{ "locator_type", PLAIN, RIG_META_AT + 65584, 1, 0, ERR_INCOMPATIBLE,
	  "parent locator of type {b04aef00-d19e-4a81-b789-25b8e9445913} is not known" },
	{ "locator_none", PLAIN, RIG_META_AT + 65584 + 18, 2, 0, ERR_CORRUPT, "parent locator: no parent_linkage" },
	{ "locator_pair", PLAIN, RIG_META_AT + 65584 + 20, 4, 1 << 20, ERR_CORRUPT,
	  "parent locator: pair 0 is not inside" },
	{ "locator_many", PLAIN, RIG_META_AT + 65584 + 18, 2, 60000, ERR_CORRUPT, "parent locator: pair" },
	{ "linkage", PLAIN, RIG_META_AT + 65584 + 84, 1, 'x', ERR_CORRUPT, "parent_linkage 'x" },
	{ "bat_state", PLAIN, RIG_BAT_AT + 8, 8, 4, ERR_CORRUPT, "BAT entry 1: state 4 of a payload block" },
	{ "bat_bitmap", PLAIN, RIG_BAT_AT + 8 * 4096, 8, 7, ERR_CORRUPT, "BAT entry 4096: state 7 of a bitmap block" },
	{ "bat_far", PLAIN, RIG_BAT_AT + 8, 8, 1ull << 40 | 6, ERR_CORRUPT,
	  "BAT entry 1: block at byte 1099511627776 is not in the file" },
	{ "bat_zero", PLAIN, RIG_BAT_AT + 8, 8, 6, ERR_CORRUPT, "BAT entry 1: block at byte 0 is not in the file" },
	{ "bat_on_log", PLAIN, RIG_BAT_AT + 8, 8, RIG_LOG_AT | 6, ERR_CORRUPT,
	  "BAT entry 1: block at byte 1048576 lies on a region" },
	{ "bat_twice", PLAIN, RIG_BAT_AT + 8, 8, (RIG_BAT_AT + VHDX_BAT_ROOM_BYTES + RIG_BLOCK) | 6, ERR_CORRUPT,
	  "blocks of BAT entries" },
	{ "bat_partial", PLAIN, RIG_BAT_AT + 8 * 4096, 8, 0, ERR_CORRUPT,
	  "block 0 is partly present, but BAT entry 4096 has no bitmap block" },
};

static void poke_summed(struct rig *k, uint64_t at, size_t n, const struct damage *d)
{
	AUTO_FREE uint8_t *raw = mem_alloc(n);
	uint8_t value[8];

	vhdx_put_le64(value, d->value);
	rig_file_get(&k->now, at, raw, n);
	memcpy(raw + d->at, value, d->bytes);
	vhdx_sum_set(raw, n);
	rig_poke(k, at, raw, n);
}

static void must_fail(struct rig *k, const char *label, enum err_code code, const char *says)
{
	struct err e = ERR_INIT;
	struct layer l;

	rig_blob(k, false);
	if (vhdx_format.open(k->b, &l, &e) == 0)
		fail_msg("%s: opened", label);
	if (e.code != code || !strstr(e.detail, says))
		fail_msg("%s: %s: %s", label, err_name(e.code), e.detail);
}

static void damaged(void **state)
{
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
		const struct damage *d = &damages[i];
		uint8_t value[8], p[512] = { 1 };
		struct layer l;

		rig_file_size(&k->now, 0);
		rig_blob(k, false);
		rig_create(k, "differencing", DISK, RIG_BLOCK, 512);
		l = rig_open(k);
		assert_int_equal(rig_put(k, &l, 0, p, sizeof(p)), 0);
		assert_int_equal(rig_sync(k, &l), 0);
		l.ops->close(l.l);
		vhdx_put_le64(value, d->value);
		if (d->fix == PLAIN)
			rig_poke(k, d->at, value, d->bytes);
		for (unsigned c = 0; c < 2 && d->fix == HEADERS; c++)
			poke_summed(k, VHDX_HEADER_AT + c * VHDX_HEADER_STEP, VHDX_HEADER_BYTES, d);
		for (unsigned c = 0; c < 2 && d->fix == REGIONS; c++)
			poke_summed(k, VHDX_REGIONS_AT + c * VHDX_TABLE_BYTES, VHDX_TABLE_BYTES, d);
		must_fail(k, d->label, d->code, d->says);
	}
}

/* Damage that no single field is. */
static void damaged_otherwise(void **state)
{
	struct rig *k = *state;
	uint8_t raw[VHDX_HEADER_BYTES];

	must_fail(k, "empty", ERR_CORRUPT, "0 bytes are too few for a VHDX");
	rig_create(k, "fixed", DISK, RIG_BLOCK, 512);
	rig_file_size(&k->now, k->now.bytes - RIG_BLOCK);
	must_fail(k, "short", ERR_CORRUPT, "is not in the file's 18874368 bytes: cut short");
	rig_file_get(&k->now, VHDX_HEADER_AT, raw, sizeof(raw));
	raw[8] = 2;
	vhdx_sum_set(raw, sizeof(raw));
	rig_poke(k, VHDX_HEADER_AT, raw, sizeof(raw));
	rig_poke(k, VHDX_HEADER_AT + VHDX_HEADER_STEP + 16, "other file id", 8);
	must_fail(k, "one header", ERR_CORRUPT, "cut short");
	rig_file_get(&k->now, VHDX_HEADER_AT, raw, sizeof(raw));
	raw[16] ^= 1;
	vhdx_sum_set(raw, sizeof(raw));
	rig_poke(k, VHDX_HEADER_AT + VHDX_HEADER_STEP, raw, sizeof(raw));
	must_fail(k, "like headers", ERR_CORRUPT, "both headers have sequence number 2, but they differ");
	rig_poke(k, VHDX_HEADER_AT, "x", 1);
	rig_poke(k, VHDX_HEADER_AT + VHDX_HEADER_STEP, "x", 1);
	must_fail(k, "no header", ERR_CORRUPT, "neither header (at byte 65536, 131072) has a right checksum");
}

static void bad_wishes(void **state)
{
	static const struct { const char *kind; uint64_t bytes; uint32_t sector,
	  block; enum err_code code; } cases[] = {
		{ "sparse", DISK, 0, 0, ERR_USAGE }, { "dynamic", 0, 0, 0, ERR_USAGE }, { "dynamic", 1000, 0, 0,
		  ERR_USAGE },
		{ "dynamic", 512, 4096, 0, ERR_USAGE }, { "dynamic", DISK, 1024, 0, ERR_USAGE },
		{ "dynamic", DISK, 0, 3 << 20, ERR_USAGE }, { "dynamic", DISK, 0, 512 << 10, ERR_USAGE },
		{ "dynamic", DISK, 0, 512 << 20, ERR_USAGE }, { "dynamic", VHDX_BYTES_MAX + 512, 0, 0, ERR_LIMIT },
		{ "dynamic", VHDX_BYTES_MAX, 0, 1 << 20, ERR_LIMIT }, { "differencing", DISK, 0, 0, ERR_USAGE },
	};
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct layer_create c = { .kind = cases[i].kind, .bytes = cases[i].bytes,
		  .sector_bytes = cases[i].sector,
					  .block_bytes = cases[i].block };
		struct err e = ERR_INIT;

		assert_int_equal(vhdx_format.create(k->b, &c, &e), -1);
		assert_int_equal(e.code, cases[i].code);
	}
	assert_int_equal(k->writes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum),
		cmocka_unit_test(guid_text),
		cmocka_unit_test_setup_teardown(kinds, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(round_trips, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(states, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(stale_bits, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(session_ids, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(clean_after_sync, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(read_only, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(check_and_repair, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(resizes, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(damaged, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(damaged_otherwise, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(bad_wishes, rig_up, rig_down),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of logs that the test itself writes, byte by byte after the
 * specification: which entries count, what they do, on writable files and on
 * read-only ones, and logs that must be refused.
 */
#include "tests/unit/check.h"

#include <stdio.h>

#include "disk/vhdx_state.h"
#include "tests/unit/vhdx_rig.h"

enum { DISK = 12 * RIG_BLOCK, LOG = VHDX_MIB, SECTOR = VHDX_LOG_SECTOR };
#define DATA_AT (RIG_BAT_AT + VHDX_BAT_ROOM_BYTES)

static const uint8_t log_id[VHDX_GUID_BYTES] = "a log of tests..";

struct change {
	uint64_t off, zero_bytes;	/* zero_bytes 0: one sector of `fill` */
	uint8_t fill;
};

struct entry {
	uint32_t at, tail;
	uint64_t sequence, flushed, bytes;	/* sizes: 0: as the file is */
	struct change c[4];
	bool bad_sum, bad_desc, bad_data, other_log;
};

static void ring_put(struct rig *k, uint32_t at, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += SECTOR)
		rig_poke(k, RIG_LOG_AT + (at + i) % LOG, p + i, SECTOR);
}

static void put_data(uint8_t *desc, uint8_t *data, const struct change *c, const struct entry *n)
{
	memcpy(desc, "desc", 4);
	memset(desc + 4, c->fill, 12);
	vhdx_put_le64(desc + 16, c->off);
	vhdx_put_le64(desc + 24, n->sequence + n->bad_desc);
	memcpy(data, "data", 4);
	vhdx_put_le32(data + 4, (uint32_t)(n->sequence >> 32));
	memset(data + 8, c->fill, SECTOR - 12);
	vhdx_put_le32(data + SECTOR - 4, (uint32_t)n->sequence + n->bad_data);
}

static void put_zero(uint8_t *desc, const struct change *c, const struct entry *n)
{
	memcpy(desc, "zero", 4);
	vhdx_put_le64(desc + 8, c->zero_bytes);
	vhdx_put_le64(desc + 16, c->off);
	vhdx_put_le64(desc + 24, n->sequence + n->bad_desc);
}

/* Writes the entry; its bytes. */
static uint32_t put_entry(struct rig *k, const struct entry *n)
{
	uint8_t raw[5 * SECTOR] = { 0 };
	struct vhdx_entry head = { .bytes = SECTOR, .tail = n->tail, .sequence = n->sequence };

	head.flushed_bytes = n->flushed ? n->flushed : k->now.bytes;
	head.file_bytes = n->bytes ? n->bytes : k->now.bytes;
	memcpy(head.log_id, n->other_log ? vhdx_guid_bat : log_id, VHDX_GUID_BYTES);
	for (; head.descriptors < ARRAY_LEN(n->c) && n->c[head.descriptors].off; head.descriptors++) {
		const struct change *c = &n->c[head.descriptors];
		uint8_t *desc = raw + VHDX_LOG_HEAD_BYTES + head.descriptors * VHDX_DESC_BYTES;

		if (c->zero_bytes) {
			put_zero(desc, c, n);
			continue;
		}
		put_data(desc, raw + head.bytes, c, n);
		head.bytes += SECTOR;
	}
	vhdx_entry_encode(&head, raw);
	vhdx_sum_set(raw, head.bytes);
	raw[4] ^= n->bad_sum;
	ring_put(k, n->at, raw, head.bytes);
	return head.bytes;
}

/* Both headers name the log. */
static void name_log(struct rig *k)
{
	uint8_t raw[VHDX_HEADER_BYTES];

	for (uint64_t i = 0; i < 2; i++) {
		rig_file_get(&k->now, VHDX_HEADER_AT + i * VHDX_HEADER_STEP, raw, sizeof(raw));
		memcpy(raw + 48, log_id, VHDX_GUID_BYTES);
		vhdx_sum_set(raw, sizeof(raw));
		rig_poke(k, VHDX_HEADER_AT + i * VHDX_HEADER_STEP, raw, sizeof(raw));
	}
}

/* A dynamic image whose block 0 is there, and a log of the entries that end with sequence 0. */
static void image_with(struct rig *k, const struct entry *entries)
{
	uint8_t p[512] = { 0x11 };
	struct layer l;

	rig_file_size(&k->now, 0);
	rig_file_size(&k->kept, 0);
	rig_blob(k, false);
	rig_create(k, "dynamic", DISK, RIG_BLOCK, 512);
	l = rig_open(k);
	assert_int_equal(rig_put(k, &l, 0, p, sizeof(p)), 0);
	assert_int_equal(rig_sync(k, &l), 0);
	l.ops->close(l.l);
	rig_poke(k, RIG_LOG_AT, NULL, LOG);
	for (; entries->sequence; entries++)
		put_entry(k, entries);
	name_log(k);
	rig_blob(k, false);
}

static uint8_t byte_at(struct rig *k, uint64_t off)
{
	uint8_t v;

	rig_file_get(&k->now, off, &v, 1);
	return v;
}

/* The metadata region has room that means nothing: sectors there show what was replayed. */
#define SPOT(i) (RIG_META_AT + 512 * 1024 + (i) * 4096ull)

/* What the spots are after replay of these entries; the log must be closed then. */
static const struct {
	const char *label;
	struct entry e[5];
	uint8_t want[4];
} replays[] = {
	{ "one", { { .at = 0, .tail = 0, .sequence = 1, .c = { { SPOT(0), 0, 5 }, { SPOT(2), 0, 6 } } } }, { 5, 0,
	  6, 0 } },
	{ "order", { { .at = 0, .sequence = 7, .c = { { SPOT(0), 0, 1 }, { SPOT(1), 0, 1 } } },
		     { .at = 3 * SECTOR, .sequence = 8, .c = { { SPOT(0), 0, 2 } } } }, { 2, 1, 0, 0 } },
	{ "zeroes", { { .at = 0, .sequence = 7, .c = { { SPOT(0), 0, 1 }, { SPOT(1), 0, 1 }, { SPOT(2), 0, 1 } } },
		      { .at = 4 * SECTOR, .sequence = 8, .c = { { SPOT(1), 2 * SECTOR, 0 } } } }, { 1, 0, 0, 0 } },
	{ "before_the_tail", { { .at = 0, .sequence = 7, .c = { { SPOT(0), 0, 1 } } },
			       { .at = 2 * SECTOR, .tail = 2 * SECTOR, .sequence = 8, .c = { { SPOT(1), 0, 2 } } } },
	  { 0, 2, 0, 0 } },
	{ "torn_last", { { .at = 0, .sequence = 7, .c = { { SPOT(0), 0, 1 } } },
			 { .at = 2 * SECTOR, .sequence = 8, .c = { { SPOT(1), 0, 2 } }, .bad_sum = true } }, { 1, 0,
			  0, 0 } },
	{ "gap", { { .at = 0, .sequence = 7, .c = { { SPOT(0), 0, 1 } } },
		   { .at = 2 * SECTOR, .sequence = 9, .c = { { SPOT(1), 0, 2 } } } }, { 1, 0, 0, 0 } },
	{ "highest_wins", { { .at = 0, .sequence = 7, .c = { { SPOT(0), 0, 1 } } },
			    { .at = 64 * SECTOR, .tail = 64 * SECTOR, .sequence = 9, .c = { { SPOT(1), 0, 2 } } },
			    { .at = 80 * SECTOR, .tail = 80 * SECTOR, .sequence = 3, .c = { { SPOT(2), 0, 3 } } } },
	  { 0, 2, 0, 0 } },
	{ "tail_elsewhere", { { .at = 0, .sequence = 7, .c = { { SPOT(0), 0, 1 } } },
			      { .at = 64 * SECTOR, .tail = 32 * SECTOR, .sequence = 9, .c = { { SPOT(1), 0, 2 } } } },
	  { 1, 0, 0, 0 } },
	{ "other_log", { { .at = 0, .sequence = 7, .c = { { SPOT(0), 0, 1 } } },
			 { .at = 2 * SECTOR, .sequence = 8, .c = { { SPOT(1), 0, 2 } }, .other_log = true } }, { 1,
			  0, 0, 0 } },
	{ "wrapped_entry", { { .at = LOG - 2 * SECTOR, .tail = LOG - 2 * SECTOR, .sequence = 1ull << 33,
			       .c = { { SPOT(0), 0, 1 }, { SPOT(1), 0, 2 }, { SPOT(2), 0, 3 } } },
			     { .at = 2 * SECTOR, .tail = LOG - 2 * SECTOR, .sequence = (1ull << 33) + 1,
			       .c = { { SPOT(3), 0, 4 } } } }, { 1, 2, 3, 4 } },
	{ "empty_entry", { { .at = 0, .sequence = 7, .c = { { SPOT(0), 0, 1 } } },
			   { .at = 2 * SECTOR, .sequence = 8 } }, { 1, 0, 0, 0 } },
	{ "nothing_logged", { { 0 } }, { 0, 0, 0, 0 } },
};

static void replays_of_all_kinds(void **state)
{
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(replays); i++) {
		uint8_t raw[VHDX_HEADER_BYTES], old_id[VHDX_GUID_BYTES];
		struct vhdx_header h;
		struct layer l;

		image_with(k, replays[i].e);
		rig_file_get(&k->now, VHDX_HEADER_AT + 16, old_id, sizeof(old_id));
		l = rig_open(k);
		l.ops->close(l.l);
		for (unsigned s = 0; s < 4; s++)
			for (unsigned at = 0; at < SECTOR; at += SECTOR - 1)
				if (byte_at(k, SPOT(s) + at) != replays[i].want[s])
					fail_msg("%s: spot %u is %u", replays[i].label, s, byte_at(k, SPOT(s) + at));
		rig_file_get(&k->now, VHDX_HEADER_AT, raw, sizeof(raw));
		assert_true(vhdx_header_decode(raw, &h));
		assert_memory_equal(h.log_id, vhdx_guid_none, VHDX_GUID_BYTES);
		assert_memory_not_equal(h.file_id, old_id, VHDX_GUID_BYTES);
	}
}

/* The log makes the file longer and puts a block there. */
static void longer_file(void **state)
{
	struct rig *k = *state;
	struct entry e[] = { { .sequence = 1, .c = { { RIG_BAT_AT, 0, 0 } } }, { 0 } };
	struct layer_info info;
	struct layer l;
	uint64_t end;

	image_with(k, e);
	end = k->now.bytes;
	e[0].bytes = end + RIG_BLOCK;
	image_with(k, e);
	l = rig_open(k);
	assert_int_equal(k->now.bytes, end + RIG_BLOCK);
	l.ops->info(l.l, &info);
	assert_int_equal(info.used_bytes, 0);
	l.ops->close(l.l);
}

/* Read-only: the BAT is as the log says, the file is not touched. */
static void read_only_overlay(void **state)
{
	static const struct entry e[] = { { .sequence = 1, .c = { { RIG_BAT_AT, 0, 0 } } }, { 0 } };
	struct rig *k = *state;
	struct layer_info info;
	struct err err = ERR_INIT;
	struct layer l;

	image_with(k, e);
	rig_blob(k, true);
	k->writes = 0;
	l = rig_open(k);
	l.ops->info(l.l, &info);
	assert_int_equal(info.used_bytes, 0);
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &err), 2);	/* the log, and the block it lets go */
	l.ops->close(l.l);
	assert_int_equal(k->writes, 0);
	rig_blob(k, false);
	l = rig_open(k);
	l.ops->info(l.l, &info);
	assert_int_equal(info.used_bytes, 0);
	l.ops->close(l.l);
}

static const struct {
	const char *label;
	struct entry e[3];
	bool read_only;
	enum err_code code;
	const char *says;
} refused[] = {
	{ "no_sequence", { { .sequence = 1, .c = { { SPOT(0), 0, 1 } }, .bad_sum = true } }, false, ERR_CORRUPT,
	  "the log is in use, but has no whole sequence of entries" },
	{ "cut_short", { { .sequence = 1, .flushed = 1ull << 40, .c = { { SPOT(0), 0, 1 } } } }, false, ERR_CORRUPT,
	  "the log knows 1099511627776 bytes of the file" },
	{ "too_long", { { .sequence = 1, .bytes = UINT64_MAX, .c = { { SPOT(0), 0, 1 } } } }, false, ERR_CORRUPT,
	  "the log wants a file of 18446744073709551615 bytes" },
	{ "bad_descriptor", { { .sequence = 5, .c = { { SPOT(0), 0, 1 } }, .bad_desc = true } }, false, ERR_CORRUPT,
	  "log entry 5: descriptor 0 is damaged" },
	{ "bad_sector", { { .sequence = 5, .c = { { SPOT(0), 0, 1 } }, .bad_data = true } }, false, ERR_CORRUPT,
	  "log entry 5: descriptor 0 is damaged" },
	{ "on_headers", { { .sequence = 1, .c = { { 4096, 0, 1 } } } }, false, ERR_CORRUPT,
	  "the log changes 4096 bytes at byte 4096, where it must not" },
	{ "on_itself", { { .sequence = 1, .c = { { RIG_LOG_AT + 8192, 0, 1 } } } }, false, ERR_CORRUPT,
	  "the log changes 4096 bytes at byte 1056768, where it must not" },
	{ "unaligned", { { .sequence = 1, .c = { { SPOT(0) + 512, 0, 1 } } } }, false, ERR_CORRUPT,
	  "where it must not" },
	{ "past_the_end", { { .sequence = 1, .c = { { 1ull << 40, 0, 1 } } } }, false, ERR_CORRUPT,
	  "where it must not" },
	{ "zeroes_past_the_end", { { .sequence = 1, .c = { { SPOT(0), 1ull << 40, 0 } } } }, false, ERR_CORRUPT,
	  "the log changes 1099511627776 bytes" },
	{ "data_read_only", { { .sequence = 1, .c = { { DATA_AT + 8192, 0, 1 } } } }, true, ERR_STATE,
	  "the log must be replayed: it changes the data of BAT entry 0" },
};

static void refused_logs(void **state)
{
	struct rig *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct err e = ERR_INIT;
		struct layer l;

		image_with(k, refused[i].e);
		rig_blob(k, refused[i].read_only);
		if (vhdx_format.open(k->b, &l, &e) == 0)
			fail_msg("%s: opened", refused[i].label);
		if (e.code != refused[i].code || !strstr(e.detail, refused[i].says))
			fail_msg("%s: %s: %s", refused[i].label, err_name(e.code), e.detail);
	}
}

/* Entries that lie on one another, each with the whole log as its length, cost no more than a few times the log. */
static void hostile_log(void **state)
{
	static const struct entry none[] = { { 0 } };
	struct rig *k = *state;
	struct err e = ERR_INIT;
	struct layer l;

	image_with(k, none);
	for (uint32_t at = 0; at < LOG; at += SECTOR) {
		struct vhdx_entry n = { .bytes = LOG, .sequence = at + 1 };
		uint8_t raw[SECTOR] = { 0 };

		memcpy(n.log_id, log_id, sizeof(log_id));
		vhdx_entry_encode(&n, raw);
		ring_put(k, at, raw, SECTOR);
	}
	assert_int_equal(vhdx_format.open(k->b, &l, &e), -1);
	assert_non_null(strstr(e.detail, "the log's entries lie on one another"));
}

/* Our own log goes round its ring many times, is left open, and is replayed from wherever it was. */
static void round_the_ring(void **state)
{
	struct rig *k = *state;
	struct vhdx_txn *t = mem_alloc(sizeof(*t));

	image_with(k, (const struct entry[]){ { 0 } });
	for (int session = 0; session < 40; session++) {
		struct layer l = rig_open(k);

		t->v = l.l;
		assert_int_equal(vhdx_start(t->v), 0);
		for (int i = 0; i < 9; i++) {
			bool fresh;

			for (unsigned s = 0; s < 1 + (unsigned)(session * 7 + i) % 60; s++)
				memset(vhdx_txn_sector(t, SPOT(s), &fresh), session + i + 1, SECTOR);
			assert_int_equal(vhdx_txn_commit(t), 0);
		}
		l.ops->close(l.l);
		/* What was put in place is lost, the entries are not. */
		rig_cut(k, rig_nothing, NULL);
		l = rig_open(k);
		assert_int_equal(byte_at(k, SPOT(0)), session + 9);
		l.ops->close(l.l);
	}
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replays_of_all_kinds, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(longer_file, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(read_only_overlay, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(refused_logs, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(hostile_log, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(round_the_ring, rig_up, rig_down),
	};

	return check_main(tests);
}

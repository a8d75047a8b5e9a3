/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring against a front-end that is good, careless or hostile: both layouts,
 * wrap-around, absurd counters, and each rule of a request.
 */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "blkd/blkif_ring.h"

static _Alignas(4096) uint8_t page[BLKIF_PAGE_BYTES * BLKIF_RING_PAGES_MAX];

static void put(unsigned at, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		page[at + i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(unsigned at, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)page[at + i] << (8 * i);
	return v;
}

static void start(struct blkif_ring *r, unsigned pages, enum blkif_abi abi, uint32_t at)
{
	struct err e = ERR_INIT;

	memset(page, 0, sizeof(page));
	put(BLKIF_REQ_PROD_AT, at, 4);
	put(BLKIF_RSP_PROD_AT, at, 4);
	assert_int_equal(blkif_ring_init(r, page, pages, abi, &e), 0);
}

static void sizes(void **state)
{
	static const struct { unsigned pages; enum blkif_abi abi; uint32_t slots; } cases[] = {
		{ 1, BLKIF_ABI_64, 32 }, { 1, BLKIF_ABI_32, 32 }, { 2, BLKIF_ABI_64, 64 }, { 16, BLKIF_ABI_64, 512 },
		{ 16, BLKIF_ABI_32, 512 },
	};
	struct blkif_ring r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start(&r, cases[i].pages, cases[i].abi, 0);
		assert_int_equal(r.slots, cases[i].slots);
	}
}

/* A read of one segment and an indirect write, as either kind of guest lays them out; answered across the wrap. */
static void both_layouts(void **state)
{
	static const struct { enum blkif_abi abi; unsigned slot, id, sector, segs, ref, rsp; } cases[] = {
		{ BLKIF_ABI_64, 112, 8, 16, 24, 28, 16 }, { BLKIF_ABI_32, 108, 4, 12, 20, 24, 12 },
	};
	static struct blkif_req q;
	struct blkif_ring r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned last = BLKIF_SLOTS_AT + 31 * cases[i].slot, first = BLKIF_SLOTS_AT;

		start(&r, 1, cases[i].abi, UINT32_MAX);
		page[last] = BLKIF_READ;
		page[last + 1] = 1;
		put(last + cases[i].id, UINT64_C(0x1122334455667788), 8);
		put(last + cases[i].sector, 77, 8);
		put(last + cases[i].segs, 0xabcdef01, 4);
		page[last + cases[i].segs + 4] = 2;
		page[last + cases[i].segs + 5] = 7;
		page[first] = BLKIF_INDIRECT;
		page[first + 1] = BLKIF_WRITE;
		put(first + 2, 256, 2);
		put(first + cases[i].id, 9, 8);
		put(first + cases[i].sector, 80, 8);
		put(first + cases[i].ref, 4242, 4);
		put(BLKIF_REQ_PROD_AT, 1, 4);

		assert_int_equal(blkif_ring_next(&r, &q), 1);
		assert_int_equal(blkif_req_begin(&q), BLKIF_OKAY);
		assert_true(q.id == UINT64_C(0x1122334455667788) && q.sector == 77 && q.op == BLKIF_READ);
		assert_true(q.segs[0].ref == 0xabcdef01 && q.segs[0].first == 2 && q.segs[0].last == 7);
		assert_int_equal(blkif_ring_next(&r, &q), 1);
		assert_int_equal(blkif_req_begin(&q), BLKIF_OKAY);
		assert_true(q.indirect && q.op == BLKIF_WRITE && q.n_segs == 256 && q.table_ref == 4242 && q.id == 9);
		assert_int_equal(blkif_ring_next(&r, &q), 0);

		put(BLKIF_RSP_EVENT_AT, 1, 4);
		blkif_ring_respond(&r, 9, BLKIF_INDIRECT, BLKIF_UNSUPPORTED);
		assert_int_equal(get(BLKIF_RSP_PROD_AT, 4), UINT32_MAX);	/* not shown yet */
		assert_false(blkif_ring_push(&r));				/* the guest asked for the second */
		blkif_ring_respond(&r, 10, BLKIF_READ, BLKIF_OKAY);
		assert_true(blkif_ring_push(&r));
		assert_false(blkif_ring_push(&r));
		assert_int_equal(get(BLKIF_RSP_PROD_AT, 4), 1);
		assert_int_equal(get(last, 8), 9);
		assert_int_equal(get(last + 8, 1), BLKIF_INDIRECT);
		assert_int_equal((int16_t)get(last + 10, 2), BLKIF_UNSUPPORTED);
		assert_int_equal(get(first, 8), 10);
	}
}

static void absurd_counters(void **state)
{
	static struct blkif_req q;
	struct err e = ERR_INIT;
	struct blkif_ring r;

	(void)state;
	start(&r, 1, BLKIF_ABI_64, 5);
	put(BLKIF_REQ_PROD_AT, 5 + 33, 4);
	assert_int_equal(blkif_ring_next(&r, &q), -1);
	put(BLKIF_REQ_PROD_AT, 5 + 32, 4);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(blkif_ring_next(&r, &q), 1);
	assert_int_equal(blkif_ring_next(&r, &q), 0);
	put(BLKIF_REQ_PROD_AT, 5 + 33, 4);		/* none was answered: there is no slot for it */
	assert_int_equal(blkif_ring_next(&r, &q), -1);
	put(BLKIF_REQ_PROD_AT, 5 + 31, 4);		/* takes one back that we have */
	assert_int_equal(blkif_ring_next(&r, &q), -1);
	put(BLKIF_RSP_PROD_AT, 999, 4);			/* ours; what the guest writes there does not matter */
	put(BLKIF_REQ_PROD_AT, 5 + 32, 4);
	assert_int_equal(blkif_ring_next(&r, &q), 0);
	assert_int_equal(blkif_ring_init(&r, page, 1, BLKIF_ABI_64, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
}

static void bell_for_requests(void **state)
{
	static struct blkif_req q;
	struct blkif_ring r;

	(void)state;
	start(&r, 1, BLKIF_ABI_64, 0);
	assert_false(blkif_ring_more(&r));
	assert_int_equal(get(BLKIF_REQ_EVENT_AT, 4), 1);
	put(BLKIF_REQ_PROD_AT, 1, 4);
	assert_true(blkif_ring_more(&r));
	assert_int_equal(blkif_ring_next(&r, &q), 1);
	assert_false(blkif_ring_more(&r));
	assert_int_equal(get(BLKIF_REQ_EVENT_AT, 4), 2);
}

/* Disk of 800 sectors of 512 bytes unless the case says 4096 or read-only. */
static void rules(void **state)
{
	static const struct {
		const char *label;
		uint8_t op;
		uint16_t n;
		uint8_t first, last;
		uint64_t sector, discard;
		uint32_t unit;
		bool ro;
		enum blkif_status want;
	} cases[] = {
		{ "read", BLKIF_READ, 1, 0, 7, 792, 0, 512, false, BLKIF_OKAY },
		{ "past_end", BLKIF_READ, 1, 0, 7, 793, 0, 512, false, BLKIF_FAILED },
		{ "sector_overflow", BLKIF_WRITE, 1, 0, 7, UINT64_MAX - 3, 0, 512, false, BLKIF_FAILED },
		{ "backwards", BLKIF_READ, 1, 3, 2, 0, 0, 512, false, BLKIF_FAILED },
		{ "past_page", BLKIF_READ, 1, 0, 8, 0, 0, 512, false, BLKIF_FAILED },
		{ "no_segments", BLKIF_READ, 0, 0, 0, 0, 0, 512, false, BLKIF_FAILED },
		{ "twelve", BLKIF_WRITE, 12, 0, 0, 0, 0, 512, false, BLKIF_FAILED },
		{ "eleven", BLKIF_WRITE, 11, 0, 0, 0, 0, 512, false, BLKIF_OKAY },
		{ "write_ro", BLKIF_WRITE, 1, 0, 0, 0, 0, 512, true, BLKIF_FAILED },
		{ "read_ro", BLKIF_READ, 1, 0, 0, 0, 0, 512, true, BLKIF_OKAY },
		{ "flush", BLKIF_FLUSH, 0, 0, 0, UINT64_MAX, 0, 512, false, BLKIF_OKAY },
		{ "barrier", BLKIF_BARRIER, 0, 0, 0, 0, 0, 512, false, BLKIF_UNSUPPORTED },
		{ "unknown", 99, 1, 0, 0, 0, 0, 512, false, BLKIF_UNSUPPORTED },
		{ "discard", BLKIF_DISCARD, 0, 0, 0, 0, 800, 512, false, BLKIF_OKAY },
		{ "discard_none", BLKIF_DISCARD, 0, 0, 0, 0, 0, 512, false, BLKIF_FAILED },
		{ "discard_huge", BLKIF_DISCARD, 0, 0, 0, 8, UINT64_MAX - 7, 512, false, BLKIF_FAILED },
		{ "discard_ro", BLKIF_DISCARD, 0, 0, 0, 0, 8, 512, true, BLKIF_FAILED },
		{ "4k", BLKIF_READ, 1, 0, 7, 8, 0, 4096, false, BLKIF_OKAY },
		{ "4k_start", BLKIF_READ, 1, 0, 7, 4, 0, 4096, false, BLKIF_FAILED },
		{ "4k_length", BLKIF_READ, 1, 0, 3, 8, 0, 4096, false, BLKIF_FAILED },
	};
	static struct blkif_req q;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct blkif_geometry g = { 800, cases[i].unit, cases[i].ro, true };
		unsigned at = BLKIF_SLOTS_AT;
		enum blkif_status st;
		struct blkif_ring r;

		start(&r, 1, BLKIF_ABI_64, 0);
		page[at] = cases[i].op;
		page[at + 1] = (uint8_t)cases[i].n;
		put(at + 16, cases[i].sector, 8);
		if (cases[i].op == BLKIF_DISCARD)
			put(at + 24, cases[i].discard, 8);
		for (unsigned k = 0; k < cases[i].n && k < BLKIF_SEGS_MAX; k++) {
			page[at + 24 + 8 * k + 4] = cases[i].first;
			page[at + 24 + 8 * k + 5] = cases[i].last;
		}
		put(BLKIF_REQ_PROD_AT, 1, 4);
		assert_int_equal(blkif_ring_next(&r, &q), 1);
		st = blkif_req_begin(&q);
		if (st == BLKIF_OKAY)
			st = blkif_req_check(&q, &g);
		if (st != cases[i].want)
			fail_msg("%s: %d, want %d", cases[i].label, st, cases[i].want);
	}
}

static void indirect_limits(void **state)
{
	static const struct { uint8_t op; uint16_t n; enum blkif_status want; } cases[] = {
		{ BLKIF_READ, 256, BLKIF_OKAY }, { BLKIF_READ, 257, BLKIF_FAILED },
		{ BLKIF_READ, 65535, BLKIF_FAILED }, { BLKIF_WRITE, 0, BLKIF_FAILED },
		{ BLKIF_DISCARD, 1, BLKIF_FAILED }, { BLKIF_INDIRECT, 1, BLKIF_FAILED },
	};
	static struct blkif_req q;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		q.indirect = true;
		q.op = cases[i].op;
		q.n_segs = cases[i].n;
		assert_int_equal(blkif_req_begin(&q), cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(both_layouts),
		cmocka_unit_test(absurd_counters),
		cmocka_unit_test(bell_for_requests),
		cmocka_unit_test(rules),
		cmocka_unit_test(indirect_limits),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded reader: right values, and no way past the end.  Inputs are heap
 * blocks of the exact size, so that a sanitizer sees a byte too many.
 */
#include <string.h>

#include "base/buf.h"
#include "base/rd.h"
#include "tests/unit/check.h"

static void values(void **state)
{
	static const uint8_t in[] = {
		1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 1, 0, 'x', 'y', 'z',
	};
	struct rd r = rd_of(in, sizeof(in));
	char two[2];

	(void)state;
	assert_int_equal(rd_u8(&r), 1);
	assert_int_equal(rd_le16(&r), 0x0302);
	assert_int_equal(rd_le32(&r), 0x07060504);
	assert_true(rd_le64(&r) == UINT64_C(0x0807060504030201));
	assert_int_equal(rd_be16(&r), 0x090a);
	assert_int_equal(rd_be32(&r), 0x01020304);
	assert_true(rd_be64(&r) == 256);
	rd_skip(&r, 1);
	rd_copy(&r, two, 2);
	assert_memory_equal(two, "yz", 2);
	assert_int_equal(rd_left(&r), 0);
	assert_false(r.bad);
}

static void u8(struct rd *r) { assert_int_equal(rd_u8(r), 0); }
static void le16(struct rd *r) { assert_int_equal(rd_le16(r), 0); }
static void le32(struct rd *r) { assert_int_equal(rd_le32(r), 0); }
static void le64(struct rd *r) { assert_true(rd_le64(r) == 0); }
static void be16(struct rd *r) { assert_int_equal(rd_be16(r), 0); }
static void be32(struct rd *r) { assert_int_equal(rd_be32(r), 0); }
static void be64(struct rd *r) { assert_true(rd_be64(r) == 0); }
static void bytes(struct rd *r) { assert_null(rd_bytes(r, 9)); }
static void bytes_huge(struct rd *r) { assert_null(rd_bytes(r, SIZE_MAX)); }
static void skip9(struct rd *r) { rd_skip(r, 9); }

static void copy(struct rd *r)
{
	uint8_t out[9];

	memset(out, 0xff, sizeof(out));
	rd_copy(r, out, sizeof(out));
	for (size_t i = 0; i < sizeof(out); i++)
		assert_int_equal(out[i], 0);
}

static void never_past_the_end(void **state)
{
	static const struct { void (*fn)(struct rd *r); size_t needs; } cases[] = {
		{ u8, 1 }, { le16, 2 }, { le32, 4 }, { le64, 8 }, { be16, 2 }, { be32, 4 }, { be64, 8 },
		{ bytes, 9 }, { bytes_huge, 9 }, { skip9, 9 }, { copy, 9 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t have = 0; have < cases[i].needs; have++) {
			AUTO_FREE uint8_t *p = mem_alloc(have);
			struct rd r;

			memset(p, 0xff, have);
			r = rd_of(p, have);
			cases[i].fn(&r);
			assert_true(r.bad);
			/* Bad stays bad, although bytes were left. */
			assert_int_equal(rd_left(&r), 0);
			assert_int_equal(rd_u8(&r), 0);
			assert_null(rd_bytes(&r, 0));
		}
	}
}

static void empty_reads(void **state)
{
	struct rd r = rd_of("", 0);

	(void)state;
	assert_non_null(rd_bytes(&r, 0));
	rd_skip(&r, 0);
	rd_copy(&r, NULL, 0);
	assert_false(r.bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values), cmocka_unit_test(never_past_the_end), cmocka_unit_test(empty_reads),
	};

	return check_main(tests);
}

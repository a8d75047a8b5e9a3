/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owned bytes: growth keeps content, numbers come out in their byte order.
 */
#include <string.h>

#include "base/buf.h"
#include "tests/unit/check.h"

static void numbers(void **state)
{
	AUTO_BUF struct buf b = { 0 };
	static const uint8_t want[] = {
		0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 8, 7, 6, 5, 4, 3, 2, 1,
		0x0a, 0x0b, 0x0c, 0x0d, 1, 2, 3, 4, 5, 6, 7, 8,
	};

	(void)state;
	buf_put_u8(&b, 1);
	buf_put_le16(&b, 0x0203);
	buf_put_le32(&b, 0x04050607);
	buf_put_le64(&b, UINT64_C(0x0102030405060708));
	buf_put_be32(&b, 0x0a0b0c0d);
	buf_put_be64(&b, UINT64_C(0x0102030405060708));
	assert_int_equal(b.len, sizeof(want));
	assert_memory_equal(b.p, want, sizeof(want));
}

static void growth_keeps_content(void **state)
{
	AUTO_BUF struct buf b = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100000; i++)
		buf_put_le32(&b, i);
	assert_int_equal(b.len, 400000);
	for (unsigned i = 0; i < 100000; i++) {
		uint32_t v;

		memcpy(&v, b.p + i * 4, 4);
		assert_int_equal(v, i);
	}
}

static void text(void **state)
{
	AUTO_BUF struct buf b = { 0 };
	AUTO_FREE char *s = mem_printf("%s-%d", "web", 1);

	(void)state;
	buf_printf(&b, "%s", "");
	assert_int_equal(b.len, 0);
	assert_string_equal((char *)b.p, "");
	for (int i = 0; i < 100; i++)
		buf_printf(&b, "%02d,", i);
	assert_int_equal(b.len, 300);
	assert_int_equal(strlen((char *)b.p), 300);
	assert_memory_equal(b.p + 297, "99,", 3);
	assert_string_equal(s, "web-1");
}

static void consume(void **state)
{
	AUTO_BUF struct buf b = { 0 };

	(void)state;
	buf_put(&b, "abcdef", 6);
	buf_put(&b, NULL, 0);
	buf_consume(&b, 0);
	buf_consume(&b, 2);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.p, "cdef", 4);
	buf_consume(&b, 4);
	assert_int_equal(b.len, 0);
}

static void take_and_fini(void **state)
{
	struct buf b = { 0 };
	uint8_t *p;

	(void)state;
	p = buf_take(&b);		/* of an empty one: memory all the same */
	assert_non_null(p);
	free(p);
	buf_put(&b, "x", 1);
	p = buf_take(&b);
	assert_int_equal(p[0], 'x');
	assert_null(b.p);
	assert_int_equal(b.len + b.cap, 0);
	free(p);
	buf_put(&b, "y", 1);
	buf_fini(&b);
	buf_fini(&b);
	assert_null(b.p);
}

static void allocations(void **state)
{
	AUTO_FREE uint8_t *zero = mem_alloc(0);
	AUTO_FREE uint8_t *p = mem_alloc(100);
	AUTO_FREE char *s = mem_strdup("abc");

	(void)state;
	assert_non_null(zero);
	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	assert_string_equal(s, "abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers), cmocka_unit_test(growth_keeps_content), cmocka_unit_test(text),
		cmocka_unit_test(consume), cmocka_unit_test(take_and_fini), cmocka_unit_test(allocations),
	};

	return check_main(tests);
}

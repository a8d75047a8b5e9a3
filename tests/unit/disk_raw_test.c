/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw images: what may be created, odd sizes, growth.
 */
#include "tests/unit/check.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "disk/disk.h"
#include "disk/raw.h"
#include "tests/cuts/cut_blob.h"

static int put_up(void **state)
{
	*state = cut_blob_new();
	return 0;
}

static int tear_down(void **state)
{
	cut_blob_free(*state);
	return 0;
}

static void test_create(void **state)
{
	static const struct {
		const char *label;
		struct layer_create c;
		enum err_code want;
		const char *says;
	} cases[] = {
		{ "plain", { .bytes = 1 << 20 }, ERR_NONE, "" },
		{ "fixed", { .bytes = 512, .kind = "fixed", .sector_bytes = 512 }, ERR_NONE, "" },
		{ "dynamic", { .bytes = 512, .kind = "dynamic" }, ERR_USAGE, "'dynamic'" },
		{ "empty", { .bytes = 0 }, ERR_USAGE, "size 0" },
		{ "odd", { .bytes = 1000 }, ERR_USAGE, "size 1000" },
		{ "too_large", { .bytes = DISK_BYTES_MAX + 512 }, ERR_LIMIT, "limit" },
		{ "sectors", { .bytes = 8192, .sector_bytes = 4096 }, ERR_USAGE, "sectors of 4096" },
		{ "blocks", { .bytes = 8192, .block_bytes = 4096 }, ERR_USAGE, "block size 4096" },
		{ "no_room", { .bytes = CUT_BYTES_MAX + 512 }, ERR_NO_SPACE, "'memory'" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct blob *b;
		struct err e = ERR_INIT;

		cut_blob_reset(*state);
		b = cut_blob_open(*state, false);
		if (raw_format.create(b, &cases[i].c, &e) != (cases[i].want ? -1 : 0) || e.code != cases[i].want ||
		    !strstr(e.detail, cases[i].says))
			fail_msg("%s: %s '%s'", cases[i].label, err_name(e.code), e.detail);
		if (!cases[i].want)
			assert_int_equal(blob_bytes(b), cases[i].c.bytes);
		blob_close(b);
	}
}

static void count_problem(void *arg, bool fixed, const char *text)
{
	assert_false(fixed);
	assert_non_null(strstr(text, "488 bytes"));
	++*(int *)arg;
}

/* The part of a sector at the end is not the guest's, and check says so; growth takes it in. */
static void test_odd_tail(void **state)
{
	struct blob *b = cut_blob_open(*state, false);
	struct err e = ERR_INIT;
	struct layer_info info;
	struct layer l;
	int problems = 0;

	assert_int_equal(blob_set_bytes(b, 511), 0);
	assert_int_equal(raw_format.open(b, &l, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_int_equal(blob_set_bytes(b, 1000), 0);
	assert_int_equal(raw_format.open(b, &l, &e), 0);
	l.ops->info(l.l, &info);
	assert_int_equal(info.bytes, 512);
	assert_int_equal(l.ops->check(l.l, true, count_problem, &problems, &e), 1);
	assert_int_equal(problems, 1);
	assert_int_equal(l.ops->resize(l.l, 1024, &e), 0);
	assert_int_equal(l.ops->check(l.l, true, count_problem, &problems, &e), 0);
	l.ops->close(l.l);
	blob_close(b);
}

static void test_resize(void **state)
{
	struct blob *b = cut_blob_open(*state, false);
	struct err e = ERR_INIT;
	struct layer_info info;
	struct layer l;

	assert_int_equal(blob_set_bytes(b, 4096), 0);
	assert_int_equal(raw_format.open(b, &l, &e), 0);
	assert_int_equal(l.ops->resize(l.l, 2048, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);
	assert_int_equal(l.ops->resize(l.l, 4097, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_int_equal(l.ops->resize(l.l, CUT_BYTES_MAX + 512, &e), -1);
	assert_int_equal(e.code, ERR_NO_SPACE);
	l.ops->info(l.l, &info);
	assert_int_equal(info.bytes, 4096);
	assert_int_equal(l.ops->resize(l.l, 8192, &e), 0);
	l.ops->info(l.l, &info);
	assert_int_equal(info.bytes, 8192);
	assert_int_equal(blob_bytes(b), 8192);
	l.ops->close(l.l);
	blob_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_odd_tail, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_resize, put_up, tear_down),
	};

	return check_main(tests);
}

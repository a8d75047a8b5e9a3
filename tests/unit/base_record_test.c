/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: what was saved comes back; a file with any byte changed or any
 * part missing does not.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/record.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

static int start(void **state)
{
	struct tmp *t = mem_alloc(sizeof(*t));

	tmp_init(t);
	tmp_path(t, "owner.json");
	*state = t;
	return 0;
}

static int end(void **state)
{
	tmp_fini(*state);
	free(*state);
	return 0;
}

static json_t *sample(void)
{
	return json_pack("{ss si sb sn s[iif] s{ss}}", "vm", "web\xc3\xa4\n1", "generation", 7, "on", 1, "peer",
			 "list", 1, -2, 0.1, "sub", "b", "x");
}

static void round_trip(void **state)
{
	struct tmp *t = *state;
	AUTO_JSON json_t *in = sample(), *out = NULL;
	struct stat st;
	struct err e = ERR_INIT;

	assert_int_equal(record_save(t->path, in, &e), 0);
	assert_int_equal(record_load(t->path, &out, &e), 0);
	assert_true(json_equal(in, out));
	assert_int_equal(stat(t->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(tmp_count(t->dir), 1);
}

static void layout_does_not_matter(void **state)
{
	struct tmp *t = *state;
	/* crc32 of {"a":1,"b":"x"} by an implementation that is not ours (python3 zlib.crc32). */
	static const char text[] = "{ \"b\": \"x\",\n\t\"crc\": \"f27f2754\", \"a\": 1 }\n";
	AUTO_JSON json_t *out = NULL, *want = json_pack("{si ss}", "a", 1, "b", "x");
	struct err e = ERR_INIT;

	assert_int_equal(fd_write_file(t->path, text, strlen(text), 0600, &e), 0);
	assert_int_equal(record_load(t->path, &out, &e), 0);
	assert_true(json_equal(want, out));
}

static void every_flipped_byte_is_found(void **state)
{
	struct tmp *t = *state;
	AUTO_JSON json_t *in = sample();
	AUTO_BUF struct buf b = { 0 };
	struct err e = ERR_INIT;

	assert_int_equal(record_save(t->path, in, &e), 0);
	assert_int_equal(fd_read_file(t->path, RECORD_BYTES_MAX, &b, &e), 0);
	for (size_t i = 0; i < b.len * 8; i++) {
		AUTO_JSON json_t *out = NULL;

		b.p[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(fd_write_file(t->path, b.p, b.len, 0600, &e), 0);
		/* The only change that may pass is one of spelling alone. */
		if (record_load(t->path, &out, &e) == 0)
			assert_true(json_equal(in, out));
		else
			assert_int_equal(e.code, ERR_CORRUPT);
		b.p[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

static void bad_files(void **state)
{
	static const struct { const char *text; size_t n; } cases[] = {
		{ "", 0 }, { "{}", 2 }, { "[]", 2 }, { "{\"a\":1}", 7 }, { "{\"crc\":5}", 9 },
		{ "{\"a\":1,\"crc\":\"", 14 }, { "\0\0\0\0", 4 }, { "{\"a\":1,\"crc\":\"00000000\"}", 24 },
	};
	struct tmp *t = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *out = NULL;
		struct err e = ERR_INIT;

		assert_int_equal(fd_write_file(t->path, cases[i].text, cases[i].n, 0600, &e), 0);
		assert_int_equal(record_load(t->path, &out, &e), -1);
		assert_int_equal(e.code, ERR_CORRUPT);
		assert_non_null(strstr(e.detail, t->path));
		assert_true(e.remedy[0] != '\0');
		assert_null(out);
	}
}

static void missing_and_misuse(void **state)
{
	struct tmp *t = *state;
	AUTO_JSON json_t *arr = json_array(), *big = NULL, *with_crc = json_pack("{ss si}", "crc", "x", "a", 1);
	AUTO_JSON json_t *out = NULL;
	AUTO_FREE char *text = mem_alloc(RECORD_BYTES_MAX + 1);
	struct err e = ERR_INIT;

	assert_int_equal(record_load(t->path, &out, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(record_save(t->path, arr, &e), -1);
	assert_int_equal(e.code, ERR_INTERNAL);
	memset(text, 'x', RECORD_BYTES_MAX);
	big = json_pack("{ss}", "t", text);
	assert_int_equal(record_save(t->path, big, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(tmp_count(t->dir), 0);
	assert_int_equal(record_save(t->path, with_crc, &e), 0);
	assert_string_equal(json_string_value(json_object_get(with_crc, "crc")), "x");	/* borrowed: unchanged */
	assert_int_equal(record_load(t->path, &out, &e), 0);
	assert_int_equal(json_object_size(out), 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(round_trip), T(layout_does_not_matter), T(every_flipped_byte_is_found), T(bad_files),
		T(missing_and_misuse),
	};

	return check_main(tests);
}

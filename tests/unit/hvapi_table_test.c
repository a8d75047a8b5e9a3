/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables: units, widths, values of every kind, and text that tries to drive
 * the terminal.
 */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/js.h"
#include "hvapi/cli/table.h"

static json_t *json_of(const char *text)
{
	struct err e = ERR_INIT;
	json_t *o = NULL;

	if (js_parse(text, strlen(text), &o, &e) < 0)
		fail_msg("%s: %s", text, e.detail);
	return o;
}

enum how { PRINT, SHOW, LINE };

/* What a table function writes; caller frees. */
static char *written(enum how how, const struct table_col *cols, const json_t *v)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	if (how == PRINT)
		table_print(f, cols, v);
	else if (how == SHOW)
		table_show(f, cols, v);
	else
		table_line(f, cols, v);
	fclose(f);
	return text;
}

static void test_values(void **state)
{
	static const struct {
		const char *label, *json;
		enum table_unit unit;
		const char *want;
	} cases[] = {
		{ "text", "{\"v\": \"web1\"}", TABLE_TEXT, "web1" },
		{ "empty", "{\"v\": \"\"}", TABLE_TEXT, "" },
		{ "absent", "{}", TABLE_TEXT, "-" },
		{ "null", "{\"v\": null}", TABLE_BYTES, "-" },
		{ "yes", "{\"v\": true}", TABLE_TEXT, "yes" },
		{ "no", "{\"v\": false}", TABLE_TEXT, "no" },
		{ "number", "{\"v\": 12345678}", TABLE_TEXT, "12345678" },
		{ "fraction", "{\"v\": 1.5}", TABLE_TEXT, "1.50" },
		{ "negative", "{\"v\": -1}", TABLE_TEXT, "-1" },
		{ "list", "{\"v\": [\"a\", 1]}", TABLE_TEXT, "[\"a\",1]" },
		{ "object", "{\"v\": {\"a\": {}}}", TABLE_TEXT, "{\"a\":{}}" },
		{ "bytes", "{\"v\": 1023}", TABLE_BYTES, "1023 B" },
		{ "kib", "{\"v\": 1024}", TABLE_BYTES, "1.0 KiB" },
		{ "gib", "{\"v\": 1610612736}", TABLE_BYTES, "1.5 GiB" },
		{ "largest", "{\"v\": 1125899906842624}", TABLE_BYTES, "1024.0 TiB" },
		{ "mib", "{\"v\": 128}", TABLE_MIB, "128.0 MiB" },
		{ "ms", "{\"v\": 180}", TABLE_MS, "180 ms" },
		{ "s", "{\"v\": 12345}", TABLE_MS, "12.3 s" },
		{ "time", "{\"v\": 1000}", TABLE_TIME_MS, "1970-01-01T00:00:01" },
		{ "fingerprint", "{\"v\": \"0123456789abcdef0123456789abcdef\"}", TABLE_FINGERPRINT,
		  "0123456789abcdef" },
		{ "short_fingerprint", "{\"v\": \"01\"}", TABLE_FINGERPRINT, "01" },
		{ "escape", "{\"v\": \"a\\u001b[2Jb\\n\\u007f\"}", TABLE_TEXT, "a?[2Jb??" },
		{ "c1", "{\"v\": \"a\\u009b1mb\\u0080\\u009f\"}", TABLE_TEXT, "a?1mb??" },
		{ "utf8", "{\"v\": \"\\u00a0\\u00e4\\u20ac\"}", TABLE_TEXT, "\xc2\xa0\xc3\xa4\xe2\x82\xac" },
		{ "list_escape", "{\"v\": [\"\\u009b\"]}", TABLE_TEXT, "[\"?\"]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct table_col cols[] = { { "V", "v", cases[i].unit }, { NULL, NULL, TABLE_TEXT } };
		AUTO_JSON json_t *row = json_of(cases[i].json);
		AUTO_FREE char *got = written(LINE, cols, row);
		size_t n = strlen(cases[i].want);

		if (strncmp(got, cases[i].want, n) || strcmp(got + n, "\n"))
			fail_msg("%s: '%s'", cases[i].label, got);
	}
}

static const struct table_col cols[] = {
	{ "NAME", "name", TABLE_TEXT },
	{ "MEMORY", "config.memory_mib", TABLE_MIB },
	{ "ON", "on", TABLE_TEXT },
	{ NULL, NULL, TABLE_TEXT },
};

static void test_rows(void **state)
{
	AUTO_JSON json_t *rows = json_of("[{\"name\": \"a-long-name\", \"config\": {\"memory_mib\": 2048},"
					 " \"on\": true},"
					 " {\"name\": \"b\", \"config\": null}]");
	AUTO_JSON json_t *none = json_array();
	AUTO_FREE char *got = written(PRINT, cols, rows);
	AUTO_FREE char *empty = written(PRINT, cols, none);
	AUTO_FREE char *absent = written(PRINT, cols, NULL);

	(void)state;
	assert_string_equal(got, "NAME         MEMORY   ON\n"
				 "a-long-name  2.0 GiB  yes\n"
				 "b            -        -\n");
	assert_string_equal(empty, "NAME  MEMORY  ON\n");
	assert_string_equal(absent, empty);
}

static void test_one(void **state)
{
	AUTO_JSON json_t *row = json_of("{\"name\": \"a\", \"config\": {\"memory_mib\": 1}}");
	AUTO_FREE char *shown = written(SHOW, cols, row);
	AUTO_FREE char *line = written(LINE, cols, row);

	(void)state;
	assert_string_equal(shown, "NAME    a\nMEMORY  1.0 MiB\nON      -\n");
	assert_string_equal(line, "a  1.0 MiB  -\n");
}

static void test_at(void **state)
{
	AUTO_JSON json_t *o = json_of("{\"a\": {\"b\": {\"c\": 7}}, \"x\": 1}");

	(void)state;
	assert_int_equal(json_integer_value(table_at(o, "a.b.c")), 7);
	assert_int_equal(json_integer_value(table_at(o, "x")), 1);
	assert_null(table_at(o, "x.y"));
	assert_null(table_at(o, "a.no.c"));
	assert_null(table_at(NULL, "a"));
	assert_null(table_at(o, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values), cmocka_unit_test(test_rows), cmocka_unit_test(test_one),
		cmocka_unit_test(test_at),
	};

	return check_main(tests);
}

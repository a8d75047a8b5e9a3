/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked reading of JSON: every wrong kind is refused by name, optional
 * fields leave the default, errors survive the way there and back.
 */
#include <string.h>

#include "base/js.h"
#include "tests/unit/check.h"

static json_t *of(const char *text)
{
	struct err e = ERR_INIT;
	json_t *o = NULL;

	assert_int_equal(js_parse(text, strlen(text), &o, &e), 0);
	return o;
}

static void parse_refuses(void **state)
{
	static const struct { const char *text; size_t n; } cases[] = {
		{ "", 0 }, { "{", 1 }, { "7", 1 }, { "\"x\"", 3 }, { "{} {}", 5 }, { "{\"a\":1,\"a\":2}", 13 },
		{ "{\"a\":\"\xff\"}", 9 }, { "{\0}", 3 }, { "{\"a\":99999999999999999999}", 26 }, { "nul", 3 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		json_t *o = NULL;

		assert_int_equal(js_parse(cases[i].text, cases[i].n, &o, &e), -1);
		assert_int_equal(e.code, ERR_USAGE);
		assert_null(o);
	}
}

static void getters(void **state)
{
	AUTO_JSON json_t *o = of("{\"t\":\"x\",\"n\":7,\"o\":{},\"a\":[1],\"b\":true}");
	const char *t = NULL;
	uint64_t n = 0;
	json_t *sub = NULL, *arr = NULL;
	bool b = false;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(js_text(o, "t", &t, &e), 0);
	assert_string_equal(t, "x");
	assert_int_equal(js_u64(o, "n", 7, &n, &e), 0);
	assert_int_equal(n, 7);
	assert_int_equal(js_obj(o, "o", &sub, &e) + js_arr(o, "a", &arr, &e) + js_opt_bool(o, "b", &b, &e), 0);
	assert_true(json_is_object(sub) && json_is_array(arr) && b);
}

static void number_bounds(void **state)
{
	static const struct { const char *text; uint64_t max; int want; } cases[] = {
		{ "{\"n\":0}", 0, 0 }, { "{\"n\":1}", 0, -1 }, { "{\"n\":-1}", UINT64_MAX, -1 },
		{ "{\"n\":9223372036854775807}", UINT64_MAX, 0 }, { "{\"n\":1.0}", 5, -1 }, { "{\"n\":\"1\"}", 5, -1 },
		{ "{\"n\":true}", 5, -1 }, { "{\"n\":null}", 5, -1 }, { "{}", 5, -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_JSON json_t *o = of(cases[i].text);
		struct err e = ERR_INIT;
		uint64_t n = 1234;

		assert_int_equal(js_u64(o, "n", cases[i].max, &n, &e), cases[i].want);
		if (cases[i].want < 0) {
			assert_int_equal(n, 1234);
			assert_non_null(strstr(e.detail, "'n'"));
		}
	}
}

static void wrong_kinds_name_the_field(void **state)
{
	AUTO_JSON json_t *o = of("{\"x\":[]}");
	AUTO_JSON json_t *p = of("{\"x\":1}");
	const char *t = NULL;
	json_t *j = NULL;
	bool b = false;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(js_text(o, "x", &t, &e), -1);
	assert_string_equal(e.detail, "field 'x' must be text, is an array");
	assert_int_equal(js_obj(o, "x", &j, &e), -1);
	assert_int_equal(js_arr(p, "x", &j, &e), -1);
	assert_int_equal(js_opt_bool(p, "x", &b, &e), -1);
	assert_int_equal(js_opt_text(o, "x", &t, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_int_equal(js_text(p, "gone", &t, &e), -1);
	assert_string_equal(e.detail, "field 'gone' must be text, is absent");
	assert_true(!t && !j && !b);
}

static void optional_keeps_default(void **state)
{
	AUTO_JSON json_t *o = of("{\"t\":null,\"n\":null,\"b\":null}");
	const char *t = "default", *keys[] = { "t", "absent" };
	uint64_t n = 42;
	bool b = true;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		assert_int_equal(js_opt_text(o, keys[i], &t, &e), 0);
	assert_int_equal(js_opt_u64(o, "n", 1, &n, &e) + js_opt_bool(o, "b", &b, &e), 0);
	assert_string_equal(t, "default");
	assert_true(n == 42 && b);
}

static void only(void **state)
{
	static const char *const known[] = { "a", "b", NULL };
	AUTO_JSON json_t *good = of("{\"b\":1}");
	AUTO_JSON json_t *bad = of("{\"a\":1,\"typo\":2}");
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(js_only(good, known, &e), 0);
	assert_int_equal(js_only(bad, known, &e), -1);
	assert_string_equal(e.detail, "field 'typo' is not known here");
}

static void errors_there_and_back(void **state)
{
	struct err in = ERR_INIT, out = ERR_INIT;
	AUTO_JSON json_t *o = NULL, *bytes = NULL, *liar = of("{\"code\":\"none\"}"), *odd = of("{\"code\":5}");

	(void)state;
	err_set(&in, ERR_STATE, "vm runs");
	err_remedy(&in, "stop it");
	o = js_from_err(&in);
	js_to_err(o, &out);
	assert_int_equal(out.code, ERR_STATE);
	assert_string_equal(out.detail, "vm runs");
	assert_string_equal(out.remedy, "stop it");

	err_set(&in, ERR_IO, "name \xff\xfe");
	bytes = js_from_err(&in);
	assert_non_null(bytes);
	js_to_err(bytes, &out);
	assert_int_equal(out.code, ERR_IO);

	js_to_err(liar, &out);
	assert_int_equal(out.code, ERR_INTERNAL);
	js_to_err(odd, &out);
	assert_int_equal(out.code, ERR_INTERNAL);
	assert_string_equal(out.remedy, "");
}

static void text_or_nothing(void **state)
{
	AUTO_JSON json_t *o = json_pack("{s:s, s:i, s:n}", "name", "web1", "n", 1, "null");

	(void)state;
	assert_string_equal(js_get_text(o, "name"), "web1");
	assert_string_equal(js_get_text(o, "n"), "");
	assert_string_equal(js_get_text(o, "null"), "");
	assert_string_equal(js_get_text(o, "absent"), "");
	assert_string_equal(js_get_text(NULL, "name"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_refuses), cmocka_unit_test(getters), cmocka_unit_test(number_bounds),
		cmocka_unit_test(wrong_kinds_name_the_field), cmocka_unit_test(optional_keeps_default),
		cmocka_unit_test(only), cmocka_unit_test(text_or_nothing), cmocka_unit_test(errors_there_and_back),
	};

	return check_main(tests);
}

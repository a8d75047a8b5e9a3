/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Problems: every code has a status, a title and a remedy.
 */
#include "tests/unit/check.h"

#include <string.h>

#include "base/js.h"
#include "hvapi/http/problem.h"

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (!s || !*s)
		fail_msg("member '%s' is missing", key);
	return s;
}

static void test_every_code(void **state)
{
	(void)state;
	for (enum err_code c = ERR_USAGE; c < ERR_CODE_N; c++) {
		struct err e = ERR_INIT;
		AUTO_JSON json_t *o = NULL;
		char type[64];

		err_set(&e, c, "what failed");
		o = problem_json(&e, problem_status(c), NULL);
		assert_in_range(problem_status(c), 400, 599);
		assert_int_equal(json_integer_value(json_object_get(o, "status")), problem_status(c));
		snprintf(type, sizeof(type), "hvapi:%s", err_name(c));
		assert_string_equal(text(o, "type"), type);
		assert_string_equal(text(o, "code"), err_name(c));
		assert_string_equal(text(o, "detail"), "what failed");
		text(o, "title");
		text(o, "remedy");
		assert_null(json_object_get(o, "problems"));
	}
}

static void test_own_remedy_and_list(void **state)
{
	AUTO_JSON json_t *list = json_pack("[{ss}]", "code", "memory-short"), *o = NULL;
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, ERR_REFUSED, "no");
	err_remedy(&e, "do this");
	o = problem_json(&e, 409, list);
	assert_string_equal(text(o, "remedy"), "do this");
	assert_true(json_equal(json_object_get(o, "problems"), list));
}

/* A code that no version knows must not read past the table. */
static void test_strange_code(void **state)
{
	struct err e = { .code = (enum err_code)999 };
	AUTO_JSON json_t *o = problem_json(&e, problem_status(e.code), NULL);

	(void)state;
	assert_int_equal(problem_status(e.code), 500);
	assert_string_equal(text(o, "type"), "hvapi:internal");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_code),
		cmocka_unit_test(test_own_remedy_and_list),
		cmocka_unit_test(test_strange_code),
	};

	return check_main(tests);
}

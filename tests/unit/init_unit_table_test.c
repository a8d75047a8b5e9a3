/* SPDX-License-Identifier: Apache-2.0 */
/* Names of units pick programs; nothing else does. */
#include <string.h>

#include "init/unit_table.h"
#include "tests/unit/check.h"

static void names(void **state)
{
	static const struct {
		const char *name;
		enum err_code want;
		const char *pattern;
	} cases[] = {
		{ "hvtls", ERR_NONE, "hvtls" },
		{ "hvapid", ERR_NONE, "hvapid" },
		{ "domd/web1", ERR_NONE, "domd/" },
		{ "domd/a.b_c-9", ERR_NONE, "domd/" },
		{ "migrate/7f", ERR_NONE, "migrate/" },
		{ "domd/", ERR_USAGE, NULL },
		{ "domd/..", ERR_USAGE, NULL },
		{ "domd/.hidden", ERR_USAGE, NULL },
		{ "domd/a/b", ERR_USAGE, NULL },
		{ "domd/a b", ERR_USAGE, NULL },
		{ "domd/12345678901234567890123456789012345678901234567890123456789012345", ERR_USAGE, NULL },
		{ "hvtls2", ERR_NOT_FOUND, NULL },
		{ "/bin/sh", ERR_NOT_FOUND, NULL },
		{ "", ERR_NOT_FOUND, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct unit_def *d = NULL;
		struct err e = ERR_INIT;
		int rc = unit_table_find(unit_table, cases[i].name, &d, &e);

		if (rc != (cases[i].want ? -1 : 0) || e.code != cases[i].want)
			fail_msg("'%s': %d %s", cases[i].name, rc, e.detail);
		if (cases[i].pattern)
			assert_string_equal(d->pattern, cases[i].pattern);
	}
}

/* What may be asked for from outside, and as whom daemons run, is a promise to the other daemons. */
static void rights(void **state)
{
	static const struct {
		const char *name;
		unsigned spawn;
		uid_t uid;
	} want[] = {
		{ "hvtls", UNIT_SPAWN, USER_HVTLS }, { "hvapid", 0, USER_HVAPID }, { "domd/x", UNIT_SPAWN, 0 },
		{ "migrate/x", UNIT_SPAWN, 0 }, { "xenstored", 0, 0 }, { "mkfs", 0, 0 }, { "shell", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		const struct unit_def *d = NULL;
		struct err e = ERR_INIT;

		assert_int_equal(unit_table_find(unit_table, want[i].name, &d, &e), 0);
		assert_int_equal(d->flags & UNIT_SPAWN, want[i].spawn);
		assert_int_equal(d->uid, want[i].uid);
	}
}

static void restart_words(void **state)
{
	struct err e = ERR_INIT;
	enum unit_restart r;

	(void)state;
	for (int i = 0; i < UNIT_RESTART_N; i++) {
		assert_int_equal(unit_restart_parse(unit_restart_name((enum unit_restart)i), &r, &e), 0);
		assert_int_equal(r, i);
	}
	assert_int_equal(unit_restart_parse("sometimes", &r, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(rights),
		cmocka_unit_test(restart_words),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options: what is taken, what is refused and with which words, and that the
 * help names every option.
 */
#include <string.h>

#include "base/opt.h"
#include "tests/unit/check.h"

static struct { bool flag; const char *name; uint64_t n, ms; struct opt_list list; } got;

static const struct opt table[] = {
	{ "flag", OPT_FLAG, &got.flag, NULL, "turns it on" },
	{ "name", OPT_TEXT, &got.name, "NAME", "a name" },
	{ "n", OPT_U64, &got.n, "COUNT", "a number" },
	{ "wait", OPT_MS, &got.ms, "TIME", "a time" },
	{ "a-rather-long-name", OPT_LIST, &got.list, "WHAT", "more" },
	{ .name = NULL },
};

enum { ARGS_MAX = 80 };

/* Splits words at spaces; a "" stands for an empty argument. */
static int run(const char *line, char **argv, int *n_args, struct err *e)
{
	static char text[4096];
	int argc = 1;
	char *save = NULL, prog[] = "prog";
	static char prog_copy[8];

	memset(&got, 0, sizeof(got));
	memcpy(prog_copy, prog, sizeof(prog));
	snprintf(text, sizeof(text), "%s", line);
	argv[0] = prog_copy;
	for (char *w = strtok_r(text, " ", &save); w && argc < ARGS_MAX - 1; w = strtok_r(NULL, " ", &save))
		argv[argc++] = strcmp(w, "\"\"") ? w : w + 2;
	argv[argc] = NULL;
	return opt_parse(table, argc, argv, n_args, e);
}

static void taken(void **state)
{
	char *argv[ARGS_MAX];
	int n = -1;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(run("one --flag --name web1 two --n=18446744073709551615 --wait 2s - "
			     "--a-rather-long-name x --a-rather-long-name=--y -- --flag", argv, &n, &e), 0);
	assert_true(got.flag);
	assert_string_equal(got.name, "web1");
	assert_true(got.n == UINT64_MAX);
	assert_int_equal(got.ms, 2000);
	assert_int_equal(got.list.n, 2);
	assert_string_equal(got.list.v[0], "x");
	assert_string_equal(got.list.v[1], "--y");
	assert_int_equal(n, 4);
	assert_string_equal(argv[1], "one");
	assert_string_equal(argv[2], "two");
	assert_string_equal(argv[3], "-");
	assert_string_equal(argv[4], "--flag");
}

static void empty_values(void **state)
{
	char *argv[ARGS_MAX];
	int n = -1;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(run("--name= \"\"", argv, &n, &e), 0);
	assert_string_equal(got.name, "");
	assert_int_equal(n, 1);
	assert_string_equal(argv[1], "");
	assert_int_equal(run("", argv, &n, &e), 0);
	assert_int_equal(n, 0);
	assert_null(got.name);
}

static void refused(void **state)
{
	static const struct { const char *line, *says; } cases[] = {
		{ "--nam x", "'--nam'" }, { "--names x", "'--names'" }, { "--x=1", "'--x'" }, { "-f", "'-f'" },
		{ "--flag=1", "--flag takes no value" }, { "--name", "--name needs a value: NAME" },
		{ "--name --flag", "--name needs a value" }, { "--n x", "not 'x'" }, { "--n -1", "not '-1'" },
		{ "--n 1x", "not '1x'" }, { "--n=", "not ''" }, { "--n 18446744073709551616", "whole number" },
		{ "--n 0x10", "not '0x10'" }, { "--wait 2d", "--wait: '2d'" }, { "--wait s", "--wait: 's'" },
		{ "--wait 1.5s", "'1.5s'" }, { "--wait 18446744073709551615h", "duration" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *argv[ARGS_MAX];
		int n = -1;
		struct err e = ERR_INIT;

		assert_int_equal(run(cases[i].line, argv, &n, &e), -1);
		assert_int_equal(e.code, ERR_USAGE);
		if (!strstr(e.detail, cases[i].says))
			fail_msg("'%s' gave: %s", cases[i].line, e.detail);
		assert_int_equal(n, -1);
	}
}

static void list_is_bounded(void **state)
{
	char *argv[ARGS_MAX], line[4096] = "";
	int n = -1;
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 0; i < OPT_LIST_MAX; i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), "--a-rather-long-name=%d ", i);
	assert_int_equal(run(line, argv, &n, &e), 0);
	assert_int_equal(got.list.n, OPT_LIST_MAX);
	snprintf(line + strlen(line), sizeof(line) - strlen(line), "--a-rather-long-name=x");
	assert_int_equal(run(line, argv, &n, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

static void durations(void **state)
{
	static const struct { const char *text; uint64_t ms; } cases[] = {
		{ "0", 0 }, { "250", 250 }, { "300ms", 300 }, { "2s", 2000 }, { "5m", 300000 }, { "1h", 3600000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t ms = 1;
		struct err e = ERR_INIT;

		assert_int_equal(opt_duration_ms(cases[i].text, &ms, &e), 0);
		assert_true(ms == cases[i].ms);
	}
}

static void help_names_all(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	opt_help(table, f);
	fclose(f);
	assert_non_null(strstr(text, "  --flag                    turns it on\n"));
	assert_non_null(strstr(text, "  --name NAME               a name\n"));
	assert_non_null(strstr(text, "  --a-rather-long-name WHAT more (may be repeated)\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken), cmocka_unit_test(empty_values), cmocka_unit_test(refused),
		cmocka_unit_test(list_is_bounded), cmocka_unit_test(durations), cmocka_unit_test(help_names_all),
	};

	return check_main(tests);
}

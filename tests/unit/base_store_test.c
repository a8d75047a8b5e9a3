/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database: schema steps one by one, also onto an older file and not onto
 * a newer one; values, constraints, transactions.
 */
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/store.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

#define STEP1 "CREATE TABLE vm (id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INTEGER, doc TEXT);" \
	"CREATE TABLE disk (vm INTEGER NOT NULL REFERENCES vm (id), size INTEGER CHECK (size >= 0))"
#define STEP2 "ALTER TABLE vm ADD COLUMN peer TEXT; UPDATE vm SET peer = 'none'"

static const char *const one_step[] = { STEP1, NULL };
static const char *const two_steps[] = { STEP1, STEP2, NULL };
static const char *const broken_step[] = { STEP1, "ALTER TABLE vm ADD COLUMN peer TEXT; SYNTAX ERROR", NULL };

static int start(void **state)
{
	struct tmp *t = mem_alloc(sizeof(*t));

	tmp_init(t);
	tmp_path(t, "test.db");
	*state = t;
	return 0;
}

static int end(void **state)
{
	tmp_fini(*state);
	free(*state);
	return 0;
}

static struct store *open_with(struct tmp *t, const char *const *steps)
{
	struct store *s = NULL;
	struct err e = ERR_INIT;

	if (store_open(t->path, steps, &s, &e) < 0)
		fail_msg("%s", e.detail);
	return s;
}

static int take_text(void *arg, sqlite3_stmt *row)
{
	buf_printf(arg, "%s|", store_text(row, 0));
	return 0;
}

static void want(struct store *s, const char *sql, const char *text)
{
	AUTO_BUF struct buf b = { 0 };
	struct err e = ERR_INIT;

	buf_printf(&b, "%s", "");
	if (store_each(s, take_text, &b, &e, sql, "") < 0)
		fail_msg("%s", e.detail);
	assert_string_equal((char *)b.p, text);
}

static void add(struct store *s, const char *name)
{
	struct err e = ERR_INIT;

	assert_int_equal(store_run(s, &e, "INSERT INTO vm (name, n) VALUES (?, ?)", "si", name, INT64_MAX), 0);
}

static void settings(void **state)
{
	struct store *s = open_with(*state, one_step);

	want(s, "PRAGMA journal_mode", "wal|");
	want(s, "PRAGMA synchronous", "2|");
	want(s, "PRAGMA foreign_keys", "1|");
	want(s, "PRAGMA user_version", "1|");
	store_close(s);
	store_close(NULL);
}

static void step_by_step(void **state)
{
	struct store *s = open_with(*state, one_step);

	add(s, "web1");
	store_close(s);
	s = open_with(*state, two_steps);
	want(s, "PRAGMA user_version", "2|");
	want(s, "SELECT name || '/' || peer FROM vm", "web1/none|");
	store_close(s);
	s = open_with(*state, two_steps);	/* nothing left to do */
	want(s, "SELECT name FROM vm", "web1|");
	store_close(s);
}

static void newer_database_is_refused(void **state)
{
	struct tmp *t = *state;
	struct store *s = open_with(t, two_steps);
	struct err e = ERR_INIT;

	store_close(s);
	s = NULL;
	assert_int_equal(store_open(t->path, one_step, &s, &e), -1);
	assert_int_equal(e.code, ERR_INCOMPATIBLE);
	assert_null(s);
}

static void broken_step_leaves_the_old_schema(void **state)
{
	struct tmp *t = *state;
	struct store *s = open_with(t, one_step);
	struct err e = ERR_INIT;

	store_close(s);
	assert_int_equal(store_open(t->path, broken_step, &s, &e), -1);
	assert_non_null(strstr(e.detail, "schema step 2"));
	s = open_with(t, one_step);
	want(s, "PRAGMA user_version", "1|");
	want(s, "SELECT name FROM pragma_table_info('vm') WHERE name = 'peer'", "");
	store_close(s);
}

static void foreign_file_is_refused(void **state)
{
	struct tmp *t = *state;
	char junk[8192];
	struct store *s = NULL;
	struct err e = ERR_INIT;

	memset(junk, 'j', sizeof(junk));
	assert_int_equal(fd_write_file(t->path, junk, sizeof(junk), 0600, &e), 0);
	assert_int_equal(store_open(t->path, one_step, &s, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_int_equal(store_open("/no/such/folder/x.db", one_step, &s, &e), -1);
	assert_int_equal(e.code, ERR_IO);
	assert_null(s);
}

static void values(void **state)
{
	struct store *s = open_with(*state, one_step);
	AUTO_JSON json_t *doc = json_pack("{s[is]}", "a", 1, "x'\";--");
	const char *nasty = "x'); DROP TABLE vm; --";
	struct err e = ERR_INIT;

	assert_int_equal(store_run(s, &e, "INSERT INTO vm (name, n, doc) VALUES (?, ?, ?)", "sij", nasty, INT64_MIN,
				   doc), 0);
	assert_int_equal(store_last_id(s), 1);
	assert_int_equal(store_changes(s), 1);
	assert_int_equal(store_run(s, &e, "INSERT INTO vm (name, n, doc) VALUES (?, ?, ?)", "sij", (char *)NULL,
				   (int64_t)5, (json_t *)NULL), 0);
	want(s, "SELECT name FROM vm ORDER BY id", "x'); DROP TABLE vm; --||");
	want(s, "SELECT n FROM vm ORDER BY id", "-9223372036854775808|5|");
	want(s, "SELECT doc FROM vm WHERE id = 1", "{\"a\":[1,\"x'\\\";--\"]}|");
	want(s, "SELECT count(*) FROM vm WHERE name IS NULL AND doc IS NULL", "1|");
	assert_int_equal(store_run(s, &e, "UPDATE vm SET n = ?", "i", (int64_t)0), 0);
	assert_int_equal(store_changes(s), 2);
	store_close(s);
}

static int stop_at_two(void *arg, sqlite3_stmt *row)
{
	*(int64_t *)arg = store_i64(row, 0);
	return store_i64(row, 0) == 2;
}

static void walk_ends_early(void **state)
{
	struct store *s = open_with(*state, one_step);
	int64_t last = 0;
	struct err e = ERR_INIT;

	for (int i = 0; i < 4; i++)
		add(s, (const char *[]){ "a", "b", "c", "d" }[i]);
	assert_int_equal(store_each(s, stop_at_two, &last, &e, "SELECT id FROM vm WHERE id < ? ORDER BY id", "i",
				    (int64_t)4), 0);
	assert_int_equal(last, 2);
	store_close(s);
}

static void errors(void **state)
{
	static const struct { const char *sql, *fmt; enum err_code want; } cases[] = {
		{ "INSERT INTO vm (name) VALUES ('web1')", "", ERR_EXISTS },
		{ "INSERT INTO vm (id) VALUES (1)", "", ERR_EXISTS },
		{ "INSERT INTO disk VALUES (77, 1)", "", ERR_REFUSED },
		{ "INSERT INTO disk VALUES (1, -1)", "", ERR_REFUSED },
		{ "SELECT * FROM nothing", "", ERR_INTERNAL },
		{ "SELECT 1; DELETE FROM vm", "", ERR_INTERNAL },
		{ "", "", ERR_INTERNAL },
		{ "SELECT ?", "", ERR_INTERNAL },
		{ "SELECT 1", "s", ERR_INTERNAL },
		{ "SELECT ?", "x", ERR_INTERNAL },
	};
	struct store *s = open_with(*state, one_step);

	add(s, "web1");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(store_run(s, &e, cases[i].sql, cases[i].fmt, "value"), -1);
		assert_int_equal(e.code, cases[i].want);
	}
	want(s, "SELECT name FROM vm", "web1|");
	store_close(s);
}

static void transactions(void **state)
{
	struct tmp *t = *state;
	struct store *s = open_with(t, one_step), *other;
	struct err e = ERR_INIT;

	assert_int_equal(store_begin(s, &e), 0);
	add(s, "undone");
	assert_int_equal(store_begin(s, &e), -1);	/* no nesting */
	store_rollback(s);
	store_rollback(s);
	assert_int_equal(store_begin(s, &e), 0);
	add(s, "done");
	other = open_with(t, one_step);
	want(other, "SELECT name FROM vm", "");
	assert_int_equal(store_commit(s, &e), 0);
	want(other, "SELECT name FROM vm", "done|");
	assert_int_equal(store_commit(s, &e), -1);
	store_close(other);
	store_close(s);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(settings), T(step_by_step), T(newer_database_is_refused), T(broken_step_leaves_the_old_schema),
		T(foreign_file_is_refused), T(values), T(walk_ends_early), T(errors), T(transactions),
	};

	return check_main(tests);
}

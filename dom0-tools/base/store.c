/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite with our settings: WAL and synchronous=FULL, so what store_commit
 * said is done survives a power cut.  PRAGMA user_version counts the schema
 * steps that are applied; it changes in the transaction of its step.
 */
#include "base/store.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <jansson.h>

#include "base/buf.h"

enum { BUSY_WAIT_MS = 5000 };

struct store {
	sqlite3 *db;
	char *path;
};

static enum err_code code_of(int rc)
{
	switch (rc) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return ERR_EXISTS;
	}
	switch (rc & 0xff) {
	case SQLITE_CONSTRAINT:
		return ERR_REFUSED;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_BUSY;
	case SQLITE_FULL:
	case SQLITE_NOMEM:
		return ERR_NO_SPACE;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ERR_CORRUPT;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
		return ERR_IO;
	}
	return ERR_INTERNAL;
}

static int failed(struct store *s, const char *what, struct err *e)
{
	return err_set(e, code_of(sqlite3_extended_errcode(s->db)), "database '%s': %s: %s", s->path, what,
		       sqlite3_errmsg(s->db));
}

static int exec(struct store *s, const char *sql, struct err *e)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(s, sql, e);
}

static int set_up(struct store *s, struct err *e)
{
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, BUSY_WAIT_MS);
	if (exec(s, "PRAGMA journal_mode = WAL", e) < 0 || exec(s, "PRAGMA synchronous = FULL", e) < 0 ||
	    exec(s, "PRAGMA foreign_keys = ON", e) < 0)
		return -1;
	return 0;
}

static int take_version(void *arg, sqlite3_stmt *row)
{
	*(int64_t *)arg = store_i64(row, 0);
	return 0;
}

static int apply_step(struct store *s, size_t i, const char *sql, struct err *e)
{
	char mark[64];

	snprintf(mark, sizeof(mark), "PRAGMA user_version = %zu", i + 1);
	if (store_begin(s, e) < 0)
		return -1;
	if (exec(s, sql, e) < 0 || exec(s, mark, e) < 0 || store_commit(s, e) < 0) {
		store_rollback(s);
		return err_wrap(e, "schema step %zu", i + 1);
	}
	return 0;
}

static int migrate(struct store *s, const char *const *steps, struct err *e)
{
	int64_t have = 0;
	size_t n = 0;

	if (store_each(s, take_version, &have, e, "PRAGMA user_version", "") < 0)
		return -1;
	while (steps[n])
		n++;
	if (have < 0 || (uint64_t)have > n) {
		err_set(e, ERR_INCOMPATIBLE, "database '%s' is at schema step %lld, this version knows %zu",
			s->path, (long long)have, n);
		return err_remedy(e, "run the version that wrote it, or a newer one");
	}
	for (size_t i = (size_t)have; i < n; i++)
		if (apply_step(s, i, steps[i], e) < 0)
			return -1;
	return 0;
}

int store_open(const char *path, const char *const *steps, struct store **out, struct err *e)
{
	struct store *s = mem_alloc(sizeof(*s));
	int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

	s->path = mem_strdup(path);
	if (rc != SQLITE_OK) {
		err_set(e, code_of(rc), "open database '%s': %s", path, sqlite3_errstr(rc));
		goto fail;
	}
	if (set_up(s, e) < 0 || migrate(s, steps, e) < 0)
		goto fail;
	*out = s;
	return 0;
fail:
	store_close(s);
	return -1;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	(void)sqlite3_close_v2(s->db);
	free(s->path);
	free(s);
}

static int bind_json(sqlite3_stmt *st, int at, const json_t *v)
{
	char *text = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	if (v && !text)
		return SQLITE_NOMEM;
	return sqlite3_bind_text(st, at, text, -1, free);
}

/* Texts need no copy: they outlive the statement. */
static int bind_all(struct store *s, sqlite3_stmt *st, const char *fmt, va_list ap, struct err *e)
{
	int at = 0;

	if (strlen(fmt) != (size_t)sqlite3_bind_parameter_count(st))
		return err_set(e, ERR_INTERNAL, "'%s' does not take the values '%s'", sqlite3_sql(st), fmt);
	for (; *fmt; fmt++) {
		int rc = SQLITE_MISUSE;

		at++;
		if (*fmt == 's')
			rc = sqlite3_bind_text(st, at, va_arg(ap, const char *), -1, SQLITE_STATIC);
		else if (*fmt == 'i')
			rc = sqlite3_bind_int64(st, at, va_arg(ap, int64_t));
		else if (*fmt == 'j')
			rc = bind_json(st, at, va_arg(ap, const json_t *));
		if (rc != SQLITE_OK)
			return err_set(e, code_of(rc), "database '%s': value %d of '%s': %s", s->path, at,
				       sqlite3_sql(st), sqlite3_errstr(rc));
	}
	return 0;
}

static int prepare(struct store *s, const char *sql, const char *fmt, va_list ap, sqlite3_stmt **out,
		   struct err *e)
{
	sqlite3_stmt *st = NULL;
	const char *rest = "";

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, &rest) != SQLITE_OK)
		return failed(s, sql, e);
	while (isspace((unsigned char)*rest))
		rest++;
	if (!st || *rest) {
		sqlite3_finalize(st);
		return err_set(e, ERR_INTERNAL, "'%s' is not one statement", sql);
	}
	if (bind_all(s, st, fmt, ap, e) < 0) {
		sqlite3_finalize(st);
		return -1;
	}
	*out = st;
	return 0;
}

/* Runs and finalizes st; fn may be NULL. */
static int walk(struct store *s, sqlite3_stmt *st, int (*fn)(void *arg, sqlite3_stmt *row), void *arg,
		struct err *e)
{
	int rc, result = 0;

	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		if (fn && fn(arg, st))
			break;
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		result = failed(s, sqlite3_sql(st), e);
	sqlite3_finalize(st);
	return result;
}

int store_run(struct store *s, struct err *e, const char *sql, const char *fmt, ...)
{
	sqlite3_stmt *st;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = prepare(s, sql, fmt, ap, &st, e);
	va_end(ap);
	return rc < 0 ? -1 : walk(s, st, NULL, NULL, e);
}

int store_each(struct store *s, int (*fn)(void *arg, sqlite3_stmt *row), void *arg, struct err *e,
	       const char *sql, const char *fmt, ...)
{
	sqlite3_stmt *st;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = prepare(s, sql, fmt, ap, &st, e);
	va_end(ap);
	return rc < 0 ? -1 : walk(s, st, fn, arg, e);
}

const char *store_text(sqlite3_stmt *row, int col)
{
	const unsigned char *text = sqlite3_column_text(row, col);

	return text ? (const char *)text : "";
}

int64_t store_i64(sqlite3_stmt *row, int col)
{
	return sqlite3_column_int64(row, col);
}

int64_t store_last_id(struct store *s)
{
	return sqlite3_last_insert_rowid(s->db);
}

int64_t store_changes(struct store *s)
{
	return sqlite3_changes64(s->db);
}

/* IMMEDIATE: a second writer waits here, where waiting is possible, and not in the middle. */
int store_begin(struct store *s, struct err *e)
{
	return exec(s, "BEGIN IMMEDIATE", e);
}

int store_commit(struct store *s, struct err *e)
{
	return exec(s, "COMMIT", e);
}

void store_rollback(struct store *s)
{
	/* Fails only if SQLite has rolled back already. */
	(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

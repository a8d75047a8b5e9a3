/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A SQLite database in WAL mode with numbered schema steps.  Statements take
 * their values through a format, one letter for each `?`: 's' const char *
 * (NULL: null), 'i' int64_t (cast a plain int: it is read as 64 bits), 'j'
 * const json_t * (stored as text; NULL: null).  A broken UNIQUE or primary key
 * is ERR_EXISTS, another broken constraint ERR_REFUSED.  Not thread-safe.
 */
#ifndef BASE_STORE_H
#define BASE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sqlite3.h>

#include "base/err.h"

struct store;

/* Opens or makes the database and applies steps[n..] it does not have yet, each in a transaction.
 * steps ends with NULL; steps once released never change. */
MUSTUSE int store_open(const char *path, const char *const *steps, struct store **out, struct err *e);
void store_close(struct store *s);

MUSTUSE int store_run(struct store *s, struct err *e, const char *sql, const char *fmt, ...);
/* Calls fn for each row; a non-zero result ends the walk (not an error).  Columns by store_text/store_i64. */
MUSTUSE int store_each(struct store *s, int (*fn)(void *arg, sqlite3_stmt *row), void *arg, struct err *e,
		       const char *sql, const char *fmt, ...);
const char *store_text(sqlite3_stmt *row, int col);	/* "" for null */
int64_t store_i64(sqlite3_stmt *row, int col);
int64_t store_last_id(struct store *s);
int64_t store_changes(struct store *s);		/* rows changed by the last store_run */

MUSTUSE int store_begin(struct store *s, struct err *e);
MUSTUSE int store_commit(struct store *s, struct err *e);
void store_rollback(struct store *s);

#endif

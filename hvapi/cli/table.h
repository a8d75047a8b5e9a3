/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables for people, from the JSON that programs get: one list of columns per
 * kind of object.
 */
#ifndef HVAPI_CLI_TABLE_H
#define HVAPI_CLI_TABLE_H

#include <stdio.h>
#include <jansson.h>

/* How a value is written: as it is, or by its unit. */
enum table_unit { TABLE_TEXT, TABLE_BYTES, TABLE_MS, TABLE_TIME_MS, TABLE_MIB, TABLE_FINGERPRINT };

struct table_col {
	const char *title;
	const char *key;	/* member, or "a.b" for a member of a member */
	enum table_unit unit;
};

/* cols ends with title == NULL.  rows: array of objects.  Nothing but the header for an empty array. */
void table_print(FILE *to, const struct table_col *cols, const json_t *rows);
/* One object, a line a column: "title  value". */
void table_show(FILE *to, const struct table_col *cols, const json_t *row);
/* The cells of one object in a line, without a header and not aligned. */
void table_line(FILE *to, const struct table_col *cols, const json_t *row);
/* The value at "a.b", or NULL. */
const json_t *table_at(const json_t *row, const char *key);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cells are made first, so that columns can be as wide as their widest cell.
 * Text comes from a host and its guests: control characters are replaced, so
 * that a name cannot drive the terminal.
 */
#include "hvapi/cli/table.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"

enum { COLS_MAX = 16, FINGERPRINT_SHOWN = 16 };

const json_t *table_at(const json_t *row, const char *key)
{
	for (;;) {
		const char *dot = strchr(key, '.');
		char part[64];

		if (!dot)
			return json_object_get(row, key);
		if ((size_t)(dot - key) >= sizeof(part))
			return NULL;
		memcpy(part, key, (size_t)(dot - key));
		part[dot - key] = '\0';
		row = json_object_get(row, part);
		key = dot + 1;
	}
}

/* Control characters: C0, DEL, and C1, which UTF-8 writes as 0xc2 0x80 to 0xc2 0x9f. */
static void put_clean(struct buf *b, const char *text)
{
	for (const uint8_t *p = (const uint8_t *)text; *p; p++) {
		if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p++;
		else if (*p >= 0x20 && *p != 0x7f) {
			buf_put_u8(b, *p);
			continue;
		}
		buf_put_u8(b, '?');
	}
}

static void put_bytes(struct buf *b, double v)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t u = 0;

	while (v >= 1024 && u + 1 < ARRAY_LEN(units)) {
		v /= 1024;
		u++;
	}
	buf_printf(b, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void put_number(struct buf *b, double v, enum table_unit unit)
{
	char when[CLOCK_TEXT_BYTES];

	switch (unit) {
	case TABLE_BYTES:
		put_bytes(b, v);
		break;
	case TABLE_MIB:
		put_bytes(b, v * (1 << 20));
		break;
	case TABLE_MS:
		buf_printf(b, v >= 10000 ? "%.1f s" : "%.0f ms", v >= 10000 ? v / 1000 : v);
		break;
	case TABLE_TIME_MS:
		clock_text((uint64_t)v, when);
		buf_printf(b, "%.19s", when);
		break;
	case TABLE_TEXT:
	case TABLE_FINGERPRINT:
	default:
		buf_printf(b, v == (double)(int64_t)v ? "%.0f" : "%.2f", v);
	}
}

static void put_value(struct buf *b, const json_t *v, enum table_unit unit)
{
	if (json_is_string(v)) {
		put_clean(b, json_string_value(v));
		if (unit == TABLE_FINGERPRINT && b->len > FINGERPRINT_SHOWN)
			b->len = FINGERPRINT_SHOWN;
	} else if (json_is_number(v)) {
		put_number(b, json_number_value(v), unit);
	} else if (json_is_boolean(v)) {
		buf_printf(b, "%s", json_is_true(v) ? "yes" : "no");
	} else if (json_is_array(v) || json_is_object(v)) {
		AUTO_FREE char *text = json_dumps(v, JSON_COMPACT);
		put_clean(b, text ? text : "");
	} else {
		buf_printf(b, "-");
	}
	buf_put_u8(b, 0);
	b->len--;
}

static char *cell(const json_t *row, const struct table_col *c)
{
	struct buf b = { 0 };

	put_value(&b, table_at(row, c->key), c->unit);
	return (char *)buf_take(&b);
}

static unsigned count_cols(const struct table_col *cols)
{
	unsigned n = 0;

	while (cols[n].title && n < COLS_MAX)
		n++;
	return n;
}

void table_print(FILE *to, const struct table_col *cols, const json_t *rows)
{
	unsigned n = count_cols(cols);
	size_t width[COLS_MAX] = { 0 }, i;
	const json_t *row;
	char **cells = mem_alloc((json_array_size(rows) * n + 1) * sizeof(*cells));

	for (unsigned c = 0; c < n; c++)
		width[c] = strlen(cols[c].title);
	json_array_foreach(rows, i, row) {
		for (unsigned c = 0; c < n; c++) {
			cells[i * n + c] = cell(row, &cols[c]);
			size_t len = strlen(cells[i * n + c]);
			width[c] = len > width[c] ? len : width[c];
		}
	}
	for (unsigned c = 0; c < n; c++)
		fprintf(to, "%-*s%s", c + 1 < n ? (int)width[c] : 0, cols[c].title, c + 1 < n ? "  " : "\n");
	for (i = 0; i < json_array_size(rows) * n; i++) {
		bool last = i % n == n - 1;

		fprintf(to, "%-*s%s", last ? 0 : (int)width[i % n], cells[i], last ? "\n" : "  ");
		free(cells[i]);
	}
	free(cells);
}

void table_show(FILE *to, const struct table_col *cols, const json_t *row)
{
	int width = 0;

	for (const struct table_col *c = cols; c->title; c++)
		width = (int)strlen(c->title) > width ? (int)strlen(c->title) : width;
	for (const struct table_col *c = cols; c->title; c++) {
		AUTO_FREE char *text = cell(row, c);

		fprintf(to, "%-*s  %s\n", width, c->title, text);
	}
}

void table_line(FILE *to, const struct table_col *cols, const json_t *row)
{
	for (const struct table_col *c = cols; c->title; c++) {
		AUTO_FREE char *text = cell(row, c);

		fprintf(to, "%s%s", text, c[1].title ? "  " : "\n");
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One place decides between people and programs.
 */
#include "hvapi/cli/out.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "hvapi/cli/http.h"

void out_json(const json_t *v)
{
	json_dumpf(v, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
	printf("\n");
}

void out_list(const struct cli *c, const json_t *answer, const char *list, const struct table_col *cols)
{
	if (c->json)
		out_json(answer);
	else
		table_print(stdout, cols, json_object_get(answer, list));
}

void out_one(const struct cli *c, const json_t *answer, const struct table_col *cols)
{
	if (c->json)
		out_json(answer);
	else
		table_show(stdout, cols, answer);
}

void out_done(const struct cli *c, const json_t *answer, const char *fmt, ...)
{
	va_list ap;

	if (c->json) {
		out_json(answer);
		return;
	}
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

char *out_path(const char *collection, const char *name, const char *verb)
{
	struct buf b = { 0 };

	buf_printf(&b, "/v1/%s/", collection);
	http_escape(&b, name);
	buf_printf(&b, "%s%s", verb ? "/" : "", verb ? verb : "");
	return (char *)buf_take(&b);
}

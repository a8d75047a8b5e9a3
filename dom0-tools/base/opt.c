/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command line options from a table: one function for each kind of value.
 */
#include "base/opt.h"

#include <stddef.h>
#include <string.h>

enum { HELP_COLUMN = 28 };

/* Decimal digits only; *end is behind them. */
static int read_u64(const char *text, uint64_t *out, const char **end)
{
	uint64_t v = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (unsigned)(*p - '0'), &v))
			return -1;
	*out = v;
	*end = p;
	return p == text ? -1 : 0;
}

static int set_u64(const char *name, const char *text, uint64_t *out, struct err *e)
{
	const char *end;
	uint64_t v;

	if (read_u64(text, &v, &end) < 0 || *end)
		return err_set(e, ERR_USAGE, "--%s takes a whole number, not '%s'", name, text);
	*out = v;
	return 0;
}

int opt_duration_ms(const char *text, uint64_t *out_ms, struct err *e)
{
	static const struct { const char *unit; unsigned ms; } units[] = {
		{ "", 1 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
	};
	const char *end;
	uint64_t v;

	if (read_u64(text, &v, &end) < 0)
		goto bad;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(end, units[i].unit))
			continue;
		if (__builtin_mul_overflow(v, units[i].ms, &v))
			break;
		*out_ms = v;
		return 0;
	}
bad:
	err_set(e, ERR_USAGE, "'%s' is not a duration", text);
	return err_remedy(e, "write a whole number and ms, s, m or h: 300ms, 2s");
}

static int add_to_list(const char *name, const char *text, struct opt_list *list, struct err *e)
{
	if (list->n >= OPT_LIST_MAX)
		return err_set(e, ERR_LIMIT, "--%s is given more than %d times", name, OPT_LIST_MAX);
	list->v[list->n++] = text;
	return 0;
}

/* text: NULL for flags. */
static int set_value(const struct opt *o, const char *text, struct err *e)
{
	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->dst = true;
		return 0;
	case OPT_TEXT:
		*(const char **)o->dst = text;
		return 0;
	case OPT_U64:
		return set_u64(o->name, text, o->dst, e);
	case OPT_MS:
		return opt_duration_ms(text, o->dst, e) < 0 ? err_wrap(e, "--%s", o->name) : 0;
	case OPT_LIST:
		return add_to_list(o->name, text, o->dst, e);
	}
	return err_set(e, ERR_INTERNAL, "--%s is of no known kind", o->name);
}

static const struct opt *find(const struct opt *table, const char *name, size_t len)
{
	for (; table->name; table++)
		if (strlen(table->name) == len && !memcmp(table->name, name, len))
			return table;
	return NULL;
}

/* One option at argv[*i]; moves *i to the last argument it used. */
static int parse_one(const struct opt *table, int argc, char **argv, int *i, struct err *e)
{
	const char *name = argv[*i] + 2, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const struct opt *o = find(table, name, len);
	const char *text = eq ? eq + 1 : NULL;

	if (!o) {
		err_set(e, ERR_USAGE, "option '--%.*s' is not known here", (int)len, name);
		return err_remedy(e, "--help lists the options");
	}
	if (o->kind == OPT_FLAG && text)
		return err_set(e, ERR_USAGE, "--%s takes no value", o->name);
	if (o->kind != OPT_FLAG && !text) {
		/* An option in the place of a value is a value forgotten. */
		if (*i + 1 >= argc || !strncmp(argv[*i + 1], "--", 2)) {
			err_set(e, ERR_USAGE, "--%s needs a value: %s", o->name, o->arg ? o->arg : "VALUE");
			return err_remedy(e, "a value that starts with -- is written --%s=--...", o->name);
		}
		text = argv[++*i];
	}
	return set_value(o, text, e);
}

int opt_parse(const struct opt *table, int argc, char **argv, int *out_n_args, struct err *e)
{
	int n = 0;
	bool plain_only = false;

	for (int i = 1; i < argc; i++) {
		char *a = argv[i];

		if (plain_only || a[0] != '-' || !a[1]) {
			argv[++n] = a;
		} else if (!strcmp(a, "--")) {
			plain_only = true;
		} else if (a[1] != '-') {
			err_set(e, ERR_USAGE, "option '%s' is not known here", a);
			return err_remedy(e, "options are long: --help lists them; -- stands before names with a dash");
		} else if (parse_one(table, argc, argv, &i, e) < 0) {
			return -1;
		}
	}
	*out_n_args = n;
	return 0;
}

void opt_help(const struct opt *table, FILE *to)
{
	for (; table->name; table++) {
		int n = fprintf(to, "  --%s%s%s", table->name, table->kind == OPT_FLAG ? "" : " ",
				table->kind == OPT_FLAG ? "" : table->arg ? table->arg : "VALUE");

		if (n >= HELP_COLUMN) {
			fputc('\n', to);
			n = 0;
		}
		fprintf(to, "%*s%s%s\n", HELP_COLUMN - n, "", table->help ? table->help : "",
			table->kind == OPT_LIST ? " (may be repeated)" : "");
	}
}

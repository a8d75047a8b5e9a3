/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command line options from a table; the same table prints the help.  Long
 * options only: `--name VALUE`, `--name=VALUE`, `--flag`; `--` ends them.
 * Options and plain arguments may be mixed.
 */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum opt_kind { OPT_FLAG, OPT_TEXT, OPT_U64, OPT_MS, OPT_LIST };

enum { OPT_LIST_MAX = 32 };
struct opt_list { const char *v[OPT_LIST_MAX]; unsigned n; };

struct opt {
	const char *name;		/* without the dashes */
	enum opt_kind kind;
	void *dst;			/* bool, const char *, uint64_t, uint64_t (ms), struct opt_list */
	const char *arg;		/* name of the value in the help; NULL for flags */
	const char *help;
};

/* Parses argv[1..] against the table (ends with name == NULL).  What is not an option is moved to
 * argv[1..]; *out_n_args is their number.  Texts point into argv.  OPT_MS takes "300ms", "2s", "5m", "1h";
 * a bare number means ms. */
MUSTUSE int opt_parse(const struct opt *table, int argc, char **argv, int *out_n_args, struct err *e);
void opt_help(const struct opt *table, FILE *to);
/* One duration by the rule of OPT_MS. */
MUSTUSE int opt_duration_ms(const char *text, uint64_t *out_ms, struct err *e);

#endif

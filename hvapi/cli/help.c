/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything comes from the command table, so it cannot tell of a command
 * that is not there.
 */
#include "hvapi/cli/help.h"

#include <string.h>

#include "base/buf.h"
#include "base/js.h"
#include "hvapi/cli/cmd.h"

enum { NAME_BYTES = 128 };

/* "vm start VM" */
static void name_of(const struct cmd *c, char *out, size_t n)
{
	snprintf(out, n, "%s%s%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "", *c->args ? " " : "",
		 c->args);
}

static void put_line(FILE *to, const struct cmd *c)
{
	char name[NAME_BYTES];

	name_of(c, name, sizeof(name));
	fprintf(to, "  %-38s %s\n", name, c->help);
}

void help_all(FILE *to, const char *noun)
{
	bool all = !noun || !cmd_verbs(noun);

	fprintf(to, "hvapi [--host NAME] [--json] NOUN VERB ...\n\n");
	for (const struct cmd *c = cmd_next(NULL); c; c = cmd_next(c))
		if (all || !strcmp(c->noun, noun))
			put_line(to, c);
	fprintf(to, "\nhvapi NOUN VERB --help tells the options of one.  Options of every command:\n");
	opt_help(cli_opts, to);
}

void help_one(FILE *to, const struct cmd *c)
{
	char name[NAME_BYTES];

	name_of(c, name, sizeof(name));
	fprintf(to, "hvapi %s\n\n%s\n", name, c->help);
	if (c->opts) {
		fprintf(to, "\nOptions:\n");
		opt_help(c->opts, to);
	}
	if (!c->verb && cmd_verbs(c->noun)) {
		fprintf(to, "\nSee also:\n");
		for (const struct cmd *o = cmd_next(NULL); o; o = cmd_next(o))
			if (o->verb && !strcmp(o->noun, c->noun))
				put_line(to, o);
	}
	fprintf(to, "\nOptions of every command:\n");
	opt_help(cli_opts, to);
}

void help_problems(FILE *to, const json_t *problems)
{
	size_t i;
	const json_t *p;

	json_array_foreach(problems, i, p) {
		const char *severity = js_get_text(p, "severity"), *remedy = js_get_text(p, "remedy");

		fprintf(to, "%3zu. %s [%s]: %s\n", i + 1, js_get_text(p, "code"), *severity ? severity : "error",
			js_get_text(p, "detail"));
		if (*remedy)
			fprintf(to, "     -> %s\n", remedy);
	}
}

void help_error(FILE *to, const struct err *e, const json_t *problems, bool json)
{
	if (json) {
		AUTO_JSON json_t *o = js_from_err(e);

		if (problems)
			json_object_set_new(o, "problems", json_deep_copy(problems));
		json_dumpf(o, to, JSON_INDENT(2));
		fprintf(to, "\n");
		return;
	}
	fprintf(to, "hvapi: %s: %s\n", err_name(e->code), e->detail);
	help_problems(to, problems);
	if (*e->remedy)
		fprintf(to, "  -> %s\n", e->remedy);
}

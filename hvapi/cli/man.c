/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapi(1) in mdoc.
 */
#include "hvapi/cli/help.h"

#include <string.h>

#include "hvapi/cli/cmd.h"

/* A macro's name as a word would be the macro: "No", "Pa" and the like are escaped, as is a dot in front. */
static void put_words(FILE *to, const char *text)
{
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, " ");
		bool macro = n == 2 && p[0] >= 'A' && p[0] <= 'Z';

		fprintf(to, "%s%.*s%s", macro || *p == '.' || *p == '\'' ? "\\&" : "", (int)n, p, p[n] ? " " : "");
		p += n + (p[n] ? 1 : 0);
	}
}

static void put_opts(FILE *to, const struct opt *o)
{
	fprintf(to, ".Bl -tag -width Ds -compact\n");
	for (; o->name; o++) {
		fprintf(to, ".It Fl \\-%s%s%s\n", o->name, o->arg ? " Ar " : "", o->arg ? o->arg : "");
		put_words(to, o->help);
		fprintf(to, "\n");
	}
	fprintf(to, ".El\n");
}

static void put_command(FILE *to, const struct cmd *c)
{
	fprintf(to, ".It Cm %s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
	if (*c->args) {
		fprintf(to, " Ar ");
		put_words(to, c->args);
	}
	fprintf(to, "\n");
	put_words(to, c->help);
	fprintf(to, ".\n");
	if (c->opts)
		put_opts(to, c->opts);
}

static void put_exits(FILE *to)
{
	fprintf(to, ".Sh EXIT STATUS\n.Bl -tag -width Ds -compact\n.It 0\ndone\n");
	for (int c = ERR_NONE + 1; c < ERR_CODE_N; c++)
		fprintf(to, ".It %d\n%s\n", err_exit_status((enum err_code)c), err_name((enum err_code)c));
	fprintf(to, ".El\n");
}

void help_man(FILE *to)
{
	fprintf(to, ".Dd November 24, 2026\n.Dt HVAPI 1\n.Os\n.Sh NAME\n.Nm hvapi\n"
		    ".Nd define, move and watch the guests of hvapi hosts\n.Sh SYNOPSIS\n.Nm\n"
		    ".Op Fl \\-host Ar NAME\n.Op Fl \\-json\n.Ar noun verb\n.Op Ar arguments\n.Sh DESCRIPTION\n"
		    "Talks to one host over its HTTPS API, or to the host it runs on.\n"
		    "Enrol first:\n.Dl hvapi host enroll ADDRESS --code CODE\n.Pp\nOptions of every command:\n");
	put_opts(to, cli_opts);
	fprintf(to, ".Pp\nCommands:\n.Bl -tag -width Ds\n");
	for (const struct cmd *c = cmd_next(NULL); c; c = cmd_next(c))
		put_command(to, c);
	fprintf(to, ".El\n.Sh ENVIRONMENT\n.Bl -tag -width Ds\n"
		    ".It Ev HVAPI_CONFIG_DIR\nthe folder of key, certificate and known hosts.\n"
		    ".It Ev HVAPI_SOCKET\nthe unix socket of the host's API, used when no\n.Fl \\-host\nis given;\n"
		    "without it\n.Pa /run/hvapi/api.sock\nis, where that is there.\n.El\n"
		    ".Sh FILES\n.Bl -tag -width Ds\n"
		    ".It Pa ~/.config/hvapi\nkey, certificate and known hosts.\n.El\n");
	put_exits(to);
}

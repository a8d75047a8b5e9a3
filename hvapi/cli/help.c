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

static void each_command(void (*fn)(FILE *to, const struct cmd *c, const char *noun), FILE *to, const char *noun)
{
	for (size_t t = 0; cmd_tables[t]; t++)
		for (const struct cmd *c = cmd_tables[t]; c->noun; c++)
			fn(to, c, noun);
}

static void put_name(FILE *to, const struct cmd *c)
{
	fprintf(to, "hvapi %s%s%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "", *c->args ? " " : "", c->args);
}

static void put_line(FILE *to, const struct cmd *c, const char *noun)
{
	char name[128];

	if (noun && strcmp(noun, c->noun))
		return;
	snprintf(name, sizeof(name), "%s%s%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "", *c->args ? " " : "",
		 c->args);
	fprintf(to, "  %-38s %s\n", name, c->help);
}

static bool noun_exists(const char *noun)
{
	for (size_t t = 0; noun && cmd_tables[t]; t++)
		for (const struct cmd *c = cmd_tables[t]; c->noun; c++)
			if (!strcmp(c->noun, noun))
				return true;
	return false;
}

void help_all(FILE *to, const char *noun, const struct opt *global)
{
	fprintf(to, "hvapi [--host NAME] [--json] NOUN VERB ...\n\n");
	each_command(put_line, to, noun_exists(noun) ? noun : NULL);
	fprintf(to, "\nOptions of every command:\n");
	opt_help(global, to);
}

void help_one(FILE *to, const struct cmd *c, const struct opt *global)
{
	put_name(to, c);
	fprintf(to, "\n\n%s\n", c->help);
	if (c->opts) {
		fprintf(to, "\nOptions:\n");
		opt_help(c->opts, to);
	}
	fprintf(to, "\nOptions of every command:\n");
	opt_help(global, to);
}

void help_problems(FILE *to, const json_t *problems)
{
	size_t i;
	const json_t *p;

	json_array_foreach(problems, i, p) {
		const char *code = json_string_value(json_object_get(p, "code"));
		const char *severity = json_string_value(json_object_get(p, "severity"));
		const char *detail = json_string_value(json_object_get(p, "detail"));
		const char *remedy = json_string_value(json_object_get(p, "remedy"));

		fprintf(to, "%3zu. %s [%s]: %s\n", i + 1, code ? code : "?", severity ? severity : "error", detail ? detail : "");
		if (remedy && *remedy)
			fprintf(to, "     -> %s\n", remedy);
	}
}

void help_error(FILE *to, const struct err *e, const json_t *problems, bool json)
{
	if (json) {
		AUTO_JSON json_t *o = js_from_err(e);

		if (problems)
			json_object_set(o, "problems", json_deep_copy(problems));
		json_dumpf(o, to, JSON_INDENT(2));
		fprintf(to, "\n");
		return;
	}
	fprintf(to, "hvapi: %s: %s\n", err_name(e->code), e->detail);
	help_problems(to, problems);
	if (*e->remedy)
		fprintf(to, "  -> %s\n", e->remedy);
}

static void put_noun_verbs(FILE *to, const struct cmd *c, const char *noun)
{
	if (c->verb && !strcmp(noun, c->noun))
		fprintf(to, " %s", c->verb);
}

/* True for the first command of its noun. */
static bool first_of_noun(const struct cmd *c)
{
	for (size_t t = 0; cmd_tables[t]; t++)
		for (const struct cmd *o = cmd_tables[t]; o->noun; o++)
			if (!strcmp(o->noun, c->noun))
				return o == c;
	return false;
}

static void put_noun(FILE *to, const struct cmd *c, const char *noun)
{
	(void)noun;
	if (first_of_noun(c))
		fprintf(to, " %s", c->noun);
}

static void put_case(FILE *to, const struct cmd *c, const char *noun)
{
	(void)noun;
	if (!first_of_noun(c))
		return;
	fprintf(to, "\t%s) words=\"", c->noun);
	each_command(put_noun_verbs, to, c->noun);
	fprintf(to, "\" ;;\n");
}

static void put_option_case(FILE *to, const struct cmd *c, const char *noun)
{
	(void)noun;
	fprintf(to, "\t\"%s%s%s\") words=\"--host --json --no-wait --help", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
	for (const struct opt *o = c->opts; o && o->name; o++)
		fprintf(to, " --%s", o->name);
	fprintf(to, "\" ;;\n");
}

void help_completion(FILE *to)
{
	fprintf(to, "_hvapi() {\n"
		    "    local cur=${COMP_WORDS[COMP_CWORD]} words=\"\"\n"
		    "    if [[ $cur == -* ]]; then\n"
		    "\tcase \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n");
	each_command(put_option_case, to, NULL);
	fprintf(to, "\tesac\n    elif [ $COMP_CWORD -eq 1 ]; then words=\"");
	each_command(put_noun, to, NULL);
	fprintf(to, "\"\n    elif [ $COMP_CWORD -eq 2 ]; then\n\tcase ${COMP_WORDS[1]} in\n");
	each_command(put_case, to, NULL);
	fprintf(to, "\tesac\n"
		    "\t[ -z \"${words// /}\" ] && words=$(hvapi vm list --json 2>/dev/null | sed -n 's/.*\"name\": *\"\\([^\"]*\\)\".*/\\1/p')\n"
		    "    elif [[ ${COMP_WORDS[1]} == vm || ${COMP_WORDS[1]} == migrate ]]; then\n"
		    "\twords=$(hvapi vm list --json 2>/dev/null | sed -n 's/.*\"name\": *\"\\([^\"]*\\)\".*/\\1/p')\n"
		    "    fi\n"
		    "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
		    "}\n"
		    "complete -o default -F _hvapi hvapi\n");
}

static void put_man(FILE *to, const struct cmd *c, const char *noun)
{
	(void)noun;
	fprintf(to, ".It ");
	put_name(to, c);
	fprintf(to, "\n%s.\n", c->help);
	if (!c->opts)
		return;
	fprintf(to, ".Bl -tag -width Ds -compact\n");
	for (const struct opt *o = c->opts; o->name; o++)
		fprintf(to, ".It Fl -%s%s%s\n%s\n", o->name, o->arg ? " Ar " : "", o->arg ? o->arg : "", o->help);
	fprintf(to, ".El\n");
}

static void put_man_exits(FILE *to)
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
		    ".Op Fl -host Ar NAME\n.Op Fl -json\n.Ar noun verb\n.Op Ar arguments\n.Sh DESCRIPTION\n"
		    "Talks to one host over its HTTPS API, or to the host it runs on.\n"
		    "Enrol first:\n.Dl hvapi host enroll ADDRESS --code CODE\n.Bl -tag -width Ds\n");
	each_command(put_man, to, NULL);
	fprintf(to, ".El\n");
	put_man_exits(to);
	fprintf(to, ".Sh FILES\n.Pa ~/.config/hvapi\nkey, certificate and known hosts; "
		    ".Ev HVAPI_CONFIG_DIR\nnames another folder.\n");
}

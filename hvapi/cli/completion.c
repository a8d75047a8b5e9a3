/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The completion script: nouns, then verbs, then the guests' names; options
 * where a word starts with a dash.
 */
#include "hvapi/cli/help.h"

#include <string.h>

#include "hvapi/cli/cmd.h"

static void put_opts(FILE *to, const struct opt *o)
{
	for (; o && o->name; o++)
		fprintf(to, " --%s", o->name);
}

/* The cases of commands with a verb, then of nouns alone: there any second word may be an argument. */
static void put_option_cases(FILE *to, bool verbs)
{
	for (const struct cmd *c = cmd_next(NULL); c; c = cmd_next(c)) {
		if ((c->verb != NULL) != verbs)
			continue;
		if (verbs)
			fprintf(to, "\t\"%s %s\") words=\"", c->noun, c->verb);
		else
			fprintf(to, "\t\"%s \"*) words=\"", c->noun);
		put_opts(to, c->opts);
		put_opts(to, cli_opts);
		fprintf(to, "\" ;;\n");
	}
}

/* True for the first command of its noun. */
static bool first_of_noun(const struct cmd *c)
{
	for (const struct cmd *o = cmd_next(NULL); o; o = cmd_next(o))
		if (!strcmp(o->noun, c->noun))
			return o == c;
	return false;
}

static void put_nouns(FILE *to)
{
	for (const struct cmd *c = cmd_next(NULL); c; c = cmd_next(c))
		if (first_of_noun(c))
			fprintf(to, " %s", c->noun);
}

static void put_verb_cases(FILE *to)
{
	for (const struct cmd *c = cmd_next(NULL); c; c = cmd_next(c)) {
		if (!first_of_noun(c))
			continue;
		fprintf(to, "\t%s) words=\"", c->noun);
		for (const struct cmd *o = cmd_next(NULL); o; o = cmd_next(o))
			if (o->verb && !strcmp(o->noun, c->noun))
				fprintf(to, " %s", o->verb);
		fprintf(to, "\" ;;\n");
	}
}

void help_completion(FILE *to)
{
	fprintf(to, "# bash completion for hvapi: source it, or put it into /etc/bash_completion.d/\n"
		    "_hvapi_vms() {\n"
		    "    hvapi vm list 2>/dev/null </dev/null | awk 'NR > 1 { print $1 }'\n"
		    "}\n"
		    "_hvapi() {\n"
		    "    local cur=${COMP_WORDS[COMP_CWORD]} words=\"\"\n"
		    "    if [[ $cur == -* ]]; then\n"
		    "\tcase \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n");
	put_option_cases(to, true);
	put_option_cases(to, false);
	fprintf(to, "\t*) words=\"");
	put_opts(to, cli_opts);
	fprintf(to, "\" ;;\n\tesac\n    elif [ \"$COMP_CWORD\" -eq 1 ]; then\n\twords=\"");
	put_nouns(to);
	fprintf(to, "\"\n    elif [ \"$COMP_CWORD\" -eq 2 ]; then\n\tcase ${COMP_WORDS[1]} in\n");
	put_verb_cases(to);
	fprintf(to, "\tesac\n"
		    "\t[[ ${COMP_WORDS[1]} == migrate ]] && words+=\" $(_hvapi_vms)\"\n"
		    "    elif [[ ${COMP_WORDS[1]} == vm || ${COMP_WORDS[1]} == migrate ]]; then\n"
		    "\twords=$(_hvapi_vms)\n"
		    "    fi\n"
		    "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
		    "}\n"
		    "complete -o default -F _hvapi hvapi\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All commands and the options that each of them takes; finds the command
 * that a command line means before its options can be parsed.
 */
#include "hvapi/cli/cmd.h"

#include <string.h>

struct cli cli;

const struct opt cli_opts[] = {
	{ "host", OPT_TEXT, &cli.host, "NAME",
	  "the host to talk to (default: this one, else the one set by host use)" },
	{ "json", OPT_FLAG, &cli.json, NULL, "JSON instead of a table" },
	{ "no-wait", OPT_FLAG, &cli.no_wait, NULL, "do not wait for the job that the command starts" },
	{ "help", OPT_FLAG, &cli.help, NULL, "say what the command takes" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static const struct cmd *const tables[] = {
	cmds_host, cmds_vm, cmds_migrate, cmds_job, cmds_events, cmds_cert, cmds_file, cmds_other,
};

const struct cmd *cmd_next(const struct cmd *c)
{
	if (!c)
		return tables[0];
	if (c[1].noun)
		return c + 1;
	for (size_t t = 0; t + 1 < ARRAY_LEN(tables); t++)
		for (const struct cmd *in = tables[t]; in->noun; in++)
			if (in == c)
				return tables[t + 1];
	return NULL;
}

unsigned cmd_verbs(const char *noun)
{
	unsigned n = 0;

	for (const struct cmd *c = cmd_next(NULL); c; c = cmd_next(c))
		n += c->verb && !strcmp(c->noun, noun);
	return n;
}

static bool takes_value_in(const struct opt *o, const char *name)
{
	for (; o && o->name; o++)
		if (!strcmp(o->name, name))
			return o->kind != OPT_FLAG;
	return false;
}

/* Options of one name are of one kind in all commands. */
static bool takes_value(const char *name)
{
	if (takes_value_in(cli_opts, name))
		return true;
	for (const struct cmd *c = cmd_next(NULL); c; c = cmd_next(c))
		if (takes_value_in(c->opts, name))
			return true;
	return false;
}

unsigned cmd_words(int argc, char **argv, const char *out[2])
{
	unsigned n = 0;

	out[0] = out[1] = NULL;
	for (int i = 1; i < argc && n < 2; i++) {
		if (strncmp(argv[i], "--", 2))
			out[n++] = argv[i];
		else if (takes_value(argv[i] + 2))
			i++;
	}
	return n;
}

const struct cmd *cmd_find(const char *noun, const char *verb)
{
	const struct cmd *best = NULL;

	for (const struct cmd *c = cmd_next(NULL); noun && c; c = cmd_next(c)) {
		if (strcmp(c->noun, noun))
			continue;
		if (c->verb && verb && !strcmp(c->verb, verb))
			return c;
		if (!c->verb)
			best = c;
	}
	return best;
}

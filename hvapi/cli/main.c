/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapi: the command line.  Parses the words, opens the host, runs one
 * command of the table, and turns its error into a message and an exit status
 * (base/err.h: 0 done, 2 usage, 3 not found, ...).
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <signal.h>

#include "base/err.h"
#include "base/opt.h"
#include "hvapi/cli/api.h"
#include "hvapi/cli/cmd.h"
#include "hvapi/cli/help.h"

enum { OPTS_MAX = 32 };

static struct cli cli;
static bool help;

static const struct opt global_opts[] = {
	{ "host", OPT_TEXT, &cli.host, "NAME", "the host to talk to (default: the first one enrolled)" },
	{ "json", OPT_FLAG, &cli.json, NULL, "one JSON document instead of a table" },
	{ "no-wait", OPT_FLAG, &cli.no_wait, NULL, "do not wait for the job that the command starts" },
	{ "help", OPT_FLAG, &help, NULL, "say what the command takes" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

/* The options of the command and the global ones as one table. */
static void merge_opts(struct opt all[OPTS_MAX], const struct opt *own)
{
	size_t n = 0;

	for (; own && own->name && n < OPTS_MAX - ARRAY_LEN(global_opts); own++)
		all[n++] = *own;
	memcpy(all + n, global_opts, sizeof(global_opts));
}

/* How many words in front are plain: what an option may stand before is found by the parser later. */
static const struct cmd *find_command(int argc, char **argv)
{
	char *words[2];
	int n = 0, skip;

	for (int i = 1; i < argc && n < 2; i++) {
		if (!strcmp(argv[i], "--host")) {
			i++;
			continue;
		}
		if (strncmp(argv[i], "--", 2))
			words[n++] = argv[i];
	}
	return cmd_find(n, words, &skip);
}

static int run_command(const struct cmd *c, int n_args, char **args, struct err *e)
{
	if ((unsigned)n_args < c->min_args || (unsigned)n_args > c->max_args) {
		err_set(e, ERR_USAGE, "%s%s%s takes: %s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "", c->args);
		return err_remedy(e, "hvapi %s%s%s --help", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
	}
	if (!c->offline && api_open(cli.host, &cli.api, e) < 0)
		return -1;
	int rc = c->run(&cli, n_args, args, e);

	return rc;
}

static int run(int argc, char **argv, struct err *e)
{
	const struct cmd *c = find_command(argc, argv);
	struct opt all[OPTS_MAX];
	int n_args;

	merge_opts(all, c ? c->opts : NULL);
	if (!c) {
		help_all(argc > 1 ? stderr : stdout, argc > 1 ? argv[1] : NULL, global_opts);
		if (argc < 2 || !strcmp(argv[1], "--help"))
			return 0;
		return err_set(e, ERR_USAGE, "no command '%s%s%s'", argv[1], argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
	}
	if (opt_parse(all, argc, argv, &n_args, e) < 0)
		return -1;
	if (help) {
		help_one(stdout, c, global_opts);
		return 0;
	}
	int skip = c->verb ? 2 : 1;

	return run_command(c, n_args - skip, argv + 1 + skip, e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	cli.terminal = isatty(STDERR_FILENO) && isatty(STDOUT_FILENO);
	int rc = run(argc, argv, &e);

	if (rc < 0)
		help_error(stderr, &e, cli.api ? api_problems(cli.api) : NULL, cli.json);
	api_close(cli.api);
	return rc < 0 ? err_exit_status(e.code) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapi: the command line.  Parses the words, opens the host, runs one
 * command of the table, and turns its error into a message and an exit status
 * (base/err.h: 0 done, 2 usage, 3 not found, ...).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/opt.h"
#include "hvapi/cli/api.h"
#include "hvapi/cli/cmd.h"
#include "hvapi/cli/help.h"

enum { OPTS_MAX = 32, CLI_OPTS_MAX = 8 };

/* The options of the command and the global ones as one table. */
static void merge_opts(struct opt all[OPTS_MAX], const struct opt *own)
{
	size_t n = 0;

	for (; own && own->name && n < OPTS_MAX - CLI_OPTS_MAX; own++)
		all[n++] = *own;
	for (own = cli_opts; own->name; own++)
		all[n++] = *own;
	all[n] = (struct opt){ .name = NULL };
}

static int run_command(const struct cmd *c, int n_args, char **args, struct err *e)
{
	if ((unsigned)n_args < c->min_args || (unsigned)n_args > c->max_args) {
		err_set(e, ERR_USAGE, "%s%s%s takes %s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "",
			*c->args ? c->args : "no arguments");
		return err_remedy(e, "hvapi %s%s%s --help", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
	}
	if (!c->offline && api_open(cli.host, &cli.api, e) < 0)
		return -1;
	return c->run(&cli, n_args, args, e);
}

/* No command: the list of those there are, which answers --help, and is an error without it. */
static int no_command(int argc, char **argv, const char *noun, const char *verb, struct err *e)
{
	bool asked = !noun;

	for (int i = 1; i < argc; i++)
		asked = asked || !strcmp(argv[i], "--help");
	asked = asked && (!noun || (!verb && cmd_verbs(noun)));
	help_all(asked ? stdout : stderr, noun);
	if (asked)
		return 0;
	if (!verb && cmd_verbs(noun))
		return err_set(e, ERR_USAGE, "'%s' needs a verb", noun);
	return err_set(e, ERR_USAGE, "there is no command '%s%s%s'", noun, verb ? " " : "", verb ? verb : "");
}

static int run(int argc, char **argv, struct err *e)
{
	const char *words[2];
	struct opt all[OPTS_MAX];
	int n_args;

	cmd_words(argc, argv, words);
	const struct cmd *c = cmd_find(words[0], words[1]);

	merge_opts(all, c ? c->opts : NULL);
	if (!c) {
		if (!words[0] && opt_parse(all, argc, argv, &n_args, e) < 0)
			return -1;
		return no_command(argc, argv, words[0], words[1], e);
	}
	if (opt_parse(all, argc, argv, &n_args, e) < 0)
		return -1;
	if (cli.help) {
		help_one(stdout, c);
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

	errno = 0;
	if (rc == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		rc = err_sys(&e, errno ? errno : EIO, "write the output");

	if (rc < 0)
		help_error(stderr, &e, cli.api ? api_problems(cli.api) : NULL, cli.json);
	api_close(cli.api);
	return rc < 0 ? err_exit_status(e.code) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of the CLI: `hvapi NOUN VERB ARGS --options`.  One table
 * (commands.c) gives dispatch, help, completion and the man page's list.
 */
#ifndef HVAPI_CLI_CMD_H
#define HVAPI_CLI_CMD_H

#include <stdbool.h>
#include <jansson.h>

#include "base/err.h"
#include "base/opt.h"

struct api;

/* One run of the program. */
struct cli {
	struct api *api;	/* NULL for commands that need no host */
	const char *host;	/* --host, or NULL */
	bool json;		/* --json: machine-readable, one document on stdout */
	bool no_wait;		/* --no-wait: print the job and return */
	bool terminal;		/* stdout is one: progress bars */
};

struct cmd {
	const char *noun;
	const char *verb;	/* NULL: the noun alone is the command */
	const char *args;	/* "VM [FILE]": shown in help; capitals are arguments, [] optional */
	unsigned min_args;
	unsigned max_args;
	const struct opt *opts;	/* of this command, or NULL */
	bool offline;		/* needs no host */
	/* argv: the arguments only. */
	int (*run)(struct cli *c, int argc, char **argv, struct err *e);
	const char *help;
};

extern const struct cmd *const cmd_tables[];	/* NULL at the end; each ends with noun == NULL */

/* The tables, one a file. */
extern const struct cmd cmds_host[], cmds_vm[], cmds_migrate[], cmds_job[], cmds_events[], cmds_cert[],
	cmds_file[], cmds_other[];

/* The command of these words; *out_skip: how many of them name it.  NULL if there is none. */
const struct cmd *cmd_find(int argc, char **argv, int *out_skip);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of the CLI: `hvapi NOUN VERB ARGS --options`.  Their
 * tables give dispatch, help, completion and the man page.
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
	bool help;		/* --help */
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

extern struct cli cli;			/* where the options of every command go */
extern const struct opt cli_opts[];	/* those options */

/* The tables, one a file. */
extern const struct cmd cmds_host[], cmds_vm[], cmds_migrate[], cmds_job[], cmds_events[], cmds_cert[],
	cmds_file[], cmds_other[];

/* All commands in order: the first for NULL, NULL after the last. */
const struct cmd *cmd_next(const struct cmd *c);
/* How many verbs a noun has; 0 if there is no such noun. */
unsigned cmd_verbs(const char *noun);
/* The first two words of a command line that are neither options nor their values; how many there are. */
unsigned cmd_words(int argc, char **argv, const char *out[2]);
/* The command of noun and verb, else the one of the noun alone, else NULL.  Both may be NULL. */
const struct cmd *cmd_find(const char *noun, const char *verb);

#endif

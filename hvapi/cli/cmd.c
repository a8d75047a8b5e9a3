/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds commands.  The longest match wins: "vm start" before "vm".
 */
#include "hvapi/cli/cmd.h"

#include <string.h>

const struct cmd *const cmd_tables[] = {
	cmds_host, cmds_vm, cmds_migrate, cmds_job, cmds_events, cmds_cert, cmds_file, cmds_other, NULL,
};

const struct cmd *cmd_find(int argc, char **argv, int *out_skip)
{
	const struct cmd *best = NULL;

	for (size_t t = 0; argc && cmd_tables[t]; t++) {
		for (const struct cmd *c = cmd_tables[t]; c->noun; c++) {
			if (strcmp(c->noun, argv[0]))
				continue;
			if (c->verb && argc > 1 && !strcmp(c->verb, argv[1])) {
				*out_skip = 2;
				return c;
			}
			if (!c->verb)
				best = c;
		}
	}
	*out_skip = 1;
	return best;
}

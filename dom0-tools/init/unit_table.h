/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which programs hvinit runs, as whom and with what arguments.  A caller of
 * `spawn` names a unit, never a path: the table picks the program.
 */
#ifndef INIT_UNIT_TABLE_H
#define INIT_UNIT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	UNIT_NAME_BYTES = 96,		/* with the NUL */
	UNIT_TAIL_CHARS_MAX = 64,	/* of VM in domd/VM */
	UNIT_ARGS_MAX = 32,
	UNIT_ARG_BYTES_MAX = 4096,
	UNIT_FIXED_ARGS_MAX = 8,
};

/* Users of the appliance; there is no passwd file that could say otherwise. */
enum { USER_ROOT = 0, USER_HVTLS = 101, USER_HVAPID = 102, GROUP_HV = 100 };

enum unit_restart { UNIT_NEVER, UNIT_ON_FAILURE, UNIT_ALWAYS, UNIT_RESTART_N };

enum {
	UNIT_SPAWN = 1,			/* may be asked for by `spawn` (hvapid); others only by hvinit itself */
	UNIT_DIRS = 2,			/* gets --run DIR --data DIR in front of its arguments */
	UNIT_TTY = 4,			/* its terminal is the console itself (debug shell) */
	UNIT_QUIET = 8,			/* lines go to its log file, not to the console */
};

struct unit_def {
	const char *pattern;		/* "hvtls", or "domd/" for domd/ANYTHING */
	const char *program;		/* absolute path, or a name in the folder of our programs */
	const char *args[UNIT_FIXED_ARGS_MAX];
	uid_t uid;
	unsigned flags;
	enum unit_restart restart;	/* unless spawn says otherwise */
	unsigned args_max;		/* how many more the caller may give */
	int oom_adj;			/* /proc/PID/oom_score_adj */
};

extern const struct unit_def unit_table[];	/* ends with pattern == NULL */

/* The definition for a unit's name; ERR_USAGE for a malformed name, ERR_NOT_FOUND if the table has none. */
MUSTUSE int unit_table_find(const struct unit_def *table, const char *name,
			    const struct unit_def **out, struct err *e);
/* True for "domd/": one definition, many units. */
bool unit_def_is_pattern(const struct unit_def *d);

const char *unit_restart_name(enum unit_restart r);
MUSTUSE int unit_restart_parse(const char *text, enum unit_restart *out, struct err *e);

#endif

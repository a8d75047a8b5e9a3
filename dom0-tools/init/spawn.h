/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting one process: user, descriptors, signals, then exec.  What fails
 * before or in exec is known to the caller, by name.
 */
#ifndef INIT_SPAWN_H
#define INIT_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum { SPAWN_FDS_MAX = 8 };

struct spawn {
	const char *program;		/* absolute path */
	const char *const *argv;	/* NULL at the end */
	const int *fds;			/* become 3, 4, ...; stay the caller's */
	size_t n_fds;
	int out_fd;			/* becomes stdout and stderr; -1: inherited */
	const char *tty;		/* controlling terminal, all three of stdio; NULL: none */
	uid_t uid;			/* 0: unchanged; else also the gid, with GROUP_HV beside it */
	int oom_adj;
};

/* Blocks until the program runs or could not be run. */
MUSTUSE int spawn_start(const struct spawn *s, pid_t *out_pid, struct err *e);

/* Start time of a process in clock ticks since boot, which with the pid names it for ever; 0 if it is gone. */
unsigned long long spawn_start_ticks(pid_t pid);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The units that run: start, restart with back-off, stop, and find again
 * after the manager itself was restarted.
 *
 * A unit's process is watched through a pidfd, its own child or not.  What
 * is needed to find it again (pid, start time, arguments, policy) stands in
 * RUN/units.json, rewritten at each change: /run is memory, so it is as old
 * as the processes it names.
 */
#ifndef INIT_UNITS_H
#define INIT_UNITS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <jansson.h>

#include "base/err.h"
#include "base/loop.h"
#include "init/unit_log.h"
#include "init/unit_table.h"

enum {
	UNITS_MAX = 256,
	UNIT_STOP_MS_DEFAULT = 10000,	/* SIGTERM to SIGKILL */
	UNIT_STOP_MS_MAX = 600000,
	UNIT_WAITERS_MAX = 4,		/* callers of stop for one unit */
	UNIT_STATUS_UNKNOWN = 255,	/* ended while nobody looked */
};

enum unit_state { UNIT_RUNNING, UNIT_WAITING, UNIT_STOPPING, UNIT_EXITED, UNIT_FAILED, UNIT_STATE_N };

struct units;
struct unit;

struct units_conf {
	struct loop *loop;
	const struct unit_def *table;
	struct log_sink *sink;
	const char *run_dir;		/* all texts must stay valid */
	const char *data_dir;
	const char *bin_dir;		/* our own programs */
	bool switch_users;		/* false outside PID 1: everything runs as who we are */
	int report_fd;			/* struct pid1_report of orphans, -1: none */
	/* Each change: state "started", "exited" or "failed"; status 0..255, 128 + signal. */
	void (*on_event)(void *arg, const char *unit, const char *state, int status);
	void *arg;
};

struct unit_start {
	const char *name;
	const char *const *args;
	size_t n_args;
	const int *fds;			/* stay the caller's; a unit with descriptors is never restarted */
	size_t n_fds;
	int restart;			/* enum unit_restart, or -1: the table's */
};

MUSTUSE int units_new(const struct units_conf *conf, struct units **out, struct err *e);
/* Forgets the units; their processes live on. */
void units_free(struct units *us);
/* Takes over the processes that RUN/units.json names and that still run; starts again those that ended. */
void units_adopt(struct units *us);

MUSTUSE int units_start(struct units *us, const struct unit_start *s, pid_t *out_pid, struct err *e);
/* done (may be NULL) gets the status when the process is gone; never before this returns. */
MUSTUSE int units_stop(struct units *us, const char *name, uint64_t timeout_ms,
		       void (*done)(void *arg, int status), void *arg, struct err *e);
/* SIGKILL, as if it had crashed: what follows is its restart policy's. */
MUSTUSE int units_kill(struct units *us, const char *name, struct err *e);
/* Stops every unit whose name begins with `prefix`; returns how many were asked. */
unsigned units_stop_all(struct units *us, const char *prefix, uint64_t timeout_ms);
/* Units with a process whose name begins with `prefix`. */
unsigned units_running(const struct units *us, const char *prefix);
/* Calls fn with the name of each such unit; fn must not start or stop units. */
void units_each(const struct units *us, const char *prefix, void (*fn)(void *arg, const char *name), void *arg);
/* {units: [{unit, pid, state, restarts, last_exit}]} */
json_t *units_list(const struct units *us);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of units.c and units_state.c: what one unit is.  Nobody else
 * includes this.
 */
#ifndef INIT_UNITS_PRIV_H
#define INIT_UNITS_PRIV_H

#include "init/backoff.h"
#include "init/units.h"

struct unit_waiter {
	void (*done)(void *arg, int status);
	void *arg;
};

struct unit {
	struct unit *next;
	struct units *us;
	const struct unit_def *def;
	char name[UNIT_NAME_BYTES];
	char *args[UNIT_ARGS_MAX];	/* owned */
	size_t n_args;
	enum unit_restart restart;
	enum unit_state state;
	bool had_fds;
	pid_t pid;			/* 0: no process */
	unsigned long long start_ticks;
	int pidfd;
	struct loop_src *src;
	struct loop_timer *timer;	/* back-off, or SIGTERM to SIGKILL */
	struct backoff backoff;
	uint64_t started_ms;
	unsigned restarts;
	int last_exit;			/* -1: never ended */
	struct unit_waiter waiters[UNIT_WAITERS_MAX];
	unsigned n_waiters;
	struct unit_log log;
};

struct units {
	struct units_conf conf;
	struct unit *first;
	unsigned n;
};

extern const char *const unit_state_names[UNIT_STATE_N];

/* Adds an empty unit to the list; NULL when there are too many. */
struct unit *unit_add(struct units *us, const struct unit_def *d, const char *name, struct err *e);
void unit_forget(struct unit *u);
MUSTUSE int unit_set_args(struct unit *u, const char *const *args, size_t n, struct err *e);
void unit_open_log(struct unit *u);
/* Watches u->pid, which lives; -1 if it does not. */
MUSTUSE int unit_watch_pid(struct unit *u, struct err *e);
/* Runs it now, or later if that fails and its policy says so. */
MUSTUSE int unit_run(struct unit *u, const int *fds, size_t n_fds, struct err *e);
/* What follows when the process is gone. */
void unit_ended(struct unit *u, int status);

/* RUN/units.json, from the list. */
void units_save(const struct units *us);

#endif

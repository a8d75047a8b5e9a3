/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process around a session: turns what happens into events, and actions
 * into calls.  What both roles do is here; send.c and recv.c add their own.
 */
#ifndef MIGRATE_PROC_H
#define MIGRATE_PROC_H

#include <stdbool.h>
#include <jansson.h>

#include "base/ctl.h"
#include "base/err.h"
#include "base/loop.h"
#include "migrate/mig_link.h"
#include "migrate/report.h"
#include "migrate/session.h"

enum {
	PROC_PATH_BYTES = 256,
	PROC_API_UID = 102,		/* hvapid's user, docs/interfaces.md */
	PROC_LINGER_MS = 3000,		/* after `done`, so that who watches has read it */
};

struct proc;

/* What a role adds. */
struct proc_role {
	enum mig_role role;
	/* One entry an action; NULL: proc.c does it. */
	void (*act[MIG_ACT_N])(struct proc *p, const struct mig_action *a);
	/* Fills the JSON body of a message that has one. */
	json_t *(*body)(struct proc *p, enum mig_type type);
	/* A message came, before the session hears of it. */
	void (*seen)(struct proc *p, const struct mig_msg *m);
	void (*data)(struct proc *p, uint64_t seq, struct buf batch);
	/* The line is about to be freed: forget it. */
	void (*unlink)(struct proc *p);
	void (*fini)(struct proc *p);
};

struct proc_setup {
	const char *run_dir, *data_dir;
	const char *session;		/* names socket and report */
	const char *peer;
	const char *address;		/* to dial again; NULL: never dials */
	const char *domd_path;		/* NULL: not known yet */
	int link_fd;			/* taken; -1: none */
};

struct proc {
	struct loop *loop;
	struct session session;
	const struct proc_role *role;
	void *own;			/* of the role */
	char run_dir[PROC_PATH_BYTES], data_dir[PROC_PATH_BYTES], domd_path[PROC_PATH_BYTES + 96];
	char name[MIG_SESSION_BYTES_MAX + 1], peer[PROC_PATH_BYTES], address[PROC_PATH_BYTES];
	struct mig_link *link;
	uint32_t link_no;
	struct loop_timer *timers[MIG_TIMER_N];
	struct loop_timer *linger;
	struct ctl_server *ctl;
	struct ctl_client *domd;
	struct report report;
	bool busy;			/* inside session_event: new events wait */
	bool finished;
	int result;
};

/* Sets up loop objects, control socket and the session; the caller then feeds MIG_EV_START. */
MUSTUSE int proc_init(struct proc *p, struct loop *loop, const struct proc_role *role, void *own,
		      const struct proc_setup *set, const struct session_params *params, struct err *e);
void proc_fini(struct proc *p);
/* The operator's cancel, if it is not too late; else ERR_STATE. */
MUSTUSE int proc_cancel(struct proc *p, struct err *e);
/* START and, with a link, LINK_UP 0. */
void proc_start(struct proc *p, const struct mig_event *start);

/* One event.  Called from inside an action it waits until that is over. */
void proc_event(struct proc *p, const struct mig_event *ev);
void proc_done(struct proc *p, enum mig_act_kind act, const struct err *err);	/* err NULL: ok */

/* One verb to this VM's hvdomd; fn as of ctl_send.  Connects when it has to; a failure comes to fn too, later. */
void proc_domd(struct proc *p, const char *verb, json_t *args /* taken */, const int *fds, size_t n_fds,
	       void (*fn)(void *arg, const json_t *ok, const struct err *e));
/* For fn of verbs whose answer matters only as ok or not: MIG_EV_DONE of that action. */
#define PROC_ANSWER(name, action)                                                            \
	static void name(void *arg, const json_t *ok, const struct err *e)                   \
	{                                                                                    \
		(void)ok;                                                                    \
		proc_done(arg, action, e);                                                   \
	}

void proc_progress(struct proc *p);	/* publishes PROGRESS */

#endif

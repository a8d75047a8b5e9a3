/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What session.c offers to the two roles.  Only session_enter writes the
 * state; only session_push puts actions into the queue.
 */
#ifndef MIGRATE_SESSION_PRIV_H
#define MIGRATE_SESSION_PRIV_H

#include "migrate/session.h"

enum {
	SESSION_CANCEL = 1,	/* the operator may still cancel */
	SESSION_DOUBT = 2,
};

/* One row of a role's table. */
struct session_state {
	const char *name;
	uint32_t next;		/* BIT(state) of where it may go; itself only where that is meant */
	unsigned flags;		/* SESSION_CANCEL, SESSION_DOUBT */
	uint32_t limit_ms;	/* of the state timer; 0: the role arms it, or nothing is waited for */
	const char *limit;	/* what is overdue when it goes off */
	void (*on)(struct session *s, const struct mig_event *ev);
};

extern const struct session_state session_send_states[];
extern const struct session_state session_recv_states[];

/* Numbers that both tables share. */
enum { ST_IDLE, ST_ENDED, ST_FIRST_OF_ROLE };

enum {
	SESSION_PING_MS = 2000,
	SESSION_DEAD_MS = 8000,		/* no frame for so long: the line is dead */
	SESSION_RETRY_MS = 1000,	/* between tries of an action of hvdomd that must succeed */
	SESSION_TRIES_MAX = 30,		/* of such an action, then MIG_DONE_UNKNOWN */
	SESSION_DIAL_MS_FIRST = 250,	/* back-off between dials, doubled each time up to … */
	SESSION_DIAL_MS_MAX = 30000,
};

const struct session_state *session_row(const struct session *s);
void session_enter(struct session *s, unsigned to, const char *why);

/* The next free action, zeroed; the queue cannot be full (assert). */
struct mig_action *session_push(struct session *s, enum mig_act_kind kind);
/* A SEND on the line in use, for the caller to fill; m->session is set. */
struct mig_msg *session_say(struct session *s, enum mig_type type);

void session_arm(struct session *s, enum mig_timer t, uint32_t ms);
void session_cancel(struct session *s, enum mig_timer t);
/* Moves the deadline of the state timer to its limit from now: something moved. */
void session_touch(struct session *s);
/* Closes the line in use, if it is up, and forgets it. */
void session_hang_up(struct session *s);

/* Keeps the first reason; err NULL: leaves it. */
void session_blame(struct session *s, const struct err *err);
/* The error of an event that means trouble: what it carries, or what the table and the kind of event say. */
struct err session_trouble(const struct session *s, const struct mig_event *ev);

/*
 * Says an action of hvdomd that must succeed in the end, again after an error or silence.
 * session_again: false when it was tried often enough.
 */
void session_insist(struct session *s, enum mig_act_kind kind, bool not_taken);
bool session_again(struct session *s, const struct mig_event *ev, enum mig_act_kind kind, bool not_taken);

void session_finish(struct session *s, enum mig_done outcome, const char *why);

/* What an event is. */
static inline bool is_msg(const struct mig_event *ev, enum mig_type type)
{
	return ev->kind == MIG_EV_MSG && ev->msg->type == type;
}

static inline bool is_done(const struct mig_event *ev, enum mig_act_kind act)
{
	return ev->kind == MIG_EV_DONE && ev->act == act;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side of one move, as a pure state machine: events in, actions out (session_io.h).
 *
 * No I/O, no clock, no memory beyond the struct.  The process around it (and
 * tests/sim, which drives the same code through every fault) does this:
 *
 *     session_init(&s, role, &params);
 *     session_event(&s, &(struct mig_event){ .kind = MIG_EV_START, ... }, now_ms);
 *     for each event:  session_event(&s, &ev, now_ms);
 *                      while (session_next(&s, &act)) do it;
 *     until MIG_ACT_FINISH
 *
 * The rules that keep a guest from running twice (DESIGN.md, Hand-over) are here:
 *   - COMMIT goes out only after GIVE_COMMIT was answered "durable"; until then any failure ends in GIVE_ABORT.
 *   - After COMMIT the source acts only on the target's word: TAKEN, or ANSWER.  No word: it stays suspended,
 *     dials with back-off and asks, for ever; a restarted process (START with owner in-doubt) does the same.
 *   - TAKE only after COMMIT, never after REFUSE; line lost before COMMIT: REFUSE, durable, then over.
 *   - QUERY for a session still undecided: REFUSE first, then the answer.  The decision is one durable record of
 *     hvdomd, so it does not matter how many processes ask it: whoever comes second is told what was decided.
 *
 * Every wait has a named limit (the state tables in session_send.c, session_recv.c).  Failures carry a
 * struct err: code, detail, remedy.
 */
#ifndef MIGRATE_SESSION_H
#define MIGRATE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/mig_policy.h"
#include "migrate/mig_wire.h"
#include "migrate/session_io.h"

struct session_params {
	const char *session;		/* source; copied.  Target: learned from HELLO */
	const char *vm, *uuid;		/* source after a restart (in doubt); copied; else learned from GIVE_BEGIN */
	bool check_only;		/* source: end after the target's checks */
	bool resolve;			/* source: no new move; ask how `session` ended and settle it with hvdomd */
	struct policy_opts policy;	/* source */
	uint16_t codecs;		/* what this build can: BIT(enum stream_codec) */
	uint16_t streams_max;
};

enum { SESSION_QUEUE_MAX = 24 };

struct session {
	/* private; read it for status only */
	enum mig_role role;
	unsigned state;
	uint32_t link;			/* of the line in use */
	bool link_up;
	uint32_t links;			/* numbers given out */
	uint64_t now_ms, deadline_ms[MIG_TIMER_N];
	char session[MIG_SESSION_BYTES_MAX + 1], vm[MIG_VM_BYTES_MAX + 1], uuid[MIG_UUID_BYTES + 1];
	uint64_t generation;		/* before the move */
	bool check_only, resolve;
	uint16_t codecs, streams_max;
	enum stream_codec codec;
	uint16_t streams;
	struct policy policy;
	bool stream_runs;		/* source: START_STREAM was said and no end of it was heard */
	bool committed;			/* source: COMMIT may have been sent */
	bool maybe_durable;		/* source: GIVE_COMMIT was said, so the record may say in-doubt */
	bool stream_ok, receive_ok;	/* target */
	bool receive_said;		/* target: START_RECEIVE was said, so hvdomd may have a record */
	bool is_query;			/* target: there is no move here, only a QUERY to answer */
	bool query_waits;		/* target: a QUERY is to be answered when the decision is durable */
	unsigned tries;			/* of the action or dial that is repeated */
	struct err cause;		/* why the move failed; code ERR_NONE: it did not */
	struct mig_action queue[SESSION_QUEUE_MAX];
	unsigned q_head, q_len;
};

void session_init(struct session *s, enum mig_role role, const struct session_params *p);

/* now_ms: any clock that does not run backwards.  Events that come too late for the state are ignored. */
void session_event(struct session *s, const struct mig_event *ev, uint64_t now_ms);

/* The next action, in order; false: none.  *out lives until the next call into s. */
bool session_next(struct session *s, const struct mig_action **out);

bool session_can_cancel(const struct session *s);	/* false: too late, ERR_STATE to who asked */
bool session_in_doubt(const struct session *s);
bool session_ended(const struct session *s);	/* FINISH was said */
const char *session_state_name(const struct session *s);

/* What the QUERY must be told, by the record that was found.  *undecided: REFUSE first. */
enum mig_outcome session_verdict(enum mig_owner owner, const char *owner_session, uint64_t owner_generation,
				 const struct mig_msg *query, bool *undecided);

#endif

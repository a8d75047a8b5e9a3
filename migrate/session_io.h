/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session says to the process around it (actions) and hears from it
 * (events).  The rules between them are in session.h.
 */
#ifndef MIGRATE_SESSION_IO_H
#define MIGRATE_SESSION_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/mig_policy.h"
#include "migrate/mig_wire.h"

enum mig_role { MIG_ROLE_SEND, MIG_ROLE_RECV };

/* The member "owner" of owner.json; MIG_OWNER_NONE: there is no record. */
enum mig_owner {
	MIG_OWNER_NONE, MIG_OWNER_HERE, MIG_OWNER_GIVING, MIG_OWNER_IN_DOUBT, MIG_OWNER_AWAY, MIG_OWNER_RECEIVING,
	MIG_OWNER_REFUSED, MIG_OWNER_N
};

/* What the process must do.  "answered": by one MIG_EV_DONE of this kind, ok or with an error, in its own time. */
enum mig_act_kind {
	MIG_ACT_NONE,
	/* the line */
	MIG_ACT_SEND,		/* act.msg on act.link.  The process adds the body of OFFER, READY, TAKEN, REFUSE */
	MIG_ACT_CLOSE_LINK,	/* act.link; what was sent is flushed first, within the process's own limit */
	MIG_ACT_DIAL,		/* the peer, by hvtls.  MIG_EV_LINK_UP when it is up; answered only if it failed */
	/* source: hvdomd */
	MIG_ACT_GIVE_BEGIN,	/* answered; the event carries vm, uuid and generation */
	MIG_ACT_THROTTLE,	/* act.cap_percent; answered (an error is logged by the process; the move goes on) */
	MIG_ACT_GIVE_COMMIT,	/* answered: ok means durable */
	MIG_ACT_GIVE_DONE,	/* answered */
	MIG_ACT_GIVE_ABORT,	/* act.not_taken; answered */
	/* source: the stream.  Failures at any time: MIG_EV_STREAM_FAILED, once, instead of what was due */
	MIG_ACT_START_STREAM,	/* act.codec, act.streams; then STREAM_PROGRESS and STREAM_ROUND */
	MIG_ACT_CONTINUE,	/* answer to a STREAM_ROUND: one more round */
	MIG_ACT_REQUEST_STOP,	/* answer to a STREAM_ROUND: suspend the guest; STREAM_SUSPENDED, then STREAM_DONE */
	MIG_ACT_STOP_STREAM,	/* give up; answered when the guest will not be suspended by it any more */
	/* target */
	MIG_ACT_CHECK,		/* the OFFER (last MSG event); answered with vm, generation, check_only; err: refused */
	MIG_ACT_START_RECEIVE,	/* act.codec, act.streams: hvdomd `receive`.  Then STREAM_PROGRESS; STREAM_DONE (see
				   the event) and RECEIVE_READY, in any order; or RECEIVE_FAILED, once */
	MIG_ACT_END_STREAM,	/* act.msg is STREAM_END: what all batches together must be */
	MIG_ACT_TAKE,		/* answered: ok means durable and unpaused */
	MIG_ACT_REFUSE,		/* answered: ok means durable, nothing left of it; after an error LOOK says */
	MIG_ACT_LOOK,		/* owner.json of act.msg.vm; answered with owner, owner_session, generation, and
				   other_peer if the record's peer is not the one at the other end of the line */
	MIG_ACT_ANNOUNCE,	/* the guest's addresses on its bridges, repeated; answered when over */
	/* both */
	MIG_ACT_ARM_TIMER,	/* act.timer, act.ms from now; replaces one that runs */
	MIG_ACT_CANCEL_TIMER,	/* act.timer */
	MIG_ACT_REPORT,		/* the state changed: act.state, act.why; and act.err if that is the reason */
	MIG_ACT_FINISH,		/* act.outcome, act.err.  Nothing comes after it; flush links, write the report, exit */
	MIG_ACT_N
};

enum mig_timer { MIG_TIMER_STATE, MIG_TIMER_PING, MIG_TIMER_DEAD, MIG_TIMER_N };
enum mig_done {
	MIG_DONE_MOVED = 1,	/* source: gone and the target has it.  Target: it is ours and runs */
	MIG_DONE_ABORTED,	/* source: runs here as before (after a power cut: stopped).  Target: nothing left */
	MIG_DONE_CHECKED,	/* check_only: every check passed */
	MIG_DONE_ANSWERED,	/* target: a QUERY was answered */
	MIG_DONE_UNKNOWN,	/* hvdomd did not answer in time; what it will do by itself is in docs/interfaces.md */
};

struct mig_action {
	enum mig_act_kind kind;
	uint32_t link;			/* SEND, CLOSE_LINK, DIAL: the number that the new line will have */
	bool not_taken;
	uint8_t cap_percent;		/* 0: no throttle */
	enum stream_codec codec;
	uint16_t streams;
	enum mig_timer timer;
	uint32_t ms;
	enum mig_done outcome;
	const char *state;		/* REPORT: "precopy" … static text */
	char why[POLICY_WHY_BYTES];	/* REPORT */
	const struct err *err;		/* REPORT, FINISH: borrowed from the session; NULL: none */
	struct mig_msg msg;		/* SEND, END_STREAM, LOOK */
};

enum mig_ev_kind {
	MIG_EV_START,		/* first of all.  `resolve`: owner and generation from the record */
	MIG_EV_LINK_UP,		/* ev.link: 0 (right after START) for the line one is born with, else the DIAL's */
	MIG_EV_LINK_DOWN,	/* ev.link: read end, error, cut by the other side; why in ev.err or NULL */
	MIG_EV_MSG,		/* ev.link, ev.msg: any type but DATA.  Bytes that do not decode: LINK_DOWN, with why */
	MIG_EV_DONE,		/* answer to ev.act: ev.err NULL if it succeeded */
	MIG_EV_STREAM_PROGRESS,	/* bytes move; at least every second while they do (the stall limit counts from it) */
	MIG_EV_STREAM_ROUND,	/* source: ev.round; answered by CONTINUE, REQUEST_STOP or STOP_STREAM */
	MIG_EV_STREAM_SUSPENDED,/* source: the guest stands still */
	MIG_EV_STREAM_DONE,	/* source: the last batch was written: ev.batches, raw_bytes, sum.
				   target: all batches came and are what STREAM_END says */
	MIG_EV_STREAM_FAILED,	/* source: ev.err */
	MIG_EV_RECEIVE_READY,	/* target: hvdomd's paused domain is complete */
	MIG_EV_RECEIVE_FAILED,	/* target: ev.err */
	MIG_EV_TIMER,		/* ev.timer went off */
	MIG_EV_CANCEL,		/* the operator's; see session_can_cancel */
	MIG_EV_CLAIM,		/* source, in doubt: the operator saw the target himself: ev.outcome TAKEN or REFUSED */
	MIG_EV_ASK_NOW,		/* source, in doubt: do not wait for the back-off */
	MIG_EV_N
};

struct mig_event {
	enum mig_ev_kind kind;
	uint32_t link;
	enum mig_act_kind act;		/* DONE */
	const struct err *err;		/* DONE (NULL: ok), LINK_DOWN, *_FAILED; borrowed for the call */
	const struct mig_msg *msg;	/* borrowed for the call */
	enum mig_timer timer;
	enum mig_owner owner;		/* START, DONE of LOOK */
	uint64_t generation;		/* START, DONE of GIVE_BEGIN, CHECK and LOOK */
	bool check_only;		/* DONE of CHECK */
	const char *owner_session;	/* DONE of LOOK */
	bool other_peer;		/* DONE of LOOK */
	const char *vm, *uuid;		/* DONE of GIVE_BEGIN; vm also of CHECK */
	struct policy_round round;
	uint64_t batches, raw_bytes, sum;
	enum mig_outcome outcome;	/* CLAIM */
};

/* Names for logs. */
const char *mig_act_name(enum mig_act_kind k);
const char *mig_ev_name(enum mig_ev_kind k);

#endif

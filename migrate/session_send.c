/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's side of a session.
 *
 *   idle ─► begin ─► hello ─► offer ─► precopy ─► suspend ─► rest ─► ready ─► commit ─► handed ─► settle ─► ended
 *             │        │        │         │          │        │        │        │         │         ▲
 *             └────────┴────────┴──►   halt / abort (guest runs here) ◄┴────────┘         ▼         │
 *                                                ▲                              in-doubt ⇄ dial ─► ask
 *                                                └───────── "refused", the target's word ──────────┘
 *
 * Left of `handed` every trouble goes to `abort`: COMMIT was not sent, so the
 * guest can only be here.  From `handed` on nothing but the target's word, or
 * the operator who saw the target himself, leaves the right-hand side.
 */
#include "migrate/session_priv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
	SS_BEGIN = ST_FIRST_OF_ROLE, SS_HELLO, SS_OFFER, SS_PRECOPY, SS_SUSPEND, SS_REST, SS_READY, SS_COMMIT,
	SS_HANDED, SS_IN_DOUBT, SS_DIAL, SS_ASK, SS_SETTLE, SS_HALT, SS_ABORT, SS_N
};

/* ---- ways out ---- */

static void give_back(struct session *s, const char *why)
{
	session_insist(s, MIG_ACT_GIVE_ABORT, s->maybe_durable);
	session_enter(s, SS_ABORT, why);
}

/* Before COMMIT: the guest runs on here.  The saver is stopped first, or it might suspend the guest afterwards. */
static void fail(struct session *s, const struct err *err)
{
	assert(!s->committed);
	session_blame(s, err);
	if (s->link_up) {
		session_say(s, MIG_ABORT)->err = *err;
		session_hang_up(s);
	}
	if (s->stream_runs) {
		session_push(s, MIG_ACT_STOP_STREAM);
		session_enter(s, SS_HALT, err->detail);
	} else {
		give_back(s, err->detail);
	}
}

static void doubt(struct session *s, const char *why)
{
	uint32_t ms = SESSION_DIAL_MS_FIRST;

	for (unsigned i = 0; i < s->tries && ms < SESSION_DIAL_MS_MAX; i++)
		ms *= 2;
	session_hang_up(s);
	s->link = ++s->links;	/* a dial that succeeds too late finds another number and is closed */
	session_enter(s, SS_IN_DOUBT, why);
	session_arm(s, MIG_TIMER_STATE, ms < SESSION_DIAL_MS_MAX ? ms : SESSION_DIAL_MS_MAX);
}

static void doubt_first(struct session *s, const struct err *err)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_IN_DOUBT, "the target may have taken the guest: no answer after COMMIT (%.300s)", err->detail);
	err_remedy(&e, "it is asked again until it answers; to ask now: hvapi migrate resolve %.63s", s->vm);
	session_blame(s, &e);
	s->tries = 0;
	doubt(s, e.detail);
}

static void decided(struct session *s, enum mig_outcome outcome, const char *why)
{
	struct err e = ERR_INIT;

	if (outcome == MIG_OUTCOME_TAKEN) {
		s->cause.code = ERR_NONE;
		session_insist(s, MIG_ACT_GIVE_DONE, false);
		session_enter(s, SS_SETTLE, why);
		return;
	}
	err_set(&e, ERR_PEER, "the target did not take the guest");
	s->cause = e;
	session_hang_up(s);
	s->maybe_durable = true;
	give_back(s, why);
}

/* ---- before COMMIT: what is trouble in each of these states ---- */

/* What no state of the left-hand side expects ends the move; late answers of old actions do not. */
static void unexpected(struct session *s, const struct mig_event *ev)
{
	struct err e;

	if (ev->kind == MIG_EV_DONE && (!ev->err || ev->act == MIG_ACT_THROTTLE || ev->act == MIG_ACT_STOP_STREAM))
		return;
	if (ev->kind == MIG_EV_CLAIM || ev->kind == MIG_EV_ASK_NOW || ev->kind == MIG_EV_LINK_UP)
		return;
	if (ev->kind == MIG_EV_STREAM_FAILED)
		s->stream_runs = false;
	e = session_trouble(s, ev);
	fail(s, &e);
}

static void dial(struct session *s, const char *why)
{
	session_push(s, MIG_ACT_DIAL)->link = s->link = ++s->links;
	session_enter(s, SS_DIAL, why);
}

static void start_resolve(struct session *s, const struct mig_event *ev)
{
	struct err e = ERR_INIT;

	s->generation = ev->generation;
	switch (ev->owner) {
	case MIG_OWNER_IN_DOUBT:
		s->committed = s->maybe_durable = true;
		dial(s, "in doubt since before this process");
		break;
	case MIG_OWNER_GIVING:
	case MIG_OWNER_HERE:
		give_back(s, "never committed");
		break;
	case MIG_OWNER_AWAY:
		session_finish(s, MIG_DONE_MOVED, "the record says so already");
		break;
	default:
		err_set(&e, ERR_STATE, "'%s' is not being given away by this host", s->vm);
		session_blame(s, &e);
		session_finish(s, MIG_DONE_UNKNOWN, e.detail);
	}
}

static void on_idle(struct session *s, const struct mig_event *ev)
{
	if (ev->kind != MIG_EV_START)
		return;
	if (s->resolve) {
		start_resolve(s, ev);
		return;
	}
	session_push(s, MIG_ACT_GIVE_BEGIN);
	session_enter(s, SS_BEGIN, "started");
}

static void on_begin(struct session *s, const struct mig_event *ev)
{
	if (ev->kind == MIG_EV_LINK_UP)
		return;
	if (!is_done(ev, MIG_ACT_GIVE_BEGIN) || ev->err) {
		unexpected(s, ev);
		return;
	}
	snprintf(s->vm, sizeof(s->vm), "%s", ev->vm);
	snprintf(s->uuid, sizeof(s->uuid), "%s", ev->uuid);
	s->generation = ev->generation;
	if (!s->link_up) {
		struct err e = ERR_INIT;

		err_set(&e, ERR_NET, "there is no line to the target");
		fail(s, &e);
		return;
	}
	struct mig_msg *m = session_say(s, MIG_HELLO);

	m->version = MIG_VERSION;
	m->codecs = s->codecs;
	m->streams = s->streams_max;
	session_enter(s, SS_HELLO, "guest is being given");
}

static void on_hello(struct session *s, const struct mig_event *ev)
{
	if (!is_msg(ev, MIG_HELLO) || strcmp(ev->msg->session, s->session)) {
		unexpected(s, ev);
		return;
	}
	session_say(s, MIG_OFFER);
	session_enter(s, SS_OFFER, "target answered");
}

static void accepted(struct session *s, const struct mig_msg *m)
{
	struct err e = ERR_INIT;

	if (s->check_only) {
		give_back(s, "every check passed");
		return;
	}
	if (m->streams > s->streams_max || !(s->codecs & BIT(m->codec))) {
		err_set(&e, ERR_CORRUPT, "the target chose codec %d and %u connections, which were not offered",
			m->codec, m->streams);
		fail(s, &e);
		return;
	}
	struct mig_action *a = session_push(s, MIG_ACT_START_STREAM);

	a->codec = s->codec = m->codec;
	a->streams = s->streams = m->streams;
	s->stream_runs = true;
	session_enter(s, SS_PRECOPY, "target accepted");
}

static void on_offer(struct session *s, const struct mig_event *ev)
{
	struct err e = ERR_INIT;

	if (is_msg(ev, MIG_ACCEPT)) {
		accepted(s, ev->msg);
	} else if (is_msg(ev, MIG_REFUSE)) {
		err_set(&e, ERR_REFUSED, "the target's checks found problems");
		err_remedy(&e, "see the problems; each says what to do");
		fail(s, &e);
	} else {
		unexpected(s, ev);
	}
}

static void round_over(struct session *s, const struct policy_round *r)
{
	char why[POLICY_WHY_BYTES];
	struct err e = ERR_INIT;

	switch (policy_decide(&s->policy, r, why)) {
	case POLICY_SUSPEND:
		session_push(s, MIG_ACT_REQUEST_STOP);
		session_enter(s, SS_SUSPEND, why);
		return;
	case POLICY_GIVE_UP:
		err_set(&e, ERR_LIMIT, "memory does not converge: %s", why);
		err_remedy(&e, "allow more downtime, or choose --on-stall throttle or stop");
		fail(s, &e);
		return;
	case POLICY_SLOW_DOWN:
		session_push(s, MIG_ACT_THROTTLE)->cap_percent = (uint8_t)s->policy.cap_percent;
		break;
	case POLICY_GO_ON:
		break;
	}
	session_push(s, MIG_ACT_CONTINUE);
	session_touch(s);
}

static void on_precopy(struct session *s, const struct mig_event *ev)
{
	if (ev->kind == MIG_EV_STREAM_PROGRESS)
		session_touch(s);
	else if (ev->kind == MIG_EV_STREAM_ROUND)
		round_over(s, &ev->round);
	else
		unexpected(s, ev);
}

static void on_suspend(struct session *s, const struct mig_event *ev)
{
	if (ev->kind == MIG_EV_STREAM_SUSPENDED)
		session_enter(s, SS_REST, "guest stands still");
	else if (ev->kind != MIG_EV_STREAM_PROGRESS)
		unexpected(s, ev);
}

static void on_rest(struct session *s, const struct mig_event *ev)
{
	if (ev->kind == MIG_EV_STREAM_PROGRESS) {
		session_touch(s);
	} else if (ev->kind == MIG_EV_STREAM_DONE) {
		struct mig_msg *m = session_say(s, MIG_STREAM_END);

		m->seq = ev->batches;
		m->raw_bytes = ev->raw_bytes;
		m->sum = ev->sum;
		s->stream_runs = false;
		session_enter(s, SS_READY, "everything was sent");
	} else {
		unexpected(s, ev);
	}
}

static void on_ready(struct session *s, const struct mig_event *ev)
{
	if (is_msg(ev, MIG_READY)) {
		s->maybe_durable = true;
		session_push(s, MIG_ACT_GIVE_COMMIT);
		session_enter(s, SS_COMMIT, "target is ready");
	} else if (ev->kind != MIG_EV_STREAM_PROGRESS) {
		unexpected(s, ev);
	}
}

static void on_commit(struct session *s, const struct mig_event *ev)
{
	if (!is_done(ev, MIG_ACT_GIVE_COMMIT) || ev->err) {
		unexpected(s, ev);
		return;
	}
	s->committed = true;
	session_say(s, MIG_COMMIT)->generation = s->generation;
	session_enter(s, SS_HANDED, "give-commit is durable");
}

/* ---- after COMMIT ---- */

static bool answer(struct session *s, const struct mig_event *ev)
{
	if (!is_msg(ev, MIG_ANSWER) || strcmp(ev->msg->session, s->session) ||
	    ev->msg->outcome == MIG_OUTCOME_UNKNOWN)
		return false;
	decided(s, ev->msg->outcome, "target answered");
	return true;
}

static void on_handed(struct session *s, const struct mig_event *ev)
{
	struct err e;

	if (is_msg(ev, MIG_TAKEN)) {
		decided(s, MIG_OUTCOME_TAKEN, "target runs it");
	} else if (answer(s, ev)) {
		return;
	} else if (ev->kind == MIG_EV_LINK_DOWN || ev->kind == MIG_EV_TIMER) {
		e = session_trouble(s, ev);
		doubt_first(s, &e);
	}
}

static bool claimed(struct session *s, const struct mig_event *ev)
{
	if (ev->kind != MIG_EV_CLAIM || ev->outcome == MIG_OUTCOME_UNKNOWN)
		return false;
	decided(s, ev->outcome, "the operator says so");
	return true;
}

static void on_in_doubt(struct session *s, const struct mig_event *ev)
{
	if (claimed(s, ev))
		return;
	if (ev->kind == MIG_EV_ASK_NOW)
		s->tries = 0;
	if (ev->kind == MIG_EV_ASK_NOW || ev->kind == MIG_EV_TIMER)
		dial(s, "asking the target");
}

static void on_dial(struct session *s, const struct mig_event *ev)
{
	if (claimed(s, ev))
		return;
	if (ev->kind == MIG_EV_LINK_UP) {
		struct mig_msg *m = session_say(s, MIG_QUERY);

		m->generation = s->generation;
		snprintf(m->vm, sizeof(m->vm), "%s", s->vm);
		snprintf(m->uuid, sizeof(m->uuid), "%s", s->uuid);
		session_enter(s, SS_ASK, "line is up");
	} else if (ev->kind == MIG_EV_TIMER || is_done(ev, MIG_ACT_DIAL)) {
		struct err e = session_trouble(s, ev);

		s->tries++;
		doubt(s, e.detail);
	}
}

static void on_ask(struct session *s, const struct mig_event *ev)
{
	if (claimed(s, ev) || answer(s, ev))
		return;
	if (ev->kind == MIG_EV_TIMER || ev->kind == MIG_EV_LINK_DOWN || ev->kind == MIG_EV_MSG) {
		s->tries++;
		doubt(s, is_msg(ev, MIG_ANSWER) ? "the target knows nothing of this session" :
						  "the target did not answer");
	}
}

static void on_settle(struct session *s, const struct mig_event *ev)
{
	if (is_done(ev, MIG_ACT_GIVE_DONE) && !ev->err)
		session_finish(s, MIG_DONE_MOVED, "the target has it");
	else if ((is_done(ev, MIG_ACT_GIVE_DONE) || ev->kind == MIG_EV_TIMER) &&
		 !session_again(s, ev, MIG_ACT_GIVE_DONE, false))
		session_finish(s, MIG_DONE_UNKNOWN, "hvdomd does not answer give-done");
}

/* ---- the way back ---- */

static void on_halt(struct session *s, const struct mig_event *ev)
{
	if (!is_done(ev, MIG_ACT_STOP_STREAM) && ev->kind != MIG_EV_TIMER)
		return;
	s->stream_runs = false;
	give_back(s, "stream has ended");
}

/* hvdomd gives nothing in this session (it never began, or a hang-up undid it): nothing is left to undo. */
static bool nothing_given(const struct err *err)
{
	return err->code == ERR_STATE || err->code == ERR_REFUSED || err->code == ERR_NOT_FOUND;
}

static void on_abort(struct session *s, const struct mig_event *ev)
{
	bool done = is_done(ev, MIG_ACT_GIVE_ABORT);

	if (done && (!ev->err || nothing_given(ev->err)))
		session_finish(s, s->check_only && !s->cause.code ? MIG_DONE_CHECKED : MIG_DONE_ABORTED,
			       "the guest stays here");
	else if ((done || ev->kind == MIG_EV_TIMER) && !session_again(s, ev, MIG_ACT_GIVE_ABORT, s->maybe_durable))
		session_finish(s, MIG_DONE_UNKNOWN, "hvdomd does not answer give-abort");
}

#define BACK (BIT(SS_HALT) | BIT(SS_ABORT))
/* By the target's word only: no HALT, no cancel. */
#define WORD (BIT(SS_SETTLE) | BIT(SS_ABORT))

const struct session_state session_send_states[SS_N] = {
	[ST_IDLE] = { "idle", BIT(SS_BEGIN) | BIT(SS_DIAL) | BIT(SS_ABORT) | BIT(ST_ENDED), 0, 0, NULL, on_idle },
	[ST_ENDED] = { "ended", 0, 0, 0, NULL, NULL },
	[SS_BEGIN] = { "begin", BIT(SS_HELLO) | BACK, SESSION_CANCEL, 15000,
		"answer of hvdomd to give-begin", on_begin },
	[SS_HELLO] = { "hello", BIT(SS_OFFER) | BACK, SESSION_CANCEL, 10000, "HELLO of the target", on_hello },
	[SS_OFFER] = { "offer", BIT(SS_PRECOPY) | BACK, SESSION_CANCEL, 60000,
		"answer of the target to the offer", on_offer },
	[SS_PRECOPY] = { "precopy", BIT(SS_SUSPEND) | BACK, SESSION_CANCEL, 30000,
		"progress of the memory stream", on_precopy },
	[SS_SUSPEND] = { "suspend", BIT(SS_REST) | BACK, SESSION_CANCEL, 20000,
		"answer of the guest to the suspend request", on_suspend },
	[SS_REST] = { "rest", BIT(SS_READY) | BACK, SESSION_CANCEL, 20000, "progress of the last pages", on_rest },
	[SS_READY] = { "ready", BIT(SS_COMMIT) | BACK, SESSION_CANCEL, 30000, "READY of the target", on_ready },
	[SS_COMMIT] = { "commit", BIT(SS_HANDED) | BACK, SESSION_CANCEL, 15000,
		"answer of hvdomd to give-commit", on_commit },
	[SS_HANDED] = { "handed", BIT(SS_IN_DOUBT) | WORD, 0, 15000, "TAKEN of the target", on_handed },
	[SS_IN_DOUBT] = { "in-doubt", BIT(SS_DIAL) | WORD, SESSION_DOUBT, 0, "back-off", on_in_doubt },
	[SS_DIAL] = { "dial", BIT(SS_ASK) | BIT(SS_IN_DOUBT) | WORD, SESSION_DOUBT, 15000,
		"line to the target", on_dial },
	[SS_ASK] = { "ask", BIT(SS_IN_DOUBT) | WORD, SESSION_DOUBT, 20000, "ANSWER of the target", on_ask },
	[SS_SETTLE] = { "settle", BIT(ST_ENDED), 0, 10000, "answer of hvdomd to give-done", on_settle },
	[SS_HALT] = { "halt", BIT(SS_ABORT), 0, 10000, "end of the memory stream", on_halt },
	[SS_ABORT] = { "abort", BIT(ST_ENDED), 0, 10000, "answer of hvdomd to give-abort", on_abort },
};

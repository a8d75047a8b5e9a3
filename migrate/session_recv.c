/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's side of a session, and the answer to a QUERY.
 *
 *   idle ─► first ─► offer ─► check ─► receive ─► ready ─► taking ─► taken ─► ended
 *             │                           │         │        │         ▲
 *             │                           └──► refusing ◄────┘─────────┘ (it was taken after all)
 *             └─ QUERY ─► look ───────────────────┘
 *
 * From START_RECEIVE on hvdomd has a record, so every way out goes through its
 * decision: TAKE after a COMMIT, REFUSE otherwise.  What is said to the source
 * after COMMIT is what the record says.
 */
#include "migrate/session_priv.h"

#include <stdio.h>
#include <string.h>

enum {
	SR_FIRST = ST_FIRST_OF_ROLE, SR_OFFER, SR_CHECK, SR_RECEIVE, SR_READY, SR_TAKING, SR_TAKEN, SR_REFUSING,
	SR_LOOK, SR_N
};

static void say_outcome(struct session *s, enum mig_outcome outcome)
{
	if (s->link_up)
		session_say(s, MIG_ANSWER)->outcome = outcome;
}

static void say_abort(struct session *s)
{
	if (s->link_up && s->cause.code)
		session_say(s, MIG_ABORT)->err = s->cause;
}

static void look(struct session *s)
{
	struct mig_action *a = session_push(s, MIG_ACT_LOOK);

	memcpy(a->msg.session, s->session, sizeof(s->session));
	memcpy(a->msg.vm, s->vm, sizeof(s->vm));
	memcpy(a->msg.uuid, s->uuid, sizeof(s->uuid));
	a->msg.generation = s->generation;
}

/* ---- ways out ---- */

/* The end of a move that is not to be: durable first if hvdomd knows of it. */
static void refuse(struct session *s, const struct err *err)
{
	session_blame(s, err);
	if (s->receive_said) {
		session_insist(s, MIG_ACT_REFUSE, false);
		session_enter(s, SR_REFUSING, err->detail);
		return;
	}
	say_abort(s);
	session_finish(s, MIG_DONE_ABORTED, err->detail);
}

static void taken(struct session *s, const char *why)
{
	s->cause.code = ERR_NONE;
	if (s->link_up)
		session_say(s, MIG_TAKEN);
	if (s->query_waits)
		say_outcome(s, MIG_OUTCOME_TAKEN);
	session_push(s, MIG_ACT_ANNOUNCE);
	session_enter(s, SR_TAKEN, why);
}

/* Trouble, unless it is a late answer or nothing of interest here. */
static void unexpected(struct session *s, const struct mig_event *ev)
{
	struct err e;

	switch (ev->kind) {
	case MIG_EV_MSG:
		if (ev->msg->type == MIG_QUERY || ev->msg->type == MIG_COMMIT)
			s->query_waits = true;	/* it must hear the outcome, not just that it failed */
		break;
	case MIG_EV_LINK_DOWN:
	case MIG_EV_RECEIVE_FAILED:
	case MIG_EV_STREAM_FAILED:
	case MIG_EV_TIMER:
	case MIG_EV_CANCEL:
		break;
	default:
		return;
	}
	e = session_trouble(s, ev);
	refuse(s, &e);
}

/* ---- until the guest arrives ---- */

static void on_idle(struct session *s, const struct mig_event *ev)
{
	if (ev->kind == MIG_EV_START)
		session_enter(s, SR_FIRST, "started");
}

static void on_first(struct session *s, const struct mig_event *ev)
{
	const struct mig_msg *m = ev->msg;

	if (is_msg(ev, MIG_QUERY)) {
		memcpy(s->session, m->session, sizeof(s->session));
		memcpy(s->vm, m->vm, sizeof(s->vm));
		memcpy(s->uuid, m->uuid, sizeof(s->uuid));
		s->generation = m->generation;
		s->is_query = true;
		look(s);
		session_enter(s, SR_LOOK, "the source asks how a session ended");
	} else if (is_msg(ev, MIG_HELLO)) {
		memcpy(s->session, m->session, sizeof(s->session));
		s->codecs &= m->codecs;
		s->streams_max = m->streams < s->streams_max ? m->streams : s->streams_max;
		struct mig_msg *out = session_say(s, MIG_HELLO);

		out->version = MIG_VERSION;
		out->codecs = s->codecs;
		out->streams = s->streams_max;
		session_enter(s, SR_OFFER, "source is there");
	} else {
		unexpected(s, ev);
	}
}

static void on_offer(struct session *s, const struct mig_event *ev)
{
	if (is_msg(ev, MIG_OFFER)) {
		session_push(s, MIG_ACT_CHECK);
		session_enter(s, SR_CHECK, "offer came");
	} else {
		unexpected(s, ev);
	}
}

static void checks_refuse(struct session *s, const struct err *err)
{
	session_blame(s, err);
	if (s->link_up)
		session_say(s, MIG_REFUSE);
	session_finish(s, MIG_DONE_ABORTED, "checks found problems");
}

static enum stream_codec best_codec(uint16_t codecs)
{
	if (codecs & BIT(CODEC_ZSTD))
		return CODEC_ZSTD;
	return codecs & BIT(CODEC_ZLIB) ? CODEC_ZLIB : CODEC_NONE;
}

static void accept_offer(struct session *s, const struct mig_event *ev)
{
	struct mig_msg *m = session_say(s, MIG_ACCEPT);

	m->codec = s->codec = best_codec(s->codecs);
	m->streams = s->streams = s->streams_max;
	s->generation = ev->generation;
	if (ev->vm)
		snprintf(s->vm, sizeof(s->vm), "%s", ev->vm);
	if (ev->check_only) {
		session_finish(s, MIG_DONE_CHECKED, "every check passed");
		return;
	}
	struct mig_action *a = session_push(s, MIG_ACT_START_RECEIVE);

	a->codec = s->codec;
	a->streams = s->streams;
	s->receive_said = true;
	session_enter(s, SR_RECEIVE, "every check passed");
}

static void on_check(struct session *s, const struct mig_event *ev)
{
	if (!is_done(ev, MIG_ACT_CHECK))
		unexpected(s, ev);
	else if (ev->err)
		checks_refuse(s, ev->err);
	else
		accept_offer(s, ev);
}

static void on_receive(struct session *s, const struct mig_event *ev)
{
	if (ev->kind == MIG_EV_STREAM_PROGRESS) {
		session_touch(s);
	} else if (is_msg(ev, MIG_STREAM_END)) {
		session_push(s, MIG_ACT_END_STREAM)->msg = *ev->msg;
		session_touch(s);
	} else if (ev->kind == MIG_EV_STREAM_DONE || ev->kind == MIG_EV_RECEIVE_READY) {
		s->stream_ok |= ev->kind == MIG_EV_STREAM_DONE;
		s->receive_ok |= ev->kind == MIG_EV_RECEIVE_READY;
		if (!s->stream_ok || !s->receive_ok)
			return;
		session_say(s, MIG_READY);
		session_enter(s, SR_READY, "the guest is complete");
	} else {
		unexpected(s, ev);
	}
}

static void on_ready(struct session *s, const struct mig_event *ev)
{
	if (is_msg(ev, MIG_COMMIT) && !strcmp(ev->msg->session, s->session) && ev->msg->generation == s->generation) {
		session_insist(s, MIG_ACT_TAKE, false);
		session_enter(s, SR_TAKING, "source committed");
	} else if (ev->kind != MIG_EV_STREAM_PROGRESS) {
		unexpected(s, ev);
	}
}

/* ---- decided, or being decided ---- */

/* A line that is lost now changes nothing: the record decides. */
static void on_taking(struct session *s, const struct mig_event *ev)
{
	if (is_done(ev, MIG_ACT_TAKE) && !ev->err) {
		taken(s, "take is durable");
	} else if (is_done(ev, MIG_ACT_TAKE) || ev->kind == MIG_EV_TIMER) {
		struct err e = session_trouble(s, ev);

		s->query_waits = true;
		refuse(s, &e);
	} else if (is_msg(ev, MIG_QUERY)) {
		s->query_waits = true;
	}
}

static void on_taken(struct session *s, const struct mig_event *ev)
{
	if (is_msg(ev, MIG_QUERY))
		say_outcome(s, MIG_OUTCOME_TAKEN);
	else if (is_done(ev, MIG_ACT_ANNOUNCE) || ev->kind == MIG_EV_TIMER)
		session_finish(s, MIG_DONE_MOVED, "the guest is ours");
}

/* ---- the decision, and who asks for it ---- */

enum mig_outcome session_verdict(enum mig_owner owner, const char *owner_session, uint64_t owner_generation,
				 const struct mig_msg *query, bool *undecided)
{
	*undecided = false;
	if (owner == MIG_OWNER_NONE)
		return MIG_OUTCOME_UNKNOWN;
	if (owner_generation > query->generation)	/* only `take` raises it, here or where it went from here */
		return MIG_OUTCOME_TAKEN;
	if (strcmp(owner_session, query->session))	/* written over by a later session, so never taken */
		return MIG_OUTCOME_REFUSED;
	*undecided = owner == MIG_OWNER_RECEIVING;
	return owner == MIG_OWNER_REFUSED ? MIG_OUTCOME_REFUSED : MIG_OUTCOME_UNKNOWN;
}

/* For a session whose decision is known: the end of it. */
static void known(struct session *s, enum mig_outcome outcome)
{
	if (s->is_query) {
		say_outcome(s, outcome);
		session_finish(s, MIG_DONE_ANSWERED, mig_outcome_name(outcome));
	} else if (outcome == MIG_OUTCOME_TAKEN) {
		taken(s, "it had been taken");
	} else {
		if (s->query_waits)
			say_outcome(s, MIG_OUTCOME_REFUSED);
		else
			say_abort(s);
		session_finish(s, MIG_DONE_ABORTED, "refused for good");
	}
}

/* False: the record leaves it open, or somebody else's peer asks, who must not decide it. */
static bool judged(struct session *s, const struct mig_event *ev)
{
	struct mig_msg query = { .generation = s->generation };
	enum mig_outcome outcome;
	bool undecided;

	memcpy(query.session, s->session, sizeof(query.session));
	outcome = session_verdict(ev->owner, ev->owner_session, ev->generation, &query, &undecided);
	if (undecided && !(s->is_query && ev->other_peer))
		return false;
	known(s, outcome);
	return true;
}

/* An error of `refuse` says nothing for certain: the record does. */
static void on_refusing(struct session *s, const struct mig_event *ev)
{
	if (is_msg(ev, MIG_COMMIT) || is_msg(ev, MIG_QUERY)) {
		s->query_waits = true;
	} else if (is_done(ev, MIG_ACT_REFUSE) && !ev->err) {
		known(s, MIG_OUTCOME_REFUSED);
	} else if (is_done(ev, MIG_ACT_REFUSE)) {
		look(s);
	} else if (is_done(ev, MIG_ACT_LOOK) && !ev->err && judged(s, ev)) {
		return;
	} else if (s->is_query && ev->kind == MIG_EV_LINK_DOWN) {
		session_finish(s, MIG_DONE_UNKNOWN, "nobody is left to be told");
	} else if (is_done(ev, MIG_ACT_LOOK) || ev->kind == MIG_EV_TIMER) {
		if (!session_again(s, ev, MIG_ACT_REFUSE, false))
			session_finish(s, MIG_DONE_UNKNOWN, "hvdomd does not answer refuse");
	}
}

static void on_look(struct session *s, const struct mig_event *ev)
{
	if (is_done(ev, MIG_ACT_LOOK) && !ev->err) {
		if (judged(s, ev))
			return;
		session_insist(s, MIG_ACT_REFUSE, false);
		session_enter(s, SR_REFUSING, "not taken yet, so never");
	} else if (is_done(ev, MIG_ACT_LOOK) || ev->kind == MIG_EV_LINK_DOWN || ev->kind == MIG_EV_TIMER) {
		struct err e = session_trouble(s, ev);	/* no answer: the source will ask again */

		session_blame(s, &e);
		session_finish(s, MIG_DONE_UNKNOWN, "the record cannot be read");
	}
}

#define ENDED BIT(ST_ENDED)
#define REFUSE (BIT(SR_REFUSING) | ENDED)

const struct session_state session_recv_states[SR_N] = {
	[ST_IDLE] = { "idle", BIT(SR_FIRST), 0, 0, NULL, on_idle },
	[ST_ENDED] = { "ended", 0, 0, 0, NULL, NULL },
	[SR_FIRST] = { "first", BIT(SR_OFFER) | BIT(SR_LOOK) | ENDED, SESSION_CANCEL, 10000,
		"first message of the source", on_first },
	[SR_OFFER] = { "offer", BIT(SR_CHECK) | ENDED, SESSION_CANCEL, 20000, "offer of the source", on_offer },
	[SR_CHECK] = { "check", BIT(SR_RECEIVE) | ENDED, SESSION_CANCEL, 45000, "result of the checks", on_check },
	[SR_RECEIVE] = { "receive", BIT(SR_READY) | REFUSE, SESSION_CANCEL, 45000,
		"progress of the memory stream", on_receive },
	[SR_READY] = { "ready", BIT(SR_TAKING) | REFUSE, SESSION_CANCEL, 60000, "COMMIT of the source", on_ready },
	[SR_TAKING] = { "taking", BIT(SR_TAKEN) | BIT(SR_REFUSING), 0, 20000, "answer of hvdomd to take", on_taking },
	[SR_TAKEN] = { "taken", ENDED, 0, 20000, "end of the announcement", on_taken },
	/* It may have been taken all the same: take was answered late or not at all. */
	[SR_REFUSING] = { "refusing", BIT(SR_TAKEN) | ENDED, 0, 10000, "answer of hvdomd to refuse", on_refusing },
	[SR_LOOK] = { "look", BIT(SR_REFUSING) | ENDED, 0, 10000, "record of the guest", on_look },
};

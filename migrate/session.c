/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both sides of a session share: the queue of actions, the timers, the
 * line and its keep-alive, and the one function that writes the state.  What
 * an event means in a state is in session_send.c and session_recv.c.
 */
#include "migrate/session.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "migrate/session_priv.h"

static const char *const act_names[MIG_ACT_N] = {
	[MIG_ACT_NONE] = "none",
	[MIG_ACT_SEND] = "send",
	[MIG_ACT_CLOSE_LINK] = "close-link",
	[MIG_ACT_DIAL] = "dial",
	[MIG_ACT_GIVE_BEGIN] = "give-begin",
	[MIG_ACT_THROTTLE] = "throttle",
	[MIG_ACT_GIVE_COMMIT] = "give-commit",
	[MIG_ACT_GIVE_DONE] = "give-done",
	[MIG_ACT_GIVE_ABORT] = "give-abort",
	[MIG_ACT_START_STREAM] = "start-stream",
	[MIG_ACT_CONTINUE] = "continue",
	[MIG_ACT_REQUEST_STOP] = "request-stop",
	[MIG_ACT_STOP_STREAM] = "stop-stream",
	[MIG_ACT_CHECK] = "check",
	[MIG_ACT_START_RECEIVE] = "start-receive",
	[MIG_ACT_END_STREAM] = "end-stream",
	[MIG_ACT_TAKE] = "take",
	[MIG_ACT_REFUSE] = "refuse",
	[MIG_ACT_LOOK] = "look",
	[MIG_ACT_ANNOUNCE] = "announce",
	[MIG_ACT_ARM_TIMER] = "arm-timer",
	[MIG_ACT_CANCEL_TIMER] = "cancel-timer",
	[MIG_ACT_REPORT] = "report",
	[MIG_ACT_FINISH] = "finish",
};

static const char *const ev_names[MIG_EV_N] = {
	[MIG_EV_START] = "start",
	[MIG_EV_LINK_UP] = "link-up",
	[MIG_EV_LINK_DOWN] = "link-down",
	[MIG_EV_MSG] = "message",
	[MIG_EV_DONE] = "done",
	[MIG_EV_STREAM_PROGRESS] = "stream-progress",
	[MIG_EV_STREAM_ROUND] = "stream-round",
	[MIG_EV_STREAM_SUSPENDED] = "stream-suspended",
	[MIG_EV_STREAM_DONE] = "stream-done",
	[MIG_EV_STREAM_FAILED] = "stream-failed",
	[MIG_EV_RECEIVE_READY] = "receive-ready",
	[MIG_EV_RECEIVE_FAILED] = "receive-failed",
	[MIG_EV_TIMER] = "timer",
	[MIG_EV_CANCEL] = "cancel",
	[MIG_EV_CLAIM] = "claim",
	[MIG_EV_ASK_NOW] = "ask-now",
};

const char *mig_act_name(enum mig_act_kind k)
{
	return (unsigned)k < MIG_ACT_N ? act_names[k] : "?";
}

const char *mig_ev_name(enum mig_ev_kind k)
{
	return (unsigned)k < MIG_EV_N ? ev_names[k] : "?";
}

void session_init(struct session *s, enum mig_role role, const struct session_params *p)
{
	memset(s, 0, sizeof(*s));
	s->role = role;
	s->state = ST_IDLE;
	s->codecs = p->codecs;
	s->streams_max = p->streams_max;
	s->check_only = p->check_only;
	s->resolve = p->resolve;
	snprintf(s->session, sizeof(s->session), "%s", p->session ? p->session : "");
	snprintf(s->vm, sizeof(s->vm), "%s", p->vm ? p->vm : "");
	snprintf(s->uuid, sizeof(s->uuid), "%s", p->uuid ? p->uuid : "");
	policy_init(&s->policy, &p->policy);
}

/* ---- actions ---- */

struct mig_action *session_push(struct session *s, enum mig_act_kind kind)
{
	struct mig_action *a;

	assert(s->q_len < SESSION_QUEUE_MAX);
	a = &s->queue[(s->q_head + s->q_len++) % SESSION_QUEUE_MAX];
	memset(a, 0, sizeof(*a));
	a->kind = kind;
	return a;
}

bool session_next(struct session *s, const struct mig_action **out)
{
	if (!s->q_len)
		return false;
	*out = &s->queue[s->q_head];
	s->q_head = (s->q_head + 1) % SESSION_QUEUE_MAX;
	s->q_len--;
	return true;
}

struct mig_msg *session_say(struct session *s, enum mig_type type)
{
	struct mig_action *a = session_push(s, MIG_ACT_SEND);

	a->link = s->link;
	a->msg.type = type;
	memcpy(a->msg.session, s->session, sizeof(s->session));
	return &a->msg;
}

/* ---- timers ---- */

void session_arm(struct session *s, enum mig_timer t, uint32_t ms)
{
	struct mig_action *a = session_push(s, MIG_ACT_ARM_TIMER);

	a->timer = t;
	a->ms = ms;
	s->deadline_ms[t] = s->now_ms + ms;
}

void session_cancel(struct session *s, enum mig_timer t)
{
	if (!s->deadline_ms[t])
		return;
	s->deadline_ms[t] = 0;
	session_push(s, MIG_ACT_CANCEL_TIMER)->timer = t;
}

void session_touch(struct session *s)
{
	if (s->deadline_ms[MIG_TIMER_STATE])
		s->deadline_ms[MIG_TIMER_STATE] = s->now_ms + session_row(s)->limit_ms;
}

/* True if it is really over: deadlines move without a word to who runs the timer. */
static bool timer_due(struct session *s, enum mig_timer t)
{
	uint64_t d = s->deadline_ms[t];

	if (!d)
		return false;
	if (s->now_ms < d) {
		session_arm(s, t, (uint32_t)(d - s->now_ms));
		return false;
	}
	s->deadline_ms[t] = 0;
	return true;
}

/* ---- state ---- */

const struct session_state *session_row(const struct session *s)
{
	return &(s->role == MIG_ROLE_SEND ? session_send_states : session_recv_states)[s->state];
}

const char *session_state_name(const struct session *s)
{
	return session_row(s)->name;
}

bool session_can_cancel(const struct session *s)
{
	return session_row(s)->flags & SESSION_CANCEL;
}

bool session_in_doubt(const struct session *s)
{
	return session_row(s)->flags & SESSION_DOUBT;
}

bool session_ended(const struct session *s)
{
	return s->state == ST_ENDED;
}

void session_enter(struct session *s, unsigned to, const char *why)
{
	struct mig_action *a;

	assert(session_row(s)->next & BIT(to));
	s->state = to;
	a = session_push(s, MIG_ACT_REPORT);
	a->state = session_row(s)->name;
	snprintf(a->why, sizeof(a->why), "%s", why);
	a->err = s->cause.code ? &s->cause : NULL;
	if (session_row(s)->limit_ms)
		session_arm(s, MIG_TIMER_STATE, session_row(s)->limit_ms);
	else
		session_cancel(s, MIG_TIMER_STATE);
}

void session_finish(struct session *s, enum mig_done outcome, const char *why)
{
	struct mig_action *a;

	session_enter(s, ST_ENDED, why);
	session_cancel(s, MIG_TIMER_PING);
	session_cancel(s, MIG_TIMER_DEAD);
	a = session_push(s, MIG_ACT_FINISH);
	a->outcome = outcome;
	a->err = s->cause.code ? &s->cause : NULL;
}

void session_blame(struct session *s, const struct err *err)
{
	if (!s->cause.code && err)
		s->cause = *err;
}

struct err session_trouble(const struct session *s, const struct mig_event *ev)
{
	const struct session_state *row = session_row(s);
	struct err e = ERR_INIT;

	if (ev->err)
		return *ev->err;
	if (ev->kind == MIG_EV_LINK_DOWN)
		err_set(&e, ERR_NET, "the line to the other host was lost while it was %s", row->name);
	else if (ev->kind == MIG_EV_TIMER)
		err_set(&e, ERR_TIMEOUT, "%s: nothing within %u ms", row->limit, row->limit_ms);
	else if (ev->kind == MIG_EV_CANCEL)
		err_set(&e, ERR_CANCELLED, "cancelled while it was %s", row->name);
	else if (ev->kind == MIG_EV_MSG && ev->msg->type == MIG_ABORT)
		e = ev->msg->err;
	else if (ev->kind == MIG_EV_MSG)
		err_set(&e, ERR_CORRUPT, "the other host said %s while this one was %s",
			mig_type_name(ev->msg->type), row->name);
	else
		err_set(&e, ERR_INTERNAL, "%s while it was %s", mig_ev_name(ev->kind), row->name);
	return e;
}

/* ---- actions that must succeed ---- */

void session_insist(struct session *s, enum mig_act_kind kind, bool not_taken)
{
	s->tries = 1;
	session_push(s, kind)->not_taken = not_taken;
}

bool session_again(struct session *s, const struct mig_event *ev, enum mig_act_kind kind, bool not_taken)
{
	if (ev->kind == MIG_EV_DONE) {	/* an error; wait for the timer */
		session_arm(s, MIG_TIMER_STATE, SESSION_RETRY_MS);
		return true;
	}
	if (s->tries >= SESSION_TRIES_MAX)
		return false;
	s->tries++;
	session_push(s, kind)->not_taken = not_taken;
	session_arm(s, MIG_TIMER_STATE, session_row(s)->limit_ms);
	return true;
}

/* ---- the line ---- */

static void link_forget(struct session *s)
{
	s->link_up = false;
	session_cancel(s, MIG_TIMER_PING);
	session_cancel(s, MIG_TIMER_DEAD);
}

void session_hang_up(struct session *s)
{
	if (!s->link_up)
		return;
	session_push(s, MIG_ACT_CLOSE_LINK)->link = s->link;
	link_forget(s);
}

/* A line that comes when nobody waits for it any more is closed at once. */
static bool link_came(struct session *s, uint32_t link)
{
	if (link != s->link || s->link_up) {
		session_push(s, MIG_ACT_CLOSE_LINK)->link = link;
		return false;
	}
	s->link_up = true;
	session_arm(s, MIG_TIMER_PING, SESSION_PING_MS);
	session_arm(s, MIG_TIMER_DEAD, SESSION_DEAD_MS);
	return true;
}

static void link_alive(struct session *s)
{
	if (s->link_up)
		s->deadline_ms[MIG_TIMER_DEAD] = s->now_ms + SESSION_DEAD_MS;
}

/* True if the role has to look at the message. */
static bool link_heard(struct session *s, const struct mig_event *ev)
{
	if (ev->link != s->link || !s->link_up)
		return false;
	link_alive(s);
	if (ev->msg->type == MIG_PING)
		session_say(s, MIG_PONG)->seq = ev->msg->seq;
	return ev->msg->type != MIG_PING && ev->msg->type != MIG_PONG;
}

static void link_dead(struct session *s)
{
	struct err e = ERR_INIT;
	struct mig_event down = { .kind = MIG_EV_LINK_DOWN, .link = s->link, .err = &e };

	err_set(&e, ERR_NET, "the other host has been silent for %d ms", SESSION_DEAD_MS);
	err_remedy(&e, "check the network between the hosts");
	session_hang_up(s);
	session_row(s)->on(s, &down);
}

static void timer_off(struct session *s, const struct mig_event *ev)
{
	if (!timer_due(s, ev->timer))
		return;
	if (ev->timer == MIG_TIMER_PING) {
		session_say(s, MIG_PING);
		session_arm(s, MIG_TIMER_PING, SESSION_PING_MS);
	} else if (ev->timer == MIG_TIMER_DEAD) {
		link_dead(s);
	} else {
		session_row(s)->on(s, ev);
	}
}

void session_event(struct session *s, const struct mig_event *ev, uint64_t now_ms)
{
	s->now_ms = now_ms;
	if (s->state == ST_ENDED || (ev->kind == MIG_EV_CANCEL && !session_can_cancel(s)))
		return;
	if (ev->kind == MIG_EV_TIMER) {
		timer_off(s, ev);
		return;
	}
	if (ev->kind == MIG_EV_LINK_UP && !link_came(s, ev->link))
		return;
	if (ev->kind == MIG_EV_MSG && !link_heard(s, ev))
		return;
	if (ev->kind == MIG_EV_LINK_DOWN) {
		if (ev->link != s->link || !s->link_up)
			return;
		link_forget(s);
	}
	if (ev->kind == MIG_EV_STREAM_PROGRESS && s->role == MIG_ROLE_RECV)
		link_alive(s);
	session_row(s)->on(s, ev);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of both roles: named cases as tables of events with the actions that
 * each must bring.  migrate_session_io_test.c walks at random, tests/sim plays
 * whole moves.
 */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "migrate/session.h"

#define S "s-1"
#define UUID "01234567-89ab-cdef-0123-456789abcdef"

/* ---- cases: one step is an event, in short, and the actions it must bring ---- */

struct step {
	const char *ev;		/* "msg:hello", "done:take", "fail:take", "timer", … */
	const char *want;	/* "send:hello give-abort!" …; timers and reports left out; ! is not_taken */
};

enum { STEPS_MAX = 24 };

struct play {
	const char *label;
	enum mig_role role;
	bool resolve, check_only;
	enum mig_owner owner;
	struct step steps[STEPS_MAX];
	enum mig_done outcome;	/* 0: not over */
};

static enum mig_type type_of(const char *name)
{
	for (int t = 1; t < MIG_TYPE_END; t++) {
		if (!strcmp(name, mig_type_name((enum mig_type)t)))
			return (enum mig_type)t;
	}
	fail_msg("no message is called %s", name);
	return MIG_PING;
}

static enum mig_act_kind act_of(const char *name)
{
	for (int a = 0; a < MIG_ACT_N; a++) {
		if (!strcmp(name, mig_act_name((enum mig_act_kind)a)))
			return (enum mig_act_kind)a;
	}
	fail_msg("no action is called %s", name);
	return MIG_ACT_NONE;
}

static enum mig_ev_kind ev_of(const char *name)
{
	for (int k = 0; k < MIG_EV_N; k++) {
		if (!strcmp(name, mig_ev_name((enum mig_ev_kind)k)))
			return (enum mig_ev_kind)k;
	}
	fail_msg("no event is called %s", name);
	return MIG_EV_N;
}

/* "msg:answer=refused" and the like; what a message needs besides its type is filled in. */
static void message(struct mig_msg *m, const char *text)
{
	char name[32];
	const char *eq = strchr(text, '=');

	snprintf(name, sizeof(name), "%.*s", eq ? (int)(eq - text) : (int)strlen(text), text);
	*m = (struct mig_msg){ .type = type_of(name), .session = S, .generation = 7, .streams = 1, .codecs = 3,
			       .version = MIG_VERSION, .codec = CODEC_ZLIB, .vm = "web1", .uuid = UUID,
			       .outcome = MIG_OUTCOME_TAKEN, .err = { .code = ERR_NO_SPACE, .detail = "no room" } };
	if (eq && !strcmp(eq, "=refused"))
		m->outcome = MIG_OUTCOME_REFUSED;
	if (eq && !strcmp(eq, "=zstd"))
		m->codec = CODEC_ZSTD;
	if (eq && !strcmp(eq, "=unknown"))
		m->outcome = MIG_OUTCOME_UNKNOWN;
	if (eq && !strcmp(eq, "=other-session"))
		snprintf(m->session, sizeof(m->session), "s-2");
	if (eq && !strcmp(eq, "=other-generation"))
		m->generation = 8;
}

struct looked {
	const char *name;
	enum mig_owner owner;
	const char *session;
	uint64_t generation;
	bool other_peer;
};

/* What LOOK may find: "done:look=NAME". */
static const struct looked looks[] = {
	{ "none", MIG_OWNER_NONE, "", 0, false },
	{ "open", MIG_OWNER_RECEIVING, S, 7, false },
	{ "open-foreign", MIG_OWNER_RECEIVING, S, 7, true },
	{ "refused", MIG_OWNER_REFUSED, S, 7, false },
	{ "here", MIG_OWNER_HERE, S, 8, false },
	{ "gone-on", MIG_OWNER_AWAY, "s-9", 8, true },
	{ "later", MIG_OWNER_RECEIVING, "s-9", 7, false },
};

static void found(struct mig_event *ev, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
		if (!strcmp(looks[i].name, name)) {
			ev->owner = looks[i].owner;
			ev->owner_session = looks[i].session;
			ev->generation = looks[i].generation;
			ev->other_peer = looks[i].other_peer;
			return;
		}
	}
	fail_msg("no record is called %s", name);
}

static void done(struct mig_event *ev, const char *text)
{
	char name[32];
	const char *eq = strchr(text, '=');

	snprintf(name, sizeof(name), "%.*s", eq ? (int)(eq - text) : (int)strlen(text), text);
	ev->kind = MIG_EV_DONE;
	ev->act = act_of(name);
	ev->generation = 7;
	ev->vm = "web1";
	ev->uuid = UUID;
	if (eq && ev->act == MIG_ACT_LOOK)
		found(ev, eq + 1);
	else if (eq)
		ev->check_only = true;
}

static void round_ev(struct mig_event *ev, const char *what)
{
	ev->kind = MIG_EV_STREAM_ROUND;
	ev->round = (struct policy_round){ .number = 0, .sent_pages = 25600, .duration_ms = 1000 };
	ev->round.left_pages = strcmp(what, "fits") ? 20000 : 100;
}

static void give(struct session *s, const char *text, uint64_t *now)
{
	struct mig_msg m;
	struct err bad = { .code = ERR_IO, .detail = "broke" };
	struct mig_event ev = { .link = s->link, .msg = &m };

	*now += 1;
	if (!strncmp(text, "msg:", 4)) {
		ev.kind = MIG_EV_MSG;
		message(&m, text + 4);
	} else if (!strncmp(text, "done:", 5)) {
		done(&ev, text + 5);
	} else if (!strncmp(text, "fail:", 5)) {
		done(&ev, text + 5);
		ev.err = &bad;
	} else if (!strncmp(text, "none:", 5)) {	/* hvdomd has nothing of this session */
		done(&ev, text + 5);
		bad.code = ERR_STATE;
		ev.err = &bad;
	} else if (!strncmp(text, "round:", 6)) {
		round_ev(&ev, text + 6);
	} else if (!strncmp(text, "claim:", 6)) {
		ev.kind = MIG_EV_CLAIM;
		ev.outcome = strcmp(text + 6, "taken") ? MIG_OUTCOME_REFUSED : MIG_OUTCOME_TAKEN;
	} else {
		ev.kind = ev_of(text);
		if (ev.kind == MIG_EV_TIMER)
			*now += 100000;
	}
	session_event(s, &ev, *now);
}

static void drain(struct session *s, char *out, size_t bytes, enum mig_done *outcome)
{
	const struct mig_action *a;
	size_t n = 0;

	out[0] = 0;
	while (session_next(s, &a)) {
		if (a->kind == MIG_ACT_FINISH)
			*outcome = a->outcome;
		if (a->kind == MIG_ACT_ARM_TIMER || a->kind == MIG_ACT_CANCEL_TIMER || a->kind == MIG_ACT_REPORT)
			continue;
		n += (size_t)snprintf(out + n, bytes - n, "%s%s", n ? " " : "", mig_act_name(a->kind));
		if (a->kind == MIG_ACT_SEND)
			n += (size_t)snprintf(out + n, bytes - n, ":%s", mig_type_name(a->msg.type));
		if (a->kind == MIG_ACT_SEND && a->msg.type == MIG_ANSWER)
			n += (size_t)snprintf(out + n, bytes - n, "=%s", mig_outcome_name(a->msg.outcome));
		if (a->not_taken)
			n += (size_t)snprintf(out + n, bytes - n, "!");
	}
}

static void play(const struct play *c)
{
	struct session_params sp = { .session = S, .vm = "web1", .uuid = UUID, .resolve = c->resolve,
				     .check_only = c->check_only, .policy = policy_defaults(), .codecs = 3,
				     .streams_max = 2 };
	struct mig_event start = { .kind = MIG_EV_START, .owner = c->owner, .generation = 7 };
	enum mig_done outcome = 0;
	struct session s;
	uint64_t now = 1000;
	char got[512];

	session_init(&s, c->role, &sp);
	session_event(&s, &start, now);
	for (size_t i = 0; i < STEPS_MAX && c->steps[i].want; i++) {
		if (c->steps[i].ev)
			give(&s, c->steps[i].ev, &now);
		drain(&s, got, sizeof(got), &outcome);
		if (strcmp(got, c->steps[i].want))
			fail_msg("%s, step %zu (%s): got \"%s\", want \"%s\"; state %s", c->label, i,
				 c->steps[i].ev ? c->steps[i].ev : "start", got, c->steps[i].want,
				 session_state_name(&s));
	}
	if (outcome != c->outcome)
		fail_msg("%s: outcome %d, want %d", c->label, outcome, c->outcome);
	assert_int_equal(session_ended(&s), outcome != 0);
}

#define TO_OFFER \
	{ NULL, "give-begin" }, { "link-up", "" }, { "done:give-begin", "send:hello" }, { "msg:hello", "send:offer" }
#define TO_READY \
	TO_OFFER, { "msg:accept", "start-stream" }, { "stream-progress", "" }, { "round:dirty", "continue" }, \
	{ "round:fits", "request-stop" }, { "stream-suspended", "" }, { "stream-done", "send:stream-end" }
#define TO_HANDED TO_READY, { "msg:ready", "give-commit" }, { "done:give-commit", "send:commit" }
#define TO_DOUBT TO_HANDED, { "link-down", "" }, { "timer", "dial" }
#define BACK { "done:give-abort", "finish" }

static const struct play sends[] = {
	{ "moved", MIG_ROLE_SEND, .steps = { TO_HANDED, { "msg:taken", "give-done" }, { "done:give-done", "finish" } },
	  .outcome = MIG_DONE_MOVED },
	{ "checked", MIG_ROLE_SEND, .check_only = true, .steps = { TO_OFFER, { "msg:accept", "give-abort" }, BACK },
	  .outcome = MIG_DONE_CHECKED },
	{ "refused_by_checks", MIG_ROLE_SEND, .steps = {
		TO_OFFER, { "msg:refuse", "send:abort close-link give-abort" }, BACK }, .outcome = MIG_DONE_ABORTED },
	{ "codec_not_offered", MIG_ROLE_SEND, .steps = {
		TO_OFFER, { "msg:accept=zstd", "send:abort close-link give-abort" }, BACK },
	  .outcome = MIG_DONE_ABORTED },
	{ "give_begin_refused", MIG_ROLE_SEND, .steps = {
		{ NULL, "give-begin" }, { "link-up", "" }, { "fail:give-begin", "send:abort close-link give-abort" },
		{ "none:give-abort", "finish" } }, .outcome = MIG_DONE_ABORTED },
	{ "no_line", MIG_ROLE_SEND, .steps = {
		{ NULL, "give-begin" }, { "done:give-begin", "give-abort" }, BACK }, .outcome = MIG_DONE_ABORTED },
	{ "hello_of_another_session", MIG_ROLE_SEND, .steps = {
		{ NULL, "give-begin" }, { "link-up", "" }, { "done:give-begin", "send:hello" },
		{ "msg:hello=other-session", "send:abort close-link give-abort" }, BACK },
	  .outcome = MIG_DONE_ABORTED },
	{ "cancel_in_precopy_stops_the_saver_first", MIG_ROLE_SEND, .steps = {
		TO_OFFER, { "msg:accept", "start-stream" }, { "cancel", "send:abort close-link stop-stream" },
		{ "cancel", "" }, { "done:stop-stream", "give-abort" }, BACK }, .outcome = MIG_DONE_ABORTED },
	{ "saver_that_does_not_stop", MIG_ROLE_SEND, .steps = {
		TO_OFFER, { "msg:accept", "start-stream" }, { "link-down", "stop-stream" },
		{ "timer", "give-abort" }, BACK },
	  .outcome = MIG_DONE_ABORTED },
	{ "peer_aborts_in_ready", MIG_ROLE_SEND, .steps = {
		TO_READY, { "msg:abort", "send:abort close-link give-abort" }, BACK }, .outcome = MIG_DONE_ABORTED },
	{ "taken_before_commit_is_nonsense", MIG_ROLE_SEND, .steps = {
		TO_READY, { "msg:taken", "send:abort close-link give-abort" }, BACK }, .outcome = MIG_DONE_ABORTED },
	{ "silence_in_ready", MIG_ROLE_SEND, .steps = {
		TO_READY, { "timer", "send:abort close-link give-abort" }, BACK }, .outcome = MIG_DONE_ABORTED },
	{ "cancel_while_committing", MIG_ROLE_SEND, .steps = {
		TO_READY, { "msg:ready", "give-commit" }, { "cancel", "send:abort close-link give-abort!" },
		{ "done:give-commit", "" }, BACK }, .outcome = MIG_DONE_ABORTED },
	{ "give_commit_fails", MIG_ROLE_SEND, .steps = {
		TO_READY, { "msg:ready", "give-commit" }, { "fail:give-commit", "send:abort close-link give-abort!" },
		BACK }, .outcome = MIG_DONE_ABORTED },
	{ "no_cancel_after_commit", MIG_ROLE_SEND, .steps = { TO_HANDED, { "cancel", "" } } },
	{ "abort_after_commit_is_no_word", MIG_ROLE_SEND, .steps = { TO_HANDED, { "msg:abort", "" } } },
	{ "silence_after_commit", MIG_ROLE_SEND, .steps = {
		TO_HANDED, { "timer", "close-link" }, { "timer", "dial" }, { "fail:dial", "" }, { "timer", "dial" } } },
	{ "refused_on_the_same_line", MIG_ROLE_SEND, .steps = {
		TO_HANDED, { "msg:answer=refused", "close-link give-abort!" }, BACK }, .outcome = MIG_DONE_ABORTED },
	{ "doubt_then_taken", MIG_ROLE_SEND, .steps = {
		TO_DOUBT, { "link-up", "send:query" }, { "msg:answer", "give-done" }, { "done:give-done", "finish" } },
	  .outcome = MIG_DONE_MOVED },
	{ "doubt_then_refused", MIG_ROLE_SEND, .steps = {
		TO_DOUBT, { "link-up", "send:query" }, { "msg:answer=refused", "close-link give-abort!" }, BACK },
	  .outcome = MIG_DONE_ABORTED },
	{ "doubt_unknown_asks_again", MIG_ROLE_SEND, .steps = {
		TO_DOUBT, { "link-up", "send:query" }, { "msg:answer=unknown", "close-link" },
		{ "ask-now", "dial" } } },
	{ "doubt_answer_of_another_session", MIG_ROLE_SEND, .steps = {
		TO_DOUBT, { "link-up", "send:query" }, { "msg:answer=other-session", "close-link" },
		{ "timer", "dial" } } },
	{ "claimed", MIG_ROLE_SEND, .steps = { TO_DOUBT, { "claim:refused", "give-abort!" }, BACK },
	  .outcome = MIG_DONE_ABORTED },
	{ "claim_without_doubt", MIG_ROLE_SEND, .steps = { TO_HANDED, { "claim:refused", "" } } },
	{ "give_done_until_it_works", MIG_ROLE_SEND, .steps = {
		TO_HANDED, { "msg:taken", "give-done" }, { "fail:give-done", "" }, { "timer", "give-done" },
		{ "timer", "give-done" }, { "done:give-done", "finish" } }, .outcome = MIG_DONE_MOVED },
	{ "resolve_in_doubt", MIG_ROLE_SEND, .resolve = true, .owner = MIG_OWNER_IN_DOUBT, .steps = {
		{ NULL, "dial" }, { "link-up", "send:query" }, { "msg:answer", "give-done" },
		{ "done:give-done", "finish" } }, .outcome = MIG_DONE_MOVED },
	{ "resolve_giving", MIG_ROLE_SEND, .resolve = true, .owner = MIG_OWNER_GIVING,
	  .steps = { { NULL, "give-abort" }, BACK }, .outcome = MIG_DONE_ABORTED },
	{ "resolve_away", MIG_ROLE_SEND, .resolve = true, .owner = MIG_OWNER_AWAY, .steps = { { NULL, "finish" } },
	  .outcome = MIG_DONE_MOVED },
	{ "resolve_never_had_it", MIG_ROLE_SEND, .resolve = true, .owner = MIG_OWNER_NONE,
	  .steps = { { NULL, "finish" } }, .outcome = MIG_DONE_UNKNOWN },
};

#define R_OFFER { NULL, "" }, { "link-up", "" }, { "msg:hello", "send:hello" }, { "msg:offer", "check" }
#define R_RECEIVE R_OFFER, { "done:check", "send:accept start-receive" }, { "stream-progress", "" }
#define R_READY \
	R_RECEIVE, { "msg:stream-end", "end-stream" }, { "receive-ready", "" }, { "stream-done", "send:ready" }
#define R_TAKING R_READY, { "msg:commit", "take" }
#define R_QUERY { NULL, "" }, { "link-up", "" }, { "msg:query", "look" }

static const struct play recvs[] = {
	{ "taken", MIG_ROLE_RECV, .steps = {
		R_TAKING, { "done:take", "send:taken announce" }, { "done:announce", "finish" } },
	  .outcome = MIG_DONE_MOVED },
	{ "check_only", MIG_ROLE_RECV, .steps = { R_OFFER, { "done:check=only", "send:accept finish" } },
	  .outcome = MIG_DONE_CHECKED },
	{ "checks_refuse", MIG_ROLE_RECV, .steps = { R_OFFER, { "fail:check", "send:refuse finish" } },
	  .outcome = MIG_DONE_ABORTED },
	{ "nothing_comes", MIG_ROLE_RECV, .steps = {
		{ NULL, "" }, { "link-up", "" }, { "timer", "send:abort finish" } },
	  .outcome = MIG_DONE_ABORTED },
	{ "commit_first", MIG_ROLE_RECV, .steps = {
		{ NULL, "" }, { "link-up", "" }, { "msg:commit", "send:abort finish" } }, .outcome = MIG_DONE_ABORTED },
	{ "line_lost_while_receiving", MIG_ROLE_RECV, .steps = {
		R_RECEIVE, { "link-down", "refuse" }, { "done:refuse", "finish" } }, .outcome = MIG_DONE_ABORTED },
	{ "restore_fails", MIG_ROLE_RECV, .steps = {
		R_RECEIVE, { "receive-failed", "refuse" }, { "done:refuse", "send:abort finish" } },
	  .outcome = MIG_DONE_ABORTED },
	{ "commit_before_ready_is_refused", MIG_ROLE_RECV, .steps = {
		R_RECEIVE, { "msg:commit", "refuse" }, { "done:refuse", "send:answer=refused finish" } },
	  .outcome = MIG_DONE_ABORTED },
	{ "line_lost_before_commit", MIG_ROLE_RECV, .steps = {
		R_READY, { "link-down", "refuse" }, { "done:refuse", "finish" } }, .outcome = MIG_DONE_ABORTED },
	{ "commit_of_another_session", MIG_ROLE_RECV, .steps = { R_READY, { "msg:commit=other-session", "refuse" } } },
	{ "commit_of_another_generation", MIG_ROLE_RECV, .steps = {
		R_READY, { "msg:commit=other-generation", "refuse" } } },
	{ "commit_while_refusing", MIG_ROLE_RECV, .steps = {
		R_READY, { "timer", "refuse" }, { "msg:commit", "" }, { "done:refuse", "send:answer=refused finish" } },
	  .outcome = MIG_DONE_ABORTED },
	{ "query_while_ready", MIG_ROLE_RECV, .steps = {
		R_READY, { "msg:query", "refuse" }, { "done:refuse", "send:answer=refused finish" } },
	  .outcome = MIG_DONE_ABORTED },
	{ "line_lost_while_taking", MIG_ROLE_RECV, .steps = {
		R_TAKING, { "link-down", "" }, { "done:take", "announce" }, { "timer", "finish" } },
	  .outcome = MIG_DONE_MOVED },
	{ "query_while_taking", MIG_ROLE_RECV, .steps = {
		R_TAKING, { "msg:query", "" }, { "done:take", "send:taken send:answer=taken announce" },
		{ "msg:query", "send:answer=taken" } } },
	{ "take_fails", MIG_ROLE_RECV, .steps = {
		R_TAKING, { "fail:take", "refuse" }, { "done:refuse", "send:answer=refused finish" } },
	  .outcome = MIG_DONE_ABORTED },
	{ "take_late_but_durable", MIG_ROLE_RECV, .steps = {
		R_TAKING, { "timer", "refuse" }, { "done:take", "" }, { "fail:refuse", "look" },
		{ "done:look=here", "send:taken send:answer=taken announce" } } },
	{ "refuse_until_it_works", MIG_ROLE_RECV, .steps = {
		R_READY, { "link-down", "refuse" }, { "fail:refuse", "look" }, { "done:look=open", "" },
		{ "timer", "refuse" }, { "done:refuse", "finish" } }, .outcome = MIG_DONE_ABORTED },
	{ "refuse_of_what_never_began", MIG_ROLE_RECV, .steps = {
		R_RECEIVE, { "receive-failed", "refuse" }, { "none:refuse", "look" },
		{ "done:look=none", "send:abort finish" } }, .outcome = MIG_DONE_ABORTED },
	{ "query_taken", MIG_ROLE_RECV, .steps = { R_QUERY, { "done:look=here", "send:answer=taken finish" } },
	  .outcome = MIG_DONE_ANSWERED },
	{ "query_moved_on", MIG_ROLE_RECV, .steps = { R_QUERY, { "done:look=gone-on", "send:answer=taken finish" } },
	  .outcome = MIG_DONE_ANSWERED },
	{ "query_refused", MIG_ROLE_RECV, .steps = { R_QUERY, { "done:look=refused", "send:answer=refused finish" } },
	  .outcome = MIG_DONE_ANSWERED },
	{ "query_written_over", MIG_ROLE_RECV, .steps = {
		R_QUERY, { "done:look=later", "send:answer=refused finish" } },
	  .outcome = MIG_DONE_ANSWERED },
	{ "query_no_record", MIG_ROLE_RECV, .steps = { R_QUERY, { "done:look=none", "send:answer=unknown finish" } },
	  .outcome = MIG_DONE_ANSWERED },
	{ "query_open", MIG_ROLE_RECV, .steps = {
		R_QUERY, { "done:look=open", "refuse" }, { "done:refuse", "send:answer=refused finish" } },
	  .outcome = MIG_DONE_ANSWERED },
	{ "query_open_but_taken_meanwhile", MIG_ROLE_RECV, .steps = {
		R_QUERY, { "done:look=open", "refuse" }, { "fail:refuse", "look" },
		{ "done:look=here", "send:answer=taken finish" } }, .outcome = MIG_DONE_ANSWERED },
	{ "query_of_another_peer_decides_nothing", MIG_ROLE_RECV, .steps = {
		R_QUERY, { "done:look=open-foreign", "send:answer=unknown finish" } }, .outcome = MIG_DONE_ANSWERED },
	{ "query_record_unreadable", MIG_ROLE_RECV, .steps = { R_QUERY, { "fail:look", "finish" } },
	  .outcome = MIG_DONE_UNKNOWN },
};

static void source(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sends); i++)
		play(&sends[i]);
}

static void target(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(recvs); i++)
		play(&recvs[i]);
}

/* ---- line ---- */

static void keep_alive(void **state)
{
	static const struct step steps[] = {
		{ "link-up", "" }, { "msg:ping", "send:pong" }, { "msg:pong", "" }, { "msg:hello", "send:hello" },
	};
	struct session_params sp = { .session = S, .policy = policy_defaults(), .codecs = 3, .streams_max = 1 };
	struct mig_event ev = { .kind = MIG_EV_START };
	enum mig_done outcome = 0;
	struct session s;
	uint64_t now = 0;
	char got[256];

	(void)state;
	session_init(&s, MIG_ROLE_RECV, &sp);
	session_event(&s, &ev, now);
	drain(&s, got, sizeof(got), &outcome);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		give(&s, steps[i].ev, &now);
		drain(&s, got, sizeof(got), &outcome);
		assert_string_equal(got, steps[i].want);
	}
	ev = (struct mig_event){ .kind = MIG_EV_TIMER, .timer = MIG_TIMER_PING };
	session_event(&s, &ev, now + 2000);
	drain(&s, got, sizeof(got), &outcome);
	assert_string_equal(got, "send:ping");
	ev.timer = MIG_TIMER_DEAD;
	session_event(&s, &ev, now + 7999);	/* too early: something was heard since it was armed */
	drain(&s, got, sizeof(got), &outcome);
	assert_string_equal(got, "");
	session_event(&s, &ev, now + 8000);
	drain(&s, got, sizeof(got), &outcome);
	assert_string_equal(got, "close-link finish");
}

static void late_line_is_closed(void **state)
{
	struct session_params sp = { .session = S, .vm = "web1", .uuid = UUID, .resolve = true,
				     .policy = policy_defaults(), .codecs = 3, .streams_max = 1 };
	struct mig_event ev = { .kind = MIG_EV_START, .owner = MIG_OWNER_IN_DOUBT };
	enum mig_done outcome = 0;
	struct session s;
	uint32_t first;
	uint64_t now = 0;
	char got[256];

	(void)state;
	session_init(&s, MIG_ROLE_SEND, &sp);
	session_event(&s, &ev, now);
	first = s.link;
	give(&s, "timer", &now);	/* the dial takes too long */
	drain(&s, got, sizeof(got), &outcome);
	ev = (struct mig_event){ .kind = MIG_EV_LINK_UP, .link = first };
	session_event(&s, &ev, now);
	drain(&s, got, sizeof(got), &outcome);
	assert_string_equal(got, "close-link");
	assert_true(session_in_doubt(&s));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(source),
		cmocka_unit_test(target),
		cmocka_unit_test(keep_alive),
		cmocka_unit_test(late_line_is_closed),
	};

	return check_main(tests);
}

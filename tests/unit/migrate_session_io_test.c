/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any order of events: a random walk through both roles that holds the rules
 * of the hand-over (session.h) against every action that comes out.  Half of
 * the events are the ones that carry a move on, or it would never get far.
 */
#include "tests/unit/check.h"

#include <string.h>

#include "migrate/session.h"

#define S "s-1"
#define UUID "01234567-89ab-cdef-0123-456789abcdef"

enum { SEEDS = 5000, EVENTS_MAX = 2000 };

struct walk {
	struct session s;
	uint64_t seed, rng, now;
	bool commit_asked, commit_durable, commit_sent, word_refused, word_taken;	/* source */
	bool commit_heard, refuse_said, take_said;					/* target */
	bool round_open, finished;
};

static uint32_t rnd(struct walk *w, uint32_t n)
{
	w->rng = w->rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(w->rng >> 33) % n;
}

static void hold(const struct walk *w, bool rule, const char *what)
{
	if (!rule)
		fail_msg("seed %llu, state %s: %s", (unsigned long long)w->seed, session_state_name(&w->s), what);
}

static void watch_target(struct walk *w, const struct mig_action *a)
{
	if (a->kind == MIG_ACT_TAKE) {
		hold(w, w->commit_heard, "take without COMMIT");
		hold(w, !w->refuse_said, "take after refuse");
		hold(w, !w->take_said, "take twice");
		w->take_said = true;
	}
	w->refuse_said |= a->kind == MIG_ACT_REFUSE;
}

static void watch(struct walk *w, const struct mig_action *a)
{
	bool commit = a->kind == MIG_ACT_SEND && a->msg.type == MIG_COMMIT;

	hold(w, !w->finished, "an action after finish");
	hold(w, !commit || w->commit_durable, "COMMIT before give-commit is durable");
	w->commit_sent |= commit;
	w->commit_asked |= a->kind == MIG_ACT_GIVE_COMMIT;
	w->finished |= a->kind == MIG_ACT_FINISH;
	if (a->kind == MIG_ACT_GIVE_ABORT) {
		hold(w, !w->commit_sent || w->word_refused, "give-abort after COMMIT without the target's word");
		hold(w, !w->commit_asked || a->not_taken, "give-abort after give-commit does not say not_taken");
	}
	if (a->kind == MIG_ACT_GIVE_DONE)
		hold(w, w->commit_sent && w->word_taken, "give-done without the target's word");
	if (a->kind == MIG_ACT_CONTINUE || a->kind == MIG_ACT_REQUEST_STOP) {
		hold(w, w->round_open, "an answer to a round that nobody asked about");
		w->round_open = false;
	}
	watch_target(w, a);
}

/* What the next event means for the rules. */
static void note(struct walk *w, const struct mig_event *ev)
{
	bool word = ev->kind == MIG_EV_CLAIM || (ev->kind == MIG_EV_MSG && ev->msg->type == MIG_ANSWER);
	enum mig_outcome said = ev->kind == MIG_EV_CLAIM ? ev->outcome : ev->msg->outcome;

	w->commit_durable |= ev->kind == MIG_EV_DONE && ev->act == MIG_ACT_GIVE_COMMIT && !ev->err && w->commit_asked;
	w->word_refused |= word && said == MIG_OUTCOME_REFUSED;
	w->word_taken |= word && said == MIG_OUTCOME_TAKEN;
	if (ev->kind == MIG_EV_MSG) {
		w->word_taken |= ev->msg->type == MIG_TAKEN;
		w->commit_heard |= ev->msg->type == MIG_COMMIT;
	}
	w->round_open = ev->kind == MIG_EV_STREAM_ROUND;
}

/* The events that carry a move on, whatever state it is in. */
static void likely(struct walk *w, struct mig_event *ev, struct mig_msg *m)
{
	static const struct {
		enum mig_ev_kind kind;
		enum mig_act_kind act;
		enum mig_type type;
	} send[] = {
		{ MIG_EV_DONE, MIG_ACT_GIVE_BEGIN, 0 }, { MIG_EV_MSG, 0, MIG_HELLO }, { MIG_EV_MSG, 0, MIG_ACCEPT },
		{ MIG_EV_STREAM_ROUND, 0, 0 }, { MIG_EV_STREAM_SUSPENDED, 0, 0 }, { MIG_EV_STREAM_DONE, 0, 0 },
		{ MIG_EV_MSG, 0, MIG_READY }, { MIG_EV_DONE, MIG_ACT_GIVE_COMMIT, 0 }, { MIG_EV_MSG, 0, MIG_TAKEN },
	}, recv[] = {
		{ MIG_EV_MSG, 0, MIG_HELLO }, { MIG_EV_MSG, 0, MIG_OFFER }, { MIG_EV_DONE, MIG_ACT_CHECK, 0 },
		{ MIG_EV_STREAM_PROGRESS, 0, 0 }, { MIG_EV_MSG, 0, MIG_STREAM_END }, { MIG_EV_RECEIVE_READY, 0, 0 },
		{ MIG_EV_STREAM_DONE, 0, 0 }, { MIG_EV_MSG, 0, MIG_COMMIT }, { MIG_EV_DONE, MIG_ACT_TAKE, 0 },
	};
	/* States are numbered in the order of a move, so the number says what comes next; `receive` takes four. */
	uint32_t i = w->s.state < 2 ? 0 : w->s.state - 2;

	_Static_assert(ARRAY_LEN(send) == ARRAY_LEN(recv), "one index for both");
	if (w->s.role == MIG_ROLE_RECV && i >= 3)
		i = i == 3 ? 3 + rnd(w, 4) : i + 3;
	i = i < ARRAY_LEN(send) ? i : ARRAY_LEN(send) - 1;
	ev->kind = w->s.role == MIG_ROLE_SEND ? send[i].kind : recv[i].kind;
	ev->act = w->s.role == MIG_ROLE_SEND ? send[i].act : recv[i].act;
	m->type = w->s.role == MIG_ROLE_SEND ? send[i].type : recv[i].type;
}

static void step(struct walk *w, bool carry_on)
{
	struct err bad = { .code = (enum err_code)(1 + rnd(w, ERR_CODE_N - 1)), .detail = "x" };
	struct mig_msg m = { .type = (enum mig_type)(1 + rnd(w, MIG_TYPE_END - 1)), .session = S, .generation = 7,
			     .streams = 1, .codec = CODEC_ZLIB, .codecs = 3, .version = MIG_VERSION, .vm = "web1",
			     .uuid = UUID, .outcome = (enum mig_outcome)(1 + rnd(w, 3)) };
	struct mig_event ev = { .kind = (enum mig_ev_kind)(1 + rnd(w, MIG_EV_N - 1)), .link = w->s.link, .msg = &m,
				.act = (enum mig_act_kind)(1 + rnd(w, MIG_ACT_N - 1)), .generation = 7, .vm = "web1",
				.uuid = UUID, .owner = (enum mig_owner)rnd(w, MIG_OWNER_N), .owner_session = S,
				.timer = (enum mig_timer)rnd(w, MIG_TIMER_N),
				.outcome = (enum mig_outcome)(1 + rnd(w, 3)) };
	const struct mig_action *a;

	if (carry_on)
		likely(w, &ev, &m);
	else
		ev.err = rnd(w, 4) ? NULL : &bad;
	ev.round = (struct policy_round){ .sent_pages = 25600, .duration_ms = 1000, .left_pages = 100 };
	if (rnd(w, 2))
		ev.round.left_pages = 20000;
	w->now += rnd(w, 8) ? 10 : 12000;
	note(w, &ev);
	session_event(&w->s, &ev, w->now);
	while (session_next(&w->s, &a))
		watch(w, a);
}

static void walk(struct walk *w, enum mig_role role, uint64_t seed)
{
	struct session_params sp = { .session = S, .policy = policy_defaults(), .codecs = 3, .streams_max = 1 };
	struct mig_event ev = { .kind = MIG_EV_START };
	const struct mig_action *a;
	uint32_t calm;

	memset(w, 0, sizeof(*w));
	w->seed = w->rng = seed;
	calm = rnd(w, 12);	/* so many steps of a move that nothing disturbs, then anything */
	session_init(&w->s, role, &sp);
	session_event(&w->s, &ev, 0);
	ev.kind = MIG_EV_LINK_UP;
	session_event(&w->s, &ev, 0);
	while (session_next(&w->s, &a))
		watch(w, a);
	for (uint32_t i = 0; i < EVENTS_MAX && !w->finished; i++)
		step(w, i < calm || rnd(w, 8) == 0);
}

static void source(void **state)
{
	unsigned finished = 0, committed = 0, refused = 0;
	static struct walk w;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		walk(&w, MIG_ROLE_SEND, seed);
		finished += w.finished;
		committed += w.commit_sent;
		refused += w.commit_sent && w.word_refused;
	}
	/* A walk that never gets anywhere would hold every rule. */
	assert_in_range(finished, SEEDS * 9 / 10, SEEDS);
	assert_in_range(committed, SEEDS / 20, SEEDS);
	assert_in_range(refused, SEEDS / 50, SEEDS);
}

static void target(void **state)
{
	unsigned finished = 0, took = 0, both = 0;
	static struct walk w;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		walk(&w, MIG_ROLE_RECV, seed);
		finished += w.finished;
		took += w.take_said;
		both += w.take_said && w.refuse_said;
	}
	assert_in_range(finished, SEEDS * 9 / 10, SEEDS);
	assert_in_range(took, SEEDS / 20, SEEDS);
	assert_in_range(both, SEEDS / 500, SEEDS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(source),
		cmocka_unit_test(target),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving a VM away: what the mover asks and what its death means, before and
 * after give-commit.  tests/sim/host.c states the same rules for the simulator.
 */
#include "tests/unit/domd_rig.h"

static json_t *not_taken(const char *s)
{
	return json_pack("{ss sb}", "session", s, "not_taken", 1);
}

static json_t *cap(const char *s, int percent)
{
	return json_pack("{ss si}", "session", s, "cap", percent);
}

static void test_straight(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_is(r, "running giving 4");
	rig_denied(r, DOMD_GIVE_COMMIT, rig_session("s-1"), ERR_STATE, "stand still");
	rig_life(r, LIFE_SUSPENDED);
	rig_tell(r, DOMD_GIVE_COMMIT, rig_session("s-1"));
	rig_is(r, "in-doubt in-doubt 4");
	rig_tell(r, DOMD_GIVE_COMMIT, rig_session("s-1"));
	rig_tell(r, DOMD_GIVE_DONE, rig_session("s-1"));
	rig_is(r, "away away 4");
	rig_heard(r, "destroy");
	rig_tell(r, DOMD_GIVE_DONE, rig_session("s-1"));
	rig_heard(r, "destroy");
	rig_denied(r, DOMD_CREATE, rig_made(9), ERR_REFUSED, "away");
	RIG_UNTIL(r, r->ended);
}

static void test_begin_answers(void **state)
{
	struct rig *r = *state;
	int pair[2];
	struct err e = ERR_INIT;

	rig_create_vm(r);
	assert_int_equal(fd_pair(pair, &e), 0);
	AUTO_JSON json_t *out = rig_ask(r, DOMD_GIVE_BEGIN, json_pack("{ss ss}", "session", "s-1", "peer", "b"),
					&pair[1], 1);
	AUTO_JSON json_t *vm = rig_vm();

	assert_true(json_equal(json_object_get(out, "config"), vm));
	assert_int_equal(json_integer_value(json_object_get(out, "domid")), 1);
	assert_int_equal(json_integer_value(json_object_get(out, "generation")), 4);
	assert_string_equal(json_string_value(json_object_get(out, "uuid")), RIG_UUID);
	fd_close(&pair[0]);
	fd_close(&pair[1]);
}

/* Without the descriptor, the domain, a running guest, or for a PV guest. */
static void test_begin_refused(void **state)
{
	struct rig *r = *state;
	json_t *(*args)(const char *) = rig_session;

	rig_begin(r);
	rig_denied(r, DOMD_GIVE_BEGIN, json_pack("{ss ss}", "session", "s-1", "peer", "b"), ERR_STATE, "no domain");
	rig_tell(r, DOMD_CREATE, rig_made(4));
	rig_denied(r, DOMD_GIVE_BEGIN, args("s-1"), ERR_USAGE, "peer");
	rig_denied(r, DOMD_GIVE_BEGIN, json_pack("{ss ss}", "session", "s-1", "peer", "b"), ERR_USAGE, "descriptor");
	rig_tell(r, DOMD_PAUSE, NULL);
	rig_denied(r, DOMD_GIVE_BEGIN, json_pack("{ss ss}", "session", "s-1", "peer", "b"), ERR_STATE, "paused");
	rig_is(r, "paused here 4");
}

static void test_begin_pv(void **state)
{
	struct rig *r = *state;

	rig_begin(r);
	rig_tell(r, DOMD_CREATE, json_pack("{s{ss ss ss} si}", "config", "name", "web1", "uuid", RIG_UUID, "type", "pv",
					   "generation", 4));
	rig_denied(r, DOMD_GIVE_BEGIN, json_pack("{ss ss}", "session", "s-1", "peer", "b"), ERR_INCOMPATIBLE, "PV");
	rig_is(r, "running here 4");
}

/* Every verb of a session names the one that is under way. */
static void test_other_session(void **state)
{
	struct rig *r = *state;
	static const char *const verbs[] = { DOMD_GIVE_COMMIT, DOMD_GIVE_DONE, DOMD_GIVE_ABORT };

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_life(r, LIFE_SUSPENDED);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		rig_denied(r, verbs[i], rig_session("s-2"), ERR_STATE, "s-1");
	rig_denied(r, DOMD_THROTTLE, cap("s-2", 50), ERR_STATE, "s-1");
	rig_denied(r, DOMD_GIVE_BEGIN, json_pack("{ss ss}", "session", "s-2", "peer", "b"), ERR_BUSY, "s-1");
	rig_denied(r, DOMD_TAKE, rig_session("s-1"), ERR_STATE, "giving");
	rig_denied(r, DOMD_REFUSE, rig_session("s-1"), ERR_REFUSED, "s-1");
	rig_denied(r, DOMD_DESTROY, NULL, ERR_BUSY, "s-1");
	rig_denied(r, DOMD_PAUSE, NULL, ERR_BUSY, "s-1");
	rig_tell(r, DOMD_GIVE_COMMIT, rig_session("s-1"));
	rig_denied(r, DOMD_GIVE_ABORT, not_taken("s-2"), ERR_STATE, "s-1");
	rig_is(r, "in-doubt in-doubt 4");
	rig_heard(r, "");
}

static void test_hangup_gives_back(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	r->cap = 200;
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_tell(r, DOMD_THROTTLE, cap("s-1", 60));
	rig_tell(r, DOMD_THROTTLE, cap("s-1", 40));
	assert_int_equal(r->cap, 40);
	rig_life(r, LIFE_SUSPENDED);
	fd_close(&alive);
	RIG_UNTIL(r, !strcmp(r->calls, "resume"));
	rig_is(r, "running here 4");
	assert_int_equal(r->cap, 200);
	rig_denied(r, DOMD_GIVE_COMMIT, rig_session("s-1"), ERR_STATE, "here");
	rig_tell(r, DOMD_GIVE_ABORT, rig_session("s-1"));
	/* The suspend request is obeyed only now. */
	rig_turn(r, LIFE_SUSPENDED);
	RIG_UNTIL(r, !strcmp(r->calls, "resume resume"));
	rig_is(r, "running here 4");
}

static void test_throttle_zero(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	r->cap = 150;
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_tell(r, DOMD_THROTTLE, cap("s-1", 60));
	rig_tell(r, DOMD_THROTTLE, cap("s-1", 0));
	assert_int_equal(r->cap, 150);
	rig_denied(r, DOMD_THROTTLE, cap("s-1", 70000), ERR_USAGE, "cap");
}

static void test_abort(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_tell(r, DOMD_THROTTLE, cap("s-1", 60));
	rig_life(r, LIFE_SUSPENDED);
	r->fails = "still";			/* a disk that may still be written to is not handed over */
	rig_denied(r, DOMD_GIVE_COMMIT, rig_session("s-1"), ERR_IO, "disk");
	rig_is(r, "running giving 4");
	r->fails = NULL;
	rig_tell(r, DOMD_GIVE_ABORT, rig_session("s-1"));
	rig_heard(r, "resume");
	assert_int_equal(r->cap, 0);
	rig_tell(r, DOMD_GIVE_ABORT, rig_session("s-1"));	/* again: the same answer */
	rig_is(r, "running here 4");
	AUTO_FD int again = rig_give(r, "s-2");

	rig_is(r, "running giving 4");
}

/* After give-commit neither a hang-up nor a plain abort moves anything; only the peer's word does. */
static void test_after_commit(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_tell(r, DOMD_THROTTLE, cap("s-1", 60));
	rig_life(r, LIFE_SUSPENDED);
	rig_tell(r, DOMD_GIVE_COMMIT, rig_session("s-1"));
	fd_close(&alive);
	rig_turn(r, LIFE_SUSPENDED);
	rig_sync(r);
	rig_denied(r, DOMD_GIVE_ABORT, rig_session("s-1"), ERR_IN_DOUBT, "handed over");
	rig_denied(r, DOMD_UNPAUSE, NULL, ERR_BUSY, "in-doubt");
	rig_heard(r, "");
	rig_is(r, "in-doubt in-doubt 4");
	rig_tell(r, DOMD_GIVE_ABORT, not_taken("s-1"));
	rig_heard(r, "resume");
	assert_int_equal(r->cap, 0);
	rig_is(r, "running here 4");
}

/* The record is away although the domain would not go; saying it again removes it. */
static void test_done_destroy_fails(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_life(r, LIFE_SUSPENDED);
	rig_tell(r, DOMD_GIVE_COMMIT, rig_session("s-1"));
	r->fails = "destroy";
	rig_denied(r, DOMD_GIVE_DONE, rig_session("s-1"), ERR_XEN, "made-up");
	rig_denied(r, DOMD_UNPAUSE, NULL, ERR_BUSY, "away");
	rig_turn(r, LIFE_SUSPENDED);		/* not resumed by hvdomd either, but removed */
	RIG_UNTIL(r, !strcmp(r->calls, "destroy destroy"));
	r->fails = NULL;
	rig_until_idle(r);
	rig_tell(r, DOMD_GIVE_DONE, rig_session("s-1"));
	rig_is(r, "away away 4");
	assert_null(strstr(r->calls, "resume"));
}

/* The guest shuts down in the middle: nothing is left to give, and the move cannot commit. */
static void test_guest_ends_meanwhile(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_turn(r, LIFE_POWEROFF);
	RIG_UNTIL(r, !strcmp(r->calls, "destroy"));
	rig_sync(r);
	rig_denied(r, DOMD_GIVE_COMMIT, rig_session("s-1"), ERR_STATE, "web1");
	rig_tell(r, DOMD_GIVE_ABORT, rig_session("s-1"));
	rig_is(r, "none here 4");
}

#define GIVE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		GIVE(test_straight), GIVE(test_begin_answers), GIVE(test_begin_refused), GIVE(test_begin_pv),
		GIVE(test_other_session), GIVE(test_hangup_gives_back), GIVE(test_throttle_zero), GIVE(test_abort),
		GIVE(test_after_commit), GIVE(test_done_destroy_fails), GIVE(test_guest_ends_meanwhile),
	};

	return check_main(tests);
}

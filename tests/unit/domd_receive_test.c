/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving a VM: taken once and durable before it runs, or refused for good,
 * whoever dies and whenever that is.
 */
#include "tests/unit/domd_rig.h"

static void whole(int stream)
{
	assert_int_equal(fd_write_full(stream, "memoryE", 7), 0);
}

/* Until the paused guest is complete. */
static void arrive(struct rig *r, const char *session, int generation, int *stream, int *alive)
{
	rig_receive(r, session, generation, stream, alive);
	whole(*stream);
	if (rig_answer(r) < 0)
		fail_msg("%s", r->err.detail);
}

static void test_taken(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	rig_receive(r, "s-1", 4, &stream, &alive);
	RIG_UNTIL(r, strstr(r->calls, "restore") && strstr(r->calls, "prepare"));
	rig_is(r, "receiving receiving 4");
	rig_denied(r, DOMD_TAKE, rig_session("s-1"), ERR_STATE, "not complete");
	whole(stream);
	assert_int_equal(rig_answer(r), 0);
	assert_int_equal(json_integer_value(json_object_get(r->answer, "domid")), 1);
	assert_true(json_is_integer(json_object_get(json_object_get(r->answer, "times"), "restore_ms")));
	rig_is(r, "ready receiving 4");
	rig_denied(r, DOMD_TAKE, rig_session("s-2"), ERR_STATE, "s-2");
	assert_null(strstr(r->calls, "unpause"));
	rig_tell(r, DOMD_TAKE, rig_session("s-1"));
	assert_string_equal(r->owner_at_unpause, "here 5");	/* durable before it runs */
	assert_string_equal(r->got, "memoryE");
	rig_is(r, "running here 5");
	assert_int_equal(r->announced, 1);
}

/* Said again, both decisions are what they were, and neither can be turned round. */
static void test_decided_once(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	arrive(r, "s-1", 4, &stream, &alive);
	rig_tell(r, DOMD_TAKE, rig_session("s-1"));
	rig_tell(r, DOMD_TAKE, rig_session("s-1"));
	rig_denied(r, DOMD_REFUSE, rig_session("s-1"), ERR_STATE, "taken");
	rig_denied(r, DOMD_REFUSE, rig_session("s-2"), ERR_REFUSED, "s-2");
	rig_denied(r, DOMD_GIVE_COMMIT, rig_session("s-1"), ERR_STATE, "here");
	rig_denied(r, DOMD_GIVE_DONE, rig_session("s-1"), ERR_STATE, "here");
	fd_close(&alive);		/* the mover's death means nothing any more */
	rig_sync(r);
	rig_is(r, "running here 5");
}

static void test_refused_when_complete(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	arrive(r, "s-1", 4, &stream, &alive);
	rig_tell(r, DOMD_REFUSE, rig_session("s-1"));
	rig_until_idle(r);
	rig_is(r, "none refused 4");
	assert_non_null(strstr(r->calls, "destroy"));
	rig_tell(r, DOMD_REFUSE, rig_session("s-1"));
	rig_denied(r, DOMD_TAKE, rig_session("s-1"), ERR_STATE, "refused");
	assert_null(strstr(r->calls, "unpause"));
	RIG_UNTIL(r, r->ended);
}

/* While both threads run: the stream is cut, the devices are told, and the answer comes when nothing is left. */
static void test_refused_while_it_arrives(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	r->devices_ready = false;
	rig_begin(r);
	rig_receive(r, "s-1", 4, &stream, &alive);
	RIG_UNTIL(r, strstr(r->calls, "restore") && strstr(r->calls, "prepare"));
	rig_tell(r, DOMD_REFUSE, rig_session("s-1"));
	assert_int_equal(rig_answer(r), -1);
	assert_int_equal(r->err.code, ERR_CANCELLED);
	rig_is(r, "none refused 4");
}

/* The memory is there, the devices are not: refused, the domain that is there already goes. */
static void test_refused_between(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	r->devices_ready = false;
	rig_begin(r);
	rig_receive(r, "s-1", 4, &stream, &alive);
	whole(stream);
	RIG_UNTIL(r, r->domid != DOMD_NO_DOMAIN && strstr(r->calls, "prepare"));
	rig_tell(r, DOMD_REFUSE, rig_session("s-1"));
	assert_int_equal(rig_answer(r), -1);
	assert_non_null(strstr(r->calls, "destroy"));
	rig_is(r, "none refused 4");
}

/* A second refuse (of a QUERY, say) while the first is at work is answered too. */
static void test_refused_twice_at_once(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	arrive(r, "s-1", 4, &stream, &alive);
	pthread_mutex_lock(&r->m);
	r->blocks = "destroy";
	pthread_mutex_unlock(&r->m);
	rig_call_later(r, DOMD_REFUSE, rig_session("s-1"), 0);
	RIG_UNTIL(r, strstr(r->calls, "destroy"));
	rig_tell(r, DOMD_REFUSE, rig_session("s-1"));
	rig_denied(r, DOMD_TAKE, rig_session("s-1"), ERR_STATE, "refused");
	rig_denied(r, DOMD_RECEIVE, rig_arriving("s-2", 4), ERR_BUSY, "refuse");
	rig_release(r);
	assert_int_equal(rig_answer(r), 0);
	rig_is(r, "none refused 4");
}

static void test_mover_dies_while_it_arrives(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	rig_receive(r, "s-1", 4, &stream, &alive);
	RIG_UNTIL(r, strstr(r->calls, "restore"));
	fd_close(&alive);		/* its stream hangs on: a child of it may hold it */
	assert_int_equal(rig_answer(r), -1);
	RIG_UNTIL(r, r->ended);		/* refused, nothing left, so it goes */
	rig_again(r);
	rig_is(r, "none refused 4");
}

static void test_mover_dies_when_complete(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	arrive(r, "s-1", 4, &stream, &alive);
	fd_close(&alive);
	RIG_UNTIL(r, strstr(r->calls, "destroy"));
	rig_sync(r);
	rig_denied(r, DOMD_TAKE, rig_session("s-1"), ERR_STATE, "refused");
	assert_null(strstr(r->calls, "unpause"));
}

/* What fails by itself waits for the decision of who sent it, but cannot be taken. */
static void fails_alone(struct rig *r, const char *call)
{
	AUTO_FD int stream = -1, alive = -1;

	r->fails = call;
	rig_begin(r);
	rig_receive(r, "s-1", 4, &stream, &alive);
	if (!strcmp(call, "prepare"))
		RIG_UNTIL(r, strstr(r->calls, "prepare"));
	assert_int_equal(rig_answer(r), -1);
	assert_non_null(strstr(r->err.detail, call));
	rig_denied(r, DOMD_TAKE, rig_session("s-1"), ERR_STATE, "not complete");
	rig_tell(r, DOMD_REFUSE, rig_session("s-1"));
	rig_until_idle(r);
	rig_is(r, "none refused 4");
	assert_int_equal(r->domid, DOMD_NO_DOMAIN);
}

static void test_restore_fails(void **state) { fails_alone(*state, "restore"); }
static void test_devices_fail(void **state) { fails_alone(*state, "prepare"); }

/* It died while it waited, paused: there is nothing to take. */
static void test_domain_gone(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	arrive(r, "s-1", 4, &stream, &alive);
	rig_turn(r, LIFE_GONE);
	rig_denied(r, DOMD_TAKE, rig_session("s-1"), ERR_STATE, "web1");
	rig_tell(r, DOMD_REFUSE, rig_session("s-1"));
	rig_until_idle(r);
	rig_is(r, "none refused 4");
}

/* The record says here, so here it is, even if Xen did not unpause it; the operator can. */
static void test_unpause_fails(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	arrive(r, "s-1", 4, &stream, &alive);
	r->fails = "unpause";
	rig_tell(r, DOMD_TAKE, rig_session("s-1"));
	rig_is(r, "paused here 5");
	r->fails = NULL;
	rig_tell(r, DOMD_UNPAUSE, NULL);
	rig_is(r, "running here 5");
}

/* ---- who may come ---- */

static void test_who_may_come(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	rig_denied(r, DOMD_RECEIVE, rig_arriving("s-1", 4), ERR_USAGE, "two descriptors");
	rig_is(r, "none - 0");
	arrive(r, "s-1", 4, &stream, &alive);
	rig_denied(r, DOMD_RECEIVE, rig_arriving("s-2", 4), ERR_EXISTS, "receiving");
	rig_denied(r, DOMD_RECEIVE, rig_arriving("s-1", 4), ERR_STATE, "s-1");
	rig_denied(r, DOMD_CREATE, rig_made(4), ERR_STATE, "web1");
	rig_tell(r, DOMD_REFUSE, rig_session("s-1"));
	rig_denied(r, DOMD_RECEIVE, rig_arriving("s-1", 4), ERR_STATE, "s-1");	/* never a session it knows */
	rig_denied(r, DOMD_RECEIVE, rig_arriving("s-2", 3), ERR_REFUSED, "generation 3");
	fd_close(&stream);
	fd_close(&alive);
	arrive(r, "s-2", 4, &stream, &alive);
	rig_tell(r, DOMD_TAKE, rig_session("s-2"));
	rig_denied(r, DOMD_RECEIVE, rig_arriving("s-3", 9), ERR_EXISTS, "here");
	rig_is(r, "running here 5");
}

/* There and back: what comes home is newer than what left. */
static void test_comes_home(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, back = -1;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_life(r, LIFE_SUSPENDED);
	rig_tell(r, DOMD_GIVE_COMMIT, rig_session("s-1"));
	rig_tell(r, DOMD_GIVE_DONE, rig_session("s-1"));
	rig_denied(r, DOMD_RECEIVE, rig_arriving("s-2", 4), ERR_REFUSED, "generation 4");	/* a copy from before */
	arrive(r, "s-2", 5, &stream, &back);
	rig_tell(r, DOMD_TAKE, rig_session("s-2"));
	rig_is(r, "running here 6");
}

#define RECEIVE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		RECEIVE(test_taken), RECEIVE(test_decided_once), RECEIVE(test_refused_when_complete),
		RECEIVE(test_refused_while_it_arrives), RECEIVE(test_refused_between),
		RECEIVE(test_refused_twice_at_once),
		RECEIVE(test_mover_dies_while_it_arrives), RECEIVE(test_mover_dies_when_complete),
		RECEIVE(test_restore_fails), RECEIVE(test_devices_fail), RECEIVE(test_domain_gone),
		RECEIVE(test_unpause_fails), RECEIVE(test_who_may_come), RECEIVE(test_comes_home),
	};

	return check_main(tests);
}

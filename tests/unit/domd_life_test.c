/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hvdomd does by itself: with what an earlier hvdomd left in each word of
 * the record, and when the guest ends.
 */
#include "tests/unit/domd_rig.h"

/* ---- a new hvdomd ---- */

static void test_restart_here(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	rig_again(r);
	rig_is(r, "running here 4");
	rig_heard(r, "");
	rig_end(r);
	rig_life(r, LIFE_SUSPENDED);	/* obeyed while nobody looked */
	rig_again(r);
	rig_is(r, "running here 4");
	rig_heard(r, "resume");
}

/* The operator's pause outlives hvdomd; one that a crash left (take was durable, the unpause did not come) does not. */
static void test_restart_paused(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	rig_tell(r, DOMD_PAUSE, NULL);
	rig_again(r);
	rig_is(r, "paused here 4");
	rig_tell(r, DOMD_UNPAUSE, NULL);
	rig_end(r);
	rig_life(r, LIFE_PAUSED);
	rig_again(r);
	rig_is(r, "running here 4");
	rig_heard(r, "unpause");
}

static void test_restart_after_power_cut(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_end(r);
	rig_life(r, LIFE_GONE);
	rig_again(r);
	rig_is(r, "none here 4");
	rig_tell(r, DOMD_CREATE, rig_made(4));
	rig_is(r, "running here 4");
}

/* The mover may live on; it is told no. */
static void test_restart_giving(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	r->cap = 300;
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_tell(r, DOMD_THROTTLE, json_pack("{ss si}", "session", "s-1", "cap", 20));
	rig_life(r, LIFE_SUSPENDED);
	rig_again(r);
	rig_heard(r, "resume");
	rig_is(r, "running here 4");
	assert_int_equal(r->cap, 300);		/* the throttle does not outlive the move */
	rig_denied(r, DOMD_GIVE_COMMIT, rig_session("s-1"), ERR_STATE, "here");
	rig_tell(r, DOMD_GIVE_ABORT, rig_session("s-1"));
}

static void test_restart_in_doubt(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_tell(r, DOMD_THROTTLE, json_pack("{ss si}", "session", "s-1", "cap", 20));
	rig_life(r, LIFE_SUSPENDED);
	rig_tell(r, DOMD_GIVE_COMMIT, rig_session("s-1"));
	rig_again(r);
	rig_is(r, "in-doubt in-doubt 4");
	rig_heard(r, "");
	rig_tell(r, DOMD_GIVE_ABORT, json_pack("{ss sb}", "session", "s-1", "not_taken", 1));
	rig_is(r, "running here 4");
	rig_heard(r, "resume");
	assert_int_equal(r->cap, 0);
}

/* After a power cut too: without the peer's word it may not be started again. */
static void test_power_cut_in_doubt(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_life(r, LIFE_SUSPENDED);
	rig_tell(r, DOMD_GIVE_COMMIT, rig_session("s-1"));
	rig_end(r);
	rig_life(r, LIFE_GONE);
	rig_again(r);
	rig_is(r, "in-doubt in-doubt 4");
	rig_denied(r, DOMD_CREATE, rig_made(9), ERR_REFUSED, "in-doubt");
	rig_tell(r, DOMD_GIVE_DONE, rig_session("s-1"));
	rig_is(r, "away away 4");
}

/* The record is away, the domain was still there: it goes. */
static void test_restart_away(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	AUTO_FD int alive = rig_give(r, "s-1");

	rig_life(r, LIFE_SUSPENDED);
	rig_tell(r, DOMD_GIVE_COMMIT, rig_session("s-1"));
	r->fails = "destroy";
	rig_denied(r, DOMD_GIVE_DONE, rig_session("s-1"), ERR_XEN, "made-up");
	r->fails = NULL;
	rig_again(r);
	rig_is(r, "away away 4");
	rig_heard(r, "destroy");
}

static void test_restart_receiving(void **state)
{
	struct rig *r = *state;
	AUTO_FD int stream = -1, alive = -1;

	rig_begin(r);
	rig_receive(r, "s-1", 4, &stream, &alive);
	assert_int_equal(fd_write_full(stream, "E", 1), 0);
	assert_int_equal(rig_answer(r), 0);
	rig_again(r);
	rig_heard(r, "destroy");
	rig_is(r, "none refused 4");
	rig_denied(r, DOMD_TAKE, rig_session("s-1"), ERR_STATE, "refused");
	rig_tell(r, DOMD_REFUSE, rig_session("s-1"));
}

static void test_restart_damaged(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	char path[RIG_PATH_BYTES + 64];

	rig_create_vm(r);
	rig_end(r);
	snprintf(path, sizeof(path), DOMD_OWNER_FMT, r->data_dir, "web1");
	assert_int_equal(fd_write_file(path, "{}", 2, 0640, &e), 0);
	assert_int_equal(rig_try_start(r, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_non_null(strstr(e.remedy, "other host"));
	rig_heard(r, "");		/* and the domain is left alone */
}

/* ---- the guest ends ---- */

static void create_with(struct rig *r, const char *key, const char *action)
{
	json_t *args = rig_made(4);

	json_object_set_new(json_object_get(args, "config"), key, json_string(action));
	rig_begin(r);
	rig_tell(r, DOMD_CREATE, args);
	r->calls[0] = '\0';
}

static void test_poweroff(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	rig_turn(r, LIFE_POWEROFF);
	RIG_UNTIL(r, r->ended);
	rig_heard(r, "destroy");
	rig_again(r);
	rig_is(r, "none here 4");
}

static void test_reboot(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	rig_turn(r, LIFE_REBOOT);
	RIG_UNTIL(r, !strcmp(r->calls, "destroy create unpause") && r->life == LIFE_RUNNING);
	rig_until_idle(r);
	rig_is(r, "running here 4");
	assert_int_equal(r->domid, 2);
}

static void test_reboot_destroys(void **state)
{
	struct rig *r = *state;

	create_with(r, "on_reboot", "destroy");
	rig_turn(r, LIFE_REBOOT);
	RIG_UNTIL(r, r->ended);
	rig_heard(r, "destroy");
}

static void test_crash_preserved(void **state)
{
	struct rig *r = *state;

	create_with(r, "on_crash", "preserve");
	rig_turn(r, LIFE_CRASHED);
	rig_sync(r);
	rig_is(r, "crashed here 4");
	rig_heard(r, "");
	rig_tell(r, DOMD_DESTROY, NULL);
	rig_is(r, "none here 4");
}

static void test_crash_destroys(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	rig_turn(r, LIFE_CRASHED);
	RIG_UNTIL(r, r->ended);
	rig_heard(r, "destroy");
}

/* One that crashes as soon as it is started would do so for ever; one that ran before is started again. */
static void test_crash_restarts(void **state)
{
	struct rig *r = *state;

	create_with(r, "on_crash", "restart");
	rig_again(r);			/* this hvdomd did not see it start */
	rig_turn(r, LIFE_CRASHED);
	RIG_UNTIL(r, !strcmp(r->calls, "destroy create unpause"));
	rig_until_idle(r);
	rig_turn(r, LIFE_CRASHED);
	RIG_UNTIL(r, r->ended);
	rig_heard(r, "destroy create unpause destroy");
}

/* The end of the guest while something else is under way is not forgotten. */
static void test_end_while_busy(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	r->blocks = "shutdown";
	rig_call_later(r, DOMD_SHUTDOWN, NULL, 0);
	RIG_UNTIL(r, !strcmp(r->calls, "shutdown"));
	rig_turn(r, LIFE_POWEROFF);
	rig_sync(r);
	rig_heard(r, "shutdown");
	rig_release(r);
	assert_int_equal(rig_answer(r), 0);
	RIG_UNTIL(r, r->ended);
	rig_heard(r, "shutdown destroy");
}

static void test_gone(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	rig_turn(r, LIFE_GONE);		/* destroyed by somebody else */
	RIG_UNTIL(r, r->ended);
	rig_heard(r, "");
}

#define LIFE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		LIFE(test_restart_here), LIFE(test_restart_paused), LIFE(test_restart_after_power_cut),
		LIFE(test_restart_giving), LIFE(test_restart_in_doubt), LIFE(test_power_cut_in_doubt),
		LIFE(test_restart_away), LIFE(test_restart_receiving), LIFE(test_restart_damaged),
		LIFE(test_poweroff), LIFE(test_reboot), LIFE(test_reboot_destroys), LIFE(test_crash_preserved),
		LIFE(test_crash_destroys), LIFE(test_crash_restarts), LIFE(test_end_while_busy), LIFE(test_gone),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvdomd's daily work on a real control socket: one operation at a time, what
 * subscribers hear, and when the process may go.
 */
#include "tests/unit/domd_rig.h"

static void test_create_and_status(void **state)
{
	struct rig *r = *state;

	rig_begin(r);
	rig_is(r, "none - 0");
	AUTO_JSON json_t *st = rig_ask(r, DOMD_CREATE, rig_made(4), NULL, 0);

	assert_string_equal(json_string_value(json_object_get(st, "state")), "running");
	assert_int_equal(json_integer_value(json_object_get(st, "domid")), 1);
	rig_is(r, "running here 4");
	rig_heard(r, "create unpause");
	assert_string_equal(r->owner_at_unpause, "here 4");	/* durable before it runs */
	rig_denied(r, DOMD_CREATE, rig_made(5), ERR_STATE, "running");
	rig_heard(r, "create unpause");
}

static void test_create_fails(void **state)
{
	struct rig *r = *state;

	r->fails = "create";
	rig_begin(r);
	rig_denied(r, DOMD_CREATE, rig_made(4), ERR_XEN, "made-up");
	rig_is(r, "none here 4");
	RIG_UNTIL(r, r->ended);		/* nothing is left to hold */
}

static void test_need_a_domain(void **state)
{
	struct rig *r = *state;
	static const char *const verbs[] = {
		DOMD_SHUTDOWN, DOMD_REBOOT, DOMD_DESTROY, DOMD_PAUSE, DOMD_UNPAUSE, DOMD_CONSOLE,
	};

	rig_begin(r);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		rig_denied(r, verbs[i], NULL, ERR_STATE, "web1");
	rig_denied(r, DOMD_CREATE, NULL, ERR_USAGE, "config");
	rig_is(r, "none - 0");
	rig_heard(r, "");
}

static void test_destroy_ends_the_process(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	rig_tell(r, DOMD_DESTROY, NULL);
	rig_is(r, "none here 4");
	rig_heard(r, "destroy");
	RIG_UNTIL(r, r->ended);
}

/* While one operation runs, status answers and the others are told what is under way. */
static void test_one_at_a_time(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	r->blocks = "pause";
	rig_call_later(r, DOMD_PAUSE, NULL, 0);
	RIG_UNTIL(r, !strcmp(r->calls, "pause"));
	rig_sync(r);
	rig_denied(r, DOMD_DESTROY, NULL, ERR_BUSY, "pause");
	rig_denied(r, DOMD_CREATE, rig_made(4), ERR_BUSY, "pause");
	rig_release(r);
	assert_int_equal(rig_answer(r), 0);
	rig_heard(r, "pause");
}

static json_t *path_arg(struct rig *r, const char *name)
{
	char path[RIG_PATH_BYTES + 64];

	snprintf(path, sizeof(path), "%s/save/%s", r->data_dir, name);
	return json_pack("{ss}", "path", path);
}

static bool is_there(struct rig *r, const char *name)
{
	char path[RIG_PATH_BYTES + 64];

	snprintf(path, sizeof(path), "%s/save/%s", r->data_dir, name);
	return access(path, F_OK) == 0;
}

/* A second save that is refused does not change where the first one goes. */
static void test_save_twice(void **state)
{
	struct rig *r = *state;

	rig_create_vm(r);
	r->blocks = "save";
	rig_call_later(r, DOMD_SAVE, path_arg(r, "one"), 0);
	RIG_UNTIL(r, !strcmp(r->calls, "save"));
	rig_denied(r, DOMD_SAVE, path_arg(r, "two"), ERR_BUSY, "save");
	rig_turn(r, LIFE_SUSPENDED);	/* @releaseDomain of another guest: nothing of this is resumed */
	rig_sync(r);
	rig_release(r);
	assert_int_equal(rig_answer(r), 0);
	rig_heard(r, "save destroy");
	assert_true(is_there(r, "one") && !is_there(r, "two"));
}

static void on_event(void *arg, const json_t *ev)
{
	char *said = arg;
	size_t n = strlen(said);
	const char *state = json_string_value(json_object_get(ev, "state"));

	snprintf(said + n, 200 - n, "%s ", state ? state : "?");
}

static void ignore_gone(void *arg)
{
	(void)arg;
}

static void test_events(void **state)
{
	struct rig *r = *state;
	struct ctl_client *c = NULL;
	struct loop *l = NULL;
	struct err e = ERR_INIT;
	char said[200] = "";

	rig_begin(r);
	assert_int_equal(ctl_connect(r->sock, &c, &e), 0);
	assert_int_equal(ctl_request(c, "subscribe", NULL, NULL, 0, RIG_CALL_MS, NULL, NULL, NULL, &e), 0);
	assert_int_equal(loop_new(&l, &e), 0);
	assert_int_equal(ctl_client_attach(c, l, on_event, ignore_gone, said, &e), 0);
	rig_tell(r, DOMD_CREATE, rig_made(4));
	rig_tell(r, DOMD_PAUSE, NULL);
	rig_tell(r, DOMD_DESTROY, NULL);
	for (int i = 0; i < 100 && !strstr(said, "none"); i++)
		loop_once(l, 100);
	assert_string_equal(said, "building running paused none ");
	ctl_client_free(c);
	loop_free(l);
}

#define DOMD(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		DOMD(test_create_and_status), DOMD(test_create_fails), DOMD(test_need_a_domain),
		DOMD(test_destroy_ends_the_process), DOMD(test_one_at_a_time), DOMD(test_save_twice), DOMD(test_events),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hvdomd that comes after a crash must know: a domain that is half
 * built, a pause that was asked for, the cap before a throttle.
 */
#include "tests/unit/domd_say.h"

static json_t *begin_args(const char *s)
{
	return json_pack("{s:s, s:s}", "session", s, "peer", "hv2");
}

/* Begins; returns the mover's end, whose close is its death. */
static int begin(struct box *b, const char *s, enum err_code want)
{
	struct err e = ERR_INIT;
	AUTO_JSON json_t *out = NULL;
	int pair[2];

	assert_int_equal(fd_pair(pair, &e), 0);
	assert_int_equal(box_ask_fds(b, DOMD_GIVE_BEGIN, begin_args(s), &pair[1], 1, &out), want);
	fd_close(&pair[1]);
	if (want == ERR_NONE) {
		assert_int_equal(json_integer_value(json_object_get(out, "domid")), FAKE_DOMID);
		assert_int_equal(json_integer_value(json_object_get(out, "generation")), 3);
		assert_non_null(json_object_get(out, "config"));
	}
	return pair[0];
}

static int begun(struct box *b)
{
	created(b);
	return begin(b, "s1", ERR_NONE);
}

static void test_found_paused_by_operator(void **state)
{
	struct box *b = *state;

	created(b);
	assert_int_equal(box_ask(b, DOMD_PAUSE, NULL), ERR_NONE);
	box_crash(b);
	state_is(b, "paused");
	assert_int_equal(box_ask(b, DOMD_UNPAUSE, NULL), ERR_NONE);
	said_is(b, "pause:here unpause:here");
}

static void test_found_half_built(void **state)
{
	struct box *b = *state;
	struct err e = ERR_INIT;

	created(b);
	box_halt(b);
	b->d.note.building = true;
	assert_int_equal(note_save(&b->d.note, &e), 0);
	fake_set_life(&b->x, LIFE_PAUSED);
	box_boot(b);
	said_is(b, "destroy:here");
	state_is(b, "none");
}

static void throttle(struct box *b, int cap)
{
	assert_int_equal(box_ask(b, DOMD_THROTTLE, json_pack("{s:s, s:i}", "session", "s1", "cap", cap)), ERR_NONE);
}

static void test_throttle(void **state)
{
	struct box *b = *state;
	AUTO_FD int mover = -1;

	b->x.cap = 150;		/* the operator's own */
	mover = begun(b);
	throttle(b, 50);
	throttle(b, 20);
	assert_int_equal(b->x.cap, 20);
	throttle(b, 0);
	assert_int_equal(b->x.cap, 150);
	throttle(b, 10);
	assert_int_equal(box_ask(b, DOMD_THROTTLE, json_pack("{s:s, s:i}", "session", "s1", "cap", 99999)), ERR_USAGE);
	assert_int_equal(box_ask(b, DOMD_GIVE_ABORT, session("s1")), ERR_NONE);
	assert_int_equal(b->x.cap, 150);

	fd_close(&mover);
	mover = begin(b, "s1", ERR_NONE);
	throttle(b, 5);
	fd_close(&mover);
	state_is(b, "running");
	box_release(b, LIFE_RUNNING);
	box_crash(b);
	assert_int_equal(b->x.cap, 150);
}

/* The cap before is known to the hvdomd that comes after. */
static void test_throttle_survives(void **state)
{
	struct box *b = *state;
	AUTO_FD int mover = -1;

	b->x.cap = 150;
	mover = begun(b);
	throttle(b, 5);
	box_crash(b);
	assert_int_equal(b->x.cap, 150);
	fd_close(&mover);
	mover = begin(b, "s2", ERR_NONE);
	assert_int_equal(box_ask(b, DOMD_THROTTLE, json_pack("{s:s, s:i}", "session", "s2", "cap", 7)), ERR_NONE);
	fake_set_life(&b->x, LIFE_SUSPENDED);
	assert_int_equal(box_ask(b, DOMD_GIVE_COMMIT, session("s2")), ERR_NONE);
	box_crash(b);
	assert_int_equal(b->x.cap, 7);
	assert_int_equal(box_ask(b, DOMD_GIVE_ABORT, not_taken("s2")), ERR_NONE);
	assert_int_equal(b->x.cap, 150);
}

/* The record was changed, but not the cap yet. */
static void test_cap_left_over(void **state)
{
	struct box *b = *state;
	struct err e = ERR_INIT;

	created(b);
	box_halt(b);
	b->d.note.capped = true;
	b->d.note.cap = 150;
	assert_int_equal(note_save(&b->d.note, &e), 0);
	b->x.cap = 5;
	box_boot(b);
	assert_int_equal(b->x.cap, 150);
	assert_int_equal(access(b->d.note.path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_found_paused_by_operator),
		BOX_TEST(test_found_half_built),
		BOX_TEST(test_throttle),
		BOX_TEST(test_throttle_survives),
		BOX_TEST(test_cap_left_over),
	};

	return check_main(tests);
}

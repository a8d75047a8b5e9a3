/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verbs at the wrong moment, twice, and with a disk that does not take what
 * must be written first.
 */
#include "tests/unit/domd_say.h"

static void test_create(void **state)
{
	struct box *b = *state;
	AUTO_JSON json_t *s = NULL;

	state_is(b, "none");
	created(b);
	owner_is(b, "here");
	assert_int_equal(box_ask_fds(b, DOMD_STATUS, NULL, NULL, 0, &s), ERR_NONE);
	assert_string_equal(json_string_value(json_object_get(s, "uuid")), FAKE_UUID);
	assert_int_equal(json_integer_value(json_object_get(s, "domid")), FAKE_DOMID);
	assert_int_equal(json_integer_value(json_object_get(s, "generation")), 3);
	assert_int_equal(access(tmp_path(&b->t, "vm/g1/config.json"), F_OK), 0);
	assert_int_equal(access(tmp_path(&b->t, "vm/g1/note.json"), F_OK), -1);
	assert_int_equal(box_ask(b, DOMD_CREATE, create_args(FAKE_UUID, 3)), ERR_STATE);
	said_is(b, "");
}

static void test_create_fails(void **state)
{
	struct box *b = *state;

	b->x.fails_create = true;
	assert_int_equal(box_ask(b, DOMD_CREATE, create_args(FAKE_UUID, 3)), ERR_XEN);
	wait_end(b);
	said_is(b, "create:here");
}

static void test_create_unpause_fails(void **state)
{
	struct box *b = *state;

	b->x.fails_unpause = true;
	assert_int_equal(box_ask(b, DOMD_CREATE, create_args(FAKE_UUID, 3)), ERR_XEN);
	said_is(b, "create:here unpause:here destroy:here");
	wait_end(b);
}

static void test_create_refused(void **state)
{
	struct box *b = *state;
	const struct {
		json_t *args;
		enum err_code want;
	} cases[] = {
		{ json_pack("{s:o, s:i}", "config", vm_of("g2", FAKE_UUID), "generation", 1), ERR_USAGE },
		{ json_pack("{s:o}", "config", vm_of("g1", FAKE_UUID)), ERR_USAGE },
		{ json_pack("{s:{s:s}, s:i}", "config", "name", "g1", "generation", 1), ERR_USAGE },
		{ json_object(), ERR_USAGE },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(box_ask(b, DOMD_CREATE, cases[i].args), cases[i].want);
	owner_is(b, "none");
	said_is(b, "");
}

/* What left is not started here again; a new VM under its name is. */
static void test_create_after_away(void **state)
{
	struct box *b = *state;
	struct err e = ERR_INIT;
	AUTO_JSON json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "vm", "g1", "uuid", FAKE_UUID,
					"generation", 9, "owner", "away", "session", "s1", "peer", "hv2");

	assert_int_equal(record_save(tmp_path(&b->t, "vm/g1/owner.json"), o, &e), 0);
	box_crash(b);
	assert_int_equal(box_ask(b, DOMD_CREATE, create_args(FAKE_UUID, 9)), ERR_REFUSED);
	owner_is(b, "away");
	assert_int_equal(box_ask(b, DOMD_CREATE, create_args(OTHER_UUID, 1)), ERR_NONE);
	owner_is(b, "here");
	assert_int_equal(generation_of(b), 1);
}

static void test_verbs(void **state)
{
	struct box *b = *state;

	assert_int_equal(box_ask(b, DOMD_PAUSE, NULL), ERR_STATE);
	created(b);
	assert_int_equal(box_ask(b, DOMD_PAUSE, NULL), ERR_NONE);
	state_is(b, "paused");
	assert_int_equal(box_ask(b, DOMD_UNPAUSE, NULL), ERR_NONE);
	state_is(b, "running");
	assert_int_equal(box_ask(b, DOMD_CONSOLE, NULL), ERR_NONE);
	assert_int_equal(box_ask(b, DOMD_DESTROY, NULL), ERR_NONE);
	said_is(b, "pause:here unpause:here destroy:here");
	wait_end(b);
}

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

/* In doubt: handed over, no answer yet. */
static int committed(struct box *b)
{
	int mover = begun(b);

	fake_set_life(&b->x, LIFE_SUSPENDED);
	assert_int_equal(box_ask(b, DOMD_GIVE_COMMIT, session("s1")), ERR_NONE);
	owner_is(b, "in-doubt");
	state_is(b, "in-doubt");
	return mover;
}

static void test_words_repeated(void **state)
{
	struct box *b = *state;
	AUTO_FD int mover = begun(b);
	AUTO_FD int again = begin(b, "s1", ERR_NONE);

	/* The new descriptor counts: the old one's hang-up is no death. */
	fd_close(&mover);
	fake_set_life(&b->x, LIFE_SUSPENDED);
	assert_int_equal(box_ask(b, DOMD_GIVE_COMMIT, session("s1")), ERR_NONE);
	assert_int_equal(box_ask(b, DOMD_GIVE_COMMIT, session("s1")), ERR_NONE);
	owner_is(b, "in-doubt");
	assert_int_equal(box_ask(b, DOMD_GIVE_ABORT, not_taken("s1")), ERR_NONE);
	assert_int_equal(box_ask(b, DOMD_GIVE_ABORT, not_taken("s1")), ERR_NONE);
	said_is(b, "resume:here");
	owner_is(b, "here");
}

/* Nobody but the mover moves a guest that is being given. */
static void test_verbs_meanwhile(void **state)
{
	static const char *const verbs[] = {
		DOMD_DESTROY, DOMD_PAUSE, DOMD_UNPAUSE, DOMD_SHUTDOWN, DOMD_REBOOT, DOMD_SAVE,
	};
	struct box *b = *state;
	AUTO_FD int mover = begun(b);

	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		assert_int_equal(box_ask(b, verbs[i], NULL), ERR_BUSY);
	fake_set_life(&b->x, LIFE_SUSPENDED);
	assert_int_equal(box_ask(b, DOMD_GIVE_COMMIT, session("s1")), ERR_NONE);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		assert_int_equal(box_ask(b, verbs[i], NULL), ERR_BUSY);
	assert_int_equal(box_ask(b, DOMD_CREATE, create_args(FAKE_UUID, 3)), ERR_STATE);
	said_is(b, "");
}

static void test_resume_fails_once(void **state)
{
	struct box *b = *state;
	AUTO_FD int mover = begun(b);

	fake_set_life(&b->x, LIFE_SUSPENDED);
	b->x.fails_resume = true;
	assert_int_equal(box_ask(b, DOMD_GIVE_ABORT, session("s1")), ERR_XEN);
	owner_is(b, "here");
	state_is(b, "suspended");
	b->x.fails_resume = false;
	assert_int_equal(box_ask(b, DOMD_GIVE_ABORT, session("s1")), ERR_NONE);
	box_release(b, LIFE_RUNNING);
	state_is(b, "running");
}

/* hvdomd died in the middle: the mover's words come too late, the guest runs. */
static void test_crash_giving(void **state)
{
	struct box *b = *state;
	AUTO_FD int mover = begun(b);

	fake_set_life(&b->x, LIFE_SUSPENDED);
	box_crash(b);
	said_is(b, "resume:here");
	assert_int_equal(box_ask(b, DOMD_GIVE_COMMIT, session("s1")), ERR_STATE);
	assert_int_equal(box_ask(b, DOMD_GIVE_ABORT, session("s1")), ERR_NONE);
	owner_is(b, "here");
}

/* Without a disk nothing is handed over; and a guest that may run on does. */
static void test_disk_fails(void **state)
{
	struct box *b = *state;
	int mover = begun(b);

	fake_set_life(&b->x, LIFE_SUSPENDED);
	box_disk(b, false);
	assert_int_not_equal(box_ask(b, DOMD_GIVE_COMMIT, session("s1")), ERR_NONE);
	box_disk(b, true);
	owner_is(b, "giving");
	box_disk(b, false);
	fd_close(&mover);
	state_is(b, "running");
	box_disk(b, true);
	said_is(b, "resume:none");
	box_release(b, LIFE_RUNNING);
	mover = begin(b, "s2", ERR_NONE);
	owner_is(b, "giving");
	fd_close(&mover);
}

static void test_disk_fails_in_doubt(void **state)
{
	struct box *b = *state;
	AUTO_FD int mover = committed(b);

	box_disk(b, false);
	assert_int_not_equal(box_ask(b, DOMD_GIVE_ABORT, not_taken("s1")),
			     ERR_NONE);
	assert_int_not_equal(box_ask(b, DOMD_GIVE_DONE, session("s1")), ERR_NONE);
	box_disk(b, true);
	said_is(b, "");
	state_is(b, "in-doubt");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_create),
		BOX_TEST(test_create_fails),
		BOX_TEST(test_create_unpause_fails),
		BOX_TEST(test_create_refused),
		BOX_TEST(test_create_after_away),
		BOX_TEST(test_verbs),
		BOX_TEST(test_words_repeated),
		BOX_TEST(test_verbs_meanwhile),
		BOX_TEST(test_resume_fails_once),
		BOX_TEST(test_crash_giving),
		BOX_TEST(test_disk_fails),
		BOX_TEST(test_disk_fails_in_doubt),
	};

	return check_main(tests);
}

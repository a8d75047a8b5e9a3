/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's half of domd_ctl.h as a mover says it on a connection of its
 * own: what it may not do, and what happens while it hangs.
 */
#include "tests/unit/domd_say.h"

/* A mover with its receive under way on a connection of its own. */
struct mover {
	struct ctl_client *client;
	int stream, alive;
	bool answered;
	enum err_code code;
	char detail[ERR_DETAIL_BYTES];
	struct loop *l;
};

static void on_answer(void *arg, const json_t *ok, const struct err *e)
{
	struct mover *m = arg;

	(void)ok;
	m->answered = true;
	m->code = e ? e->code : ERR_NONE;
	snprintf(m->detail, sizeof(m->detail), "%s", e ? e->detail : "");
}

static json_t *args_of(const char *s, const char *uuid, int generation)
{
	return json_pack("{s:s, s:s, s:o, s:i}", "session", s, "peer", "hv2", "config", vm_of("g1", uuid), "generation",
			 generation);
}

static void receive_as(struct box *b, struct mover *m, json_t *args)
{
	struct err e = ERR_INIT;
	char path[256];
	int stream[2], alive[2];
	AUTO_JSON json_t *own = args;

	*m = (struct mover){ .stream = -1 };
	snprintf(path, sizeof(path), DOMD_SOCKET_FMT, b->t.dir, "g1");
	assert_int_equal(fd_pair(stream, &e), 0);
	assert_int_equal(fd_pair(alive, &e), 0);
	assert_int_equal(loop_new(&m->l, &e), 0);
	assert_int_equal(ctl_connect(path, &m->client, &e), 0);
	assert_int_equal(ctl_client_attach(m->client, m->l, NULL, NULL, m, &e), 0);
	const int fds[] = { stream[1], alive[1] };

	assert_int_equal(ctl_send(m->client, DOMD_RECEIVE, own, fds, 2, on_answer, m, &e), 0);
	fd_close(&stream[1]);
	fd_close(&alive[1]);
	m->stream = stream[0];
	m->alive = alive[0];
}

static void receive(struct box *b, struct mover *m)
{
	receive_as(b, m, args_of("s1", FAKE_UUID, 5));
}

static void stream(struct mover *m, const char *text)
{
	assert_int_equal(fd_write_full(m->stream, text, strlen(text)), 0);
}

static void stream_end(struct mover *m)
{
	fd_close(&m->stream);
}

static void wait_answer(struct mover *m, enum err_code want)
{
	uint64_t end = clock_mono_ms() + BOX_WAIT_MS;

	while (!m->answered && clock_mono_ms() < end)
		loop_once(m->l, 20);
	assert_true(m->answered);
	if (m->code != want)
		fail_msg("receive: %s %s", err_name(m->code), m->detail);
}

static void mover_dies(struct mover *m)
{
	ctl_client_free(m->client);
	m->client = NULL;
	fd_close(&m->stream);
	fd_close(&m->alive);
	loop_free(m->l);
	m->l = NULL;
}

static void received(struct box *b, struct mover *m)
{
	receive(b, m);
	stream(m, "whole");
	stream_end(m);
	wait_answer(m, ERR_NONE);
	state_is(b, "ready");
	owner_is(b, "receiving");
}

static void refused_with(struct box *b, json_t *args, enum err_code want)
{
	struct mover m;
	char before[32];

	fake_owner(&b->x, before);
	receive_as(b, &m, args);
	wait_answer(&m, want);
	owner_is(b, before);
	mover_dies(&m);
}

static void set_record(struct box *b, const char *word, int generation)
{
	struct err e = ERR_INIT;
	AUTO_JSON json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "vm", "g1", "uuid", FAKE_UUID, "generation",
					generation, "owner", word, "session", "s0", "peer", "hv2");

	box_halt(b);
	assert_int_equal(record_save(tmp_path(&b->t, "vm/g1/owner.json"), o, &e), 0);
	box_boot(b);
}

static void test_take_too_soon(void **state)
{
	struct box *b = *state;
	struct mover m;

	receive(b, &m);
	stream(&m, "who");
	state_is(b, "receiving");
	assert_int_equal(box_ask(b, DOMD_TAKE, session("s1")), ERR_STATE);
	owner_is(b, "receiving");
	stream(&m, "le");
	stream_end(&m);
	wait_answer(&m, ERR_NONE);
	assert_int_equal(box_ask(b, DOMD_TAKE, session("s1")), ERR_NONE);
	mover_dies(&m);
}

/* What is not there any more must not be taken: the source would destroy the last copy.  Nobody told hvdomd yet. */
static void test_take_of_nothing(void **state)
{
	struct box *b = *state;
	struct mover m;

	received(b, &m);
	fake_set_life(&b->x, LIFE_GONE);
	assert_int_equal(box_ask(b, DOMD_TAKE, session("s1")), ERR_STATE);
	assert_int_equal(box_ask(b, DOMD_REFUSE, session("s1")), ERR_NONE);
	owner_is(b, "refused");
	mover_dies(&m);
}

static void test_take_without_disk(void **state)
{
	struct box *b = *state;
	struct mover m;

	received(b, &m);
	box_disk(b, false);
	assert_int_not_equal(box_ask(b, DOMD_TAKE, session("s1")), ERR_NONE);
	box_disk(b, true);
	state_is(b, "ready");
	said_is(b, "restore:receiving");
	assert_int_equal(box_ask(b, DOMD_REFUSE, session("s1")), ERR_NONE);
	mover_dies(&m);
}

static void test_refuse(void **state)
{
	struct box *b = *state;
	struct mover m;

	received(b, &m);
	assert_int_equal(box_ask(b, DOMD_REFUSE, session("s2")), ERR_REFUSED);
	assert_int_equal(box_ask(b, DOMD_REFUSE, session("s1")), ERR_NONE);
	owner_is(b, "refused");
	said_is(b, "restore:receiving destroy:refused");
	assert_int_equal(box_ask(b, DOMD_TAKE, session("s1")), ERR_STATE);
	assert_int_equal(box_ask(b, DOMD_REFUSE, session("s1")), ERR_NONE);
	mover_dies(&m);
	wait_end(b);
	box_crash(b);
	assert_int_equal(box_ask(b, DOMD_TAKE, session("s1")), ERR_STATE);
	/* The same session never again. */
	receive(b, &m);
	wait_answer(&m, ERR_STATE);
	mover_dies(&m);
	owner_is(b, "refused");
}

/* In mid-stream, with a mover that hangs: what still comes is cut off. */
static void test_refuse_in_stream(void **state)
{
	struct box *b = *state;
	struct mover m;

	receive(b, &m);
	stream(&m, "who");
	state_is(b, "receiving");
	assert_int_equal(box_ask(b, DOMD_REFUSE, session("s1")), ERR_NONE);
	owner_is(b, "refused");
	wait_answer(&m, ERR_CANCELLED);
	assert_int_equal(fake_life(&b->x), LIFE_GONE);
	mover_dies(&m);
	wait_end(b);
}

static void test_crash_ready(void **state)
{
	struct box *b = *state;
	struct mover m;

	received(b, &m);
	box_crash(b);
	owner_is(b, "refused");
	said_is(b, "restore:receiving destroy:refused");
	assert_int_equal(box_ask(b, DOMD_TAKE, session("s1")), ERR_STATE);
	assert_int_equal(box_ask(b, DOMD_REFUSE, session("s1")), ERR_NONE);
	mover_dies(&m);
}

static void test_stream_ends_early(void **state)
{
	struct box *b = *state;
	struct mover m;

	receive(b, &m);
	stream(&m, "who");
	stream_end(&m);
	wait_answer(&m, ERR_XEN);
	assert_int_equal(box_ask(b, DOMD_TAKE, session("s1")), ERR_STATE);
	assert_int_equal(box_ask(b, DOMD_REFUSE, session("s1")), ERR_NONE);
	owner_is(b, "refused");
	mover_dies(&m);
	wait_end(b);
}

static void test_receive_refused(void **state)
{
	static const struct {
		const char *word;
		int generation;			/* of the record; the offer has 5 */
		const char *uuid;
		enum err_code want;
	} cases[] = {
		{ "away", 5, FAKE_UUID, ERR_REFUSED },	/* whoever took it has a higher one */
		{ "away", 6, FAKE_UUID, ERR_REFUSED },
		{ "refused", 6, FAKE_UUID, ERR_REFUSED },
		{ "here", 4, FAKE_UUID, ERR_EXISTS },
		{ "in-doubt", 4, FAKE_UUID, ERR_EXISTS },
		{ "in-doubt", 4, OTHER_UUID, ERR_EXISTS },
	};
	struct box *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		set_record(b, cases[i].word, cases[i].generation);
		refused_with(b, args_of("s1", cases[i].uuid, 5), cases[i].want);
	}
	set_record(b, "away", 4);
	refused_with(b, args_of("s0", FAKE_UUID, 5), ERR_STATE);
	refused_with(b, json_pack("{s:s, s:s, s:o, s:i}", "session", "s1", "peer", "hv2", "config",
				  vm_of("../g1", FAKE_UUID), "generation", 5), ERR_USAGE);
	assert_int_equal(box_ask(b, DOMD_RECEIVE, args_of("s1", FAKE_UUID, 5)), ERR_USAGE);	/* no descriptors */
	said_is(b, "");
}

/* The generation of the VM that had the name says nothing of this one. */
static void test_new_vm_under_old_name(void **state)
{
	static const char *const words[] = { "here", "away", "refused" };
	struct box *b = *state;
	struct mover m;

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		fake_set_life(&b->x, LIFE_GONE);
		set_record(b, words[i], 9);
		receive_as(b, &m, args_of("s1", OTHER_UUID, 5));
		stream(&m, "whole");
		stream_end(&m);
		wait_answer(&m, ERR_NONE);
		assert_int_equal(box_ask(b, DOMD_TAKE, session("s1")), ERR_NONE);
		assert_int_equal(generation_of(b), 6);
		mover_dies(&m);
	}
}

static void test_busy_while_receiving(void **state)
{
	struct box *b = *state;
	struct mover m, second;

	receive(b, &m);
	stream(&m, "who");
	state_is(b, "receiving");
	receive_as(b, &second, args_of("s2", FAKE_UUID, 5));
	wait_answer(&second, ERR_BUSY);
	mover_dies(&second);
	assert_int_equal(box_ask(b, DOMD_CREATE, create_args(FAKE_UUID, 5)), ERR_BUSY);
	stream(&m, "le");
	stream_end(&m);
	wait_answer(&m, ERR_NONE);
	assert_int_equal(box_ask(b, DOMD_CREATE, create_args(FAKE_UUID, 5)), ERR_STATE);
	assert_int_equal(box_ask(b, DOMD_UNPAUSE, NULL), ERR_BUSY);
	assert_int_equal(box_ask(b, DOMD_DESTROY, NULL), ERR_BUSY);
	said_is(b, "restore:receiving");
	mover_dies(&m);
	wait_owner(b, "refused");
	wait_end(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_take_too_soon),
		BOX_TEST(test_take_of_nothing),
		BOX_TEST(test_take_without_disk),
		BOX_TEST(test_refuse),
		BOX_TEST(test_refuse_in_stream),
		BOX_TEST(test_crash_ready),
		BOX_TEST(test_stream_ends_early),
		BOX_TEST(test_receive_refused),
		BOX_TEST(test_new_vm_under_old_name),
		BOX_TEST(test_busy_while_receiving),
	};

	return check_main(tests);
}

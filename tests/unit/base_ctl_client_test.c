/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of control connections on a loop: order of replies and events, a
 * server that goes, and callbacks that free the client.
 */
#include "tests/unit/ctl_fixture.h"

static void on_event(void *arg, const json_t *event)
{
	struct fixture *f = arg;

	json_array_append_new(f->log, json_sprintf("event %d", (int)json_integer_value(json_object_get(event, "i"))));
}

static void on_gone(void *arg)
{
	struct fixture *f = arg;

	f->gone++;
	loop_stop(f->cl, 0);
}

struct sent { struct fixture *f; const char *name; bool last; };

static void on_reply(void *arg, const json_t *ok, const struct err *e)
{
	struct sent *s = arg;

	json_array_append_new(s->f->log, json_sprintf("%s %s", s->name, ok ? "ok" : err_name(e->code)));
	if (s->last)
		loop_stop(s->f->cl, 0);
}

static void send_it(struct fixture *f, const char *verb, const json_t *args, struct sent *s)
{
	struct err e = ERR_INIT;

	s->f = f;
	if (ctl_send(f->c, verb, args, NULL, 0, on_reply, s, &e) < 0)
		fail_msg("%s", e.detail);
}

static void attach(struct fixture *f)
{
	struct err e = ERR_INIT;

	assert_int_equal(ctl_client_attach(f->c, f->cl, on_event, on_gone, f, &e), 0);
}

static void log_is(struct fixture *f, const char *want)
{
	AUTO_FREE char *text = json_dumps(f->log, JSON_COMPACT);

	assert_string_equal(text, want);
}

static void replies_out_of_order(void **state)
{
	struct fixture *f = *state;
	struct sent s[] = { { f, "hold", false }, { f, "echo", false }, { f, "fail", false }, { f, "release", true } };

	f->c = connect_to(f);
	attach(f);
	for (size_t i = 0; i < ARRAY_LEN(s); i++)
		send_it(f, s[i].name, NULL, &s[i]);
	log_is(f, "[]");		/* never inside ctl_send */
	loop_run(f->cl);
	log_is(f, "[\"echo ok\",\"fail state\",\"hold ok\",\"release ok\"]");
}

static void events_keep_their_order(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON json_t *two = json_pack("{si si}", "n", 2, "bytes", 1);
	AUTO_JSON json_t *three = json_pack("{si si}", "n", 3, "bytes", 1);
	struct sent s = { f, "publish", true };

	f->c = connect_to(f);
	tell(f->c, "publish", json_incref(three));	/* not subscribed yet: not sent */
	tell(f->c, "subscribe", NULL);
	tell(f->c, "publish", json_incref(two));	/* arrive before the reply: kept */
	attach(f);
	send_it(f, "publish", three, &s);
	still_serves(f);		/* so the new events lie in the socket when the loop starts */
	loop_run(f->cl);
	log_is(f, "[\"event 0\",\"event 1\",\"event 0\",\"event 1\",\"event 2\",\"publish ok\"]");
}

static void server_goes(void **state)
{
	struct fixture *f = *state;
	struct sent hold = { f, "hold", false }, quit = { f, "quit", false };
	struct err e = ERR_INIT;

	f->c = connect_to(f);
	attach(f);
	send_it(f, "hold", NULL, &hold);
	send_it(f, "quit", NULL, &quit);	/* the server goes in the middle of its own verb */
	loop_run(f->cl);
	log_is(f, "[\"hold net\",\"quit net\"]");
	assert_int_equal(f->gone, 1);
	assert_int_equal(ctl_send(f->c, "echo", NULL, NULL, 0, on_reply, &hold, &e), -1);
	assert_int_equal(e.code, ERR_NET);
	loop_once(f->cl, 0);
	assert_int_equal(f->gone, 1);
}

static void server_went_before_attach(void **state)
{
	struct fixture *f = *state;
	struct err e;

	f->c = connect_to(f);
	assert_int_equal(refuse(f->c, "quit", WAIT_MS, &e), ERR_NET);
	attach(f);
	assert_int_equal(f->gone, 0);
	loop_run(f->cl);
	assert_int_equal(f->gone, 1);
}

static void free_in_reply(void *arg, const json_t *ok, const struct err *e)
{
	struct fixture *f = arg;

	(void)ok, (void)e;
	f->gone += 10;
	ctl_client_free(f->c);
	f->c = NULL;
	loop_stop(f->cl, 0);
}

static void freed_in_its_own_callback(void **state)
{
	static const char *const lasts[] = { "echo", "quit" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(lasts); i++) {
		struct err e = ERR_INIT;

		f->gone = 0;
		f->c = connect_to(f);
		attach(f);
		for (int k = 0; k < 3; k++)
			assert_int_equal(ctl_send(f->c, k ? "hold" : lasts[i], NULL, NULL, 0, free_in_reply, f, &e), 0);
		loop_run(f->cl);
		loop_once(f->cl, 0);
		assert_int_equal(f->gone, 10);	/* one callback, and none after the free */
	}
}

static void too_many_open_calls(void **state)
{
	enum { CALLS = 1025 };
	struct fixture *f = *state;
	struct sent s = { f, "hold", true };

	f->c = connect_to(f);
	attach(f);
	for (int i = 0; i < CALLS; i++)
		send_it(f, "hold", NULL, &s);
	loop_run(f->cl);
	log_is(f, "[\"hold limit\"]");
	still_serves(f);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(replies_out_of_order), T(events_keep_their_order), T(server_goes), T(server_went_before_attach),
		T(freed_in_its_own_callback), T(too_many_open_calls),
	};

	return check_main(tests);
}

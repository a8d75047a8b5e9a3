/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager over its socket, as hvapid sees it: the shipped unit table,
 * with shell scripts for programs, outside PID 1.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ctl.h"
#include "base/fd.h"
#include "base/log.h"
#include "init/hvinit_ctl.h"
#include "init/manager.h"
#include "init/pid1.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { TIMEOUT_MS = 20000 };

struct rig {
	struct tmp t;
	char run[200], data[200], sock[260];
	struct manager m;
	pthread_t thread;
	int rc;
	bool joined;
};

static void script(struct rig *r, const char *name, const char *text)
{
	struct err e = ERR_INIT;

	assert_int_equal(fd_write_file(tmp_path(&r->t, name), text, strlen(text), 0755, &e), 0);
}

static void *serve(void *arg)
{
	struct rig *r = arg;

	r->rc = manager_run(&r->m);
	return NULL;
}

static int start(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;
	struct manager_conf c;

	log_init("test", LOG_ERR);
	tmp_init(&r->t);
	script(r, "hvtls", "#!/bin/sh\necho hvtls \"$@\"\nexec tail -f /dev/null\n");
	script(r, "hvmigrate", "#!/bin/sh\necho \"$5 $6\" >&3\nexit 4\n");
	script(r, "hvdomd", "#!/bin/sh\ntrap '' TERM\nexec tail -f /dev/null\n");
	snprintf(r->run, sizeof(r->run), "%s/run", r->t.dir);
	snprintf(r->data, sizeof(r->data), "%s/data", r->t.dir);
	snprintf(r->sock, sizeof(r->sock), "%s/%s", r->run, HVINIT_SOCKET);
	c = (struct manager_conf){ .run_dir = r->run, .data_dir = r->data, .bin_dir = r->t.dir, .table = unit_table,
				   .console_fd = -1 };
	if (manager_init(&r->m, &c, &e) < 0 || pthread_create(&r->thread, NULL, serve, r) != 0)
		return -1;
	*state = r;
	return 0;
}

static int ask(struct rig *r, const char *verb, json_t *args, const int *fds, size_t n_fds, json_t **out,
	       struct err *e)
{
	int rc = ctl_once(r->sock, verb, args, fds, n_fds, TIMEOUT_MS, out, NULL, NULL, e);

	json_decref(args);
	return rc;
}

static void join(struct rig *r)
{
	json_t *out = NULL;
	struct err e = ERR_INIT;

	if (r->joined)
		return;
	if (ask(r, HVINIT_SHUTDOWN, json_pack("{s:s, s:s}", "mode", "poweroff", "guests", "destroy"), NULL, 0, &out,
		&e) < 0)
		loop_stop(r->m.loop, -1);
	json_decref(out);
	pthread_join(r->thread, NULL);
	r->joined = true;
}

static int end(void **state)
{
	struct rig *r = *state;

	join(r);
	manager_fini(&r->m);
	tmp_fini(&r->t);
	free(r);
	return 0;
}

static void spawn_list_stop(void **state)
{
	struct rig *r = *state;
	json_t *out = NULL, *u;
	struct err e = ERR_INIT;
	json_int_t pid;

	assert_int_equal(ask(r, HVINIT_SPAWN, json_pack("{s:s, s:[s]}", "unit", "hvtls", "args", "--x"), NULL, 0, &out,
			     &e), 0);
	pid = json_integer_value(json_object_get(out, "pid"));
	json_decref(out);
	assert_int_equal(kill((pid_t)pid, 0), 0);
	assert_int_equal(ask(r, HVINIT_LIST, NULL, NULL, 0, &out, &e), 0);
	u = json_array_get(json_object_get(out, "units"), 0);
	assert_string_equal(json_string_value(json_object_get(u, "unit")), "hvtls");
	assert_string_equal(json_string_value(json_object_get(u, "state")), "running");
	assert_int_equal(json_integer_value(json_object_get(u, "pid")), pid);
	assert_int_equal(json_integer_value(json_object_get(u, "last_exit")), -1);
	json_decref(out);
	assert_int_equal(ask(r, HVINIT_STOP, json_pack("{s:s}", "unit", "hvtls"), NULL, 0, &out, &e), 0);
	assert_int_equal(json_integer_value(json_object_get(out, "status")), 128 + SIGTERM);
	json_decref(out);
	assert_int_equal(kill((pid_t)pid, 0), -1);
}

/* The descriptor gets to the program, its arguments behind the folders, and its end is an event. */
static void descriptor_and_event(void **state)
{
	struct rig *r = *state;
	struct ctl_client *c = NULL;
	json_t *out = NULL;
	struct err e = ERR_INIT;
	char got[32] = "";
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(ctl_connect(r->sock, &c, &e), 0);
	out = json_pack("{s:s, s:[ss], s:s}", "unit", "migrate/s1", "args", "send", "web1", "restart", "never");
	assert_int_equal(ask(r, HVINIT_SPAWN, out, &p[1], 1, &out, &e), 0);
	json_decref(out);
	close(p[1]);
	assert_int_equal(read(p[0], got, sizeof(got) - 1), 10);
	assert_string_equal(got, "send web1\n");
	assert_int_equal(read(p[0], got, 1), 0);	/* nobody kept it */
	close(p[0]);
	ctl_client_free(c);
}

struct events {
	struct loop *l;
	char seen[64];
};

static void on_event(void *arg, const json_t *event)
{
	struct events *ev = arg;
	size_t n = strlen(ev->seen);

	assert_string_equal(json_string_value(json_object_get(event, "event")), HVINIT_EVENT_UNIT);
	snprintf(ev->seen + n, sizeof(ev->seen) - n, "%s %lld;", json_string_value(json_object_get(event, "state")),
		 (long long)json_integer_value(json_object_get(event, "status")));
}

static void on_reply(void *arg, const json_t *ok, const struct err *e)
{
	(void)arg;
	(void)e;
	assert_non_null(ok);
}

static void events(void **state)
{
	struct rig *r = *state;
	struct events ev = { .seen = "" };
	struct ctl_client *c = NULL;
	json_t *args = json_pack("{s:s, s:[ss]}", "unit", "migrate/s2", "args", "", "");
	struct err e = ERR_INIT;
	uint64_t until = clock_mono_ms() + TIMEOUT_MS;

	assert_int_equal(loop_new(&ev.l, &e), 0);
	assert_int_equal(ctl_connect(r->sock, &c, &e), 0);
	assert_int_equal(ctl_client_attach(c, ev.l, on_event, NULL, &ev, &e), 0);
	assert_int_equal(ctl_send(c, "subscribe", NULL, NULL, 0, on_reply, NULL, &e), 0);
	assert_int_equal(ctl_send(c, HVINIT_SPAWN, args, (int[]){ 2 }, 1, on_reply, NULL, &e), 0);
	json_decref(args);
	while (!strstr(ev.seen, "failed") && clock_mono_ms() < until)
		loop_once(ev.l, 100);
	assert_string_equal(ev.seen, "started 0;failed 4;");
	ctl_client_free(c);
	loop_free(ev.l);
}

static void refusals(void **state)
{
	struct rig *r = *state;
	static const struct { const char *verb, *args; enum err_code want; } cases[] = {
		{ "spawn", "{}", ERR_USAGE },
		{ "spawn", "{\"unit\":\"hvapid\"}", ERR_DENIED },
		{ "spawn", "{\"unit\":\"mkfs\",\"args\":[\"/dev/vda\"]}", ERR_DENIED },
		{ "spawn", "{\"unit\":\"/bin/sh\"}", ERR_NOT_FOUND },
		{ "spawn", "{\"unit\":\"domd/../x\"}", ERR_USAGE },
		{ "spawn", "{\"unit\":\"hvtls\",\"restart\":\"often\"}", ERR_USAGE },
		{ "spawn", "{\"unit\":\"hvtls\",\"args\":[1]}", ERR_USAGE },
		{ "spawn", "{\"unit\":\"hvtls\",\"args\":\"x\"}", ERR_USAGE },
		{ "spawn", "{\"unit\":\"hvtls\",\"arg\":[]}", ERR_USAGE },
		{ "spawn",
		  "{\"unit\":\"hvtls\",\"args\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}", ERR_LIMIT },
		{ "stop", "{\"unit\":\"hvtls\"}", ERR_NOT_FOUND },
		{ "stop", "{\"unit\":\"xenstored\"}", ERR_DENIED },
		{ "stop", "{\"unit\":\"hvtls\",\"timeout_ms\":999999999}", ERR_USAGE },
		{ "shutdown", "{\"mode\":\"halt\"}", ERR_USAGE },
		{ "shutdown", "{\"mode\":\"reboot\",\"guests\":\"keep\"}", ERR_USAGE },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		json_t *out = NULL;

		if (ask(r, cases[i].verb, json_loads(cases[i].args, 0, NULL), NULL, 0, &out, &e) == 0)
			fail_msg("taken: %s %s", cases[i].verb, cases[i].args);
		if (e.code != cases[i].want && !(cases[i].want == ERR_USAGE && e.code == ERR_LIMIT))
			fail_msg("%s %s: %s %s", cases[i].verb, cases[i].args, err_name(e.code), e.detail);
	}
}

/* Daemons get SIGTERM, and the result tells PID 1 what to do. */
static void shutdown_ends_units(void **state)
{
	struct rig *r = *state;
	json_t *out = NULL;
	struct err e = ERR_INIT;
	json_int_t pid;

	assert_int_equal(ask(r, HVINIT_SPAWN, json_pack("{s:s}", "unit", "hvtls"), NULL, 0, &out, &e), 0);
	pid = json_integer_value(json_object_get(out, "pid"));
	json_decref(out);
	assert_int_equal(ask(r, HVINIT_SHUTDOWN, json_pack("{s:s}", "mode", "reboot"), NULL, 0, &out, &e), 0);
	json_decref(out);
	pthread_join(r->thread, NULL);
	r->joined = true;
	assert_int_equal(r->rc, PID1_EXIT_REBOOT);
	assert_int_equal(kill((pid_t)pid, 0), -1);
}

/* hvdomd does not answer its socket (there is none): the shutdown does not wait a minute for the guest. */
static void guest_that_cannot_be_asked(void **state)
{
	struct rig *r = *state;
	json_t *out = NULL;
	struct err e = ERR_INIT;
	uint64_t t0;

	assert_int_equal(ask(r, HVINIT_SPAWN, json_pack("{s:s}", "unit", "domd/web1"), NULL, 0, &out, &e), 0);
	json_decref(out);
	t0 = clock_mono_ms();
	join(r);
	assert_int_equal(r->rc, PID1_EXIT_POWEROFF);
	assert_true(clock_mono_ms() - t0 < 10000);
	assert_int_equal(units_running(r->m.units, ""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(spawn_list_stop, start, end),
		cmocka_unit_test_setup_teardown(descriptor_and_event, start, end),
		cmocka_unit_test_setup_teardown(events, start, end),
		cmocka_unit_test_setup_teardown(refusals, start, end),
		cmocka_unit_test_setup_teardown(shutdown_ends_units, start, end),
		cmocka_unit_test_setup_teardown(guest_that_cannot_be_asked, start, end),
	};

	return check_main(tests);
}

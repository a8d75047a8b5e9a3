/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Units with a table of this test's own, whose programs are the shell: start,
 * descriptors, end, restart with back-off, stop, and a manager that finds the
 * units of the one before it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/record.h"
#include "init/backoff.h"
#include "init/units.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { PATIENCE_MS = 20000 };

static const struct unit_def table[] = {
	{ .pattern = "sleeper", .program = "/bin/sh", .args = { "-c", "exec tail -f /dev/null" },
	  .restart = UNIT_ALWAYS },
	{ .pattern = "deaf", .program = "/bin/sh", .args = { "-c", "trap '' TERM; echo deaf; tail -f /dev/null" } },
	{ .pattern = "absent", .program = "no-such-program" },
	{ .pattern = "sh/", .program = "/bin/sh", .args = { "-c" }, .flags = UNIT_SPAWN, .args_max = 3 },
	{ .pattern = NULL },
};

struct rig {
	struct tmp t;
	char run[200];
	struct loop *l;
	struct log_sink sink;
	struct units *us;
	unsigned started, exited, failed;
	int status, stop_status;
};

static void on_event(void *arg, const char *unit, const char *state, int status)
{
	struct rig *r = arg;

	(void)unit;
	r->started += strcmp(state, "started") == 0;
	r->exited += strcmp(state, "exited") == 0;
	r->failed += strcmp(state, "failed") == 0;
	if (strcmp(state, "started") != 0)
		r->status = status;
}

static void open_units(struct rig *r)
{
	struct units_conf c = { .loop = r->l, .table = table, .sink = &r->sink, .run_dir = r->run, .data_dir = "/data",
				.bin_dir = r->t.dir, .report_fd = -1, .on_event = on_event, .arg = r };
	struct err e = ERR_INIT;

	assert_int_equal(units_new(&c, &r->us, &e), 0);
}

static int start(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;

	log_init("test", LOG_ERR);
	tmp_init(&r->t);
	snprintf(r->run, sizeof(r->run), "%s/run", r->t.dir);
	if (loop_new(&r->l, &e) < 0)
		return -1;
	log_sink_init(&r->sink, -1);
	log_sink_open(&r->sink, r->t.dir);
	open_units(r);
	r->stop_status = -1;
	*state = r;
	return 0;
}

static int end(void **state)
{
	struct rig *r = *state;
	uint64_t until = clock_mono_ms() + PATIENCE_MS;

	units_stop_all(r->us, "", 0);
	while (units_running(r->us, "") && clock_mono_ms() < until)
		loop_once(r->l, 100);
	units_free(r->us);
	log_sink_close(&r->sink);
	loop_free(r->l);
	tmp_fini(&r->t);
	free(r);
	return 0;
}

static void wait_for(struct rig *r, const unsigned *counter, unsigned n)
{
	uint64_t until = clock_mono_ms() + PATIENCE_MS;

	while (*counter < n && clock_mono_ms() < until)
		loop_once(r->l, 100);
	assert_true(*counter >= n);
}

static int run_sh(struct rig *r, const char *name, const char *script, int restart, const int *fds, size_t n_fds,
		  struct err *e)
{
	struct unit_start s = { .name = name, .args = &script, .n_args = 1, .restart = restart, .fds = fds,
				.n_fds = n_fds };
	pid_t pid = 0;
	int rc = units_start(r->us, &s, &pid, e);

	return rc < 0 ? -1 : (int)pid;
}

static int start_name(struct rig *r, const char *name, struct err *e)
{
	struct unit_start s = { .name = name, .restart = -1 };

	return units_start(r->us, &s, NULL, e);
}

static void runs_and_ends(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;

	assert_true(run_sh(r, "sh/a", "exit 0", -1, NULL, 0, &e) > 0);
	wait_for(r, &r->exited, 1);
	assert_true(run_sh(r, "sh/a", "exit 7", -1, NULL, 0, &e) > 0);
	wait_for(r, &r->failed, 1);
	assert_int_equal(r->status, 7);
	assert_true(run_sh(r, "sh/a", "kill -9 $$", -1, NULL, 0, &e) > 0);
	wait_for(r, &r->failed, 2);
	assert_int_equal(r->status, 128 + SIGKILL);
}

static void descriptors_from_three_on(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	int p[2], q[2];
	char got[16] = "";

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(pipe2(q, O_CLOEXEC), 0);
	assert_int_equal(fd_write_full(p[1], "hello\n", 6), 0);
	assert_true(run_sh(r, "sh/a", "read x <&3; echo $x >&4; "
			   "for i in 5 6 7 8 9 1000 1001 1002; do [ -e /proc/$$/fd/$i ] && exit 1; done; exit 0",
			   UNIT_NEVER, (int[]){ p[0], q[1] }, 2, &e) > 0);
	wait_for(r, &r->exited, 1);
	assert_int_equal(read(q[0], got, sizeof(got)), 6);
	assert_string_equal(got, "hello\n");
	for (int i = 0; i < 2; i++) {
		close(p[i]);
		close(q[i]);
	}
	/* A second run could not have them. */
	assert_int_equal(run_sh(r, "sh/b", "exit 0", UNIT_ALWAYS, (int[]){ 0 }, 1, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
}

static void restarts_with_back_off(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	uint64_t t0 = clock_mono_ms();

	assert_true(run_sh(r, "sh/a", "exit 1", UNIT_ON_FAILURE, NULL, 0, &e) > 0);
	wait_for(r, &r->failed, 3);
	assert_true(clock_mono_ms() - t0 >= BACKOFF_FIRST_MS * 3);
	assert_int_equal(r->started, 3);
	/* While it waits it is there, and can be stopped. */
	assert_int_equal(run_sh(r, "sh/a", "exit 0", UNIT_NEVER, NULL, 0, &e), -1);
	assert_int_equal(e.code, ERR_EXISTS);
	assert_int_equal(units_stop(r->us, "sh/a", 1000, NULL, NULL, &e), 0);
	wait_for(r, &r->exited, 1);
	assert_int_equal(units_stop(r->us, "sh/a", 1000, NULL, NULL, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void success_is_not_restarted(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;

	assert_true(run_sh(r, "sh/a", "exit 0", UNIT_ON_FAILURE, NULL, 0, &e) > 0);
	wait_for(r, &r->exited, 1);
	assert_int_equal(units_stop(r->us, "sh/a", 1000, NULL, NULL, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void stopped(void *arg, int status)
{
	((struct rig *)arg)->stop_status = status;
}

static void stop_is_not_restarted(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;

	assert_int_equal(start_name(r, "sleeper", &e), 0);
	assert_int_equal(units_stop(r->us, "sleeper", PATIENCE_MS, stopped, r, &e), 0);
	assert_int_equal(r->stop_status, -1);		/* not before it is true */
	wait_for(r, &r->exited, 1);
	assert_int_equal(r->stop_status, 128 + SIGTERM);
	assert_int_equal(units_running(r->us, ""), 0);
	assert_int_equal(units_stop(r->us, "sleeper", 1, NULL, NULL, &e), -1);
	assert_int_equal(e.code, ERR_STATE);
}

static void kill_after_the_time(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	char path[300];
	struct stat st;
	uint64_t until = clock_mono_ms() + PATIENCE_MS;

	assert_int_equal(start_name(r, "deaf", &e), 0);
	/* Its trap is set once it has spoken. */
	snprintf(path, sizeof(path), "%s/deaf.log", r->t.dir);
	while ((stat(path, &st) < 0 || st.st_size == 0) && clock_mono_ms() < until)
		loop_once(r->l, 100);
	assert_int_equal(units_stop(r->us, "deaf", 50, stopped, r, &e), 0);
	wait_for(r, &r->exited, 1);
	assert_int_equal(r->stop_status, 128 + SIGKILL);
}

static void what_cannot_start_says_so(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;

	assert_int_equal(start_name(r, "absent", &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_non_null(strstr(e.detail, "no-such-program"));
	assert_int_equal(start_name(r, "nobody", &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(units_running(r->us, ""), 0);
}

static void argument_limit(void **state)
{
	struct rig *r = *state;
	static const char *const four[] = { "true", "a", "b", "c" };
	struct unit_start s = { .name = "sh/a", .args = four, .n_args = 4, .restart = -1 };
	struct err e = ERR_INIT;

	assert_int_equal(units_start(r->us, &s, NULL, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

/* The manager is replaced while one unit runs and another ends. */
static void next_manager_finds_them(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	int living = run_sh(r, "sh/a", "exec tail -f /dev/null", UNIT_ALWAYS, NULL, 0, &e);
	int dying = run_sh(r, "sh/b", "exec tail -f /dev/null", UNIT_ALWAYS, NULL, 0, &e);
	json_t *list;

	assert_true(living > 0 && dying > 0);
	units_free(r->us);
	kill(dying, SIGKILL);
	assert_int_equal(waitpid(dying, NULL, 0), dying);
	r->started = r->failed = 0;
	open_units(r);
	units_adopt(r->us);
	assert_int_equal(units_running(r->us, ""), 1);
	assert_int_equal(kill(living, 0), 0);
	wait_for(r, &r->started, 1);		/* the one that ended comes again */
	assert_int_equal(units_running(r->us, ""), 2);
	list = units_list(r->us);
	assert_int_equal(json_array_size(json_object_get(list, "units")), 2);
	json_decref(list);
	/* The one found again is watched: it is restarted when it ends. */
	kill(living, SIGKILL);
	wait_for(r, &r->started, 2);
	assert_int_equal(r->failed, 2);
}

/* A pid that was used again for something else is not ours. */
static void reused_pid(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	char path[300];
	int pid = run_sh(r, "sh/a", "exec tail -f /dev/null", UNIT_NEVER, NULL, 0, &e);
	json_t *note = NULL, *unit;

	units_free(r->us);
	snprintf(path, sizeof(path), "%s/units.json", r->run);
	assert_int_equal(record_load(path, &note, &e), 0);
	unit = json_array_get(json_object_get(note, "units"), 0);
	assert_int_equal(json_integer_value(json_object_get(unit, "pid")), pid);
	json_object_set_new(unit, "ticks", json_integer(1 + json_integer_value(json_object_get(unit, "ticks"))));
	assert_int_equal(record_save(path, note, &e), 0);
	json_decref(note);
	r->failed = 0;
	open_units(r);
	units_adopt(r->us);
	assert_int_equal(r->failed, 1);
	assert_int_equal(units_running(r->us, ""), 0);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);	/* left alone */
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(runs_and_ends, start, end),
		cmocka_unit_test_setup_teardown(descriptors_from_three_on, start, end),
		cmocka_unit_test_setup_teardown(restarts_with_back_off, start, end),
		cmocka_unit_test_setup_teardown(success_is_not_restarted, start, end),
		cmocka_unit_test_setup_teardown(stop_is_not_restarted, start, end),
		cmocka_unit_test_setup_teardown(kill_after_the_time, start, end),
		cmocka_unit_test_setup_teardown(what_cannot_start_says_so, start, end),
		cmocka_unit_test_setup_teardown(argument_limit, start, end),
		cmocka_unit_test_setup_teardown(next_manager_finds_them, start, end),
		cmocka_unit_test_setup_teardown(reused_pid, start, end),
	};

	return check_main(tests);
}

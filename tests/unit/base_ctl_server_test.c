/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control connections over a real socket, seen from the server: clients that
 * behave, and clients that do not and must harm nobody.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/ctl_fixture.h"

/* Reads until the server hangs up; how many bytes came. */
static size_t drain(int fd)
{
	char b[65536];
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, b, sizeof(b))) > 0)
		n += (size_t)got;
	return n;
}

/* ---- requests ---- */

static void requests(void **state)
{
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f);

	for (int i = 0; i < 100; i++) {
		AUTO_JSON json_t *out = ask(c, "echo", json_pack("{si ss}", "i", i, "t", "\xc3\xa4"));

		/* id and verb are not among the arguments */
		assert_int_equal(json_object_size(out), 2);
		assert_int_equal(json_integer_value(json_object_get(out, "i")), i);
	}
	ctl_client_free(c);
	ctl_client_free(NULL);
}

/* More than a socket holds, so both ends have to write and read in pieces. */
static void large_requests(void **state)
{
	enum { BYTES = 3 << 20 };
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f);
	AUTO_FREE char *text = mem_alloc(BYTES + 1);

	memset(text, 'x', BYTES);
	for (int i = 0; i < 3; i++) {
		AUTO_JSON json_t *out = ask(c, "echo", json_pack("{ss}", "t", text));

		assert_int_equal(json_string_length(json_object_get(out, "t")), BYTES);
	}
	ctl_client_free(c);
}

static void errors(void **state)
{
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f);
	struct err e;

	assert_int_equal(refuse(c, "fail", WAIT_MS, &e), ERR_STATE);
	assert_string_equal(e.detail, "vm runs");
	assert_string_equal(e.remedy, "stop it");
	assert_int_equal(refuse(c, "no-such", WAIT_MS, &e), ERR_USAGE);
	assert_non_null(strstr(e.detail, "'no-such'"));
	assert_int_equal(refuse(c, "finish-inside", WAIT_MS, &e), ERR_BUSY);
	assert_int_equal(refuse(c, "big", WAIT_MS, &e), ERR_LIMIT);
	assert_int_equal(refuse(c, "array", WAIT_MS, &e), ERR_INTERNAL);
	tell(c, "echo", NULL);
	ctl_client_free(c);
	c = NULL;
	assert_int_equal(ctl_connect(tmp_path(&f->t, "none"), &c, &e), -1);
	assert_true(e.code == ERR_NOT_FOUND && e.remedy[0]);
	tmp_path(&f->t, "sock");
}

static void misuse(void **state)
{
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f);
	AUTO_JSON json_t *id = json_pack("{si}", "id", 1), *verb = json_pack("{si}", "verb", 1), *arr = json_array();
	const json_t *bad[] = { id, verb, arr };
	int fds[CTL_CALL_FDS_MAX + 1] = { 0 }, closed = 9999;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(ctl_request(c, "echo", bad[i], NULL, 0, WAIT_MS, NULL, NULL, NULL, &e), -1);
	assert_int_equal(ctl_request(c, "echo", NULL, fds, ARRAY_LEN(fds), WAIT_MS, NULL, NULL, NULL, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(ctl_request(c, "echo", NULL, &closed, 1, WAIT_MS, NULL, NULL, NULL, &e), -1);
	tell(c, "echo", NULL);
	ctl_client_free(c);
}

static void help_lists_the_verbs(void **state)
{
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f);
	AUTO_JSON json_t *out = ask(c, "help", NULL);
	json_t *list = json_object_get(out, "verbs"), *first = json_array_get(list, 0);

	assert_int_equal(json_array_size(list), ARRAY_LEN(verbs) - 1);
	assert_string_equal(json_string_value(json_object_get(first, "verb")), "echo");
	assert_string_equal(json_string_value(json_object_get(first, "help")), "gives the arguments back");
	ctl_client_free(c);
}

/* ---- descriptors ---- */

/* A descriptor from which `letter` can be read. */
static int holding(char letter)
{
	int p[2];
	struct err e = ERR_INIT;

	assert_int_equal(fd_pair(p, &e), 0);
	assert_int_equal(fd_write_full(p[0], &letter, 1), 0);
	fd_close(&p[0]);
	return p[1];
}

static void descriptors_both_ways(void **state)
{
	static const size_t counts[] = { 1, 0, CTL_CALL_FDS_MAX, 2 };
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f);

	for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
		AUTO_JSON json_t *args = json_pack("{si}", "n", (int)counts[k]), *out = NULL;
		int fds[CTL_CALL_FDS_MAX], back[CTL_CALL_FDS_MAX];
		size_t n = counts[k], n_back = CTL_CALL_FDS_MAX;
		struct err e = ERR_INIT;

		for (size_t i = 0; i < n; i++)
			fds[i] = holding((char)('a' + i));
		if (ctl_request(c, "swap", args, fds, n, WAIT_MS, &out, back, &n_back, &e) < 0)
			fail_msg("%s", e.detail);
		assert_int_equal(n_back, n);
		for (size_t i = 0; i < n; i++) {
			char letter = 0;

			assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);	/* stays the caller's */
			assert_int_equal(fd_read_full(back[i], &letter, 1), 0);
			assert_int_equal(letter, 'b' + (int)i);
			fd_close(&fds[i]);
			fd_close(&back[i]);
		}
	}
	ctl_client_free(c);
}

/* Leaks of these show when the fixture ends. */
static void descriptors_nobody_takes(void **state)
{
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f);
	AUTO_JSON json_t *args = json_pack("{si}", "n", 2);
	int fds[] = { holding('a'), holding('b'), holding('c') }, back[1];
	size_t n_back = 1;
	struct err e = ERR_INIT;

	assert_int_equal(ctl_request(c, "echo", NULL, fds, 3, WAIT_MS, NULL, NULL, NULL, &e), 0);
	assert_int_equal(ctl_request(c, "fail", NULL, fds, 3, WAIT_MS, NULL, NULL, NULL, &e), -1);
	assert_int_equal(ctl_request(c, "hold", NULL, fds, 3, 10, NULL, NULL, NULL, &e), -1);
	/* "swap" fails after it has given two back; the error brings them along. */
	assert_int_equal(ctl_request(c, "swap", args, fds, 3, WAIT_MS, NULL, back, &n_back, &e), -1);
	assert_int_equal(n_back, 1);
	for (int i = 0; i < 2; i++) {
		fd_close(&fds[i]);
		fds[i] = holding('x');
	}
	assert_int_equal(ctl_request(c, "swap", args, fds, 2, WAIT_MS, NULL, back, &n_back, &e), 0);
	assert_int_equal(n_back, 1);
	fd_close(&back[0]);
	for (int i = 0; i < 3; i++)
		fd_close(&fds[i]);
	ctl_client_free(c);
}

/* ---- clients that do not behave ---- */

static void garbage(void **state)
{
	static const struct { const char *bytes; size_t n; } cases[] = {
		{ "\xff\xff\xff\xff", 4 }, { "\1\0\x40\0", 4 }, { "\0\0\0\0", 4 }, { "GET / HTTP/1.1\r\n\r\n", 18 },
		{ "\2\0\0\0[]", 6 }, { "\2\0\0\0{}", 6 }, { "\5\0\0\0hello", 9 },
		{ "\x0f\0\0\0{\"verb\":\"echo\"}", 19 }, { "\x08\0\0\0{\"id\":\"1\"}", 12 },
		{ "\x0a\0\0\0{\"id\":\"1\"}", 14 }, { "\x0a\0\0\0{\"id\":1.5}", 14 },
	};
	struct fixture *f = *state;
	struct ctl_client *good = connect_to(f);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FD int fd = -1;
		struct err e = ERR_INIT;

		assert_int_equal(fd_unix_connect(f->t.path, &fd, &e), 0);
		assert_int_equal(fd_write_full(fd, cases[i].bytes, cases[i].n), 0);
		assert_int_equal(drain(fd), 0);		/* hung up, without an answer */
		tell(good, "echo", NULL);
	}
	ctl_client_free(good);
}

static void request_without_verb(void **state)
{
	static const char *const frames[] = { "\x08\0\0\0{\"id\":3}", "\x11\0\0\0{\"id\":3,\"verb\":3}" };
	static const size_t lens[] = { 12, 21 };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
		AUTO_FD int fd = -1;
		char head[4], body[200] = "";
		struct err e = ERR_INIT;

		assert_int_equal(fd_unix_connect(f->t.path, &fd, &e), 0);
		assert_int_equal(fd_write_full(fd, frames[i], lens[i]), 0);
		assert_int_equal(fd_read_full(fd, head, 4), 0);
		assert_int_equal(fd_read_full(fd, body, (uint8_t)head[0]), 0);
		assert_non_null(strstr(body, "\"id\":3"));
		assert_non_null(strstr(body, "\"usage\""));
	}
}

static void cut_in_the_middle(void **state)
{
	struct fixture *f = *state;

	for (size_t n = 0; n < 12; n++) {
		AUTO_FD int fd = -1;
		int pass = STDERR_FILENO;
		struct err e = ERR_INIT;

		assert_int_equal(fd_unix_connect(f->t.path, &fd, &e), 0);
		if (n)
			assert_int_equal(fd_send_with(fd, "\x40\0\0\0{\"id\":3}", n, &pass, 1), (ssize_t)n);
	}
	still_serves(f);
}

static void client_goes_during_a_deferred_call(void **state)
{
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f), *other = connect_to(f);
	AUTO_JSON json_t *out = NULL;
	struct err e;

	assert_int_equal(refuse(c, "hold", 10, &e), ERR_TIMEOUT);
	ctl_client_free(c);
	tell(other, "echo", NULL);		/* the end of file came first, so the server has met it */
	out = ask(other, "release", NULL);
	assert_int_equal(json_integer_value(json_object_get(out, "released")), 1);
	tell(other, "echo", NULL);
	ctl_client_free(other);
}

static void late_answers_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f);
	struct err e;

	assert_int_equal(refuse(c, "hold", 10, &e), ERR_TIMEOUT);
	assert_int_equal(refuse(c, "hold", 0, &e), ERR_TIMEOUT);
	for (int i = 0; i < 3; i++) {
		AUTO_JSON json_t *out = ask(c, i ? "echo" : "release", NULL);

		assert_null(json_object_get(out, "late"));
	}
	ctl_client_free(c);
}

static void slow_subscriber_is_dropped(void **state)
{
	enum { EVENT_BYTES = 1 << 20, EVENTS = 20 };
	static const char subscribe[] = "\x1b\0\0\0{\"id\":1,\"verb\":\"subscribe\"}";
	struct fixture *f = *state;
	struct ctl_client *good = connect_to(f);
	AUTO_FD int slow = -1;
	char head[4], body[100];
	size_t n;
	struct err e = ERR_INIT;

	assert_int_equal(sizeof(subscribe) - 1, 4 + 0x1b);
	assert_int_equal(fd_unix_connect(f->t.path, &slow, &e), 0);
	assert_int_equal(fd_write_full(slow, subscribe, sizeof(subscribe) - 1), 0);
	assert_int_equal(fd_read_full(slow, head, 4) + fd_read_full(slow, body, (size_t)head[0]), 0);
	tell(good, "subscribe", NULL);		/* this one keeps reading */
	for (int i = 0; i < EVENTS; i++)
		tell(good, "publish", json_pack("{si si}", "n", 1, "bytes", EVENT_BYTES));
	n = drain(slow);			/* what was in the socket, then the end */
	assert_true(n > 0 && n < (size_t)EVENTS * EVENT_BYTES);
	tell(good, "publish", json_pack("{si si}", "n", 1, "bytes", 8 << 20));	/* over the limit: not sent */
	tell(good, "echo", NULL);
	ctl_client_free(good);
}

static void too_many_clients(void **state)
{
	struct fixture *f = *state;
	struct ctl_client *c[CTL_CONNS_MAX + 1];
	struct err e;

	for (int i = 0; i < CTL_CONNS_MAX; i++) {
		c[i] = connect_to(f);
		tell(c[i], "echo", NULL);
	}
	c[CTL_CONNS_MAX] = connect_to(f);
	assert_int_equal(refuse(c[CTL_CONNS_MAX], "echo", WAIT_MS, &e), ERR_NET);
	assert_int_equal(refuse(c[CTL_CONNS_MAX], "echo", WAIT_MS, &e), ERR_NET);	/* and stays so */
	tell(c[0], "echo", NULL);
	for (int i = 0; i <= CTL_CONNS_MAX; i++)
		ctl_client_free(c[i]);
	still_serves(f);
}

/* A server without a free descriptor takes the client later, and does not die of it. */
static void no_descriptor_left(void **state)
{
	struct fixture *f = *state;
	int next = dup(STDERR_FILENO);
	struct rlimit old, few;
	struct ctl_client *c;
	struct err e;

	fd_close(&(int){ next });
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){ .rlim_cur = (rlim_t)next + 1, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	c = connect_to(f);		/* takes the last one */
	assert_int_equal(refuse(c, "echo", 20, &e), ERR_TIMEOUT);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	tell(c, "echo", NULL);
	ctl_client_free(c);
}

static void peers(void **state)
{
	enum { STRANGER = 65534 };
	struct fixture *f = *state;
	struct ctl_client *c = connect_to(f);
	AUTO_JSON json_t *out = ask(c, "peer", NULL);
	int status = -1;
	pid_t pid;

	assert_int_equal(json_integer_value(json_object_get(out, "uid")), getuid());
	assert_int_equal(json_integer_value(json_object_get(out, "pid")), getpid());
	ctl_client_free(c);
	if (getuid())
		return;		/* only root can be somebody else */
	assert_int_equal(chmod(f->t.dir, 0755), 0);
	pid = fork();
	if (pid == 0) {
		struct err e = ERR_INIT;

		if (setuid(STRANGER) < 0)
			_exit(2);
		_exit(ctl_once(f->t.path, "echo", NULL, NULL, 0, WAIT_MS, NULL, NULL, NULL, &e) < 0 &&
		      e.code == ERR_NET ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(requests), T(large_requests), T(errors), T(misuse), T(help_lists_the_verbs), T(descriptors_both_ways),
		T(descriptors_nobody_takes), T(garbage), T(request_without_verb), T(cut_in_the_middle),
		T(client_goes_during_a_deferred_call), T(late_answers_are_dropped), T(slow_subscriber_is_dropped),
		T(too_many_clients), T(no_descriptor_left), T(peers),
	};

	return check_main(tests);
}

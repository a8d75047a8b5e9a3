/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's end against a real hvtls: enrolment by the code that the
 * console shows, then connections by pin, data and both kinds of end.
 */
#include <errno.h>
#include <sys/socket.h>

#include "tests/unit/link_rig.h"
#include "base/buf.h"
#include "link/client.h"

static struct rig_host b;
static char dir[96], shown[PAIR_CODE_TEXT_BYTES];

/* The line that a person, and the lab, read the code from. */
static void on_line(enum log_level l, const char *line, void *arg)
{
	const char *at = strstr(line, "test: operator code ");

	(void)l;
	(void)arg;
	if (at)
		snprintf(shown, sizeof(shown), "%s", at + strlen("test: operator code "));
}

static int up(void **state)
{
	(void)state;
	shown[0] = '\0';
	rig_open();
	log_init("test", LOG_INFO);
	log_tee(on_line, NULL);
	rig_up(&b, "hv2");
	log_tee(NULL, NULL);
	log_init("test", LOG_ERR);
	snprintf(dir, sizeof(dir), "%s/me", b.dir);
	rig_ok(fd_make_dirs(dir, 0700, &rig_err));
	return 0;
}

static int down(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/key.der", dir);
	(void)remove(path);
	snprintf(path, sizeof(path), "%s/cert.der", dir);
	(void)remove(path);
	(void)remove(dir);
	rig_down(&b);
	rig_close();
	return 0;
}

struct job {
	char address[32];
	const char *code, *fingerprint;
	struct client_enrolled got;
	struct client_keys *keys;
	struct client_conn *conn;
	uint8_t *data;
	size_t n;
	ssize_t end;
	int rc;
	struct err e;
};

static struct job job_new(void)
{
	struct job j = { .code = shown, .e = ERR_INIT };

	snprintf(j.address, sizeof(j.address), "%s", rig_address(&b));
	return j;
}

static void do_enroll(void *arg)
{
	struct job *j = arg;

	j->rc = client_enroll(dir, j->address, j->code, "eve", &j->got, &j->e);
}

static void do_connect(void *arg)
{
	struct job *j = arg;

	j->rc = client_keys_load(dir, &j->keys, &j->e);
	if (j->rc == 0)
		j->rc = client_connect(j->keys, j->address, j->fingerprint ? j->fingerprint : j->got.fingerprint,
				       "http/1.1", &j->conn, &j->e);
}

static void hang_up(struct job *j)
{
	client_close(j->conn);
	client_keys_free(j->keys);
	j->conn = NULL;
	j->keys = NULL;
}

static void enroll_by_the_shown_code(void **state)
{
	struct job j = job_new();

	(void)state;
	assert_int_equal(strlen(shown), PAIR_CODE_TEXT_BYTES - 1);
	rig_run(do_enroll, &j);
	assert_int_equal(j.rc, 0);
	assert_string_equal(j.got.role, "admin");
	assert_string_equal(j.got.host_name, "hv2");
	assert_string_equal(j.got.fingerprint, b.h->id->fingerprint_text);
	assert_int_equal(pins_by_name(b.h->pins, "eve")->role, ROLE_ADMIN);
	assert_string_equal(pins_by_name(b.h->pins, "eve")->address, "");
	/* It was good for once, and nobody gets another one for nothing. */
	rig_run(do_enroll, &j);
	assert_int_equal(j.rc, -1);
	assert_int_equal(j.e.code, ERR_DENIED);
	assert_null(codes_lasting(b.h->codes, ROLE_ADMIN));
}

static void the_shown_code_outlives_a_restart(void **state)
{
	char before[PAIR_CODE_TEXT_BYTES];
	struct job j;

	(void)state;
	snprintf(before, sizeof(before), "%s", shown);
	rig_stop(&b);
	rig_start(&b, "hv2");
	j = job_new();
	j.code = before;
	rig_run(do_enroll, &j);
	assert_int_equal(j.rc, 0);
}

static void echo_all(void *arg)
{
	int fd = *(int *)arg;
	char p[5000];
	ssize_t n;

	while ((n = read(fd, p, sizeof(p))) > 0 && fd_write_full(fd, p, (size_t)n) == 0)
		;
	(void)shutdown(fd, SHUT_WR);
}

static void do_talk(void *arg)
{
	struct job *j = arg;
	size_t sent = 0, have = 0;

	while (have < j->n) {
		size_t part = j->n - sent < 7000 ? j->n - sent : 7000;
		ssize_t n = part ? client_write(j->conn, j->data + sent, part) : 0;

		if (n < 0)
			break;
		sent += (size_t)n;
		while (have < sent) {
			uint8_t got[9000];

			n = client_read(j->conn, got, sizeof(got));
			if (n <= 0 || memcmp(got, j->data + have, (size_t)n) != 0)
				break;
			have += (size_t)n;
		}
		if (have < sent)
			break;
	}
	j->rc = have == j->n ? 0 : -1;
}

static void do_read_end(void *arg)
{
	struct job *j = arg;
	char c;

	j->end = client_read(j->conn, &c, 1);
}

static void talk_and_hang_up(void **state)
{
	struct job j = job_new();
	struct rig_task echo;

	(void)state;
	rig_run(do_enroll, &j);
	rig_run(do_connect, &j);
	if (j.rc < 0)
		fail_msg("%s", j.e.detail);
	rig_until(b.n_got == 1);
	assert_string_equal(json_string_value(json_object_get(b.got, "alpn")), "http/1.1");
	assert_string_equal(json_string_value(json_object_get(json_object_get(b.got, "peer"), "role")), "admin");
	rig_task_start(&echo, echo_all, &b.got_fd);
	j.n = 300000;
	j.data = mem_alloc(j.n);
	for (size_t i = 0; i < j.n; i++)
		j.data[i] = (uint8_t)(i * 13 + (i >> 10));
	rig_run(do_talk, &j);
	assert_int_equal(j.rc, 0);
	free(j.data);
	hang_up(&j);
	rig_task_end(&echo);		/* the echo saw end of file */
	fd_close(&b.got_fd);
	rig_until(!b.h->carried);
}

/* The worker's end is a clean end here; a cut connection is not. */
static void ends_are_told_apart(void **state)
{
	struct job j = job_new();

	(void)state;
	rig_run(do_enroll, &j);
	rig_run(do_connect, &j);
	rig_until(b.n_got == 1);
	fd_close(&b.got_fd);
	rig_run(do_read_end, &j);
	assert_int_equal(j.end, 0);
	hang_up(&j);
	rig_run(do_connect, &j);
	rig_until(b.n_got == 2);
	handoff_cut(b.h, b.h->carried ? pins_by_name(b.h->pins, "eve")->fingerprint : b.h->id->fingerprint);
	rig_run(do_read_end, &j);
	assert_int_equal(j.end, -ECONNRESET);
	hang_up(&j);
}

static void another_key_is_refused_here(void **state)
{
	struct job j = job_new();

	(void)state;
	rig_run(do_enroll, &j);
	j.fingerprint = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	rig_run(do_connect, &j);
	assert_int_equal(j.rc, -1);
	assert_int_equal(j.e.code, ERR_REFUSED);
	hang_up(&j);
}

static void a_forgotten_operator_is_told(void **state)
{
	struct job j = job_new();
	struct err e = ERR_INIT;

	(void)state;
	rig_run(do_enroll, &j);
	assert_int_equal(pins_remove(b.h->pins, "eve", &e), 0);
	rig_run(do_connect, &j);
	assert_int_equal(j.rc, -1);
	assert_int_equal(j.e.code, ERR_DENIED);
	hang_up(&j);
}

static void nobody_there(void **state)
{
	struct job j = job_new();

	(void)state;
	snprintf(j.address, sizeof(j.address), "127.0.0.1:1");
	do_enroll(&j);
	assert_int_equal(j.rc, -1);
	assert_int_equal(j.e.code, ERR_NET);
	j.code = "ABC";
	do_enroll(&j);
	assert_int_equal(j.e.code, ERR_USAGE);
	client_close(NULL);
	client_keys_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(enroll_by_the_shown_code, up, down),
		cmocka_unit_test_setup_teardown(the_shown_code_outlives_a_restart, up, down),
		cmocka_unit_test_setup_teardown(talk_and_hang_up, up, down),
		cmocka_unit_test_setup_teardown(ends_are_told_apart, up, down),
		cmocka_unit_test_setup_teardown(another_key_is_refused_here, up, down),
		cmocka_unit_test_setup_teardown(a_forgotten_operator_is_told, up, down),
		cmocka_unit_test_setup_teardown(nobody_there, up, down),
	};

	return check_main(tests);
}

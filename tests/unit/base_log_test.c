/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines: what stands in front, what is left out, and that foreign text
 * cannot forge a line.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/unit/check.h"

static struct { unsigned n; char last[4096]; enum log_level level; } seen;

static void keep_line(enum log_level l, const char *line, void *arg)
{
	assert_ptr_equal(arg, &seen);
	seen.n++;
	seen.level = l;
	snprintf(seen.last, sizeof(seen.last), "%s", line);
}

static int start(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	log_init("prog", LOG_INFO);
	log_tee(keep_line, &seen);
	return 0;
}

static void lines(void **state)
{
	(void)state;
	log_info("peer %s: accepted", "hv2");
	assert_string_equal(seen.last, "prog: peer hv2: accepted");
	log_warn("x");
	assert_string_equal(seen.last, "prog: warning: x");
	log_err("x");
	assert_string_equal(seen.last, "prog: error: x");
	assert_int_equal(seen.level, LOG_ERR);
	log_debug("not asked for");
	assert_int_equal(seen.n, 3);
	log_init("prog", LOG_DEBUG);
	log_debug("asked for");
	assert_string_equal(seen.last, "prog: asked for");
	log_tee(NULL, NULL);
	log_info("not teed");
	assert_int_equal(seen.n, 4);
}

static void control_characters_are_escaped(void **state)
{
	(void)state;
	log_info("vm '%s'", "a\nprog: error: forged\r\x1b[2J\x7f\t\xc3\xa4");
	assert_string_equal(seen.last,
			    "prog: vm 'a\\x0aprog: error: forged\\x0d\\x1b[2J\\x7f\\x09\xc3\xa4'");
}

static void long_lines_are_cut(void **state)
{
	char text[5000];

	(void)state;
	memset(text, 1, sizeof(text) - 1);	/* the worst: four bytes for each */
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	assert_in_range(strlen(seen.last), 1000, 4000);
	assert_string_equal(seen.last + strlen(seen.last) - 4, "\\x01");
}

static void failures(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, ERR_NOT_FOUND, "no file\nx");
	log_fail(&e, "start %d", 1);
	assert_string_equal(seen.last, "prog: error: start 1: no file\\x0ax [not-found]");
	err_remedy(&e, "make it");
	log_fail(&e, "start");
	assert_string_equal(seen.last, "prog: error: start: no file\\x0ax [not-found] (make it)");
}

static void one_line_is_one_write(void **state)
{
	int p[2], saved = dup(STDERR_FILENO);
	char out[100];
	ssize_t n;

	(void)state;
	/* A packet pipe keeps the borders of writes. */
	assert_int_equal(pipe2(p, O_DIRECT | O_CLOEXEC), 0);
	dup2(p[1], STDERR_FILENO);
	log_warn("a");
	log_info("b");
	dup2(saved, STDERR_FILENO);
	n = read(p[0], out, sizeof(out));
	assert_int_equal(n, 17);
	assert_memory_equal(out, "prog: warning: a\n", 17);
	n = read(p[0], out, sizeof(out));
	assert_int_equal(n, 8);
	assert_memory_equal(out, "prog: b\n", 8);
	close(saved);
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(lines, start), cmocka_unit_test_setup(control_characters_are_escaped, start),
		cmocka_unit_test_setup(long_lines_are_cut, start), cmocka_unit_test_setup(failures, start),
		cmocka_unit_test_setup(one_line_is_one_write, start),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Output of units: lines, cleaning, early lines, rotation, and a FIFO that outlives its reader. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "init/unit_log.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

struct rig {
	struct tmp t;
	char fifo[200];
	struct log_sink sink;
	struct loop *l;
	struct unit_log u;
	int console[2];
};

static int start(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;

	tmp_init(&r->t);
	snprintf(r->fifo, sizeof(r->fifo), "%s/fifo", r->t.dir);
	if (pipe2(r->console, O_CLOEXEC | O_NONBLOCK) < 0 || loop_new(&r->l, &e) < 0)
		return -1;
	log_sink_init(&r->sink, r->console[1]);
	if (unit_log_open(&r->u, r->l, &r->sink, r->fifo, "domd", "domd/web1", true, &e) < 0)
		return -1;
	*state = r;
	return 0;
}

static int end(void **state)
{
	struct rig *r = *state;

	unit_log_remove(&r->u);
	log_sink_close(&r->sink);
	loop_free(r->l);
	close(r->console[0]);
	close(r->console[1]);
	tmp_fini(&r->t);
	free(r);
	return 0;
}

static void says(struct rig *r, const char *text)
{
	assert_int_equal(fd_write_full(r->u.write_fd, text, strlen(text)), 0);
	loop_once(r->l, 1000);
}

static const char *console(struct rig *r, char out[4096])
{
	ssize_t n = read(r->console[0], out, 4095);

	out[n > 0 ? n : 0] = '\0';
	return out;
}

static bool file_has(struct rig *r, const char *name, const char *text)
{
	AUTO_BUF struct buf b = { 0 };
	char path[300];
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), "%s/%s", r->t.dir, name);
	return fd_read_file(path, 4 << 20, &b, &e) == 0 && strstr((char *)b.p, text);
}

static void lines(void **state)
{
	struct rig *r = *state;
	char out[4096];

	says(r, "one\ntw");
	assert_string_equal(console(r, out), "domd/web1| one\n");
	says(r, "o\r\n\n");
	assert_string_equal(console(r, out), "domd/web1| two\n");
	says(r, "a\x1b[2Jb\tc\x7f\n");		/* no unit clears the console */
	assert_string_equal(console(r, out), "domd/web1| a?[2Jb c?\n");
}

static void long_lines_are_cut(void **state)
{
	struct rig *r = *state;
	char text[3 * LOG_LINE_BYTES_MAX], out[4096];
	unsigned n = 0;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	says(r, text);
	for (const char *p = console(r, out); (p = strchr(p, '\n')); p++)
		n++;
	assert_int_equal(n, 3);
}

static void early_lines_reach_the_file(void **state)
{
	struct rig *r = *state;

	says(r, "before there was a disk\n");
	log_sink_open(&r->sink, r->t.dir);
	says(r, "after\n");
	assert_true(file_has(r, "domd.log", "before there was a disk\n"));
	assert_true(file_has(r, "domd.log", "Z domd/web1| after\n"));
}

static void files_are_bounded(void **state)
{
	struct rig *r = *state;
	char line[512], path[300];
	struct stat st;

	log_sink_open(&r->sink, r->t.dir);
	memset(line, 'y', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	for (int i = 0; i < 3 * LOG_FILE_BYTES_MAX / 512; i++)
		log_sink_line(&r->sink, "domd", "", line, false);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/domd.log%s", r->t.dir, i ? ".1" : "");
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size <= LOG_FILE_BYTES_MAX + 1024);
	}
	/* The two files, the FIFO, nothing else. */
	assert_int_equal(tmp_count(r->t.dir), 3);
}

/* The manager dies: the unit's descriptor works on, and the next manager reads what was said. */
static void fifo_outlives_its_reader(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	char out[4096];
	int unit = dup(r->u.write_fd);

	unit_log_close(&r->u);
	assert_int_equal(fd_write_full(unit, "alone\n", 6), 0);
	assert_int_equal(unit_log_open(&r->u, r->l, &r->sink, r->fifo, "domd", "domd/web1", true, &e), 0);
	loop_once(r->l, 1000);
	assert_string_equal(console(r, out), "domd/web1| alone\n");
	close(unit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines, start, end),
		cmocka_unit_test_setup_teardown(long_lines_are_cut, start, end),
		cmocka_unit_test_setup_teardown(early_lines_reach_the_file, start, end),
		cmocka_unit_test_setup_teardown(files_are_bounded, start, end),
		cmocka_unit_test_setup_teardown(fifo_outlives_its_reader, start, end),
	};

	return check_main(tests);
}

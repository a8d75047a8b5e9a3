/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 as PID 1 of a PID namespace: it starts a manager that crashed again,
 * tells the next one how orphans ended, and does the last step when asked.
 * reboot(2) inside a namespace ends its init with a signal that says which.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/pid1.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

/* Runs pid1 with `script` as its manager; the wait status of the namespace's init, or -1: not allowed here. */
static int run_pid1(struct tmp *t, const char *text)
{
	int status = 0, null;
	pid_t child, init;
	struct err e = ERR_INIT;

	assert_int_equal(fd_write_file(tmp_path(t, "manager"), text, strlen(text), 0755, &e), 0);
	child = fork();
	if (child == 0) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(99);
		init = fork();
		if (init == 0) {
			null = open("/dev/null", O_RDWR);
			dup2(null, 2);
			if (chdir(t->dir) < 0)
				_exit(98);
			pid1_run(t->path);
		}
		waitpid(init, &status, 0);
		_exit(WIFSIGNALED(status) ? WTERMSIG(status) : 97);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status) == 99 ? -1 : WEXITSTATUS(status);
}

static int count_lines(struct tmp *t, const char *name)
{
	char path[300], text[256] = "";
	AUTO_FD int fd = -1;
	int n = 0;

	snprintf(path, sizeof(path), "%s/%s", t->dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return 0;
	for (char *p = text; *p; p++)
		n += *p == '\n';
	return n;
}

static void crash_then_power_off(void **state)
{
	struct tmp t;
	int how;

	(void)state;
	tmp_init(&t);
	how = run_pid1(&t, "#!/bin/sh\necho run >>runs\n[ $(wc -l <runs) -lt 3 ] && kill -SEGV $$\nexit 100\n");
	if (how >= 0) {
		assert_int_equal(how, SIGINT);		/* what RB_POWER_OFF means in a namespace */
		assert_int_equal(count_lines(&t, "runs"), 3);
	}
	tmp_fini(&t);
	if (how < 0)
		skip();
}

static void reboot_wanted(void **state)
{
	struct tmp t;
	int how;

	(void)state;
	tmp_init(&t);
	how = run_pid1(&t, "#!/bin/sh\nexit 101\n");
	if (how >= 0)
		assert_int_equal(how, SIGHUP);		/* RB_AUTOBOOT */
	tmp_fini(&t);
	if (how < 0)
		skip();
}

/* The first manager leaves a child behind; the second reads from descriptor 3 how it ended. */
static void orphans_are_reported(void **state)
{
	struct tmp t;
	int how;

	(void)state;
	tmp_init(&t);
	how = run_pid1(&t, "#!/bin/sh\n"
			   "if [ ! -e first ]; then\n"
			   "	mkfifo gate; echo >first; (read x <gate; exit 7) & echo $! >pid; kill -9 $$\n"
			   "fi\n"
			   "echo >gate\n"
			   "until dd bs=8 count=1 <&3 >report 2>/dev/null && [ -s report ]; do sleep 0.05; done\n"
			   "set -- $(od -An -td4 report)\n"
			   "[ $1 = $(cat pid) ] && [ $2 = $((7 * 256)) ] && exit 100\n"
			   "exit 101\n");
	if (how >= 0)
		assert_int_equal(how, SIGINT);
	tmp_fini(&t);
	if (how < 0)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crash_then_power_off),
		cmocka_unit_test(reboot_wanted),
		cmocka_unit_test(orphans_are_reported),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork and exec.  The child reports through a close-on-exec pipe which step
 * failed and why; end of file on it means that exec succeeded.
 */
#include "init/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/unit_table.h"

/* Above all descriptors that the manager has open (UNITS_MAX bounds them) and below the usual limit of 1024,
 * so that moving one never hits another that is still needed. */
enum { FD_SAFE = 1000 };

static char path_env[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
static char term_env[] = "TERM=linux";
static char *const child_env[] = { path_env, term_env, NULL };

struct failure {
	int errnum;
	char step[28];
};

static void fail(int pipe_fd, const char *step)
{
	struct failure f = { .errnum = errno };

	snprintf(f.step, sizeof(f.step), "%s", step);
	if (write(pipe_fd, &f, sizeof(f)) < 0)
		_exit(126);
	_exit(127);
}

static void child_stdio(const struct spawn *s, int pipe_fd)
{
	int in = open(s->tty ? s->tty : "/dev/null", s->tty ? O_RDWR : O_RDONLY);
	int out = s->tty ? in : s->out_fd;

	if (in < 0 || dup2(in, 0) < 0)
		fail(pipe_fd, "open stdin");
	if (out >= 0 && (dup2(out, 1) < 0 || dup2(out, 2) < 0))
		fail(pipe_fd, "set up stdout");
	if (s->tty)
		ioctl(0, TIOCSCTTY, 1);
}

static void child_fds(const struct spawn *s, int pipe_fd)
{
	int moved[SPAWN_FDS_MAX];

	for (size_t i = 0; i < s->n_fds; i++) {
		moved[i] = fcntl(s->fds[i], F_DUPFD, FD_SAFE + 1);
		if (moved[i] < 0)
			fail(pipe_fd, "move descriptors");
	}
	for (size_t i = 0; i < s->n_fds; i++)
		if (dup2(moved[i], 3 + (int)i) < 0)
			fail(pipe_fd, "place descriptors");
	close_range(3 + (unsigned)s->n_fds, FD_SAFE - 1, 0);
	close_range(FD_SAFE + 1, ~0u, 0);
}

static void child_user(const struct spawn *s, int pipe_fd)
{
	gid_t group = GROUP_HV;

	if (s->uid == 0)
		return;
	if (setgroups(1, &group) < 0 || setresgid(s->uid, s->uid, s->uid) < 0)
		fail(pipe_fd, "set groups");
	if (setresuid(s->uid, s->uid, s->uid) < 0)
		fail(pipe_fd, "set user");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail(pipe_fd, "set no_new_privs");
}

static void child_oom(int adj)
{
	char text[16];
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int n = snprintf(text, sizeof(text), "%d", adj);

	/* Best effort: not allowed in a test's sandbox, and the unit runs as well without. */
	if (fd >= 0 && write(fd, text, (size_t)n) < 0)
		errno = 0;
	if (fd >= 0)
		close(fd);
}

static void child(const struct spawn *s, int pipe_fd)
{
	sigset_t none;
	union { const char *const *in; char *const *out; } argv = { .in = s->argv };

	sigemptyset(&none);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (dup2(pipe_fd, FD_SAFE) < 0)
		_exit(127);
	pipe_fd = FD_SAFE;
	fcntl(pipe_fd, F_SETFD, FD_CLOEXEC);
	child_oom(s->oom_adj);
	child_stdio(s, pipe_fd);
	child_fds(s, pipe_fd);
	child_user(s, pipe_fd);
	execve(s->program, argv.out, child_env);
	fail(pipe_fd, "exec");
}

int spawn_start(const struct spawn *s, pid_t *out_pid, struct err *e)
{
	int p[2];
	struct failure f;
	ssize_t n;
	pid_t pid;

	if (s->n_fds > SPAWN_FDS_MAX)
		return err_set(e, ERR_LIMIT, "%zu descriptors for '%s', limit %d", s->n_fds, s->program,
			       SPAWN_FDS_MAX);
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe for '%s'", s->program);
	pid = fork();
	if (pid == 0)
		child(s, p[1]);
	close(p[1]);
	if (pid < 0) {
		close(p[0]);
		return err_sys(e, errno, "fork for '%s'", s->program);
	}
	do
		n = read(p[0], &f, sizeof(f));
	while (n < 0 && errno == EINTR);
	close(p[0]);
	if (n == (ssize_t)sizeof(f)) {
		waitpid(pid, NULL, 0);
		f.step[sizeof(f.step) - 1] = '\0';
		return err_sys(e, f.errnum, "start '%s': %s", s->program, f.step);
	}
	*out_pid = pid;
	return 0;
}

unsigned long long spawn_start_ticks(pid_t pid)
{
	char path[48], text[512];
	unsigned long long ticks = 0;
	const char *p;
	ssize_t n;
	AUTO_FD int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (n = read(fd, text, sizeof(text) - 1)) <= 0)
		return 0;
	text[n] = '\0';
	/* "PID (comm) S ..." where comm may hold anything: count the fields from its last ')'. */
	p = strrchr(text, ')');
	for (int i = 0; p && i < 20; i++)
		p = strchr(p + 1, ' ');
	if (p)
		ticks = strtoull(p + 1, NULL, 10);
	return ticks;
}

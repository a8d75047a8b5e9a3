/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of PID 1; see pid1.h for what it must not do.  All signals are
 * blocked for ever and taken one at a time, so nothing here is re-entered.
 */
#include "init/pid1.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sigset_t watched;

__attribute__((format(printf, 1, 2)))
static void say(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 1)
		n = (int)sizeof(line) - 1;
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		return;		/* no console: nobody to tell */
}

static int64_t now_ms(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void pid1_open_console(void)
{
	int fd;

	mkdir("/dev", 0755);
	if (mount("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=0755") < 0 && errno != EBUSY)
		say("pid1: cannot mount /dev: errno %d\n", errno);
	fd = open("/dev/console", O_RDWR | O_NOCTTY);
	if (fd < 0)
		return;
	for (int i = 0; i < 3; i++)
		if (dup2(fd, i) < 0)
			break;
	if (fd > 2)
		close(fd);
}

static pid_t start_manager(const char *self, int report_fd)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	/* 4 first: report_fd may itself be 3, and then dup2 would keep O_CLOEXEC. */
	if (dup2(report_fd, PID1_REPORT_FD + 1) < 0 || dup2(PID1_REPORT_FD + 1, PID1_REPORT_FD) < 0)
		_exit(127);
	close(PID1_REPORT_FD + 1);
	setsid();
	sigprocmask(SIG_UNBLOCK, &watched, NULL);
	execl(self, "hvinit", "--manager", "--boot", (char *)NULL);
	say("pid1: cannot run '%s': errno %d\n", self, errno);
	_exit(127);
}

/* Reaps all there is.  True (and *out) when the manager is among them. */
static bool reap(pid_t manager, int report_fd, int *out)
{
	bool ended = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct pid1_report r = { .pid = (int32_t)pid, .status = (int32_t)status };

		if (pid == manager) {
			ended = true;
			*out = status;
		} else if (write(report_fd, &r, sizeof(r)) < 0) {
			continue;	/* full: the manager falls back to "unknown" */
		}
	}
	return ended;
}

/* Handles signals until the manager has ended, or `ms` passed (-1: for ever).  True if it ended. */
static bool watch(pid_t manager, int report_fd, int64_t ms, int *out)
{
	int64_t end = now_ms() + ms;

	for (;;) {
		int64_t left = ms < 0 ? 60000 : end - now_ms();
		struct timespec t = { .tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000 };
		int sig;

		if (left <= 0)
			return false;
		sig = sigtimedwait(&watched, NULL, &t);
		if (reap(manager, report_fd, out))
			return true;
		if (sig > 0 && sig != SIGCHLD && manager > 0)
			kill(manager, sig);
	}
}

static void last_step(int how)
{
	int64_t end = now_ms() + PID1_KILL_WAIT_MS;
	struct timespec t = { .tv_nsec = 50000000 };

	kill(-1, SIGKILL);
	while (now_ms() < end) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			break;
		sigtimedwait(&watched, NULL, &t);
	}
	if (umount2("/data", 0) < 0 && errno != EINVAL && errno != ENOENT)
		mount(NULL, "/data", NULL, MS_REMOUNT | MS_RDONLY, NULL);
	sync();
	say("pid1: %s\n", how == PID1_EXIT_REBOOT ? "restarting" : "power off");
	reboot(how == PID1_EXIT_REBOOT ? RB_AUTOBOOT : RB_POWER_OFF);
	say("pid1: the kernel refused (errno %d); halted, switch the power off\n", errno);
	for (;;)
		pause();
}

static void tell_end(int status, int64_t wait_ms)
{
	if (WIFSIGNALED(status))
		say("pid1: manager killed by signal %d; starts again in %lld ms\n", WTERMSIG(status),
		    (long long)wait_ms);
	else
		say("pid1: manager ended with %d; starts again in %lld ms\n", WEXITSTATUS(status),
		    (long long)wait_ms);
}

void pid1_run(const char *self)
{
	int report[2] = { -1, -1 };
	int64_t wait_ms = PID1_RESTART_MS_FIRST;

	sigfillset(&watched);
	sigprocmask(SIG_SETMASK, &watched, NULL);
	reboot(RB_DISABLE_CAD);		/* ctrl-alt-del becomes SIGINT to us */
	if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
		say("pid1: no pipe: errno %d\n", errno);

	for (;;) {
		int64_t t0 = now_ms();
		int status = 127 << 8;
		pid_t manager = start_manager(self, report[0]);

		if (manager > 0)
			watch(manager, report[1], -1, &status);
		else
			say("pid1: cannot fork: errno %d\n", errno);
		if (WIFEXITED(status) && (WEXITSTATUS(status) == PID1_EXIT_POWEROFF ||
					  WEXITSTATUS(status) == PID1_EXIT_REBOOT))
			last_step(WEXITSTATUS(status));
		if (now_ms() - t0 >= PID1_HEALTHY_MS)
			wait_ms = PID1_RESTART_MS_FIRST;
		tell_end(status, wait_ms);
		watch(-1, report[1], wait_ms, &status);
		wait_ms = wait_ms * 2 > PID1_RESTART_MS_MAX ? PID1_RESTART_MS_MAX : wait_ms * 2;
	}
}

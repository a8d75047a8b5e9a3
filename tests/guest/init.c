/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init of the test guest: mounts, modules, then the parts, then a prompt on
 * the console.  The same program is /sbin/poweroff and /sbin/reboot, which
 * the kernel runs when Xen asks for a shutdown.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/guest.h"

enum { CMDLINE_BYTES = 2048 };

void say(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	size_t len = (size_t)n < sizeof(line) - 1 ? (size_t)n : sizeof(line) - 2;

	line[len++] = '\n';
	if (write(STDOUT_FILENO, line, len) < 0)
		return;			/* no console: the network part still works */
}

uint64_t now_ms(int clock_id)
{
	struct timespec t;

	clock_gettime(clock_id, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void wait_ms(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

bool parse_u64(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);

	if (errno || end == text || *end || v > max || *text == '-')
		return false;
	*out = v;
	return true;
}

void run_thread(void *(*fn)(void *arg), void *arg)
{
	pthread_t t;
	int rc = pthread_create(&t, NULL, fn, arg);

	if (rc) {
		say("guest: no thread: %s", strerror(rc));
		end_guest(RB_POWER_OFF);
	}
	pthread_detach(t);
}

const char *boot_arg(const char *key, const char *def, char *out, size_t bytes)
{
	static char cmdline[CMDLINE_BYTES];
	size_t n = strlen(key);
	int fd = cmdline[0] ? -1 : open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, cmdline, sizeof(cmdline) - 1) < 0)
		cmdline[0] = '\0';
	if (fd >= 0)
		close(fd);
	for (const char *p = cmdline; (p = strstr(p, key)); p += n) {
		if ((p == cmdline || p[-1] == ' ') && p[n] == '=') {
			snprintf(out, bytes, "%.*s", (int)strcspn(p + n + 1, " \n"), p + n + 1);
			return out;
		}
	}
	return def;
}

void end_guest(int mode)
{
	sync();
	reboot(mode);
}

static void mounts(void)
{
	static const struct { const char *type, *at; } all[] = {
		{ "proc", "/proc" }, { "sysfs", "/sys" }, { "devtmpfs", "/dev" },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		mkdir(all[i].at, 0755);
		if (mount(all[i].type, all[i].at, all[i].type, 0, NULL) < 0 && errno != EBUSY)
			say("guest: mount %s: %s", all[i].at, strerror(errno));
	}
}

/* /modules/list names them in the order they need each other. */
static void modules(void)
{
	char name[128], path[160];
	FILE *list = fopen("/modules/list", "re");

	while (list && fgets(name, sizeof(name), list)) {
		name[strcspn(name, "\n")] = '\0';
		snprintf(path, sizeof(path), "/modules/%s", name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
			say("guest: module %s: %s", name, strerror(errno));
		if (fd >= 0)
			close(fd);
	}
	if (list)
		fclose(list);
}

static void *reaper(void *arg)
{
	sigset_t set;
	int signo;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (;;)
		sigwait(&set, &signo);	/* SA_NOCLDWAIT: children that end are gone */
	return NULL;
}

static void console(void)
{
	char line[TEXT_MAX];
	struct answer a;

	for (;;) {
		if (write(STDOUT_FILENO, "guest> ", 7) < 0 || !fgets(line, sizeof(line), stdin)) {
			clearerr(stdin);
			wait_ms(1000);
			continue;
		}
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0] == '!') {
			command_run(line + 1, &a);
			say("%s", a.text);
		} else if (line[0]) {
			say("echo: %s", line);
		}
	}
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	struct sigaction ignore = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
	sigset_t set;

	(void)argc;
	if (!strcmp(name, "poweroff") || !strcmp(name, "reboot")) {
		end_guest(name[0] == 'p' ? RB_POWER_OFF : RB_AUTOBOOT);
		return 1;
	}
	mounts();
	open_console();
	sigaction(SIGCHLD, &ignore, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run_thread(reaper, NULL);
	modules();
	ticks_start();
	net_start();
	say("guest: ready after %llu ms", (unsigned long long)now_ms(CLOCK_BOOTTIME));
	console();
}

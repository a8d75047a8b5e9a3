/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of commands, as the command port and the console (behind a "!")
 * take them.  They run one after the other.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/guest.h"

enum { ANSWER_FIRST_MS = 200 };

void answer_add(struct answer *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(a->text + a->len, sizeof(a->text) - a->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		a->len += (size_t)n;
	if (a->len >= sizeof(a->text))
		a->len = sizeof(a->text) - 1;
}

void answer_error(struct answer *a, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	for (char *p = what; *p; p++)
		if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = '?';
	a->len = 0;
	answer_add(a, "{\"error\": \"%s\"", what);
}

/* Lets the answer out before the guest goes. */
static void *ender(void *arg)
{
	int mode = (int)(intptr_t)arg;

	wait_ms(ANSWER_FIRST_MS);
	if (mode)
		end_guest(mode);
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "c", 1) != 1)
		say("guest: crash: the kernel refuses");
	return NULL;
}

static void cmd_stat(struct answer *a, char **w)
{
	(void)w;
	answer_add(a, "\"up_ms\": %llu, ", (unsigned long long)now_ms(CLOCK_BOOTTIME));
	ticks_stat(a);
	answer_add(a, ", ");
	memory_stat(a);
	answer_add(a, ", \"disk\": {");
	disk_stat(a);
	answer_add(a, "}, \"net\": {");
	net_stat(a);
	answer_add(a, "}");
}

static void cmd_dirty(struct answer *a, char **w)
{
	if (!strcmp(w[1], "off"))
		memory_dirty_off(a);
	else
		memory_dirty(a, w[1], w[2]);
}

static void cmd_fill(struct answer *a, char **w)
{
	memory_fill(a, w[1]);
}

static void cmd_check(struct answer *a, char **w)
{
	(void)w;
	memory_check(a);
}

static void cmd_gaps(struct answer *a, char **w)
{
	ticks_gaps(a, !strcmp(w[1], "reset"));
}

static void cmd_disk(struct answer *a, char **w)
{
	if (!strcmp(w[1], "start"))
		disk_start(a, w[2], w[3]);
	else if (!strcmp(w[1], "stop"))
		disk_stop(a);
	else if (!strcmp(w[1], "check"))
		disk_check(a, w[2]);
	else if (!strcmp(w[1], "stat"))
		disk_stat(a);
	else
		answer_error(a, "disk start DEV [PER_S] | stop | check [DEV] | stat");
}

static void cmd_tcp(struct answer *a, char **w)
{
	net_tcp(a, w[1], w[2]);
}

static void cmd_end(struct answer *a, char **w)
{
	int mode = !strcmp(w[0], "poweroff") ? (int)RB_POWER_OFF : !strcmp(w[0], "reboot") ? RB_AUTOBOOT : 0;

	answer_add(a, "\"going\": \"%s\"", w[0]);
	run_thread(ender, (void *)(intptr_t)mode);
}

static const struct {
	const char *name;
	void (*fn)(struct answer *a, char **w);
} commands[] = {
	{ "stat", cmd_stat }, { "dirty", cmd_dirty }, { "fill", cmd_fill }, { "check", cmd_check },
	{ "gaps", cmd_gaps }, { "disk", cmd_disk }, { "tcp", cmd_tcp },
	{ "poweroff", cmd_end }, { "reboot", cmd_end }, { "crash", cmd_end },
};

void command_run(const char *line, struct answer *a)
{
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	static char nothing[] = "";
	char copy[TEXT_MAX], *save = NULL, *w[WORDS_MAX];
	int n = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *p = strtok_r(copy, " ", &save); p && n < WORDS_MAX; p = strtok_r(NULL, " ", &save))
		w[n++] = p;
	while (n < WORDS_MAX)
		w[n++] = nothing;
	a->len = 0;
	answer_add(a, "{");
	pthread_mutex_lock(&one_at_a_time);
	size_t i = 0;

	while (i < sizeof(commands) / sizeof(commands[0]) && strcmp(commands[i].name, w[0]))
		i++;
	if (i < sizeof(commands) / sizeof(commands[0]))
		commands[i].fn(a, w);
	else
		answer_error(a, "no command is called '%s'", w[0]);
	pthread_mutex_unlock(&one_at_a_time);
	answer_add(a, "}");
}

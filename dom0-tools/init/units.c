/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a unit:
 *
 *	start ──► running ──ended──► waiting (back-off) ──► running ...
 *	             │ stop            │ policy says no, or stopped
 *	             ▼                 ▼
 *	          stopping ──ended──► exited | failed
 *
 * A unit of a pattern (domd/VM) that ended for good leaves the list; the
 * others stay, so that `list` shows how they ended.
 */
#include "init/units.h"
#include "init/units_priv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "init/pid1.h"
#include "init/spawn.h"

enum { REPORT_WAIT_MS = 500 };		/* PID 1 reaps at once; more means that it could not tell */

const char *const unit_state_names[UNIT_STATE_N] = {
	[UNIT_RUNNING] = "running",
	[UNIT_WAITING] = "waiting",
	[UNIT_STOPPING] = "stopping",
	[UNIT_EXITED] = "exited",
	[UNIT_FAILED] = "failed",
};

static void unit_enter(struct unit *u, enum unit_state to)
{
	u->state = to;
	units_save(u->us);
}

static struct unit *find(const struct units *us, const char *name)
{
	for (struct unit *u = us->first; u; u = u->next)
		if (strcmp(u->name, name) == 0)
			return u;
	return NULL;
}

static void tell(struct unit *u, const char *state, int status)
{
	if (u->us->conf.on_event)
		u->us->conf.on_event(u->us->conf.arg, u->name, state, status);
}

static int status_of(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* The status of an orphan, from PID 1. */
static int reported_status(int fd, pid_t pid)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct pid1_report r;

	while (fd >= 0 && poll(&p, 1, REPORT_WAIT_MS) > 0) {
		if (read(fd, &r, sizeof(r)) != (ssize_t)sizeof(r))
			break;
		if (r.pid == (int32_t)pid)
			return status_of(r.status);
	}
	return UNIT_STATUS_UNKNOWN;
}

static void on_pidfd(void *arg, unsigned events)
{
	struct unit *u = arg;
	int st = 0;
	pid_t r = waitpid(u->pid, &st, WNOHANG);

	(void)events;
	if (r == 0)
		return;
	unit_ended(u, r == u->pid ? status_of(st) : reported_status(u->us->conf.report_fd, u->pid));
}

int unit_watch_pid(struct unit *u, struct err *e)
{
	u->pidfd = pidfd_open(u->pid, 0);
	if (u->pidfd < 0)
		return err_sys(e, errno, "watch process %d of %s", (int)u->pid, u->name);
	return loop_watch(u->us->conf.loop, u->pidfd, LOOP_READ, on_pidfd, u, &u->src, e);
}

static void unwatch(struct unit *u)
{
	loop_unwatch(&u->src);
	fd_close(&u->pidfd);
	u->pid = 0;
}

static void on_timer(void *arg)
{
	struct unit *u = arg;
	struct err e = ERR_INIT;

	if (u->state == UNIT_STOPPING && u->pid > 0) {
		/* Its end comes by the pidfd. */
		log_warn("%s: does not end on SIGTERM, killed", u->name);
		kill(u->pid, SIGKILL);
		return;
	}
	if (u->state == UNIT_STOPPING) {
		unit_ended(u, u->last_exit < 0 ? 0 : u->last_exit);
		return;
	}
	if (u->state != UNIT_WAITING)
		return;
	u->restarts++;
	if (unit_run(u, NULL, 0, &e) < 0)
		log_fail(&e, "%s", u->name);
}

struct unit *unit_add(struct units *us, const struct unit_def *d, const char *name, struct err *e)
{
	struct unit *u;

	if (us->n >= UNITS_MAX) {
		err_set(e, ERR_LIMIT, "%d units run already", UNITS_MAX);
		return NULL;
	}
	u = calloc(1, sizeof(*u));
	if (!u) {
		err_set(e, ERR_NO_SPACE, "no memory for unit '%s'", name);
		return NULL;
	}
	*u = (struct unit){ .us = us, .def = d, .pidfd = -1, .last_exit = -1, .next = us->first };
	u->log.fd = u->log.write_fd = -1;
	snprintf(u->name, sizeof(u->name), "%s", name);
	u->timer = loop_timer_new(us->conf.loop, on_timer, u);
	us->first = u;
	us->n++;
	return u;
}

void unit_forget(struct unit *u)
{
	struct unit **p = &u->us->first;

	while (*p != u)
		p = &(*p)->next;
	*p = u->next;
	u->us->n--;
	unwatch(u);
	loop_timer_free(&u->timer);
	unit_log_close(&u->log);
	for (size_t i = 0; i < u->n_args; i++)
		free(u->args[i]);
	free(u);
}

int unit_set_args(struct unit *u, const char *const *args, size_t n, struct err *e)
{
	if (n > u->def->args_max || n > UNIT_ARGS_MAX)
		return err_set(e, ERR_LIMIT, "unit '%s': %zu arguments, limit %u", u->name, n, u->def->args_max);
	for (size_t i = 0; i < n; i++)
		if (strlen(args[i]) > UNIT_ARG_BYTES_MAX)
			return err_set(e, ERR_LIMIT, "unit '%s': argument %zu is longer than %d bytes", u->name, i,
				       UNIT_ARG_BYTES_MAX);
	for (size_t i = 0; i < u->n_args; i++)
		free(u->args[i]);
	u->n_args = 0;
	for (size_t i = 0; i < n; i++) {
		u->args[i] = strdup(args[i]);
		if (!u->args[i])
			return err_set(e, ERR_NO_SPACE, "no memory for unit '%s'", u->name);
		u->n_args++;
	}
	return 0;
}

/* domd/web1 logs to domd.log, with its name in front. */
void unit_open_log(struct unit *u)
{
	bool shared = unit_def_is_pattern(u->def);
	char path[512], name[LOG_NAME_BYTES];
	struct err e = ERR_INIT;
	int n;

	if (u->log.fd >= 0 || u->def->flags & UNIT_TTY)
		return;
	n = snprintf(path, sizeof(path), "%s/out/%s", u->us->conf.run_dir, u->name);
	for (char *p = path + n - strlen(u->name); *p; p++)
		if (*p == '/')
			*p = '-';
	snprintf(name, sizeof(name), "%s", u->def->pattern);
	name[strcspn(name, "/")] = '\0';
	if (unit_log_open(&u->log, u->us->conf.loop, u->us->conf.sink, path, name, shared ? u->name : "",
			  !(u->def->flags & UNIT_QUIET), &e) < 0)
		log_fail(&e, "%s: its output goes to the console only", u->name);
}

static int start_process(struct unit *u, const int *fds, size_t n_fds, struct err *e)
{
	const struct units_conf *c = &u->us->conf;
	const char *argv[UNIT_FIXED_ARGS_MAX + UNIT_ARGS_MAX + 6];
	char program[512];
	size_t n = 0;
	struct spawn s = { .program = u->def->program, .argv = argv, .fds = fds, .n_fds = n_fds,
			   .out_fd = u->log.write_fd, .oom_adj = u->def->oom_adj,
			   .tty = u->def->flags & UNIT_TTY ? "/dev/hvc0" : NULL,
			   .uid = c->switch_users ? u->def->uid : 0 };

	if (u->def->program[0] != '/') {
		snprintf(program, sizeof(program), "%s/%s", c->bin_dir, u->def->program);
		s.program = program;
	}
	argv[n++] = s.program;
	if (u->def->flags & UNIT_DIRS) {
		argv[n++] = "--run";
		argv[n++] = c->run_dir;
		argv[n++] = "--data";
		argv[n++] = c->data_dir;
	}
	for (size_t i = 0; i < UNIT_FIXED_ARGS_MAX && u->def->args[i]; i++)
		argv[n++] = u->def->args[i];
	for (size_t i = 0; i < u->n_args; i++)
		argv[n++] = u->args[i];
	argv[n] = NULL;
	if (spawn_start(&s, &u->pid, e) < 0)
		return -1;
	u->start_ticks = spawn_start_ticks(u->pid);
	return unit_watch_pid(u, e);
}

int unit_run(struct unit *u, const int *fds, size_t n_fds, struct err *e)
{
	unit_open_log(u);
	u->started_ms = clock_mono_ms();
	if (start_process(u, fds, n_fds, e) < 0) {
		unwatch(u);
		if (u->restart != UNIT_NEVER && u->restarts > 0) {
			loop_timer_set(u->timer, backoff_after(&u->backoff, 0), 0);
			unit_enter(u, UNIT_WAITING);
		} else {
			unit_enter(u, UNIT_FAILED);
		}
		return -1;
	}
	unit_enter(u, UNIT_RUNNING);
	tell(u, "started", 0);
	return 0;
}

static bool wants_restart(const struct unit *u, int status)
{
	if (u->state == UNIT_STOPPING || u->had_fds)
		return false;
	return u->restart == UNIT_ALWAYS || (u->restart == UNIT_ON_FAILURE && status != 0);
}

static void answer_waiters(struct unit *u, int status)
{
	unsigned n = u->n_waiters;
	struct unit_waiter w[UNIT_WAITERS_MAX];

	memcpy(w, u->waiters, sizeof(w));
	u->n_waiters = 0;
	for (unsigned i = 0; i < n; i++)
		if (w[i].done)
			w[i].done(w[i].arg, status);
}

void unit_ended(struct unit *u, int status)
{
	uint64_t ran_ms = clock_mono_ms() - u->started_ms, wait_ms;
	bool again = wants_restart(u, status);

	unwatch(u);
	loop_timer_stop(u->timer);
	u->last_exit = status;
	if (u->log.src)
		unit_log_close(&u->log);
	if (again) {
		wait_ms = backoff_after(&u->backoff, ran_ms);
		log_warn("%s: ended with %d, starts again in %llu ms", u->name, status, (unsigned long long)wait_ms);
		loop_timer_set(u->timer, wait_ms, 0);
		unit_enter(u, UNIT_WAITING);
	} else {
		if (status != 0 && u->state != UNIT_STOPPING)
			log_warn("%s: ended with %d", u->name, status);
		unit_enter(u, status == 0 || u->state == UNIT_STOPPING ? UNIT_EXITED : UNIT_FAILED);
	}
	tell(u, status == 0 || u->state == UNIT_EXITED ? "exited" : "failed", status);
	answer_waiters(u, status);
	if (!again && u->pid == 0 && unit_def_is_pattern(u->def)) {
		struct units *us = u->us;

		unit_log_remove(&u->log);
		unit_forget(u);
		units_save(us);
	}
}

int units_new(const struct units_conf *conf, struct units **out, struct err *e)
{
	char dir[512];
	struct units *us;

	snprintf(dir, sizeof(dir), "%s/out", conf->run_dir);
	if (fd_make_dirs(dir, 0700, e) < 0)
		return -1;
	us = calloc(1, sizeof(*us));
	if (!us)
		return err_set(e, ERR_NO_SPACE, "no memory for the units");
	us->conf = *conf;
	*out = us;
	return 0;
}

void units_free(struct units *us)
{
	if (!us)
		return;
	while (us->first)
		unit_forget(us->first);
	free(us);
}

int units_start(struct units *us, const struct unit_start *s, pid_t *out_pid, struct err *e)
{
	const struct unit_def *d;
	struct unit *u = find(us, s->name);

	if (unit_table_find(us->conf.table, s->name, &d, e) < 0)
		return -1;
	if (u && (u->pid > 0 || u->state == UNIT_WAITING))
		return err_set(e, ERR_EXISTS, "unit '%s' is %s already", s->name, unit_state_names[u->state]);
	if (s->n_fds > 0 && s->restart > UNIT_NEVER)
		return err_set(e, ERR_USAGE, "unit '%s': a unit that gets descriptors cannot be restarted; "
			       "ask for restart 'never'", s->name);
	if (u)
		unit_forget(u);
	u = unit_add(us, d, s->name, e);
	if (!u)
		return -1;
	u->had_fds = s->n_fds > 0;
	u->restart = s->restart < 0 ? d->restart : (enum unit_restart)s->restart;
	if (u->had_fds)
		u->restart = UNIT_NEVER;
	if (unit_set_args(u, s->args, s->n_args, e) < 0 || unit_run(u, s->fds, s->n_fds, e) < 0) {
		unit_log_remove(&u->log);
		unit_forget(u);
		units_save(us);
		return -1;
	}
	if (out_pid)
		*out_pid = u->pid;
	return 0;
}

static int unit_stop(struct unit *u, uint64_t timeout_ms, struct err *e)
{
	if (u->state == UNIT_WAITING) {
		loop_timer_stop(u->timer);
		unit_enter(u, UNIT_STOPPING);
		/* Answers come from the loop, also when there is nothing to wait for. */
		loop_timer_set(u->timer, 1, 0);
		return 0;
	}
	if (u->pid == 0)
		return err_set(e, ERR_STATE, "unit '%s' does not run", u->name);
	unit_enter(u, UNIT_STOPPING);
	if (kill(u->pid, SIGTERM) < 0 && errno != ESRCH)
		return err_sys(e, errno, "stop unit '%s'", u->name);
	loop_timer_set(u->timer, timeout_ms, 0);
	return 0;
}

int units_stop(struct units *us, const char *name, uint64_t timeout_ms,
	       void (*done)(void *arg, int status), void *arg, struct err *e)
{
	struct unit *u = find(us, name);

	if (!u)
		return err_set(e, ERR_NOT_FOUND, "unit '%.100s' does not run", name);
	if (u->n_waiters == UNIT_WAITERS_MAX)
		return err_set(e, ERR_BUSY, "unit '%s': %d callers wait for its end already", name,
			       UNIT_WAITERS_MAX);
	if (unit_stop(u, timeout_ms, e) < 0)
		return -1;
	u->waiters[u->n_waiters++] = (struct unit_waiter){ .done = done, .arg = arg };
	return 0;
}

int units_kill(struct units *us, const char *name, struct err *e)
{
	struct unit *u = find(us, name);

	if (!u || u->pid <= 0)
		return err_set(e, ERR_NOT_FOUND, "unit '%s' does not run", name);
	if (kill(u->pid, SIGKILL) < 0)
		return err_sys(e, errno, "kill unit '%s'", name);
	return 0;
}

unsigned units_stop_all(struct units *us, const char *prefix, uint64_t timeout_ms)
{
	unsigned n = 0;
	struct err e = ERR_INIT;

	for (struct unit *u = us->first; u; u = u->next)
		if (strncmp(u->name, prefix, strlen(prefix)) == 0 && unit_stop(u, timeout_ms, &e) == 0)
			n++;
	return n;
}

unsigned units_running(const struct units *us, const char *prefix)
{
	unsigned n = 0;

	for (const struct unit *u = us->first; u; u = u->next)
		if (u->pid > 0 && strncmp(u->name, prefix, strlen(prefix)) == 0)
			n++;
	return n;
}

void units_each(const struct units *us, const char *prefix, void (*fn)(void *arg, const char *name), void *arg)
{
	for (const struct unit *u = us->first; u; u = u->next)
		if (u->pid > 0 && strncmp(u->name, prefix, strlen(prefix)) == 0)
			fn(arg, u->name);
}

json_t *units_list(const struct units *us)
{
	json_t *a = json_array();

	for (const struct unit *u = us->first; u; u = u->next)
		json_array_append_new(a, json_pack("{s:s, s:I, s:s, s:i, s:i}", "unit", u->name,
						   "pid", (json_int_t)u->pid, "state", unit_state_names[u->state],
						   "restarts", (int)u->restarts, "last_exit", u->last_exit));
	return json_pack("{s:o}", "units", a);
}

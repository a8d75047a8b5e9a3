/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What callers of the control socket may ask for.  The only callers are root
 * and hvapid, but arguments are checked as if they came from anywhere.
 */
#include "init/verbs.h"

#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "init/boot.h"
#include "init/hvinit_ctl.h"
#include "init/manager.h"
#include "init/stopping.h"

static int read_args(const json_t *in, const char **args, size_t *n, struct err *e)
{
	const json_t *list = json_object_get(in, "args");

	*n = 0;
	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > UNIT_ARGS_MAX)
		return err_set(e, ERR_USAGE, "'args' must be a list of at most %d texts", UNIT_ARGS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		args[i] = json_string_value(json_array_get(list, i));
		if (!args[i])
			return err_set(e, ERR_USAGE, "'args[%zu]' must be text", i);
	}
	*n = json_array_size(list);
	return 0;
}

static int read_spawn(const json_t *in, const struct unit_def *table, struct unit_start *s, const char **args,
		      struct err *e)
{
	static const char *const known[] = { "id", "verb", "unit", "args", "restart", NULL };
	const struct unit_def *d;
	const char *restart = NULL;
	enum unit_restart r;

	if (js_only(in, known, e) < 0 || js_text(in, "unit", &s->name, e) < 0 ||
	    js_opt_text(in, "restart", &restart, e) < 0 || read_args(in, args, &s->n_args, e) < 0 ||
	    unit_table_find(table, s->name, &d, e) < 0)
		return -1;
	if (!(d->flags & UNIT_SPAWN))
		return err_set(e, ERR_DENIED, "unit '%s' is started by hvinit itself", s->name);
	s->restart = -1;
	if (restart) {
		if (unit_restart_parse(restart, &r, e) < 0)
			return -1;
		s->restart = (int)r;
	}
	s->args = args;
	return 0;
}

static int do_spawn(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct manager *m = arg;
	const char *args[UNIT_ARGS_MAX];
	int fds[CTL_CALL_FDS_MAX];
	struct unit_start s = { .fds = fds };
	pid_t pid = 0;
	int rc = -1;

	while (s.n_fds < CTL_CALL_FDS_MAX && (fds[s.n_fds] = ctl_take_fd(c, (unsigned)s.n_fds)) >= 0)
		s.n_fds++;
	if (m->stopping)
		err_set(e, ERR_STATE, "the host is shutting down");
	else if (read_spawn(in, m->conf.table, &s, args, e) == 0)
		rc = units_start(m->units, &s, &pid, e);
	for (size_t i = 0; i < s.n_fds; i++)
		fd_close(&fds[i]);
	if (rc == 0)
		*out = json_pack("{s:I}", "pid", (json_int_t)pid);
	return rc;
}

static void stop_done(void *arg, int status)
{
	ctl_finish(arg, json_pack("{s:i}", "status", status), NULL);
}

static int do_stop(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "id", "verb", "unit", "timeout_ms", NULL };
	struct manager *m = arg;
	const struct unit_def *d;
	const char *name = NULL;
	uint64_t ms = UNIT_STOP_MS_DEFAULT;

	(void)out;
	if (js_only(in, known, e) < 0 || js_text(in, "unit", &name, e) < 0 ||
	    js_opt_u64(in, "timeout_ms", UNIT_STOP_MS_MAX, &ms, e) < 0 ||
	    unit_table_find(m->conf.table, name, &d, e) < 0)
		return -1;
	if (!(d->flags & UNIT_SPAWN))
		return err_set(e, ERR_DENIED, "unit '%s' is stopped by hvinit itself", name);
	c = ctl_defer(c);
	if (units_stop(m->units, name, ms, stop_done, c, e) < 0)
		ctl_finish(c, NULL, e);
	return 0;
}

static int do_kill(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "id", "verb", "unit", NULL };
	struct manager *m = arg;
	const char *name = NULL;

	(void)c;
	(void)out;
	if (js_only(in, known, e) < 0 || js_text(in, "unit", &name, e) < 0)
		return -1;
	return units_kill(m->units, name, e);
}

static int do_list(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct manager *m = arg;

	(void)c;
	(void)in;
	(void)e;
	*out = units_list(m->units);
	return 0;
}

static int do_info(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct manager *m = arg;

	(void)c;
	(void)in;
	(void)e;
	*out = boot_info(m->boot);
	return 0;
}

static int do_shutdown(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "id", "verb", "mode", "guests", NULL };
	struct manager *m = arg;
	const char *mode = NULL, *guests = "shutdown";

	(void)c;
	(void)out;
	if (js_only(in, known, e) < 0 || js_text(in, "mode", &mode, e) < 0 ||
	    js_opt_text(in, "guests", &guests, e) < 0)
		return -1;
	if (strcmp(mode, "poweroff") != 0 && strcmp(mode, "reboot") != 0)
		return err_set(e, ERR_USAGE, "mode '%.40s': must be poweroff or reboot", mode);
	if (strcmp(guests, "shutdown") != 0 && strcmp(guests, "destroy") != 0)
		return err_set(e, ERR_USAGE, "guests '%.40s': must be shutdown or destroy", guests);
	return stopping_start(m, strcmp(mode, "reboot") == 0, strcmp(guests, "shutdown") == 0, e);
}

const struct ctl_verb hvinit_verbs[] = {
	{ HVINIT_SPAWN, do_spawn, "starts a unit of the table" },
	{ HVINIT_STOP, do_stop, "ends a unit: SIGTERM, then SIGKILL" },
	{ HVINIT_KILL, do_kill, "ends a unit as a crash would; its restart policy decides what follows" },
	{ HVINIT_LIST, do_list, "all units" },
	{ HVINIT_INFO, do_info, "host name, network, data volume, phases of the boot" },
	{ HVINIT_SHUTDOWN, do_shutdown, "ends guests and daemons, then power off or reboot" },
	{ .name = NULL },
};

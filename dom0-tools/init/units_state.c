/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RUN/units.json: what a manager that was restarted needs to go on with the
 * processes of the one before it.  A pid is believed only together with the
 * start time of the process.
 */
#include "init/units.h"
#include "init/units_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "base/record.h"
#include "init/spawn.h"

static json_t *unit_json(const struct unit *u)
{
	json_t *args = json_array();

	for (size_t i = 0; i < u->n_args; i++)
		json_array_append_new(args, json_string(u->args[i]));
	return json_pack("{s:s, s:I, s:I, s:s, s:b, s:o, s:i, s:s}", "unit", u->name, "pid", (json_int_t)u->pid,
			 "ticks", (json_int_t)u->start_ticks, "restart", unit_restart_name(u->restart),
			 "fds", u->had_fds, "args", args, "restarts", (int)u->restarts,
			 "state", unit_state_names[u->state]);
}

void units_save(const struct units *us)
{
	AUTO_JSON json_t *o = json_object();
	json_t *a = json_array();
	char path[512];
	struct err e = ERR_INIT;

	for (const struct unit *u = us->first; u; u = u->next)
		if (u->state == UNIT_RUNNING || u->state == UNIT_WAITING || u->state == UNIT_STOPPING)
			json_array_append_new(a, unit_json(u));
	json_object_set_new(o, "units", a);
	snprintf(path, sizeof(path), "%s/units.json", us->conf.run_dir);
	if (record_save(path, o, &e) < 0)
		log_fail(&e, "units could not be noted; they are lost if hvinit is restarted");
}

/* Fills a new unit from its note. */
static int read_note(struct units *us, const json_t *o, struct unit **out, struct err *e)
{
	const char *name = NULL, *restart = NULL, *args[UNIT_ARGS_MAX];
	const struct unit_def *d;
	uint64_t pid = 0, ticks = 0, restarts = 0;
	json_t *list = NULL;
	size_t n;
	struct unit *u;

	if (js_text(o, "unit", &name, e) < 0 || js_u64(o, "pid", INT32_MAX, &pid, e) < 0 ||
	    js_u64(o, "ticks", INT64_MAX, &ticks, e) < 0 || js_text(o, "restart", &restart, e) < 0 ||
	    js_u64(o, "restarts", INT32_MAX, &restarts, e) < 0 || js_arr(o, "args", &list, e) < 0 ||
	    unit_table_find(us->conf.table, name, &d, e) < 0)
		return -1;
	n = json_array_size(list);
	for (size_t i = 0; i < n && i < UNIT_ARGS_MAX; i++) {
		args[i] = json_string_value(json_array_get(list, i));
		if (!args[i])
			return err_set(e, ERR_CORRUPT, "argument %zu is no text", i);
	}
	u = unit_add(us, d, name, e);
	if (!u)
		return -1;
	u->pid = (pid_t)pid;
	u->start_ticks = ticks;
	u->restarts = (unsigned)restarts;
	u->started_ms = clock_mono_ms();
	u->had_fds = json_is_true(json_object_get(o, "fds"));
	*out = u;
	if (unit_restart_parse(restart, &u->restart, e) < 0 || unit_set_args(u, args, n, e) < 0) {
		unit_forget(u);
		return -1;
	}
	return 0;
}

static void adopt_one(struct units *us, const json_t *o)
{
	struct unit *u = NULL;
	struct err e = ERR_INIT;

	if (read_note(us, o, &u, &e) < 0) {
		log_fail(&e, "a note about a unit is not usable");
		return;
	}
	u->state = UNIT_RUNNING;
	/* Whoever asked for its end is gone; that it should end is not. */
	if (strcmp(json_string_value(json_object_get(o, "state")) ?: "", unit_state_names[UNIT_STOPPING]) == 0)
		u->restart = UNIT_NEVER;
	unit_open_log(u);
	if (u->pid > 0 && spawn_start_ticks(u->pid) == u->start_ticks && unit_watch_pid(u, &e) == 0) {
		log_info("%s: found again, pid %d", u->name, (int)u->pid);
		return;
	}
	log_warn("%s: ended while there was no manager", u->name);
	unit_ended(u, UNIT_STATUS_UNKNOWN);
}

void units_adopt(struct units *us)
{
	AUTO_JSON json_t *o = NULL;
	json_t *list = NULL;
	char path[512];
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), "%s/units.json", us->conf.run_dir);
	if (record_load(path, &o, &e) < 0) {
		if (e.code != ERR_NOT_FOUND)
			log_fail(&e, "units of the manager before are lost");
		return;
	}
	if (js_arr(o, "units", &list, &e) < 0)
		return;
	for (size_t i = 0; i < json_array_size(list); i++)
		adopt_one(us, json_array_get(list, i));
}

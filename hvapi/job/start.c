/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a VM, fresh or from what was saved:
 *
 *   owner record says that it may -> hvinit spawns domd/NAME -> its socket comes -> create | restore -> runs
 *
 * Every step looks at what is there first, so a job taken up again after a
 * restart of hvapid goes on wherever it was.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"
#include "base/js.h"
#include "base/log.h"
#include "hvapi/event/events.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/keeper.h"
#include "hvapi/job/kinds.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"

enum { ASKS_MAX = 3 };

struct start {
	bool up;		/* hvdomd was reached */
	bool asked;		/* create or restore is under way */
	unsigned asks;
};

void job_session_name(char out[33])
{
	uint8_t r[16];

	if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		abort();	/* cannot fail for so few bytes once the system has booted */
	for (size_t i = 0; i < sizeof(r); i++)
		snprintf(out + 2 * i, 3, "%02x", r[i]);
}

/* May this host run it, by the record that everybody acts on? */
static int owner_allows(struct hvapid *h, struct vm *v, struct err *e)
{
	AUTO_JSON json_t *rec = NULL;
	const char *owner = "", *uuid = v->uuid, *peer = "the other host";

	if (registry_owner(h->registry, v->name, &rec, e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : -1;
	if (js_text(rec, "owner", &owner, e) < 0 || js_opt_text(rec, "uuid", &uuid, e) < 0 ||
	    js_opt_text(rec, "peer", &peer, e) < 0)
		return err_wrap(e, "owner record of '%s'", v->name);
	if (strcasecmp(uuid, v->uuid) || !strcmp(owner, "here") || !strcmp(owner, "giving"))
		return 0;
	if (!strcmp(owner, "in-doubt")) {
		err_set(e, ERR_IN_DOUBT, "VM '%s' was on its way to %s and the outcome is not known", v->name, peer);
		return err_remedy(e, "POST /v1/vms/%s/resolve (hvapi migrate resolve %s)", v->name, v->name);
	}
	err_set(e, ERR_REFUSED, "VM '%s' is not this host's: its owner record says '%s' (%s)", v->name, owner, peer);
	return err_remedy(e, "run it there, or move it back from there");
}

int start_allowed(struct hvapid *h, struct vm *v, bool restore, struct err *e)
{
	const char *state = domds_state(h->domds, v->name);

	registry_follow_owner(h->registry, v);
	if (owner_allows(h, v, e) < 0)
		return -1;
	if (v->place != VM_HERE) {
		err_set(e, ERR_REFUSED, "VM '%s' is %s%s%s", v->name, vm_place_name(v->place),
			*v->peer ? " at " : "", v->peer);
		return err_remedy(e, "run it there, or move it back from there");
	}
	if (!domds_idle(h->domds, v->name)) {
		err_set(e, ERR_STATE, "VM '%s' is %s", v->name, state);
		return err_remedy(e, "stop it first");
	}
	if (restore && !v->saved) {
		err_set(e, ERR_STATE, "VM '%s' is not saved", v->name);
		return err_remedy(e, "start it instead");
	}
	return 0;
}

static struct start *run_of(struct job *j)
{
	if (!j->run)
		j->run = mem_alloc(sizeof(struct start));
	return j->run;
}

static void fini(struct job *j)
{
	free(j->run);
}

/* A hvdomd without a domain has no work. */
static void fail(struct job *j, const struct err *why)
{
	keeper_dismiss(j->h, j->vm);
	job_fail(j, why, NULL);
}

static void succeed(struct job *j)
{
	struct vm *v = registry_find(j->h->registry, j->vm);
	struct err e = ERR_INIT;

	if (v) {
		v->saved = false;
		if (registry_save(j->h->registry, v, &e) < 0)
			log_fail(&e, "job %lld", (long long)j->id);
	}
	job_done(j, v ? hvapid_vm_json(j->h, v) : json_object());
}

static void answered(void *arg, const json_t *ok, const struct err *e)
{
	struct job *j = arg;

	(void)ok;
	if (!job_over(j)) {
		run_of(j)->asked = false;
		if (!e)
			succeed(j);
		else if (e->code != ERR_NET)
			fail(j, e);
		/* else hvdomd went; hvinit starts it again, and its state tells what became of it */
	}
	job_put(j);
}

static void ask(struct job *j)
{
	struct vm *v = registry_find(j->h->registry, j->vm);
	bool restore = j->kind == &job_restore;
	AUTO_FREE char *path = mem_printf("%s/save/%s", j->h->data, j->vm);
	AUTO_JSON json_t *args = NULL;
	struct err e = ERR_INIT;

	if (!v) {
		err_set(&e, ERR_NOT_FOUND, "VM '%s' is not defined any more", j->vm);
		fail(j, &e);
		return;
	}
	args = json_pack("{sO sI}", "config", v->config, "generation", (json_int_t)v->generation);
	if (restore)
		json_object_set_new(args, "path", json_string(path));
	if (domds_send(j->h->domds, j->vm, restore ? "restore" : "create", args, answered, job_hold(j), &e) < 0) {
		job_put(j);
		fail(j, &e);
		return;
	}
	run_of(j)->asked = true;
}

static void need_domd(struct job *j);

/* Looks at the guest and does what is next. */
static void on_domd(struct job *j)
{
	static const char *const runs[] = { "running", "paused", "suspended" };
	const char *state = domds_state(j->h->domds, j->vm);
	struct start *s = run_of(j);
	struct err e = ERR_INIT;

	if (s->up && !domds_has(j->h->domds, j->vm)) {
		/* It was there, but just about to end: its last guest had gone. */
		s->up = false;
		need_domd(j);
		return;
	}
	if (!s->up || s->asked || !domds_up(j->h->domds, j->vm) || !strcmp(state, "building"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
		if (strcmp(state, runs[i]))
			continue;
		succeed(j);
		return;
	}
	if (domds_idle(j->h->domds, j->vm) && s->asks++ < ASKS_MAX) {
		ask(j);
		return;
	}
	err_set(&e, ERR_STATE, "VM '%s' is %s", j->vm, state);
	fail(j, &e);
}

static void on_up(void *arg, const struct err *e)
{
	struct job *j = arg;

	if (!job_over(j) && e)
		fail(j, e);
	if (!job_over(j)) {
		run_of(j)->up = true;
		on_domd(j);
	}
	job_put(j);
}

static void need_domd(struct job *j)
{
	keeper_need(j->h, j->vm, on_up, job_hold(j));
}

static void start(struct job *j)
{
	struct vm *v = registry_find(j->h->registry, j->vm);
	struct err e = ERR_INIT;

	if (!j->resumed && v && start_allowed(j->h, v, j->kind == &job_restore, &e) < 0)
		job_fail(j, &e, NULL);
	else
		need_domd(j);
}

static int cancel(struct job *j, struct err *e)
{
	err_set(e, ERR_STATE, "the start of '%s' has begun", j->vm);
	return err_remedy(e, "stop the VM when it runs: POST /v1/vms/%s/stop", j->vm);
}

const struct job_kind job_start = {
	.name = "start",
	.limited = true,
	.start = start,
	.cancel = cancel,
	.domd = on_domd,
	.fini = fini,
};
const struct job_kind job_restore = {
	.name = "restore",
	.limited = true,
	.start = start,
	.cancel = cancel,
	.domd = on_domd,
	.fini = fini,
};
const struct job_kind *const job_kinds[] = {
	&job_start, &job_restore, &job_save, &job_migrate, &job_check, &job_receive, NULL,
};

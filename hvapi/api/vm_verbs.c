/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/vms/{name}/VERB.  What takes long is a job; the rest is passed to the
 * VM's hvdomd and answered with the state that it reports.
 */
#include <fcntl.h>
#include <string.h>

#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/loop.h"
#include "domd/domd_ctl.h"
#include "hvapi/api/routes.h"
#include "hvapi/event/events.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/kinds.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"

enum { CONSOLE_MS = 5000 };

void api_answer_job(struct req *r, const struct job *j)
{
	req_json(r, 202, json_pack("{so}", "job", job_json(j)));
}

/* ---- jobs ---- */

static bool no_members(struct req *r)
{
	static const char *const none[] = { NULL };
	struct err e = ERR_INIT;

	if (js_only(r->body, none, &e) == 0)
		return true;
	req_fail(r, &e);
	return false;
}

static void add_job(struct req *r, const struct job_kind *kind, struct vm *v)
{
	struct job *j;
	struct err e = ERR_INIT;

	if (jobs_add(r->h->jobs, kind, v->name, r->who.name, "", NULL, &j, &e) < 0)
		req_fail(r, &e);
	else
		api_answer_job(r, j);
}

static void start(struct req *r, const struct job_kind *kind)
{
	struct vm *v = api_vm_of(r);
	struct err e = ERR_INIT;

	if (!v || !no_members(r))
		return;
	/* What was saved goes on where it was: a fresh start beside it would leave memory that no longer fits the
	 * disks. */
	if (v->saved && kind == &job_start)
		kind = &job_restore;
	if (!jobs_of_vm(r->h->jobs, v->name) && start_allowed(r->h, v, kind == &job_restore, &e) < 0)
		req_fail(r, &e);
	else
		add_job(r, kind, v);
}

void api_vm_start(struct req *r)
{
	start(r, &job_start);
}

void api_vm_restore(struct req *r)
{
	start(r, &job_restore);
}

void api_vm_save(struct req *r)
{
	struct vm *v = api_vm_of(r);
	const char *state;
	struct err e = ERR_INIT;

	if (!v || !no_members(r))
		return;
	state = domds_state(r->h->domds, v->name);
	if (strcmp(state, "running") && strcmp(state, "paused")) {
		err_set(&e, ERR_STATE, "VM '%s' is %s", v->name, state);
		err_remedy(&e, "only a running VM can be saved");
		req_fail(r, &e);
		return;
	}
	add_job(r, &job_save, v);
}

/* ---- passed on ---- */

static void answered(void *arg, const json_t *ok, const struct err *e)
{
	struct req *r = arg;
	struct vm *v = registry_find(r->h->registry, r->par.v[0]);
	struct err gone = ERR_INIT;

	(void)ok;
	err_set(&gone, ERR_NOT_FOUND, "VM '%s' is not defined any more", r->par.v[0]);
	if (e)
		req_fail(r, e);
	else if (!v)
		req_fail(r, &gone);
	else
		req_json(r, 200, hvapid_vm_json(r->h, v));
	req_release(r);
}

/* A move or a start under way must not be met by a verb from the side. */
static int free_of_jobs(struct hvapid *h, const struct vm *v, struct err *e)
{
	struct job *j = jobs_of_vm(h->jobs, v->name);

	if (!j)
		return 0;
	err_set(e, ERR_BUSY, "job %lld (%s) holds VM '%s'", (long long)j->id, j->kind->name, v->name);
	return err_remedy(e, "wait for it, or cancel it: DELETE /v1/jobs/%lld", (long long)j->id);
}

static void pass(struct req *r, const char *verb)
{
	struct vm *v = api_vm_of(r);
	struct err e = ERR_INIT;

	if (!v || !no_members(r))
		return;
	if (free_of_jobs(r->h, v, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	if (domds_send(r->h->domds, v->name, verb, NULL, answered, req_hold(r), &e) == 0)
		return;
	req_release(r);
	if (e.code == ERR_STATE)
		err_remedy(&e, "start it first: POST /v1/vms/%s/start", v->name);
	req_fail(r, &e);
}

void api_vm_shutdown(struct req *r)
{
	pass(r, DOMD_SHUTDOWN);
}

void api_vm_stop(struct req *r)
{
	pass(r, DOMD_DESTROY);
}

void api_vm_reboot(struct req *r)
{
	pass(r, DOMD_REBOOT);
}

void api_vm_pause(struct req *r)
{
	pass(r, DOMD_PAUSE);
}

void api_vm_resume(struct req *r)
{
	pass(r, DOMD_UNPAUSE);
}

/* ---- console ---- */

struct console {
	struct req *r;
	char *path;
	int fd;
	struct err e;
};

/* Off the loop: the answer carries a descriptor, which needs a connection of its own. */
static void console_work(void *arg)
{
	struct console *c = arg;
	size_t n = 1;

	if (ctl_once(c->path, DOMD_CONSOLE, NULL, NULL, 0, CONSOLE_MS, NULL, &c->fd, &n, &c->e) < 0)
		c->fd = -1;
	else if (n == 0)
		err_set(&c->e, ERR_XEN, "hvdomd gave no console");
}

static void console_done(void *arg)
{
	struct console *c = arg;

	if (c->fd >= 0)
		req_upgrade(c->r, "hv-console", fd_take(&c->fd));
	else
		req_fail(c->r, &c->e);
	req_release(c->r);
	free(c->path);
	free(c);
}

void api_vm_console(struct req *r)
{
	struct vm *v = api_vm_of(r);
	const char *upgrade = req_header(r, "Upgrade");
	struct console *c;
	struct err e = ERR_INIT;

	if (!v)
		return;
	if (!upgrade || strcasecmp(upgrade, "hv-console")) {
		err_set(&e, ERR_USAGE, "the console is a stream of bytes, not a document");
		err_remedy(&e, "ask with the headers 'Connection: Upgrade' and 'Upgrade: hv-console'");
		req_fail_status(r, 426, &e);
		return;
	}
	if (!domds_up(r->h->domds, v->name) || !strcmp(domds_state(r->h->domds, v->name), "stopped")) {
		err_set(&e, ERR_STATE, "VM '%s' is %s", v->name, domds_state(r->h->domds, v->name));
		err_remedy(&e, "start it first: POST /v1/vms/%s/start", v->name);
		req_fail(r, &e);
		return;
	}
	c = mem_alloc(sizeof(*c));
	*c = (struct console){ .r = req_hold(r), .path = domds_path(r->h->domds, v->name), .fd = -1 };
	if (loop_work(r->h->loop, console_work, console_done, c, &c->e) < 0)
		console_done(c);
}

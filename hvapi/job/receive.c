/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that arrives:
 *
 *   accept: hvinit starts migrate/UNIT with the line -> offer: checks, the name reserved (place "receiving"), hvdomd up
 *   -> hvmigrate works -> its report ends the job
 *
 * If the unit ends without a report, nobody is left to decide: hvdomd is asked
 * to refuse, which is safe at any time (it is what a QUERY of the source would
 * do, and hvdomd says no if the VM was taken).
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "domd/domd_ctl.h"
#include "hvapi/event/events.h"
#include "hvapi/http/route.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/keeper.h"
#include "hvapi/job/kinds.h"
#include "hvapi/job/offer.h"
#include "hvapi/job/follow.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"
#include "hvapi/vm/vm_check.h"
#include "init/hvinit_ctl.h"
#include "migrate/migrate_ctl.h"

struct receive {
	struct follow s;
	struct ctl_call *call;		/* the offer, until its answer */
};

/* ---- accept ---- */

static void accepted(void *arg, const json_t *ok, const struct err *e)
{
	(void)ok;
	ctl_finish(arg, NULL, e);
}

int receive_accept(struct hvapid *h, struct ctl_call *c, const json_t *in, struct err *e)
{
	AUTO_FD int fd = ctl_take_fd(c, 0);
	AUTO_JSON json_t *spec = NULL, *args = NULL;
	AUTO_FREE char *text = NULL;
	const char *from = "", *name, *role;
	json_t *peer;
	char id[33], session[36], unit[48];

	if (js_obj(in, "peer", &peer, e) < 0 || js_text(peer, "name", &name, e) < 0 ||
	    js_text(peer, "role", &role, e) < 0 || js_opt_text(in, "from", &from, e) < 0)
		return -1;
	if (strcmp(role, "peer")) {
		events_add(h->events, "link.refused", NULL, 0, json_pack("{ss ss}", "from", from, "name", name),
			   "%s (%s) is no paired host and may not send VMs", name, role);
		return err_set(e, ERR_DENIED, "not allowed");
	}
	if (fd < 0)
		return err_set(e, ERR_USAGE, "accept without a descriptor");
	job_session_name(id);
	snprintf(session, sizeof(session), "in-%.16s", id);
	snprintf(unit, sizeof(unit), "migrate/%s", session);
	spec = json_pack("{ss ss}", "peer", name, "from", from);
	text = json_dumps(spec, JSON_COMPACT);
	args = json_pack("{ss s[sssss] ss}", "unit", unit, "args", "receive", "--session", session, "--spec", text,
			 "restart", "never");
	if (ctl_link_send(&h->hvinit, HVINIT_SPAWN, args, &fd, 1, accepted, c, e) < 0)
		return -1;
	ctl_defer(c);
	return 0;
}

/* ---- offer ---- */

static int reserve(struct hvapid *h, const json_t *vm, const char *session, struct vm **out, struct err *e)
{
	struct vm *v = registry_find(h->registry, json_string_value(json_object_get(vm, "name")));
	size_t n = strlen(session);

	if (n >= VM_SESSION_BYTES)
		return err_set(e, ERR_USAGE, "session '%.80s' is too long", session);
	if (!v && registry_add(h->registry, vm, 0, VM_RECEIVING, &v, e) < 0)
		return -1;
	v->place = VM_RECEIVING;
	v->saved = false;
	memcpy(v->session, session, n + 1);
	*out = v;
	return registry_set_config(h->registry, v, vm, e);
}

/* The reservation ends without the VM having come: home it was away, or it was never here. */
static void release(struct hvapid *h, const char *vm)
{
	struct vm *v = registry_find(h->registry, vm);
	struct err e = ERR_INIT;

	if (!v || v->place != VM_RECEIVING)
		return;
	v->place = VM_AWAY;
	v->session[0] = '\0';
	if ((v->peer[0] ? registry_save(h->registry, v, &e) : registry_remove(h->registry, v, &e)) < 0)
		log_fail(&e, "VM %s: its reservation stays", vm);
}

int receive_offer(struct hvapid *h, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	AUTO_JSON json_t *vm = NULL, *problems = NULL, *spec = NULL;
	const char *session, *peer, *unit;
	bool check_only = false;
	uint64_t generation;
	json_t *offered;
	struct vm *v = NULL;
	struct job *j;

	if (js_text(in, "session", &session, e) < 0 || js_text(in, "peer", &peer, e) < 0 ||
	    js_text(in, "unit", &unit, e) < 0 || js_opt_bool(in, "check_only", &check_only, e) < 0 ||
	    js_obj(in, "vm", &offered, e) < 0 || js_u64(in, "generation", INT64_MAX - 1, &generation, e) < 0)
		return -1;
	if (vm_check(offered, &vm, e) < 0)
		return err_wrap(e, "the VM offered by %s", peer);
	problems = offer_problems(h, vm, generation);
	if (check_only || offer_refused(problems)) {
		*out = json_pack("{sO}", "problems", problems);
		return 0;
	}
	spec = json_pack("{ss ss sI sO}", "peer", peer, "session", session, "generation", (json_int_t)generation,
			 "problems", problems);
	if (reserve(h, vm, session, &v, e) < 0)
		return -1;
	if (jobs_add(h->jobs, &job_receive, v->name, peer, unit, spec, &j, e) < 0) {
		v->place = VM_AWAY;
		if (!v->peer[0] && registry_remove(h->registry, v, e) < 0)
			log_fail(e, "VM: its reservation stays");
		return -1;
	}
	j->run = mem_alloc(sizeof(struct receive));
	((struct receive *)j->run)->call = ctl_defer(c);
	return 0;
}

/* ---- the job ---- */

static void on_report(struct job *j, const json_t *report);
static void on_lost(struct job *j);

static struct receive *run_of(struct job *j)
{
	struct receive *r = j->run;

	if (!r)
		j->run = r = mem_alloc(sizeof(*r));
	r->s.j = j;
	r->s.report = on_report;
	r->s.lost = on_lost;
	return r;
}

static void fini(struct job *j)
{
	struct receive *r = j->run;
	struct err e = ERR_INIT;

	if (r) {
		err_set(&e, ERR_CANCELLED, "hvapid ends");
		if (r->call)
			ctl_finish(r->call, NULL, &e);
		follow_stop(&r->s);
	}
	free(r);
}

static void answer(struct job *j, const struct err *e)
{
	struct receive *r = run_of(j);
	AUTO_FREE char *path = domds_path(j->h->domds, j->vm);
	struct ctl_call *c = r->call;

	r->call = NULL;
	if (c)
		ctl_finish(c,
			   e ? NULL
			     : json_pack("{sO ss}", "problems", json_object_get(j->spec, "problems"), "domd", path),
			   e);
}

/* Nothing of it stays: not the reservation, and not a hvdomd that holds no domain. */
static void give_up(struct job *j, const struct err *why, const json_t *problems)
{
	follow_stop(&run_of(j)->s);
	answer(j, why);
	release(j->h, j->vm);
	keeper_dismiss(j->h, j->vm);
	job_fail(j, why, problems);
}

static void arrived(struct job *j, json_t *result)
{
	struct vm *v = registry_find(j->h->registry, j->vm);
	const char *peer = json_string_value(json_object_get(j->spec, "peer"));
	struct err e = ERR_INIT;

	follow_stop(&run_of(j)->s);
	if (v && !registry_follow_owner(j->h->registry, v) && v->place == VM_RECEIVING) {
		v->place = VM_HERE;
		v->generation = (uint64_t)json_integer_value(json_object_get(j->spec, "generation")) + 1;
		v->peer[0] = '\0';
		if (registry_save(j->h->registry, v, &e) < 0)
			log_fail(&e, "VM %s: its arrival is not recorded", j->vm);
	}
	events_add(j->h->events, "vm.arrived", j->vm, j->id, json_pack("{ss}", "peer", peer), "%s came from %s",
		   j->vm, peer);
	job_done(j, result);
}

static void on_report(struct job *j, const json_t *report)
{
	union { const json_t *in; json_t *out; } u = { .in = report };
	const char *outcome = json_string_value(json_object_get(report, "outcome")) ?: "unknown";
	const json_t *error = json_object_get(report, "error");
	struct err e = ERR_INIT;

	if (!strcmp(outcome, "moved")) {
		arrived(j, json_deep_copy(u.out));
		return;
	}
	if (!strcmp(outcome, "unknown")) {
		on_lost(j);
		return;
	}
	if (json_is_object(error))
		js_to_err(error, &e);
	else
		err_set(&e, ERR_PEER, "the move ended with '%s'", outcome);
	give_up(j, &e, json_object_get(report, "problems"));
}

static void refused(void *arg, const json_t *ok, const struct err *e)
{
	struct job *j = arg;
	struct err why = ERR_INIT;

	(void)ok;
	if (job_over(j)) {
		job_put(j);
		return;
	}
	if (e && e->code == ERR_STATE) {
		arrived(j, json_pack("{ss ss}", "outcome", "moved", "note", "hvmigrate ended before it could report"));
	} else {
		err_set(&why, ERR_PEER, "hvmigrate ended before '%s' was taken; it stays at the other host%s%s", j->vm,
			e ? "; refusing it failed: " : "", e ? e->detail : "");
		give_up(j, &why, NULL);
	}
	job_put(j);
}

/* Its hvdomd is up: it shall refuse. */
static void refuse(void *arg, const struct err *bad)
{
	struct job *j = arg;
	AUTO_JSON json_t *args = json_pack("{sO}", "session", json_object_get(j->spec, "session"));
	struct err e = ERR_INIT;

	if (bad || job_over(j))
		refused(j, NULL, bad);
	else if (domds_send(j->h->domds, j->vm, DOMD_REFUSE, args, refused, j, &e) < 0)
		refused(j, NULL, &e);
}

static void on_lost(struct job *j)
{
	AUTO_JSON json_t *rec = NULL;
	const char *owner = "";
	struct err e = ERR_INIT;

	follow_stop(&run_of(j)->s);
	if (registry_owner(j->h->registry, j->vm, &rec, &e) == 0)
		owner = js_get_text(rec, "owner");
	if (!strcmp(owner, "here")) {
		arrived(j, json_pack("{ss ss}", "outcome", "moved", "note", "hvmigrate ended before it could report"));
	} else if (!strcmp(owner, "receiving")) {
		keeper_need(j->h, j->vm, refuse, job_hold(j));
	} else {
		err_set(&e, ERR_PEER, "hvmigrate ended before '%s' was taken; it stays at the other host", j->vm);
		give_up(j, &e, NULL);
	}
}

static void on_up(void *arg, const struct err *e)
{
	struct job *j = arg;

	if (!job_over(j) && e) {
		give_up(j, e, NULL);
	} else if (!job_over(j)) {
		answer(j, NULL);
		follow_watch(&run_of(j)->s, j);
	}
	job_put(j);
}

static void start(struct job *j)
{
	run_of(j);
	keeper_need(j->h, j->vm, on_up, job_hold(j));
}

static void resume(struct job *j)
{
	struct receive *r = run_of(j);

	if (!follow_take_report(&r->s))
		follow_watch(&r->s, j);
}

static void unit_ended(struct job *j, bool known)
{
	(void)known;
	follow_ended(&run_of(j)->s);
}

static int cancel(struct job *j, struct err *e)
{
	return follow_cancel(&run_of(j)->s, e);
}

/* ---- what an earlier life left ---- */

struct orphan {
	struct hvapid *h;
	char *vm;
	json_t *args;
};

static void orphan_refused(void *arg, const json_t *ok, const struct err *e)
{
	struct orphan *o = arg;
	struct vm *v = registry_find(o->h->registry, o->vm);

	(void)ok;
	if (e)
		log_fail(e, "VM %s: half an arrival is left", o->vm);
	if (v)
		registry_follow_owner(o->h->registry, v);
	if (!e) {
		release(o->h, o->vm);
		keeper_dismiss(o->h, o->vm);
	}
	json_decref(o->args);
	free(o->vm);
	free(o);
}

static void orphan_up(void *arg, const struct err *bad)
{
	struct orphan *o = arg;
	struct err e = ERR_INIT;

	if (bad)
		orphan_refused(o, NULL, bad);
	else if (domds_send(o->h->domds, o->vm, DOMD_REFUSE, o->args, orphan_refused, o, &e) < 0)
		orphan_refused(o, NULL, &e);
}

static void clean_up_record(struct hvapid *h, const char *name)
{
	AUTO_JSON json_t *rec = NULL;
	json_t *session;
	struct orphan *o;
	struct err e = ERR_INIT;

	if (!route_name_ok(name) || jobs_of_vm(h->jobs, name) || registry_owner(h->registry, name, &rec, &e) < 0 ||
	    strcmp(js_get_text(rec, "owner"), "receiving"))
		return;
	session = json_object_get(rec, "session");
	o = mem_alloc(sizeof(*o));
	*o = (struct orphan){ .h = h, .vm = mem_strdup(name), .args = json_pack("{sO?}", "session", session) };
	log_warn("VM %s was arriving and nobody brings it any more: refused", name);
	keeper_need(h, name, orphan_up, o);
}

void receive_clean_up(struct hvapid *h)
{
	AUTO_FREE char *path = mem_printf("%s/vm", h->data);
	DIR *dir = opendir(path);
	struct dirent *d;

	while (dir && (d = readdir(dir)) != NULL)
		clean_up_record(h, d->d_name);
	if (dir)
		closedir(dir);
	for (struct vm *v = registry_first(h->registry), *next; v; v = next) {
		AUTO_JSON json_t *rec = NULL;
		struct err e = ERR_INIT;

		next = v->next;
		if (v->place == VM_RECEIVING && !jobs_of_vm(h->jobs, v->name) &&
		    registry_owner(h->registry, v->name, &rec, &e) < 0)
			release(h, v->name);
	}
}

const struct job_kind job_receive = {
	.name = "receive",
	.start = start,
	.resume = resume,
	.cancel = cancel,
	.unit_ended = unit_ended,
	.fini = fini,
};

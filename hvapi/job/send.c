/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that leaves, and the check whether it could:
 *
 *   hvtls dials the peer -> hvinit starts migrate/SESSION with the line -> hvmigrate works -> its report ends the job
 *
 * hvapid only watches: if it is restarted on the way, hvmigrate goes on.  What
 * became of the VM is read from its owner record, whatever the report says.
 */
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "base/loop.h"
#include "domd/domd_ctl.h"
#include "hvapi/event/events.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/keeper.h"
#include "hvapi/job/kinds.h"
#include "hvapi/job/follow.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"
#include "init/hvinit_ctl.h"
#include "link/hvtls_ctl.h"
#include "migrate/migrate_ctl.h"

enum { DIAL_MS = 15000, ASK_AGAIN_MS = 5000 };

struct send {
	struct follow s;
	unsigned deaths;		/* of hvmigrate, in doubt */
	bool claim_taken;		/* the operator's word, until hvdomd has it */
	struct loop_timer *ask;		/* in doubt and hvmigrate died: start it again, but not at once */
	bool spawned;			/* hvinit was told to start it; or it may have been, before a restart */
};

struct dial {
	struct job *j;
	char *path;
	json_t *args;
	int fd;
	struct err e;
};

int send_allowed(struct hvapid *h, const struct vm *v, struct err *e)
{
	const char *state = domds_state(h->domds, v->name);

	if (v->place != VM_HERE || strcmp(state, "running")) {
		err_set(e, ERR_STATE, "VM '%s' is %s", v->name, v->place == VM_HERE ? state : vm_place_name(v->place));
		return err_remedy(e, "only a running VM can be moved while it runs: start it first");
	}
	if (!strcmp(json_string_value(json_object_get(v->config, "type")), "pv")) {
		err_set(e, ERR_INCOMPATIBLE,
			"VM '%s' is PV: Xen is built without shadow paging, so what a running PV guest "
			"writes cannot be tracked",
			v->name);
		return err_remedy(e, "save it here and restore it, or make it PVH");
	}
	return 0;
}

/* ---- how it ends ---- */

static void tell_moved(struct job *j)
{
	struct vm *v = registry_find(j->h->registry, j->vm);
	const char *peer = json_string_value(json_object_get(j->spec, "peer"));
	struct err e = ERR_INIT;

	if (!v)
		return;
	registry_follow_owner(j->h->registry, v);
	if (v->place != VM_AWAY || !v->peer[0]) {
		/* The record is there a moment later at most: give-done is its last step. */
		v->place = VM_AWAY;
		v->saved = false;
		memcpy(v->peer, peer, strlen(peer) + 1);
		if (registry_save(j->h->registry, v, &e) < 0)
			log_fail(&e, "VM %s: its move is not recorded", v->name);
	}
	events_add(j->h->events, "vm.moved", v->name, j->id, json_pack("{ss}", "peer", peer), "%s moved to %s",
		   v->name, peer);
}

static json_t *check_result(const json_t *report)
{
	json_t *problems = json_object_get(report, "problems");
	bool ok = true;
	size_t i;
	json_t *p;

	json_array_foreach(problems, i, p) {
		const char *severity = json_string_value(json_object_get(p, "severity"));

		ok = ok && severity && !strcmp(severity, "warning");
	}
	return json_pack("{sb so}", "ok", ok, "problems", problems ? json_deep_copy(problems) : json_array());
}

/* A check that found problems has done its work. */
static bool is_check_answer(const struct job *j, const char *outcome, const json_t *report)
{
	return j->kind == &job_check &&
	       (!strcmp(outcome, "checked") || json_array_size(json_object_get(report, "problems")));
}

static void on_report(struct job *j, const json_t *report)
{
	union { const json_t *in; json_t *out; } u = { .in = report };
	const char *outcome = json_string_value(json_object_get(report, "outcome")) ?: "unknown";
	const json_t *error = json_object_get(report, "error");
	struct vm *v = registry_find(j->h->registry, j->vm);
	struct err e = ERR_INIT;

	follow_stop(&((struct send *)j->run)->s);
	if (is_check_answer(j, outcome, report)) {
		job_done(j, check_result(report));
		return;
	}
	if (!strcmp(outcome, "moved")) {
		tell_moved(j);
		job_done(j, json_deep_copy(u.out));
		return;
	}
	if (v)
		registry_follow_owner(j->h->registry, v);
	if (json_is_object(error))
		js_to_err(error, &e);
	else
		err_set(&e, ERR_INTERNAL, "hvmigrate ended with '%s' and no reason", outcome);
	json_decref(j->result);
	j->result = json_deep_copy(u.out);
	job_fail(j, &e, json_object_get(report, "problems"));
}

static const char *owner_of(struct job *j, json_t **keep)
{
	struct err e = ERR_INIT;

	if (registry_owner(j->h->registry, j->vm, keep, &e) < 0)
		return "";
	return js_get_text(*keep, "owner");
}

static void on_doubt(struct job *j, const char *why)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_IN_DOUBT, "VM '%s' was handed over and the other host has not said that it runs it%s%s", j->vm,
		*why ? ": " : "", why);
	err_remedy(&e, "it is asked as soon as it can be reached; POST /v1/vms/%s/resolve asks now or ends it", j->vm);
	job_in_doubt(j, &e);
}

/* hvmigrate is gone without a report: the owner record decides. */
static void on_lost(struct job *j)
{
	struct send *s = j->run;
	AUTO_JSON json_t *rec = NULL;
	const char *owner = owner_of(j, &rec);
	struct err e = ERR_INIT;

	follow_stop(&s->s);
	if (!strcmp(owner, "in-doubt")) {
		on_doubt(j, "hvmigrate has died");
		loop_timer_set(s->ask, s->deaths++ ? ASK_AGAIN_MS : 0, 0);
		return;
	}
	if (!strcmp(owner, "away") && j->kind == &job_migrate) {
		tell_moved(j);
		job_done(j, json_pack("{ss ss}", "outcome", "moved", "note", "hvmigrate ended before it could report"));
		return;
	}
	err_set(&e, ERR_INTERNAL, "hvmigrate ended without a report; VM '%s' stays here", j->vm);
	err_remedy(&e, "see log %s of hvmigrate in /data/log, then try again", j->session);
	job_fail(j, &e, NULL);
}

static void ask_timer(void *arg)
{
	struct job *j = arg;
	struct err e = ERR_INIT;

	if (send_ask_again(j, &e) == 0)
		return;
	log_fail(&e, "job %lld", (long long)j->id);
	loop_timer_set(((struct send *)j->run)->ask, ASK_AGAIN_MS, 0);
}

static struct send *run_of(struct job *j)
{
	struct send *s = j->run;

	if (s)
		return s;
	j->run = s = mem_alloc(sizeof(*s));
	s->ask = loop_timer_new(j->h->loop, ask_timer, j);
	s->s = (struct follow){ .j = j, .report = on_report, .lost = on_lost, .in_doubt = on_doubt };
	return s;
}

static void fini(struct job *j)
{
	struct send *s = j->run;

	if (s) {
		follow_stop(&s->s);
		loop_timer_free(&s->ask);
	}
	free(s);
}

/* ---- how it begins ---- */

static void spawned(void *arg, const json_t *ok, const struct err *e)
{
	struct job *j = arg;

	(void)ok;
	if (!job_over(j) && !e) {
		follow_watch(&run_of(j)->s, j);
	} else if (!job_over(j) && j->state == JOB_IN_DOUBT) {
		log_fail(e, "job %lld: hvmigrate cannot ask", (long long)j->id);
		loop_timer_set(run_of(j)->ask, ASK_AGAIN_MS, 0);
	} else if (!job_over(j)) {
		job_fail(j, e, NULL);
	}
	job_put(j);
}

static int spawn(struct job *j, const int *fds, size_t n_fds, struct err *e)
{
	AUTO_FREE char *unit = mem_printf("migrate/%s", j->session);
	AUTO_FREE char *spec = json_dumps(j->spec, JSON_COMPACT);
	AUTO_JSON json_t *args = json_pack("{ss s[sssss] ss}", "unit", unit, "args", "send", "--session",
					   j->session, "--spec", spec, "restart", "never");

	if (ctl_link_send(&j->h->hvinit, HVINIT_SPAWN, args, fds, n_fds, spawned, job_hold(j), e) < 0) {
		job_put(j);
		return -1;
	}
	run_of(j)->spawned = true;
	return 0;
}

static void cancelled(struct job *j)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_CANCELLED, "cancelled before the move began");
	job_fail(j, &e, NULL);
}

static void dialled(void *arg)
{
	struct dial *d = arg;
	struct job *j = d->j;
	struct err e = ERR_INIT;

	if (j->cancelling) {
		cancelled(j);
	} else if (d->fd < 0) {
		err_wrap(&d->e, "reach %s", json_string_value(json_object_get(j->spec, "peer")));
		job_fail(j, &d->e, NULL);
	} else if (!job_over(j) && spawn(j, &d->fd, 1, &e) < 0) {
		job_fail(j, &e, NULL);
	}
	fd_close(&d->fd);
	json_decref(d->args);
	free(d->path);
	free(d);
	job_put(j);
}

/* Off the loop: the answer carries a descriptor, which needs a connection of its own. */
static void dial_work(void *arg)
{
	struct dial *d = arg;
	size_t n = 1;

	if (ctl_once(d->path, HVTLS_DIAL, d->args, NULL, 0, DIAL_MS, NULL, &d->fd, &n, &d->e) < 0)
		d->fd = -1;
	else if (n == 0)
		err_set(&d->e, ERR_INTERNAL, "hvtls answered without a descriptor");
}

static void start(struct job *j)
{
	struct dial *d = mem_alloc(sizeof(*d));
	struct err e = ERR_INIT;

	run_of(j);
	*d = (struct dial){ .j = job_hold(j), .fd = -1, .path = mem_printf("%s/" HVTLS_SOCKET, j->h->run) };
	d->args = json_pack("{sO sO ss}", "peer", json_object_get(j->spec, "peer"), "address",
			    json_object_get(j->spec, "address"), "alpn", "hv-migrate/1");
	if (loop_work(j->h->loop, dial_work, dialled, d, &e) == 0)
		return;
	json_decref(d->args);
	free(d->path);
	free(d);
	job_fail(j, &e, NULL);
	job_put(j);
}

/* hvapid was restarted: the report is there, or hvmigrate runs, or hvinit will tell that it does not. */
static void resume(struct job *j)
{
	struct send *s = run_of(j);

	s->spawned = true;
	if (!follow_take_report(&s->s))
		follow_watch(&s->s, j);
}

static void unit_ended(struct job *j, bool known)
{
	struct send *s = run_of(j);

	(void)known;
	if (!s->spawned || (j->state == JOB_IN_DOUBT && !s->s.watching))
		return;
	s->spawned = false;
	follow_ended(&s->s);
}

static int cancel(struct job *j, struct err *e)
{
	struct send *s = run_of(j);

	if (!s->spawned)
		return 0;	/* `dialled` looks */
	return follow_cancel(&s->s, e);
}

/* ---- in doubt ---- */

/* Its hvdomd is up, which writes what the answer will be. */
static void ask_spawn(void *arg, const struct err *bad)
{
	struct job *j = arg;
	struct err e = bad ? *bad : (struct err)ERR_INIT;

	if (!job_over(j) && (bad || spawn(j, NULL, 0, &e) < 0)) {
		log_fail(&e, "job %lld", (long long)j->id);
		loop_timer_set(run_of(j)->ask, ASK_AGAIN_MS, 0);
	}
	job_put(j);
}

int send_ask_again(struct job *j, struct err *e)
{
	struct send *s = run_of(j);

	if (s->s.watching && s->s.link.client)
		return follow_send(&s->s, MIGRATE_ASK, NULL, e);
	json_object_set_new(j->spec, "resume", json_true());
	keeper_need(j->h, j->vm, ask_spawn, job_hold(j));
	return 0;
}

static void given(void *arg, const json_t *ok, const struct err *e)
{
	struct job *j = arg;
	AUTO_JSON json_t *rec = NULL;
	struct err why = ERR_INIT;

	(void)ok;
	if (e) {
		log_fail(e, "job %lld: hvdomd does not follow the operator's word", (long long)j->id);
	} else if (!job_over(j) && strcmp(owner_of(j, &rec), "here")) {
		on_lost(j);	/* by the record that was just written */
	} else if (!job_over(j)) {
		err_set(&why, ERR_CANCELLED, "the operator said that the other host never took it; '%s' runs here",
			j->vm);
		job_fail(j, &why, NULL);
	}
	job_put(j);
}

/* Its hvdomd is up: it writes the operator's word down and acts on it. */
static void claim_up(void *arg, const struct err *bad)
{
	struct job *j = arg;
	bool taken = run_of(j)->claim_taken;
	AUTO_JSON json_t *args = json_pack("{ss}", "session", j->session);
	struct err e = ERR_INIT;

	if (!taken)
		json_object_set_new(args, "not_taken", json_true());
	if (bad)
		given(j, NULL, bad);
	else if (domds_send(j->h->domds, j->vm, taken ? DOMD_GIVE_DONE : DOMD_GIVE_ABORT, args, given, j, &e) < 0)
		given(j, NULL, &e);
}

int send_claim(struct job *j, bool taken, struct err *e)
{
	struct send *s = run_of(j);
	AUTO_JSON json_t *claim = json_pack("{ss}", "outcome", taken ? "taken" : "refused");

	if (s->s.watching && s->s.link.client)
		return follow_send(&s->s, MIGRATE_CLAIM, claim, e);
	s->claim_taken = taken;
	keeper_need(j->h, j->vm, claim_up, job_hold(j));
	return 0;
}

const struct job_kind job_migrate = {
	.name = "migrate", .start = start, .resume = resume, .cancel = cancel, .unit_ended = unit_ended, .fini = fini,
};
const struct job_kind job_check = {
	.name = "check", .start = start, .resume = resume, .cancel = cancel, .unit_ended = unit_ended, .fini = fini,
};

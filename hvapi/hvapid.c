/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the daemon's parts together, and carries news between them: what
 * hvinit, hvtls and the hvdomds say becomes events and moves jobs on.
 */
#include "hvapi/hvapid.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/store.h"
#include "hvapi/api/routes.h"
#include "hvapi/event/events.h"
#include "hvapi/http/server.h"
#include "hvapi/hvapid_ctl.h"
#include "hvapi/job/jobs.h"
#include "hvapi/job/keeper.h"
#include "hvapi/job/kinds.h"
#include "hvapi/schema.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"
#include "init/hvinit_ctl.h"
#include "link/hvtls_ctl.h"
#include "migrate/migrate_ctl.h"

enum { UID_HVTLS = 101, UID_SYSTEM_MAX = 999 };

/* Why the VM is in its state; NULL: nothing of it runs. */
static const char *reason_of(struct hvapid *h, const char *vm)
{
	if (!strcmp(domds_state(h->domds, vm), "unknown"))
		return "its hvdomd does not answer";
	return json_string_value(json_object_get(domds_status(h->domds, vm), "reason"));
}

json_t *hvapid_vm_json(struct hvapid *h, const struct vm *v)
{
	const json_t *st = domds_status(h->domds, v->name);
	const char *state = domds_state(h->domds, v->name);
	const struct job *j = jobs_of_vm(h->jobs, v->name);
	json_t *domid = json_object_get(st, "domid"), *since = json_object_get(st, "since_ms");
	bool earlier = domds_idle(h->domds, v->name) && strcasecmp(js_get_text(st, "uuid"), v->uuid);

	if (earlier)		/* an hvdomd that still holds the record of another VM of that name */
		state = "stopped";
	bool here = v->place == VM_HERE || strcmp(state, "stopped");

	return json_pack("{ss ss ss sO? sI sb sO? ss? sb so so sO}", "name", v->name, "uuid", v->uuid, "state",
			 here ? state : vm_place_name(v->place), "domid", domid, "generation",
			 (json_int_t)v->generation, "autostart", v->autostart, "since_ms", since, "reason",
			 reason_of(h, v->name), "saved", v->saved, "peer",
			 v->peer[0] ? json_string(v->peer) : json_null(), "job",
			 j ? json_sprintf("%lld", (long long)j->id) : json_null(), "config", v->config);
}

static void on_units(void *arg, const json_t *ok, const struct err *e);

/* hvinit alone knows whether what does not answer has ended, or is about to be started again. */
static void ask_units(struct hvapid *h)
{
	struct err e = ERR_INIT;

	if (h->hvinit.client && ctl_link_send(&h->hvinit, HVINIT_LIST, NULL, NULL, 0, on_units, h, &e) < 0)
		log_fail(&e, "hvinit");
}

/* ---- news from hvdomds ---- */

static void domd_changed(void *arg, const char *name)
{
	struct hvapid *h = arg;
	struct vm *v = registry_find(h->registry, name);
	const char *state = domds_state(h->domds, name);
	json_t *known = json_object_get(h->states, name);
	const char *was = json_string_value(known) ?: "stopped";

	if (json_is_null(known)) {
		/* It ran before this process did: no news. */
		if (strcmp(state, "unknown"))
			json_object_set_new(h->states, name, json_string(state));
	} else if (strcmp(was, state)) {
		/* Here to stay, for the status of a guest that ended goes with its hvdomd. */
		const char *why = reason_of(h, name) ?: "";

		events_add(h->events, "vm.state", name, 0,
			   json_pack("{ss ss ss}", "state", state, "was", was, "reason", why),
			   "%s: %s -> %s%s%s%s", name, was, state, *why ? " (" : "", why, *why ? ")" : "");
		json_object_set_new(h->states, name, json_string(state));
	}
	if (v && v->place != VM_RECEIVING && !jobs_of_vm(h->jobs, name))
		registry_follow_owner(h->registry, v);
	if (!strcmp(state, "unknown"))
		ask_units(h);
	keeper_domd_changed(h, name);
	jobs_domd_changed(h->jobs, name);
}

/* What an operator must know of; progress is for whoever asked for it. */
static void disk_event(void *arg, const char *vm, const json_t *event)
{
	static const struct {
		const char *what, *type, *text;
	} known[] = {
		{ "io-error", "disk.io-error", "an input/output error" },
		{ "paused", "disk.paused", "paused by an error: resume it when the cause is gone" },
		{ "broke", "disk.broke", "the guest broke the block protocol" },
	};
	struct hvapid *h = arg;
	const char *what = json_string_value(json_object_get(event, "event"));
	const char *disk = json_string_value(json_object_get(event, "disk"));
	union { const json_t *in; json_t *out; } u = { .in = event };

	for (size_t i = 0; what && disk && i < ARRAY_LEN(known); i++)
		if (!strcmp(what, known[i].what))
			events_add(h->events, known[i].type, vm, 0, json_deep_copy(u.out), "%s: disk %s: %s", vm, disk,
				   known[i].text);
}

/* ---- news from hvinit ---- */

static void unit_ended(struct hvapid *h, const char *unit)
{
	if (!strncmp(unit, "domd/", 5)) {
		domds_ended(h->domds, unit + 5);
	} else if (!strncmp(unit, "migrate/", 8) && jobs_of_session(h->jobs, unit + 8)) {
		jobs_unit_ended(h->jobs, unit + 8);
	} else if (!strncmp(unit, "migrate/", 8)) {
		/* A check or a question from another host: nobody waits for its report. */
		AUTO_FREE char *report = mem_printf(MIGRATE_REPORT_FMT, h->data, unit + 8);

		(void)unlink(report);
	}
}

static void on_hvinit_event(void *arg, const json_t *event)
{
	struct hvapid *h = arg;
	const char *unit = json_string_value(json_object_get(event, "unit"));
	const char *state = json_string_value(json_object_get(event, "state"));

	if (!unit || !state)
		return;
	if (!strcmp(state, "failed"))
		events_add(h->events, "unit.failed", NULL, 0, json_pack("{ss sO?}", "unit", unit, "status",
			   json_object_get(event, "status")), "%s failed", unit);
	/* One that failed may be started again; hvmigrates never are. */
	if (!strcmp(state, "exited") || (!strcmp(state, "failed") && !strncmp(unit, "migrate/", 8)))
		unit_ended(h, unit);
	else if (!strcmp(state, "failed"))
		ask_units(h);
}

static void on_units(void *arg, const json_t *ok, const struct err *e)
{
	struct hvapid *h = arg;
	AUTO_JSON json_t *domds = json_array(), *sessions = json_array();
	size_t i;
	json_t *u;

	if (e)
		return;		/* hvinit went; it is asked again when it is back */
	json_array_foreach(json_object_get(ok, "units"), i, u) {
		const char *unit = js_get_text(u, "unit");
		const char *state = js_get_text(u, "state");

		if (!strcmp(state, "exited") || !strcmp(state, "failed"))
			continue;
		if (!strncmp(unit, "domd/", 5))
			json_array_append_new(domds, json_string(unit + 5));
		else if (!strncmp(unit, "migrate/", 8))
			json_array_append_new(sessions, json_string(unit + 8));
	}
	domds_known(h->domds, domds);
	jobs_sessions_known(h->jobs, sessions);
}

static int take_text(void *arg, sqlite3_stmt *row)
{
	*(char **)arg = mem_strdup(store_text(row, 0));
	return 1;
}

/* After a boot, not after a restart of this process. */
static void autostart(struct hvapid *h, const char *boot_id)
{
	AUTO_FREE char *last = NULL;
	struct err e = ERR_INIT;

	if (store_each(h->store, take_text, &last, &e, "SELECT value FROM meta WHERE key = 'boot_id'", "") < 0 ||
	    (last && !strcmp(last, boot_id)))
		return;
	if (store_run(h->store, &e, "INSERT OR REPLACE INTO meta VALUES('boot_id', ?)", "s", boot_id) < 0) {
		log_fail(&e, "autostart");
		return;
	}
	events_add(h->events, "host.started", NULL, 0, NULL, "the host has started");
	for (struct vm *v = registry_first(h->registry); v; v = v->next) {
		struct job *j;

		if (!v->autostart || v->place != VM_HERE || jobs_of_vm(h->jobs, v->name))
			continue;
		if (start_allowed(h, v, false, &e) < 0 ||
		    jobs_add(h->jobs, v->saved ? &job_restore : &job_start, v->name, "autostart", "", NULL, &j, &e) < 0)
			log_fail(&e, "autostart of %s", v->name);
	}
}

static void on_info(void *arg, const json_t *ok, const struct err *e)
{
	struct hvapid *h = arg;
	const char *boot_id = json_string_value(json_object_get(ok, "boot_id"));

	if (e)
		log_fail(e, "hvinit: info");
	if (boot_id && !h->autostarted) {
		h->autostarted = true;
		autostart(h, boot_id);
	}
}

static void on_hvinit_up(void *arg)
{
	struct hvapid *h = arg;
	struct err e = ERR_INIT;

	ask_units(h);
	keeper_hvinit_up(h);
	if (ctl_link_send(&h->hvinit, HVINIT_INFO, NULL, NULL, 0, on_info, h, &e) < 0)
		log_fail(&e, "hvinit");
}

/* ---- news from hvtls ---- */

static void on_hvtls_event(void *arg, const json_t *event)
{
	struct hvapid *h = arg;
	const char *what = js_get_text(event, "event");
	const char *from = json_string_value(json_object_get(event, "from")) ?: "?";
	const char *reason = json_string_value(json_object_get(event, "reason")) ?: "?";
	const char *name = json_string_value(json_object_get(event, "name")) ?: "?";
	const char *by = js_get_text(event, "by");
	json_t *peer = json_object_get(event, "peer");
	union { const json_t *in; json_t *out; } u = { .in = event };

	if (!strcmp(what, HVTLS_EVENT_REFUSED))
		events_add(h->events, "link.refused", NULL, 0, json_copy(u.out), "connection from %s refused: %s",
			   from, reason);
	else if (!strcmp(what, HVTLS_EVENT_PAIRED) && strcmp(by, "us"))
		events_add(h->events, "peer.paired", NULL, 0, json_copy(u.out), "paired with %s",
			   json_string_value(json_object_get(peer, "name")) ?: "?");
	else if (!strcmp(what, HVTLS_EVENT_EXPIRING))
		events_add(h->events, "cert.expiring", NULL, 0, json_copy(u.out),
			   "the certificate of %s expires soon", name);
}

/* ---- our own control socket ---- */

static int verb_accept(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct hvapid *h = arg;
	const char *alpn, *name, *role;
	json_t *peer;
	int fd;

	(void)out;
	if (js_text(in, "alpn", &alpn, e) < 0)
		return -1;
	if (!strcmp(alpn, "hv-migrate/1"))
		return receive_accept(h, c, in, e);
	if (strcmp(alpn, "http/1.1"))
		return err_set(e, ERR_USAGE, "service '%.40s' is none of hvapid's", alpn);
	if (js_obj(in, "peer", &peer, e) < 0 || js_text(peer, "name", &name, e) < 0 ||
	    js_text(peer, "role", &role, e) < 0)
		return -1;
	fd = ctl_take_fd(c, 0);
	if (fd < 0)
		return err_set(e, ERR_USAGE, "accept without a descriptor");
	return http_add(h->http, fd, name, api_role_parse(role), e);
}

static int verb_offer(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	return receive_offer(arg, c, in, out, e);
}

static const struct ctl_verb verbs[] = {
	{ HVAPID_ACCEPT, verb_accept, "a connection whose other end hvtls has proven" },
	{ HVAPID_OFFER, verb_offer, "may this VM come here?" },
	{ NULL, NULL, NULL },
};

/* ---- life ---- */

static int open_parts(struct hvapid *h, const struct hvapid_options *o, struct err *e)
{
	AUTO_FREE char *dir = mem_printf("%s/hvapid", o->data), *db = mem_printf("%s/hvapid.db", dir);
	AUTO_FREE char *boot = mem_printf("%s/boot", o->data), *domd = mem_printf("%s/domd", o->run);
	AUTO_FREE char *api = mem_printf("%s/" HVAPID_API_SOCKET, o->run),
		       *ctl = mem_printf("%s/" HVAPID_SOCKET, o->run);
	uid_t me = geteuid(), other = me && me > UID_SYSTEM_MAX ? me : UID_HVTLS;
	struct http_config hc = {
		.loop = h->loop, .h = h, .routes = api_routes, .upload_dir = boot, .idle_s = o->idle_s
	};

	if (fd_make_dirs(domd, 0750, e) < 0 || fd_make_dirs(dir, 0700, e) < 0 || fd_make_dirs(boot, 0755, e) < 0 ||
	    store_open(db, hvapid_schema, &h->store, e) < 0)
		return -1;
	h->events = events_new(h->store);
	if (registry_open(h->store, o->data, &h->registry, e) < 0 || jobs_open(h, h->store, &h->jobs, e) < 0 ||
	    domds_new(h->loop, o->run, domd_changed, disk_event, h, &h->domds, e) < 0 ||
	    http_new(&hc, &h->http, e) < 0 ||
	    ctl_server_new(h->loop, ctl, 0660, other, verbs, h, &h->ctl, e) < 0)
		return -1;
	return http_listen(h->http, api, e);
}

int hvapid_start(struct loop *l, const struct hvapid_options *o, struct hvapid **out, struct err *e)
{
	struct hvapid *h = mem_alloc(sizeof(*h));
	AUTO_FREE char *hvinit = mem_printf("%s/" HVINIT_SOCKET, o->run),
		       *hvtls = mem_printf("%s/" HVTLS_SOCKET, o->run);

	*h = (struct hvapid){ .loop = l, .run = o->run, .data = o->data, .states = json_object(),
			      .started_mono_ms = clock_mono_ms() };
	if (open_parts(h, o, e) < 0 || jobs_resume(h->jobs, e) < 0) {
		hvapid_stop(h);
		return -1;
	}
	for (struct vm *v = registry_first(h->registry); v; v = v->next) {
		if (domds_has(h->domds, v->name))
			json_object_set_new(h->states, v->name, json_null());
		if (!jobs_of_vm(h->jobs, v->name))
			registry_follow_owner(h->registry, v);
	}
	receive_clean_up(h);
	h->hvinit = (struct ctl_link){ .up = on_hvinit_up, .event = on_hvinit_event, .arg = h };
	h->hvtls = (struct ctl_link){ .event = on_hvtls_event, .arg = h };
	ctl_link_start(&h->hvinit, l, "hvinit", hvinit);
	ctl_link_start(&h->hvtls, l, "hvtls", hvtls);
	*out = h;
	return 0;
}

void hvapid_stop(struct hvapid *h)
{
	if (!h)
		return;
	ctl_server_free(h->ctl);
	jobs_stop(h->jobs);
	keeper_stop(h);
	if (h->hvinit.path)
		ctl_link_stop(&h->hvinit);
	if (h->hvtls.path)
		ctl_link_stop(&h->hvtls);
	domds_free(h->domds);
	http_free(h->http);
	jobs_free(h->jobs);
	registry_close(h->registry);
	events_free(h->events);
	store_close(h->store);
	json_decref(h->states);
	free(h);
}

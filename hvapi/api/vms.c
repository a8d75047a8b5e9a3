/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/vms: definitions.
 */
#include <string.h>

#include "base/js.h"
#include "hvapi/api/routes.h"
#include "hvapi/event/events.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/jobs.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"
#include "hvapi/vm/vm_check.h"
#include "xen/xl_cfg.h"

struct vm *api_vm_of(struct req *r)
{
	struct vm *v = registry_find(r->h->registry, r->par.v[0]);
	struct err e = ERR_INIT;

	if (v)
		return v;
	err_set(&e, ERR_NOT_FOUND, "there is no VM '%s' on this host", r->par.v[0]);
	err_remedy(&e, "GET /v1/vms?all=true lists those there are");
	req_fail(r, &e);
	return NULL;
}

static int query_flag(const struct req *r, const char *name, bool *out, struct err *e)
{
	const char *s = req_query(r, name);

	if (s && strcmp(s, "true") && strcmp(s, "false"))
		return err_set(e, ERR_USAGE, "query parameter %s='%.40s' is not true or false", name, s);
	*out = s && !strcmp(s, "true");
	return 0;
}

void api_vms_list(struct req *r)
{
	json_t *list;
	bool all;
	struct err e = ERR_INIT;

	if (query_flag(r, "all", &all, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	list = json_array();
	for (const struct vm *v = registry_first(r->h->registry); v; v = v->next)
		if (all || v->place != VM_AWAY || strcmp(domds_state(r->h->domds, v->name), "stopped"))
			json_array_append_new(list, hvapid_vm_json(r->h, v));
	req_json(r, 200, json_pack("{so}", "vms", list));
}

/* The definition as the client sent it: JSON, or the text of an xl.cfg. */
static int read_definition(struct req *r, json_t **out, struct err *e)
{
	AUTO_JSON json_t *vm = NULL;

	if (r->body)
		return vm_check(r->body, out, e);
	if (xl_cfg_parse((const char *)r->raw.p, r->raw.len, &vm, e) < 0)
		return -1;
	return vm_check(vm, out, e);
}

void api_vms_define(struct req *r)
{
	AUTO_JSON json_t *vm = NULL;
	bool autostart;
	struct vm *v;
	struct err e = ERR_INIT;

	if (query_flag(r, "autostart", &autostart, &e) < 0 || read_definition(r, &vm, &e) < 0 ||
	    registry_add(r->h->registry, vm, 1, VM_HERE, &v, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	registry_follow_owner(r->h->registry, v);
	if (autostart) {
		v->autostart = true;
		if (registry_save(r->h->registry, v, &e) < 0) {
			req_fail(r, &e);
			return;
		}
	}
	events_add(r->h->events, "vm.defined", v->name, 0, NULL, "%s defined %s", r->who.name, v->name);
	req_json(r, 201, hvapid_vm_json(r->h, v));
}

void api_vms_get(struct req *r)
{
	struct vm *v = api_vm_of(r);

	if (v)
		req_json(r, 200, hvapid_vm_json(r->h, v));
}

void api_vms_change(struct req *r)
{
	static const char *const keys[] = { "autostart", NULL };
	struct vm *v = api_vm_of(r);
	struct err e = ERR_INIT;
	bool was;

	if (!v)
		return;
	was = v->autostart;
	if (js_only(r->body, keys, &e) < 0 || js_opt_bool(r->body, "autostart", &v->autostart, &e) < 0 ||
	    registry_save(r->h->registry, v, &e) < 0) {
		v->autostart = was;
		req_fail(r, &e);
		return;
	}
	if (was != v->autostart)
		events_add(r->h->events, "vm.changed", v->name, 0, json_pack("{sb}", "autostart", v->autostart),
			   "%s set autostart of %s %s", r->who.name, v->name, v->autostart ? "on" : "off");
	req_json(r, 200, hvapid_vm_json(r->h, v));
}

void api_vms_undefine(struct req *r)
{
	struct vm *v = api_vm_of(r);
	const char *state;
	struct job *j;
	struct err e = ERR_INIT;

	if (!v)
		return;
	state = domds_state(r->h->domds, v->name);
	j = jobs_of_vm(r->h->jobs, v->name);
	if (j) {
		err_set(&e, ERR_BUSY, "job %lld (%s) holds VM '%s'", (long long)j->id, j->kind->name, v->name);
	} else if (!domds_idle(r->h->domds, v->name)) {
		err_set(&e, ERR_STATE, "VM '%s' is %s", v->name, state);
		err_remedy(&e, "stop it first: POST /v1/vms/%s/stop", v->name);
	}
	if (e.code != ERR_NONE || registry_remove(r->h->registry, v, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	events_add(r->h->events, "vm.undefined", r->par.v[0], 0, NULL, "%s undefined %s", r->who.name, r->par.v[0]);
	req_empty(r, 204);
}

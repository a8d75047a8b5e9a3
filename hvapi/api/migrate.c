/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/vms/{name}/migrate and /resolve.
 */
#include <string.h>

#include "base/js.h"
#include "hvapi/api/routes.h"
#include "hvapi/event/events.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/kinds.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"
#include "link/hvtls_ctl.h"

enum {
	DOWNTIME_MS = 300, DOWNTIME_MS_MAX = 600000,
	ROUNDS = 30, ROUNDS_MAX = 1000,
	STREAMS_MAX = 1,		/* until a second connection can join a session */
};
#define RATE_MAX (UINT64_C(1) << 40)

static int choice(const char *key, const char *s, const char *const *of, struct err *e)
{
	for (size_t i = 0; of[i]; i++)
		if (!strcmp(of[i], s))
			return 0;
	err_set(e, ERR_USAGE, "field '%s' is '%.40s'", key, s);
	return err_remedy(e, "GET /v1/openapi.json lists what it may be");
}

static int check_streams(uint64_t streams, struct err *e)
{
	if (streams >= 1 && streams <= STREAMS_MAX)
		return 0;
	err_set(e, ERR_USAGE, "streams is %llu; this version moves over one connection", (unsigned long long)streams);
	return err_remedy(e, "leave 'streams' out, or give 1");
}

/* The job's spec but for the peer's address. */
static int make_spec(const struct vm *v, const json_t *body, char *domd, json_t **out, struct err *e)
{
	static const char *const keys[] = { "to", "check_only", "max_downtime_ms", "max_rounds", "on_stall", "streams",
					    "compress", "rate", NULL };
	static const char *const stalls[] = { "throttle", "stop", "abort", NULL };
	static const char *const codecs[] = { "auto", "none", "zlib", "zstd", NULL };
	const char *to, *on_stall = "throttle", *compress = "auto";
	uint64_t downtime = DOWNTIME_MS, rounds = ROUNDS, streams = 1, rate = 0;
	bool check_only = false;

	if (js_only(body, keys, e) < 0 || js_text(body, "to", &to, e) < 0 ||
	    js_opt_bool(body, "check_only", &check_only, e) < 0 ||
	    js_opt_u64(body, "max_downtime_ms", DOWNTIME_MS_MAX, &downtime, e) < 0 ||
	    js_opt_u64(body, "max_rounds", ROUNDS_MAX, &rounds, e) < 0 ||
	    js_opt_text(body, "on_stall", &on_stall, e) < 0 ||
	    js_opt_u64(body, "streams", UINT32_MAX, &streams, e) < 0 ||
	    js_opt_text(body, "compress", &compress, e) < 0 || js_opt_u64(body, "rate", RATE_MAX, &rate, e) < 0 ||
	    choice("on_stall", on_stall, stalls, e) < 0 || choice("compress", compress, codecs, e) < 0 ||
	    check_streams(streams, e) < 0)
		return -1;
	*out = json_pack("{ss ss ss ss sb sI sI ss sI ss sI sb}", "vm", v->name, "uuid", v->uuid, "domd", domd,
			 "peer", to, "check_only", check_only, "max_downtime_ms", (json_int_t)downtime,
			 "max_rounds", (json_int_t)rounds, "on_stall", on_stall, "streams", (json_int_t)streams,
			 "compress", compress, "rate_bytes_s", (json_int_t)rate, "resume", false);
	return *out ? 0 : err_set(e, ERR_USAGE, "a text of the request is not UTF-8");
}

struct move {
	struct req *r;
	json_t *spec;
};

static int find_peer(const json_t *pins, const char *to, json_t *spec, struct err *e)
{
	size_t i;
	json_t *p;

	json_array_foreach(pins, i, p) {
		const char *address = json_string_value(json_object_get(p, "address"));

		if (strcmp(js_get_text(p, "name"), to))
			continue;
		if (strcmp(js_get_text(p, "role"), "peer")) {
			err_set(e, ERR_REFUSED, "'%s' is a client, not a host", to);
			return err_remedy(e, "name a paired host: GET /v1/peers lists them");
		}
		if (!address || !*address) {
			err_set(e, ERR_STATE, "the address of host '%s' is not known", to);
			return err_remedy(e, "set it: PATCH /v1/peers/%s {\"address\": \"host:port\"}", to);
		}
		json_object_set_new(spec, "address", json_string(address));
		return 0;
	}
	err_set(e, ERR_NOT_FOUND, "there is no paired host '%.63s'", to);
	return err_remedy(e, "pair with it first (hvapi host pair); GET /v1/peers lists those there are");
}

static int begin(struct move *m, const json_t *pins, struct job **out, struct err *e)
{
	struct hvapid *h = m->r->h;
	struct vm *v = registry_find(h->registry, m->r->par.v[0]);
	bool check = json_is_true(json_object_get(m->spec, "check_only"));
	char session[33];

	if (!v)
		return err_set(e, ERR_NOT_FOUND, "VM '%s' is not defined any more", m->r->par.v[0]);
	if (find_peer(pins, json_string_value(json_object_get(m->spec, "peer")), m->spec, e) < 0 ||
	    (!jobs_of_vm(h->jobs, v->name) && send_allowed(h, v, e) < 0))
		return -1;
	job_session_name(session);
	return jobs_add(h->jobs, check ? &job_check : &job_migrate, v->name, m->r->who.name, session, m->spec, out, e);
}

static void on_pins(void *arg, const json_t *ok, const struct err *e)
{
	struct move *m = arg;
	struct job *j;
	struct err bad = ERR_INIT;

	if (e)
		req_fail(m->r, e);
	else if (begin(m, json_object_get(ok, "pins"), &j, &bad) < 0)
		req_fail(m->r, &bad);
	else
		api_answer_job(m->r, j);
	req_release(m->r);
	json_decref(m->spec);
	free(m);
}

void api_vm_migrate(struct req *r)
{
	struct vm *v = api_vm_of(r);
	AUTO_FREE char *domd = NULL;
	json_t *spec;
	struct move *m;
	struct err e = ERR_INIT;

	if (!v)
		return;
	domd = domds_path(r->h->domds, v->name);
	if (make_spec(v, r->body, domd, &spec, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	m = mem_alloc(sizeof(*m));
	*m = (struct move){ .r = req_hold(r), .spec = spec };
	if (ctl_link_send(&r->h->hvtls, HVTLS_PINS, NULL, NULL, 0, on_pins, m, &e) < 0)
		on_pins(m, NULL, &e);
}

/* ---- in doubt ---- */

static int risk(const char *vm, const char *outcome, struct err *e)
{
	bool here = !strcmp(outcome, "here");

	err_set(e, ERR_REFUSED, "'%s' says that the VM %s; if that is wrong, %s", outcome,
		here ? "was never taken and goes on here" : "runs at the other host and ends here",
		here ? "it will run twice and destroy its disks" : "no copy of it is left");
	return err_remedy(e,
			  "look at the other host (hvapi --host THERE vm show %s); if you are sure, send "
			  "\"accept_risk\": true",
			  vm);
}

static int resolve(struct req *r, struct vm *v, struct err *e)
{
	static const char *const keys[] = { "outcome", "accept_risk", NULL };
	static const char *const outcomes[] = { "ask", "here", "away", NULL };
	const char *outcome = "ask";
	bool accept = false;
	struct job *j = jobs_of_vm(r->h->jobs, v->name);

	if (js_only(r->body, keys, e) < 0 || js_opt_text(r->body, "outcome", &outcome, e) < 0 ||
	    js_opt_bool(r->body, "accept_risk", &accept, e) < 0 || choice("outcome", outcome, outcomes, e) < 0)
		return -1;
	if (!j || j->kind != &job_migrate || j->state != JOB_IN_DOUBT) {
		err_set(e, ERR_STATE, "no move of VM '%s' is in doubt", v->name);
		return err_remedy(e, "nothing has to be resolved: GET /v1/vms/%s tells its state", v->name);
	}
	if (!strcmp(outcome, "ask"))
		return send_ask_again(j, e);
	if (!accept)
		return risk(v->name, outcome, e);
	if (send_claim(j, !strcmp(outcome, "away"), e) < 0)
		return -1;
	events_add(r->h->events, "vm.resolved", v->name, j->id,
		   json_pack("{ss ss}", "outcome", outcome, "who", r->who.name),
		   "%s resolved the move of %s by his word: %s", r->who.name, v->name, outcome);
	return 0;
}

void api_vm_resolve(struct req *r)
{
	struct vm *v = api_vm_of(r);
	struct err e = ERR_INIT;

	if (!v)
		return;
	if (resolve(r, v, &e) < 0)
		req_fail(r, &e);
	else
		req_json(r, 200, hvapid_vm_json(r->h, v));
}

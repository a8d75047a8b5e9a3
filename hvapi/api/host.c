/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/host: facts come from whoever knows them (hvinit, hvtls, the kernel),
 * asked at the time; a daemon that does not answer leaves its members out.
 */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "hvapi/api/routes.h"
#include "hvapi/event/events.h"
#include "hvapi/hvapid.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"
#include "init/hvinit_ctl.h"
#include "link/hvtls_ctl.h"

enum { PAIR_TTL_S = 600, PAIR_TTL_S_MAX = 86400, SYS_FILE_BYTES_MAX = 4096 };

/* A host document while its parts come in. */
struct facts {
	struct req *r;
	json_t *o;
	unsigned waits;
};

static json_t *file_text(const char *path)
{
	AUTO_BUF struct buf b = { 0 };
	struct err e = ERR_INIT;

	if (fd_read_file(path, SYS_FILE_BYTES_MAX, &b, &e) < 0)
		return NULL;
	while (b.len && (b.p[b.len - 1] == '\n' || b.p[b.len - 1] == ' '))
		b.p[--b.len] = '\0';
	return json_string(b.len ? (const char *)b.p : "");
}

static json_t *xen_facts(void)
{
	AUTO_JSON json_t *major = file_text("/sys/hypervisor/version/major"),
			 *minor = file_text("/sys/hypervisor/version/minor");
	AUTO_JSON json_t *extra = file_text("/sys/hypervisor/version/extra");
	AUTO_JSON json_t *caps = file_text("/sys/hypervisor/properties/capabilities");

	if (!major || !minor || !extra)
		return json_null();
	return json_pack("{so sO?}", "version",
			 json_sprintf("%s.%s%s", json_string_value(major), json_string_value(minor),
				      json_string_value(extra)),
			 "capabilities", caps);
}

static uint64_t meminfo_mib(const char *key)
{
	AUTO_BUF struct buf b = { 0 };
	struct err e = ERR_INIT;
	const char *at;

	if (fd_read_file("/proc/meminfo", SYS_FILE_BYTES_MAX, &b, &e) < 0 || !(at = strstr((const char *)b.p, key)))
		return 0;
	return strtoull(at + strlen(key) + 1, NULL, 10) >> 10;
}

static void put_memory(struct hvapid *h, json_t *o)
{
	uint64_t guests = 0;
	unsigned defined = 0, running = 0;

	for (const struct vm *v = registry_first(h->registry); v; v = v->next) {
		bool runs = strcmp(domds_state(h->domds, v->name), "stopped") != 0;

		defined += v->place == VM_HERE;
		running += runs;
		guests += runs ? (uint64_t)json_integer_value(json_object_get(v->config, "memory_mib")) : 0;
	}
	json_object_set_new(o, "memory",
			    json_pack("{sI sI sI}", "dom0_total_mib", (json_int_t)meminfo_mib("MemTotal"),
				      "dom0_available_mib", (json_int_t)meminfo_mib("MemAvailable"), "guests_mib",
				      (json_int_t)guests));
	json_object_set_new(o, "vms", json_pack("{si si}", "defined", defined, "running", running));
}

static void put_data(struct hvapid *h, json_t *o)
{
	json_t *data = json_object_get(o, "data");
	struct statvfs st;

	if (!data) {
		data = json_object();
		json_object_set_new(o, "data", data);
	}
	if (statvfs(h->data, &st) < 0)
		return;
	json_object_set_new(data, "total_bytes", json_integer((json_int_t)(st.f_blocks * st.f_frsize)));
	json_object_set_new(data, "free_bytes", json_integer((json_int_t)(st.f_bavail * st.f_frsize)));
}

static void part_done(struct facts *f)
{
	if (--f->waits)
		return;
	put_data(f->r->h, f->o);
	req_json(f->r, 200, f->o);
	req_release(f->r);
	free(f);
}

static void copy(json_t *o, const char *as, const json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);

	if (v)
		json_object_set_new(o, as, json_deep_copy(v));
}

static void on_info(void *arg, const json_t *ok, const struct err *e)
{
	struct facts *f = arg;

	(void)e;
	copy(f->o, "name", ok, "hostname");
	copy(f->o, "boot_id", ok, "boot_id");
	copy(f->o, "uptime_ms", ok, "uptime_ms");
	copy(f->o, "network", ok, "network");
	copy(f->o, "data", ok, "data");
	copy(f->o, "phases", ok, "phases");
	part_done(f);
}

static void on_list(void *arg, const json_t *ok, const struct err *e)
{
	struct facts *f = arg;

	(void)e;
	copy(f->o, "units", ok, "units");
	part_done(f);
}

static void on_identity(void *arg, const json_t *ok, const struct err *e)
{
	struct facts *f = arg;

	(void)e;
	copy(f->o, "fingerprint", ok, "fingerprint");
	copy(f->o, "ktls", ok, "ktls");
	if (!json_object_get(f->o, "name"))
		copy(f->o, "name", ok, "name");
	part_done(f);
}

static void on_pins(void *arg, const json_t *ok, const struct err *e)
{
	struct facts *f = arg;

	(void)e;
	if (ok)
		json_object_set_new(f->o, "pins",
				    json_integer((json_int_t)json_array_size(json_object_get(ok, "pins"))));
	part_done(f);
}

static void part(struct facts *f, struct ctl_link *k, const char *verb,
		 void (*fn)(void *arg, const json_t *ok, const struct err *e))
{
	struct err e = ERR_INIT;

	f->waits++;
	if (ctl_link_send(k, verb, NULL, NULL, 0, fn, f, &e) < 0)
		f->waits--;
}

void api_host_get(struct req *r)
{
	struct facts *f = mem_alloc(sizeof(*f));

	*f = (struct facts){ .r = req_hold(r), .o = json_object(), .waits = 1 };
	json_object_set_new(f->o, "version", json_string(HVAPID_VERSION));
	json_object_set_new(f->o, "cpus", json_integer(get_nprocs()));
	json_object_set_new(f->o, "xen", xen_facts());
	put_memory(r->h, f->o);
	part(f, &r->h->hvinit, HVINIT_INFO, on_info);
	part(f, &r->h->hvinit, HVINIT_LIST, on_list);
	part(f, &r->h->hvtls, HVTLS_IDENTITY, on_identity);
	part(f, &r->h->hvtls, HVTLS_PINS, on_pins);
	part_done(f);
}

/* ---- verbs ---- */

static void on_accepted(void *arg, const json_t *ok, const struct err *e)
{
	struct req *r = arg;

	(void)ok;
	if (e)
		req_fail(r, e);
	else
		req_json(r, 202, json_object());
	req_release(r);
}

void api_host_shutdown(struct req *r)
{
	static const char *const keys[] = { "mode", "guests", NULL };
	const char *mode, *guests = "shutdown";
	struct err e = ERR_INIT;

	if (js_only(r->body, keys, &e) < 0 || js_text(r->body, "mode", &mode, &e) < 0 ||
	    js_opt_text(r->body, "guests", &guests, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	if ((strcmp(mode, "poweroff") && strcmp(mode, "reboot")) ||
	    (strcmp(guests, "shutdown") && strcmp(guests, "destroy"))) {
		err_set(&e, ERR_USAGE, "mode '%.20s', guests '%.20s'", mode, guests);
		err_remedy(&e, "mode is poweroff or reboot, guests is shutdown or destroy");
		req_fail(r, &e);
		return;
	}
	AUTO_JSON json_t *args = json_pack("{ss ss}", "mode", mode, "guests", guests);

	events_add(r->h->events, "host.shutdown", NULL, 0, json_pack("{ss ss}", "mode", mode, "who", r->who.name),
		   "%s asked for %s", r->who.name, mode);
	if (ctl_link_send(&r->h->hvinit, HVINIT_SHUTDOWN, args, NULL, 0, on_accepted, req_hold(r), &e) < 0) {
		req_fail(r, &e);
		req_release(r);
	}
}

void api_host_kill_unit(struct req *r)
{
	static const char *const keys[] = { "unit", NULL };
	const char *unit;
	struct err e = ERR_INIT;

	if (js_only(r->body, keys, &e) < 0 || js_text(r->body, "unit", &unit, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	AUTO_JSON json_t *args = json_pack("{ss}", "unit", unit);

	events_add(r->h->events, "unit.killed", NULL, 0, json_pack("{ss ss}", "unit", unit, "who", r->who.name),
		   "%s ended %s", r->who.name, unit);
	if (ctl_link_send(&r->h->hvinit, HVINIT_KILL, args, NULL, 0, on_accepted, req_hold(r), &e) < 0) {
		req_fail(r, &e);
		req_release(r);
	}
}

static void on_code(void *arg, const json_t *ok, const struct err *e)
{
	union { const json_t *in; json_t *out; } u = { .in = ok };
	struct req *r = arg;

	if (e) {
		req_fail(r, e);
	} else {
		json_t *o = json_deep_copy(u.out);

		json_object_set(o, "role", json_object_get(r->body, "role"));
		req_json(r, 201, o);
	}
	req_release(r);
}

void api_host_pairing_code(struct req *r)
{
	static const char *const keys[] = { "role", "name", "ttl_s", NULL };
	const char *role, *name = NULL;
	uint64_t ttl = PAIR_TTL_S;
	struct err e = ERR_INIT;

	if (js_only(r->body, keys, &e) < 0 || js_text(r->body, "role", &role, &e) < 0 ||
	    js_opt_text(r->body, "name", &name, &e) < 0 || js_opt_u64(r->body, "ttl_s", PAIR_TTL_S_MAX, &ttl, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	if ((strcmp(role, "peer") && api_role_parse(role) == API_NONE) || (name && !route_name_ok(name)) || !ttl) {
		err_set(&e, ERR_USAGE, "role '%.20s', name '%.70s', ttl_s %llu", role, name ? name : "",
			(unsigned long long)ttl);
		err_remedy(&e,
			   "role is peer, admin, operator or viewer; a name is letters, digits, '.', '_', '-'; "
			   "ttl_s is 1 to %d",
			   PAIR_TTL_S_MAX);
		req_fail(r, &e);
		return;
	}
	AUTO_JSON json_t *args = json_pack("{ss ss* sI}", "role", role, "name", name, "ttl_s", (json_int_t)ttl);

	if (ctl_link_send(&r->h->hvtls, HVTLS_PAIR_CODE, args, NULL, 0, on_code, req_hold(r), &e) < 0) {
		req_fail(r, &e);
		req_release(r);
	}
}

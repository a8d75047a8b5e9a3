/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/peers: who is trusted.  hvtls keeps the pins; this passes on, checks
 * the request's shape, and records.
 */
#include <string.h>

#include "base/js.h"
#include "hvapi/api/routes.h"
#include "hvapi/event/events.h"
#include "hvapi/http/server.h"
#include "hvapi/hvapid.h"
#include "link/hvtls_ctl.h"

enum { ADDRESS_BYTES_MAX = 255, CODE_BYTES_MAX = 128 };

static void send(struct req *r, const char *verb, const json_t *args,
		 void (*fn)(void *arg, const json_t *ok, const struct err *e))
{
	struct err e = ERR_INIT;

	if (ctl_link_send(&r->h->hvtls, verb, args, NULL, 0, fn, req_hold(r), &e) == 0)
		return;
	req_fail(r, &e);
	req_release(r);
}

static void on_list(void *arg, const json_t *ok, const struct err *e)
{
	struct req *r = arg;

	if (e)
		req_fail(r, e);
	else
		req_json(r, 200,
			 json_pack("{so}", "peers", json_deep_copy(json_object_get(ok, "pins") ?: json_array())));
	req_release(r);
}

void api_peers_list(struct req *r)
{
	send(r, HVTLS_PINS, NULL, on_list);
}

static void on_paired(void *arg, const json_t *ok, const struct err *e)
{
	struct req *r = arg;
	json_t *peer = json_object_get(ok, "peer");

	if (e) {
		req_fail(r, e);
	} else {
		events_add(r->h->events, "peer.paired", NULL, 0, json_deep_copy(peer),
			   "%s paired this host with %s", r->who.name,
			   json_string_value(json_object_get(peer, "name")) ?: "?");
		req_json(r, 201, json_deep_copy(peer));
	}
	req_release(r);
}

void api_peers_pair(struct req *r)
{
	static const char *const keys[] = { "address", "code", "name", NULL };
	const char *address, *code, *name = NULL;
	struct err e = ERR_INIT;

	if (js_only(r->body, keys, &e) < 0 || js_text(r->body, "address", &address, &e) < 0 ||
	    js_text(r->body, "code", &code, &e) < 0 || js_opt_text(r->body, "name", &name, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	if (!*address || strlen(address) > ADDRESS_BYTES_MAX || !*code || strlen(code) > CODE_BYTES_MAX ||
	    (name && !route_name_ok(name))) {
		err_set(&e, ERR_USAGE, "address, code or name is empty, too long, or has characters it may not have");
		err_remedy(&e, "address is host:port; the code is what the other host showed");
		req_fail(r, &e);
		return;
	}
	AUTO_JSON json_t *args = json_pack("{ss ss ss*}", "address", address, "code", code, "name", name);

	send(r, HVTLS_PAIR, args, on_paired);
}

static void on_removed(void *arg, const json_t *ok, const struct err *e)
{
	struct req *r = arg;

	(void)ok;
	if (e) {
		req_fail(r, e);
	} else {
		events_add(r->h->events, "peer.removed", NULL, 0, json_pack("{ss}", "name", r->par.v[0]),
			   "%s removed %s", r->who.name, r->par.v[0]);
		http_cut(r->http, r->par.v[0], r);
		req_empty(r, 204);
	}
	req_release(r);
}

void api_peers_remove(struct req *r)
{
	AUTO_JSON json_t *args = json_pack("{ss}", "name", r->par.v[0]);

	send(r, HVTLS_UNPIN, args, on_removed);
}

static void on_changed(void *arg, const json_t *ok, const struct err *e)
{
	struct req *r = arg;

	if (e) {
		req_fail(r, e);
	} else {
		events_add(r->h->events, "peer.changed", NULL, 0, json_pack("{ss}", "name", r->par.v[0]),
			   "%s changed the address of %s", r->who.name, r->par.v[0]);
		req_json(r, 200, json_deep_copy(json_object_get(ok, "peer")));
	}
	req_release(r);
}

void api_peers_change(struct req *r)
{
	static const char *const keys[] = { "address", NULL };
	const char *address;
	struct err e = ERR_INIT;

	if (js_only(r->body, keys, &e) < 0 || js_text(r->body, "address", &address, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	if (!*address || strlen(address) > ADDRESS_BYTES_MAX) {
		err_set(&e, ERR_USAGE, "address is empty or longer than %d bytes", ADDRESS_BYTES_MAX);
		err_remedy(&e, "address is host:port");
		req_fail(r, &e);
		return;
	}
	AUTO_JSON json_t *args = json_pack("{ss ss}", "name", r->par.v[0], "address", address);

	send(r, HVTLS_SET_ADDRESS, args, on_changed);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/certs: what hvtls keeps.
 */
#include "base/js.h"
#include "hvapi/api/routes.h"
#include "hvapi/event/events.h"
#include "hvapi/hvapid.h"
#include "link/hvtls_ctl.h"

/* The document while its two halves come in. */
struct certs {
	struct req *r;
	json_t *identity;
};

static void on_pins(void *arg, const json_t *ok, const struct err *e)
{
	struct certs *c = arg;

	if (e)
		req_fail(c->r, e);
	else
		req_json(c->r, 200,
			 json_pack("{sO sO?}", "identity", c->identity, "pins", json_object_get(ok, "pins")));
	req_release(c->r);
	json_decref(c->identity);
	free(c);
}

static void fail(struct certs *c, const struct err *e)
{
	on_pins(c, NULL, e);
}

static void on_identity(void *arg, const json_t *ok, const struct err *e)
{
	union { const json_t *in; json_t *out; } u = { .in = ok };
	struct certs *c = arg;
	struct err bad = ERR_INIT;

	if (e) {
		fail(c, e);
		return;
	}
	c->identity = json_deep_copy(u.out);
	if (ctl_link_send(&c->r->h->hvtls, HVTLS_PINS, NULL, NULL, 0, on_pins, c, &bad) < 0)
		fail(c, &bad);
}

void api_certs_get(struct req *r)
{
	struct certs *c = mem_alloc(sizeof(*c));
	struct err e = ERR_INIT;

	c->r = req_hold(r);
	if (ctl_link_send(&r->h->hvtls, HVTLS_IDENTITY, NULL, NULL, 0, on_identity, c, &e) < 0)
		fail(c, &e);
}

static void on_renewed(void *arg, const json_t *ok, const struct err *e)
{
	union { const json_t *in; json_t *out; } u = { .in = ok };
	struct req *r = arg;

	if (e) {
		req_fail(r, e);
	} else {
		events_add(r->h->events, "cert.renewed", NULL, 0, json_deep_copy(u.out),
			   "%s renewed the certificate of this host", r->who.name);
		req_json(r, 200, json_deep_copy(u.out));
	}
	req_release(r);
}

void api_certs_renew(struct req *r)
{
	struct err e = ERR_INIT;

	if (ctl_link_send(&r->h->hvtls, HVTLS_RENEW, NULL, NULL, 0, on_renewed, req_hold(r), &e) < 0) {
		req_fail(r, &e);
		req_release(r);
	}
}

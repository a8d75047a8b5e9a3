/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of hvtls_ctl.h.
 */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "link/hvtls.h"
#include "link/hvtls_ctl.h"
#include "link/pair_wire.h"

static json_t *identity_json(const struct hvtls *h)
{
	return json_pack("{ss ss sI sb so}", "name", h->name, "fingerprint", h->id->fingerprint_text,
			 "not_after_ms", (json_int_t)h->id->not_after_ms, "ktls", (int)h->ktls,
			 "listen", incoming_addresses(h));
}

static int verb_identity(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)c;
	if (js_only(in, (const char *const[]){ NULL }, e) < 0)
		return -1;
	*out = identity_json(arg);
	return 0;
}

static int need_pin(const struct hvtls *h, const json_t *in, const char *key, const struct pin **out, struct err *e)
{
	const char *name;

	if (js_text(in, key, &name, e) < 0)
		return -1;
	*out = pins_by_name(h->pins, name);
	if (*out)
		return 0;
	err_set(e, ERR_NOT_FOUND, "no host or operator '%.80s' is paired with this host", name);
	return err_remedy(e, "hvapi host peers lists those that are");
}

static int verb_dial(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "peer", "alpn", "address", NULL };
	struct hvtls *h = arg;
	struct outgoing_request q = { .call = c };

	(void)out;
	if (js_only(in, known, e) < 0 || need_pin(h, in, "peer", &q.peer, e) < 0 ||
	    js_text(in, "alpn", &q.alpn, e) < 0)
		return -1;
	q.address = q.peer->address;
	if (js_opt_text(in, "address", &q.address, e) < 0)
		return -1;
	if (!q.alpn[0] || strlen(q.alpn) >= TLS_ALPN_BYTES)
		return err_set(e, ERR_USAGE, "alpn must have 1 to %d characters", TLS_ALPN_BYTES - 1);
	if (!q.address[0]) {
		err_set(e, ERR_STATE, "no address of %s is known", q.peer->name);
		return err_remedy(e, "pair again, or set one: PATCH /v1/peers/%s", q.peer->name);
	}
	return outgoing_start(h, &q, e);
}

static int verb_pair_code(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "role", "name", "ttl_s", NULL };
	const char *role_text, *name = NULL;
	char text[PAIR_CODE_TEXT_BYTES];
	uint64_t ttl_s = CODE_TTL_S, expires_ms;
	enum role role;

	(void)c;
	if (js_only(in, known, e) < 0 || js_text(in, "role", &role_text, e) < 0 ||
	    role_parse(role_text, &role, e) < 0 || js_opt_text(in, "name", &name, e) < 0 ||
	    js_opt_u64(in, "ttl_s", CODE_TTL_S_MAX, &ttl_s, e) < 0)
		return -1;
	if (!ttl_s)
		return err_set(e, ERR_USAGE, "ttl_s must be 1 to %d", CODE_TTL_S_MAX);
	expires_ms = clock_real_ms() + ttl_s * 1000;
	if (hvtls_make_code(arg, role, name, expires_ms, text, e) < 0)
		return -1;
	*out = json_pack("{ss sI ss}", "code", text, "expires_ms", (json_int_t)expires_ms, "role", role_name(role));
	return 0;
}

static int verb_pair(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "address", "code", "name", NULL };
	struct outgoing_request q = { .call = c, .alpn = PAIR_ALPN };
	uint8_t secret[PAIR_SECRET_BYTES];
	const char *code;

	(void)out;
	if (js_only(in, known, e) < 0 || js_text(in, "address", &q.address, e) < 0 ||
	    js_text(in, "code", &code, e) < 0 || js_opt_text(in, "name", &q.call_it, e) < 0 ||
	    pair_code_parse(code, secret, e) < 0)
		return -1;
	if (q.call_it && !name_is_valid(q.call_it))
		return err_set(e, ERR_USAGE, "'%.80s' is no name: letters, digits, '.', '_', '-'", q.call_it);
	q.secret = secret;
	return outgoing_start(arg, &q, e);
}

static int verb_pins(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct hvtls *h = arg;
	json_t *list = json_array();
	const struct pin *p;

	(void)c;
	(void)in;
	(void)e;
	for (unsigned i = 0; (p = pins_at(h->pins, i)) != NULL; i++)
		json_array_append_new(list, pin_json(p));
	*out = json_pack("{so}", "pins", list);
	return 0;
}

static int verb_unpin(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "name", NULL };
	struct hvtls *h = arg;
	const struct pin *pin;
	struct pin was;

	(void)c;
	(void)out;
	if (js_only(in, known, e) < 0 || need_pin(h, in, "name", &pin, e) < 0)
		return -1;
	was = *pin;
	if (was.role == ROLE_ADMIN && pins_count(h->pins, ROLE_ADMIN) == 1) {
		err_set(e, ERR_REFUSED, "%s is the last administrator", was.name);
		return err_remedy(e, "enrol another one first");
	}
	if (pins_remove(h->pins, was.name, e) < 0)
		return -1;
	log_info("%s (%s) is no longer known here", was.name, role_name(was.role));
	handoff_cut(h, was.fingerprint);
	return 0;
}

static int verb_set_address(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "name", "address", NULL };
	struct hvtls *h = arg;
	const struct pin *pin;
	const char *address;
	struct addr a;
	struct pin now;

	(void)c;
	if (js_only(in, known, e) < 0 || need_pin(h, in, "name", &pin, e) < 0 ||
	    js_text(in, "address", &address, e) < 0 || addr_parse(address, HVTLS_PORT, &a, e) < 0)
		return -1;
	if (strlen(address) >= sizeof(now.address))
		return err_set(e, ERR_LIMIT, "the address is too long");
	now = *pin;
	memcpy(now.address, address, strlen(address) + 1);
	if (pins_put(h->pins, &now, e) < 0)
		return -1;
	*out = json_pack("{so}", "peer", pin_json(&now));
	return 0;
}

static int verb_renew(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct hvtls *h = arg;
	struct identity *id;

	(void)c;
	(void)in;
	if (identity_renew(h->host_dir, h->name, &id, e) < 0)
		return -1;
	identity_put(h->id);
	h->id = id;
	log_info("certificate renewed, key %.16s stays", id->fingerprint_text);
	*out = identity_json(h);
	return 0;
}

const struct ctl_verb hvtls_verbs[] = {
	{ HVTLS_IDENTITY, verb_identity, "who this host is" },
	{ HVTLS_DIAL, verb_dial, "{peer, alpn, address?}: a connection to a paired host" },
	{ HVTLS_PAIR_CODE, verb_pair_code, "{role, name?, ttl_s?}: a one-time code" },
	{ HVTLS_PAIR, verb_pair, "{address, code, name?}: pair with the host that shows the code" },
	{ HVTLS_PINS, verb_pins, "who is known" },
	{ HVTLS_UNPIN, verb_unpin, "{name}: forget somebody" },
	{ HVTLS_SET_ADDRESS, verb_set_address, "{name, address}: where a host is to be dialled" },
	{ HVTLS_RENEW, verb_renew, "a new certificate for the same key" },
	{ NULL, NULL, NULL },
};

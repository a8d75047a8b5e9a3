/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that this host makes: `dial` for hvapid and hvmigrate, `pair`
 * for hvapid.  Each waits as a deferred call until it is through.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/js.h"
#include "base/log.h"
#include "link/addr.h"
#include "link/attempt.h"
#include "link/hvtls.h"

struct outgoing {
	struct hvtls *h;
	struct outgoing *next;
	struct ctl_call *call;
	char address[PIN_ADDRESS_BYTES];
	struct addr addr;
	struct addrinfo *list, *at;	/* at: being tried */
	bool resolving;			/* a thread is at it and owns this object until it is done */
	bool orphan;			/* the service went meanwhile */
	struct err resolve_err;
	struct attempt *a;
	const char *alpn[2];
	char alpn_text[TLS_ALPN_BYTES];
	bool pairs;
	struct pin peer;		/* dial: who must answer */
	uint8_t secret[PAIR_SECRET_BYTES];
	char call_it[IDENTITY_NAME_BYTES];
	struct hvtls_pairing pairing;
};

static void release(struct outgoing *o)
{
	attempt_free(o->a);
	if (o->list)
		freeaddrinfo(o->list);
	free(o);
}

static void unlink_it(struct outgoing *o)
{
	struct outgoing **at;

	for (at = &o->h->outgoing; *at != o; at = &(*at)->next)
		;
	*at = o->next;
	o->h->n_outgoing--;
}

static void finish(struct outgoing *o, json_t *answer, const struct err *e)
{
	ctl_finish(o->call, answer, e);
	unlink_it(o);
	release(o);
}

static void fail(struct outgoing *o, const struct err *why)
{
	struct err e = *why;

	err_wrap(&e, "%s at %.100s", o->pairs ? "pair" : o->peer.name, o->address);
	finish(o, NULL, &e);
}

static bool judge(void *arg, const char *alpn, const struct tls_peer *peer, struct err *why)
{
	const struct outgoing *o = arg;
	char fp[FINGERPRINT_TEXT_BYTES], want[FINGERPRINT_TEXT_BYTES];

	if (!alpn) {
		err_set(why, ERR_INCOMPATIBLE, "it does not offer %s", o->alpn_text);
		return false;
	}
	if (o->pairs || memcmp(o->peer.fingerprint, peer->fingerprint, FINGERPRINT_BYTES) == 0)
		return true;
	fingerprint_text(peer->fingerprint, fp);
	fingerprint_text(o->peer.fingerprint, want);
	err_set(why, ERR_REFUSED, "who answers is not %s: key %.16s, pinned is %.16s", o->peer.name, fp, want);
	err_remedy(why, "if %s was installed anew, unpair and pair it again; else check its address", o->peer.name);
	return false;
}

static void dialled(struct outgoing *o)
{
	struct tls *t = attempt_take_tls(o->a);
	struct err e = ERR_INIT;
	const char *transport;
	int fd;

	if (handoff(o->h, t, TLS_CLIENT, o->peer.name, &fd, &transport, &e) < 0) {
		fail(o, &e);
		return;
	}
	ctl_give_fd(o->call, fd);
	finish(o, json_pack("{so ss}", "peer", pin_json(&o->peer), "transport", transport), NULL);
}

static void start_pairing(struct outgoing *o)
{
	struct pair_setup ps = {
		.side = PAIR_DIALER, .kind = PAIR_HOST, .name = o->h->name, .port = o->h->port, .secret = o->secret,
		.call_it = o->call_it[0] ? o->call_it : NULL, .hooks = &hvtls_pair_hooks, .arg = &o->pairing,
	};
	struct err e = ERR_INIT;

	memcpy(ps.own, o->h->id->fingerprint, sizeof(ps.own));
	o->pairing.h = o->h;
	o->pairing.address = o->address;
	o->pairing.not_after_ms = tls_peer(attempt_tls(o->a))->not_after_ms;
	if (attempt_pair(o->a, &ps, &e) < 0)
		fail(o, &e);
}

static void paired(struct outgoing *o)
{
	const struct pin *pin = pins_by_fingerprint(o->h->pins, attempt_pair_result(o->a)->fingerprint);
	struct err e = ERR_INIT;

	if (pin) {
		finish(o, json_pack("{so}", "peer", pin_json(pin)), NULL);
		return;
	}
	err_set(&e, ERR_STATE, "unpaired again at once");
	fail(o, &e);
}

static void try_next(struct outgoing *o);

static void attempt_done(void *arg, struct attempt *a, const struct err *e)
{
	struct outgoing *o = arg;

	if (e && !attempt_was_connected(a) && o->at->ai_next) {
		o->at = o->at->ai_next;
		attempt_free(o->a);
		o->a = NULL;
		try_next(o);
	} else if (e) {
		fail(o, e);
	} else if (!o->pairs) {
		dialled(o);
	} else if (attempt_pair_result(a)->role == ROLE_NONE) {
		start_pairing(o);
	} else {
		paired(o);
	}
}

/* Tries o->at and, while sockets fail at once, those behind it. */
static void try_next(struct outgoing *o)
{
	struct attempt_setup as = {
		.l = o->h->l, .id = o->h->id, .side = TLS_CLIENT, .fd = -1, .alpn = o->alpn, .gcm_first = o->h->ktls,
		.limit_ms = o->h->cfg.limit_ms, .judge = judge, .done = attempt_done, .arg = o,
	};
	struct err e = ERR_INIT;

	for (;;) {
		as.to = o->at->ai_addr;
		as.to_len = o->at->ai_addrlen;
		if (attempt_new(&as, &o->a, &e) == 0)
			return;
		if (!o->at->ai_next)
			break;
		o->at = o->at->ai_next;
	}
	fail(o, &e);
}

/* Off the loop: touches addr, list and resolve_err only. */
static void resolve(void *arg)
{
	struct outgoing *o = arg;

	if (addr_resolve(&o->addr, 0, &o->list, &o->resolve_err) < 0)
		o->list = NULL;
}

static void resolved(void *arg)
{
	struct outgoing *o = arg;

	o->resolving = false;
	if (o->orphan) {
		release(o);
		return;
	}
	o->at = o->list;
	if (o->list)
		try_next(o);
	else
		fail(o, &o->resolve_err);
}

static struct outgoing *outgoing_of(struct hvtls *h, const struct outgoing_request *q)
{
	struct outgoing *o = mem_alloc(sizeof(*o));

	o->h = h;
	snprintf(o->alpn_text, sizeof(o->alpn_text), "%s", q->alpn);
	o->alpn[0] = o->alpn_text;
	o->pairs = !q->peer;
	if (q->peer)
		o->peer = *q->peer;
	if (q->secret)
		memcpy(o->secret, q->secret, sizeof(o->secret));
	if (q->call_it)
		snprintf(o->call_it, sizeof(o->call_it), "%s", q->call_it);
	return o;
}

/* With the port written out, as it goes into the pin. */
static int take_address(struct outgoing *o, const char *text, struct err *e)
{
	if (addr_parse(text, HVTLS_PORT, &o->addr, e) < 0)
		return -1;
	snprintf(o->address, sizeof(o->address), strchr(o->addr.host, ':') ? "[%s]:%u" : "%s:%u", o->addr.host,
		 o->addr.port);
	return 0;
}

int outgoing_start(struct hvtls *h, const struct outgoing_request *q, struct err *e)
{
	struct outgoing *o;
	struct err name = ERR_INIT;

	if (h->n_outgoing == DIALS_MAX)
		return err_set(e, ERR_LIMIT, "%d connections are being made already", DIALS_MAX);
	o = outgoing_of(h, q);
	if (take_address(o, q->address, e) < 0) {
		release(o);
		return -1;
	}
	o->resolving = true;
	if (addr_resolve(&o->addr, 1, &o->list, &name) == 0) {
		loop_post(h->l, resolved, o);
	} else if (loop_work(h->l, resolve, resolved, o, e) < 0) {
		release(o);
		return -1;
	}
	o->call = ctl_defer(q->call);
	o->next = h->outgoing;
	h->outgoing = o;
	h->n_outgoing++;
	return 0;
}

void outgoing_free(struct hvtls *h)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_CANCELLED, "hvtls is stopping");
	while (h->outgoing) {
		struct outgoing *o = h->outgoing;

		ctl_finish(o->call, NULL, &e);
		unlink_it(o);
		o->orphan = true;
		if (!o->resolving)
			release(o);
	}
}

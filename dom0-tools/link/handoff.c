/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a TLS connection to a plain descriptor: by the kernel where service,
 * suite and kernel allow it, else by a pump that stays here.
 */
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "link/hvtls.h"
#include "link/hvtls_ctl.h"
#include "link/ktls.h"
#include "link/pump.h"
#include "link/services.h"

struct carried {
	struct hvtls *h;
	struct carried *next;
	struct pump *pump;
	uint8_t fingerprint[FINGERPRINT_BYTES];
	char peer[IDENTITY_NAME_BYTES];
	char alpn[TLS_ALPN_BYTES];
};

static void forget(struct carried *c)
{
	struct carried **at;

	for (at = &c->h->carried; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	c->h->n_carried--;
	free(c);
}

static void pump_ended(void *arg, struct pump *p, bool clean)
{
	struct carried *c = arg;

	(void)p;
	if (!clean)
		log_debug("%s: %s: connection cut", c->peer, c->alpn);
	forget(c);
}

static int by_pump(struct hvtls *h, struct tls *t, const char *peer, int *out_fd, struct err *e)
{
	struct carried *c;

	if (h->n_carried == PUMPS_MAX) {
		tls_free(t);
		return err_set(e, ERR_LIMIT, "%d connections are carried already", PUMPS_MAX);
	}
	c = mem_alloc(sizeof(*c));
	*c = (struct carried){ .h = h, .next = h->carried };
	memcpy(c->fingerprint, tls_peer(t)->fingerprint, sizeof(c->fingerprint));
	memcpy(c->alpn, tls_alpn(t), strnlen(tls_alpn(t), sizeof(c->alpn) - 1));
	memcpy(c->peer, peer, strnlen(peer, sizeof(c->peer) - 1));
	if (pump_new(h->l, t, pump_ended, c, out_fd, &c->pump, e) < 0) {
		tls_free(t);
		free(c);
		return -1;
	}
	h->carried = c;
	h->n_carried++;
	return 0;
}

/* DONE: *out_fd is the socket, t is gone.  AGAIN: t is as it was.  FAILED: t is gone. */
enum by_kernel { KERNEL_DONE, KERNEL_NOT, KERNEL_FAILED };

static enum by_kernel by_kernel(struct hvtls *h, struct tls *t, enum tls_side side, int *out_fd, struct err *e)
{
	const struct service *s = service_find(tls_alpn(t));
	struct err why = ERR_INIT;
	bool untouched;

	if (!h->ktls || !s || !s->bulk || !tls_keys(t)->gcm || !tls_is_drained(t))
		return KERNEL_NOT;
	if (ktls_enable(tls_fd(t), side, tls_keys(t), &untouched, &why) < 0) {
		log_fail(&why, "kernel TLS");
		if (untouched)
			return KERNEL_NOT;
		*e = why;
		tls_free(t);
		return KERNEL_FAILED;
	}
	if (fd_set_nonblock(tls_fd(t), false, e) < 0) {
		tls_free(t);
		return KERNEL_FAILED;
	}
	*out_fd = tls_take_fd(t);
	tls_free(t);
	return KERNEL_DONE;
}

int handoff(struct hvtls *h, struct tls *t, enum tls_side side, const char *peer, int *out_fd,
	    const char **out_transport, struct err *e)
{
	switch (by_kernel(h, t, side, out_fd, e)) {
	case KERNEL_DONE:
		*out_transport = HVTLS_TRANSPORT_KTLS;
		return 0;
	case KERNEL_FAILED:
		return -1;
	case KERNEL_NOT:
		break;
	}
	*out_transport = HVTLS_TRANSPORT_PUMP;
	return by_pump(h, t, peer, out_fd, e);
}

void handoff_cut(struct hvtls *h, const uint8_t fingerprint[FINGERPRINT_BYTES])
{
	for (struct carried *c = h->carried, *next; c; c = next) {
		next = c->next;
		if (memcmp(c->fingerprint, fingerprint, FINGERPRINT_BYTES) != 0)
			continue;
		pump_free(c->pump);
		forget(c);
	}
}

void handoff_free(struct hvtls *h)
{
	while (h->carried) {
		pump_free(h->carried->pump);
		forget(h->carried);
	}
}

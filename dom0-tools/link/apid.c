/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapid's ear: one control connection, made when it is needed and made again
 * after hvapid went.  While it is away, connections that come in are closed;
 * their clients try again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "hvapi/hvapid_ctl.h"
#include "link/hvtls.h"

struct apid {
	struct hvtls *h;
	char path[256];
	struct ctl_client *c;		/* NULL: not connected */
	unsigned waiting;
};

void apid_new(struct hvtls *h)
{
	struct apid *a = mem_alloc(sizeof(*a));

	a->h = h;
	snprintf(a->path, sizeof(a->path), "%s/%s", h->cfg.run, HVAPID_SOCKET);
	h->apid = a;
}

void apid_free(struct hvtls *h)
{
	if (!h->apid)
		return;
	ctl_client_free(h->apid->c);
	free(h->apid);
	h->apid = NULL;
}

static void gone(void *arg)
{
	struct apid *a = arg;

	log_info("hvapid is away");
	ctl_client_free(a->c);
	a->c = NULL;
	a->waiting = 0;
}

static int connected(struct apid *a, struct err *e)
{
	if (a->c)
		return 0;
	if (ctl_connect(a->path, &a->c, e) < 0)
		return -1;
	if (ctl_client_attach(a->c, a->h->l, NULL, gone, a, e) == 0)
		return 0;
	ctl_client_free(a->c);
	a->c = NULL;
	return -1;
}

static void answered(void *arg, const json_t *ok, const struct err *e)
{
	struct apid *a = arg;

	(void)ok;
	if (a->waiting)
		a->waiting--;
	if (e)
		log_fail(e, "hvapid did not take a connection");
}

static int offer(struct apid *a, const char *alpn, const struct pin *peer, const char *from, const char *transport,
		 int fd, struct err *e)
{
	AUTO_JSON json_t *args = json_pack("{ss so ss ss}", "alpn", alpn, "peer", pin_json(peer), "from", from,
					   "transport", transport);

	if (a->waiting >= ACCEPTS_WAITING_MAX)
		return err_set(e, ERR_BUSY, "hvapid has %d connections to answer", a->waiting);
	if (connected(a, e) < 0)
		return -1;
	if (ctl_send(a->c, HVAPID_ACCEPT, args, &fd, 1, answered, a, e) < 0)
		return -1;
	a->waiting++;
	return 0;
}

void apid_accept(struct hvtls *h, const char *alpn, const struct pin *peer, const char *from, const char *transport,
		 int fd)
{
	struct err e = ERR_INIT;

	if (offer(h->apid, alpn, peer, from, transport, fd, &e) < 0)
		log_fail(&e, "%s: %s closed", peer->name, alpn);
	else
		log_info("%s from %s: %s (%s)", peer->name, from, alpn, transport);
	fd_close(&fd);
}

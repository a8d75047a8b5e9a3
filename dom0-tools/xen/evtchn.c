/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libxenevtchn behind our types.  Its pending call may block even on a
 * non-blocking descriptor, so poll comes first.
 */
#include "xen/evtchn.h"

#include <errno.h>
#include <poll.h>
#include <xenevtchn.h>

#include "base/buf.h"

struct evtchn {
	xenevtchn_handle *h;
};

int evtchn_open(struct evtchn **out, struct err *e)
{
	xenevtchn_handle *h = xenevtchn_open(NULL, 0);

	if (!h) {
		err_sys(e, errno, "open the event channel device");
		return err_remedy(e, "load xen-evtchn: modprobe xen-evtchn");
	}
	*out = mem_alloc(sizeof(**out));
	(*out)->h = h;
	return 0;
}

void evtchn_close(struct evtchn *c)
{
	if (!c)
		return;
	xenevtchn_close(c->h);
	free(c);
}

int evtchn_fd(const struct evtchn *c)
{
	return xenevtchn_fd(c->h);
}

int evtchn_bind(struct evtchn *c, unsigned domid, uint32_t remote_port, int *out_port, struct err *e)
{
	int port = xenevtchn_bind_interdomain(c->h, domid, remote_port);

	if (port < 0)
		return err_sys(e, errno, "bind event channel %u of domain %u", remote_port, domid);
	*out_port = port;
	return 0;
}

/* The three below fail only for a port that is not ours, or of a domain that is gone: then nobody listens. */
void evtchn_unbind(struct evtchn *c, int port)
{
	xenevtchn_unbind(c->h, (evtchn_port_t)port);
}

void evtchn_notify(struct evtchn *c, int port)
{
	xenevtchn_notify(c->h, (evtchn_port_t)port);
}

void evtchn_unmask(struct evtchn *c, int port)
{
	xenevtchn_unmask(c->h, (evtchn_port_t)port);
}

int evtchn_next(struct evtchn *c)
{
	struct pollfd p = { .fd = xenevtchn_fd(c->h), .events = POLLIN };

	if (poll(&p, 1, 0) <= 0)
		return -1;
	return xenevtchn_pending(c->h);
}

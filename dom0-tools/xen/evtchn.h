/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event channels: bells between domains.  A port that rang stays silent until
 * evtchn_unmask.  One thread per handle.
 */
#ifndef XEN_EVTCHN_H
#define XEN_EVTCHN_H

#include <stdint.h>

#include "base/err.h"

struct evtchn;

/* Opens /dev/xen/evtchn. */
MUSTUSE int evtchn_open(struct evtchn **out, struct err *e);
void evtchn_close(struct evtchn *c);	/* NULL is fine; unbinds every port */
int evtchn_fd(const struct evtchn *c);	/* readable when a port rang */

/* Binds to a port that domid offers us; *out_port is ours. */
MUSTUSE int evtchn_bind(struct evtchn *c, unsigned domid, uint32_t remote_port, int *out_port, struct err *e);
void evtchn_unbind(struct evtchn *c, int port);
void evtchn_notify(struct evtchn *c, int port);
/* One port that rang, -1: none.  Does not block. */
int evtchn_next(struct evtchn *c);
void evtchn_unmask(struct evtchn *c, int port);

#endif

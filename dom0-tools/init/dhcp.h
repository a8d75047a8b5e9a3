/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DHCP client for one interface, on the loop:
 *
 *	init ─DISCOVER─► selecting ─OFFER/REQUEST─► requesting ─ACK─► bound ─T1─► renewing ─T2─► rebinding
 *	  ▲                  (repeats)                  │ NAK           ▲────────── ACK ─┘──────────┘ │
 *	  └─────────────────────────────────────────────┴───────────────────────── NAK, lease over ───┘
 */
#ifndef INIT_DHCP_H
#define INIT_DHCP_H

#include "base/loop.h"
#include "init/dhcp_proto.h"

struct dhcp;

enum {
	DHCP_RETRY_MS_FIRST = 500,	/* a bridge's uplink needs a moment after it came up */
	DHCP_RETRY_MS_MAX = 16000,
};

/* Opens the socket and starts.  hostname must stay valid.  on_lease: a lease was given or renewed (NULL: it is
 * over, remove the address). */
MUSTUSE int dhcp_start(struct loop *l, const char *ifname, const uint8_t mac[6], const char *hostname,
		       void (*on_lease)(void *arg, const struct dhcp_answer *a), void *arg, struct dhcp **out,
		       struct err *e);
void dhcp_free(struct dhcp *d);

#endif

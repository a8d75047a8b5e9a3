/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces, bridges, addresses and routes of dom0, by rtnetlink.  Each
 * call blocks for one exchange with the kernel.
 */
#ifndef NET_NETIF_H
#define NET_NETIF_H

#include <stdbool.h>
#include <stdint.h>
#include <net/if.h>

#include "base/err.h"

enum { NETIF_MAX = 64 };

struct netif;				/* one netlink socket */

struct netif_info {
	char name[IFNAMSIZ];
	int index;
	uint8_t mac[6];
	unsigned mtu;
	bool up;
	bool carrier;			/* known only while up */
	bool physical;			/* Ethernet with a device behind it: no bridge, vif, loopback */
	char master[IFNAMSIZ];		/* the bridge it is in, or "" */
};

MUSTUSE int netif_open(struct netif **out, struct err *e);
void netif_close(struct netif *n);

/* ERR_NOT_FOUND if there is none. */
MUSTUSE int netif_find(struct netif *n, const char *name, struct netif_info *out, struct err *e);
/* All interfaces, in the order of their index; *n_out is capacity in, count out. */
MUSTUSE int netif_list(struct netif *n, struct netif_info *out, unsigned *n_out, struct err *e);

MUSTUSE int netif_set_up(struct netif *n, const char *name, bool up, struct err *e);
MUSTUSE int netif_set_mtu(struct netif *n, const char *name, unsigned mtu, struct err *e);
/* The interface is taken down for it if need be, and left down then. */
MUSTUSE int netif_set_mac(struct netif *n, const char *name, const uint8_t mac[6], struct err *e);

/* A bridge without STP and with a fixed MAC (NULL: the kernel's choice).  It is fine if it exists. */
MUSTUSE int netif_bridge_make(struct netif *n, const char *name, const uint8_t mac[6], struct err *e);
MUSTUSE int netif_bridge_join(struct netif *n, const char *bridge, const char *port, struct err *e);
/* It is fine if the port is in no bridge. */
MUSTUSE int netif_bridge_leave(struct netif *n, const char *port, struct err *e);

/* IPv4, network order.  It is fine if the address is there, or for del, is not. */
MUSTUSE int netif_addr_add(struct netif *n, const char *name, uint32_t ip, unsigned prefix, struct err *e);
MUSTUSE int netif_addr_del(struct netif *n, const char *name, uint32_t ip, unsigned prefix, struct err *e);
/* Default route; an existing one with the same metric is replaced. */
MUSTUSE int netif_route_default(struct netif *n, const char *name, uint32_t gateway, uint32_t metric,
				struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHCP (RFC 2131, options RFC 2132), the client's half, as whole IPv4 packets.
 * Integers are big-endian.
 *
 *	client -> DISCOVER -> all      server -> OFFER -> client
 *	client -> REQUEST  -> all      server -> ACK | NAK -> client
 *
 *    0    20     28                                              264     268
 *    +----+------+-----------------------------------------------+-------+-----------+
 *    | IP | UDP  | op htype hlen hops xid secs flags ciaddr      | magic | options   |
 *    |    |68->67| yiaddr siaddr giaddr chaddr sname file        |       | type len v|
 *    +----+------+-----------------------------------------------+-------+-----------+
 */
#ifndef INIT_DHCP_PROTO_H
#define INIT_DHCP_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum dhcp_type {
	DHCP_DISCOVER = 1, DHCP_OFFER, DHCP_REQUEST, DHCP_DECLINE, DHCP_ACK, DHCP_NAK, DHCP_RELEASE,
};

enum {
	DHCP_CLIENT_PORT = 68,
	DHCP_SERVER_PORT = 67,
	DHCP_PACKET_BYTES_MAX = 1500,
	DHCP_SEND_BYTES = 20 + 8 + 236 + 4 + 60,	/* what we send: fixed, 300 bytes of BOOTP at least */
	DHCP_DNS_MAX = 3,
	DHCP_LEASE_S_MIN = 60,			/* shorter leases are taken as this long */
	DHCP_LEASE_S_MAX = 7 * 86400,		/* longer ones are renewed as if this long */
};

/* What we send; addresses in network order. */
struct dhcp_ask {
	enum dhcp_type type;		/* DISCOVER or REQUEST */
	uint8_t mac[6];
	uint32_t xid;
	uint32_t ciaddr;		/* ours while renewing, else 0 */
	uint32_t wanted;		/* option 50: in the REQUEST that answers an OFFER */
	uint32_t server;		/* option 54: likewise */
	uint32_t dst;			/* INADDR_BROADCAST, or the server while renewing */
	const char *hostname;		/* option 12; "" for none; cut to 32 characters */
};

struct dhcp_answer {
	enum dhcp_type type;
	uint32_t ip;			/* yiaddr */
	uint32_t server;
	unsigned prefix;
	uint32_t gateway;
	uint32_t dns[DHCP_DNS_MAX];
	unsigned n_dns;
	uint32_t lease_s, t1_s, t2_s;	/* t1 < t2 < lease, whatever the server said */
};

/* Returns the bytes used of out. */
size_t dhcp_encode(const struct dhcp_ask *a, uint8_t out[DHCP_SEND_BYTES]);
/* A packet from the network, IP head first.  ERR_NOT_FOUND: not for us (another xid, MAC, port); ERR_CORRUPT:
 * it breaks the rules. */
MUSTUSE int dhcp_decode(const uint8_t *p, size_t n, const uint8_t mac[6], uint32_t xid, struct dhcp_answer *out,
			struct err *e);

#endif

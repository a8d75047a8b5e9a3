/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the network that a guest's MAC is now behind this host: RARP, and
 * gratuitous ARP if its IP is known, sent out by the bridge several times with
 * growing spacing, because one broadcast may be lost.
 */
#ifndef NET_ANNOUNCE_H
#define NET_ANNOUNCE_H

#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

enum {
	ANNOUNCE_TIMES = 5,
	ANNOUNCE_FIRST_MS = 50,		/* between the first two; then 100, 200, 400 */
};

struct announce;

/* Sends the first frames before it returns, the others from the loop.  ip in network order, 0: unknown.
 * done (may be NULL) is called once after the last, with the number of rounds that could not be sent;
 * the owner then frees it. */
MUSTUSE int announce_start(struct loop *l, const char *bridge, const uint8_t mac[6], uint32_t ip,
			   void (*done)(void *arg, unsigned failed), void *arg, struct announce **out,
			   struct err *e);
/* Ends it early too.  NULL is fine. */
void announce_free(struct announce *a);

/* One round, for callers without a loop. */
MUSTUSE int announce_once(const char *bridge, const uint8_t mac[6], uint32_t ip, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network of a test's own: an empty network namespace, and pairs of
 * Ethernet ends in it.  Where that is not allowed, the tests skip.
 */
#ifndef TESTS_UNIT_NETNS_H
#define TESTS_UNIT_NETNS_H

#include <sched.h>
#include <stdbool.h>
#include <netlink/netlink.h>
#include <netlink/route/link/veth.h>

/* False: not allowed here. */
static inline bool netns_enter(void)
{
	return unshare(CLONE_NEWNET) == 0;
}

static inline bool netns_veth(const char *a, const char *b)
{
	struct nl_sock *s = nl_socket_alloc();
	bool ok = s && nl_connect(s, NETLINK_ROUTE) == 0 && rtnl_link_veth_add(s, a, b, getpid()) == 0;

	nl_socket_free(s);
	return ok;
}

#endif

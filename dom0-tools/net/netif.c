/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libnl-route behind netif.h.  Its error codes are negative NLE_*; each is
 * turned into our error with the object's name.
 */
#include "net/netif.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <netlink/errno.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct netif {
	struct nl_sock *sk;
};

static int nl_fail(struct err *e, int rc, const char *what, const char *name)
{
	enum err_code code = rc == -NLE_OBJ_NOTFOUND || rc == -NLE_NODEV ? ERR_NOT_FOUND :
			     rc == -NLE_PERM || rc == -NLE_NOACCESS ? ERR_DENIED : ERR_IO;

	return err_set(e, code, "%s '%s': %s", what, name, nl_geterror(rc));
}

int netif_open(struct netif **out, struct err *e)
{
	struct netif *n = calloc(1, sizeof(*n));
	int rc;

	if (!n || !(n->sk = nl_socket_alloc())) {
		free(n);
		return err_set(e, ERR_NO_SPACE, "no memory for a netlink socket");
	}
	rc = nl_connect(n->sk, NETLINK_ROUTE);
	if (rc < 0) {
		netif_close(n);
		return nl_fail(e, rc, "open", "rtnetlink");
	}
	*out = n;
	return 0;
}

void netif_close(struct netif *n)
{
	if (!n)
		return;
	nl_socket_free(n->sk);
	free(n);
}

static int get_link(struct netif *n, const char *name, struct rtnl_link **out, struct err *e)
{
	int rc = rtnl_link_get_kernel(n->sk, 0, name, out);

	if (rc == -NLE_OBJ_NOTFOUND || rc == -NLE_NODEV)
		return err_set(e, ERR_NOT_FOUND, "no interface '%s'", name);
	return rc < 0 ? nl_fail(e, rc, "look up interface", name) : 0;
}

static void fill(struct rtnl_link *l, struct netif_info *out)
{
	struct nl_addr *a = rtnl_link_get_addr(l);
	char path[64];
	int master = rtnl_link_get_master(l);

	*out = (struct netif_info){ .index = rtnl_link_get_ifindex(l), .mtu = rtnl_link_get_mtu(l) };
	snprintf(out->name, sizeof(out->name), "%s", rtnl_link_get_name(l));
	if (a && nl_addr_get_len(a) == 6)
		memcpy(out->mac, nl_addr_get_binary_addr(a), 6);
	out->up = (rtnl_link_get_flags(l) & IFF_UP) != 0;
	out->carrier = out->up && rtnl_link_get_carrier(l) != 0;
	snprintf(path, sizeof(path), "/sys/class/net/%s/device", out->name);
	/* A vif has a device too (xen-backend); the kernel names its kind only by the name. */
	out->physical = rtnl_link_get_arptype(l) == ARPHRD_ETHER && access(path, F_OK) == 0 &&
			strncmp(out->name, "vif", 3) != 0;
	if (master > 0 && !if_indextoname((unsigned)master, out->master))
		out->master[0] = '\0';
}

int netif_find(struct netif *n, const char *name, struct netif_info *out, struct err *e)
{
	struct rtnl_link *l = NULL;

	if (get_link(n, name, &l, e) < 0)
		return -1;
	fill(l, out);
	rtnl_link_put(l);
	return 0;
}

static int by_index(const void *a, const void *b)
{
	return ((const struct netif_info *)a)->index - ((const struct netif_info *)b)->index;
}

int netif_list(struct netif *n, struct netif_info *out, unsigned *n_out, struct err *e)
{
	struct nl_cache *cache = NULL;
	unsigned count = 0;
	int rc = rtnl_link_alloc_cache(n->sk, AF_UNSPEC, &cache);

	if (rc < 0)
		return nl_fail(e, rc, "list", "interfaces");
	for (struct nl_object *o = nl_cache_get_first(cache); o && count < *n_out; o = nl_cache_get_next(o))
		fill((struct rtnl_link *)o, &out[count++]);
	nl_cache_free(cache);
	qsort(out, count, sizeof(*out), by_index);
	*n_out = count;
	return 0;
}

/* Sends the difference `change` to the interface. */
static int change_link(struct netif *n, const char *name, struct rtnl_link *change, const char *what,
		       struct err *e)
{
	struct rtnl_link *l = NULL;
	int rc;

	if (!change)
		return err_set(e, ERR_NO_SPACE, "%s '%s': no memory", what, name);
	if (get_link(n, name, &l, e) < 0) {
		rtnl_link_put(change);
		return -1;
	}
	rc = rtnl_link_change(n->sk, l, change, 0);
	rtnl_link_put(l);
	rtnl_link_put(change);
	return rc < 0 ? nl_fail(e, rc, what, name) : 0;
}

int netif_set_up(struct netif *n, const char *name, bool up, struct err *e)
{
	struct rtnl_link *c = rtnl_link_alloc();

	if (c && up)
		rtnl_link_set_flags(c, IFF_UP);
	else if (c)
		rtnl_link_unset_flags(c, IFF_UP);
	return change_link(n, name, c, up ? "set up" : "set down", e);
}

int netif_set_mtu(struct netif *n, const char *name, unsigned mtu, struct err *e)
{
	struct rtnl_link *c = rtnl_link_alloc();

	if (c)
		rtnl_link_set_mtu(c, mtu);
	return change_link(n, name, c, "set the MTU of", e);
}

static int send_mac(struct netif *n, const char *name, const uint8_t mac[6], struct err *e)
{
	struct rtnl_link *c = rtnl_link_alloc();
	struct nl_addr *a = nl_addr_build(AF_LLC, mac, 6);

	if (c && a)
		rtnl_link_set_addr(c, a);
	if (a)
		nl_addr_put(a);
	return change_link(n, name, c, "set the MAC of", e);
}

int netif_set_mac(struct netif *n, const char *name, const uint8_t mac[6], struct err *e)
{
	struct netif_info info;

	if (netif_find(n, name, &info, e) < 0)
		return -1;
	if (memcmp(info.mac, mac, 6) == 0)
		return 0;
	if (send_mac(n, name, mac, e) == 0)
		return 0;
	if (!info.up || netif_set_up(n, name, false, e) < 0)
		return -1;
	return send_mac(n, name, mac, e);
}

int netif_bridge_make(struct netif *n, const char *name, const uint8_t mac[6], struct err *e)
{
	struct rtnl_link *l = rtnl_link_alloc();
	struct nl_addr *a = mac ? nl_addr_build(AF_LLC, mac, 6) : NULL;
	int rc = -NLE_NOMEM;

	if (l && (a || !mac)) {
		rtnl_link_set_name(l, name);
		rc = rtnl_link_set_type(l, "bridge");
		if (rc == 0 && a)
			rtnl_link_set_addr(l, a);
		if (rc == 0)
			rc = rtnl_link_add(n->sk, l, NLM_F_CREATE | NLM_F_EXCL);
	}
	if (a)
		nl_addr_put(a);
	if (l)
		rtnl_link_put(l);
	if (rc == -NLE_EXIST)
		return mac ? netif_set_mac(n, name, mac, e) : 0;
	return rc < 0 ? nl_fail(e, rc, "make bridge", name) : 0;
}

int netif_bridge_join(struct netif *n, const char *bridge, const char *port, struct err *e)
{
	unsigned b = if_nametoindex(bridge), p = if_nametoindex(port);
	int rc;

	if (!b)
		return err_set(e, ERR_NOT_FOUND, "no bridge '%s'", bridge);
	if (!p)
		return err_set(e, ERR_NOT_FOUND, "no interface '%s'", port);
	rc = rtnl_link_enslave_ifindex(n->sk, (int)b, (int)p);
	return rc < 0 ? nl_fail(e, rc, "put on a bridge", port) : 0;
}

int netif_bridge_leave(struct netif *n, const char *port, struct err *e)
{
	unsigned p = if_nametoindex(port);
	int rc;

	if (!p)
		return err_set(e, ERR_NOT_FOUND, "no interface '%s'", port);
	rc = rtnl_link_release_ifindex(n->sk, (int)p);
	return rc < 0 ? nl_fail(e, rc, "take off its bridge", port) : 0;
}

static struct rtnl_addr *make_addr(const char *name, uint32_t ip, unsigned prefix)
{
	struct rtnl_addr *a = rtnl_addr_alloc();
	struct nl_addr *local = nl_addr_build(AF_INET, &ip, 4), *bcast;
	uint32_t all = prefix >= 31 ? 0 : ip | htonl(0xffffffffu >> prefix);

	if (a && local) {
		nl_addr_set_prefixlen(local, (int)prefix);
		rtnl_addr_set_ifindex(a, (int)if_nametoindex(name));
		rtnl_addr_set_local(a, local);
		bcast = all ? nl_addr_build(AF_INET, &all, 4) : NULL;
		if (bcast) {
			rtnl_addr_set_broadcast(a, bcast);
			nl_addr_put(bcast);
		}
	}
	if (local)
		nl_addr_put(local);
	return a;
}

int netif_addr_add(struct netif *n, const char *name, uint32_t ip, unsigned prefix, struct err *e)
{
	struct rtnl_addr *a = make_addr(name, ip, prefix);
	int rc = a ? rtnl_addr_add(n->sk, a, NLM_F_CREATE) : -NLE_NOMEM;

	if (a)
		rtnl_addr_put(a);
	return rc < 0 && rc != -NLE_EXIST ? nl_fail(e, rc, "add an address to", name) : 0;
}

int netif_addr_del(struct netif *n, const char *name, uint32_t ip, unsigned prefix, struct err *e)
{
	struct rtnl_addr *a = make_addr(name, ip, prefix);
	int rc = a ? rtnl_addr_delete(n->sk, a, 0) : -NLE_NOMEM;

	if (a)
		rtnl_addr_put(a);
	return rc < 0 && rc != -NLE_NOADDR ? nl_fail(e, rc, "remove an address of", name) : 0;
}

int netif_route_default(struct netif *n, const char *name, uint32_t gateway, uint32_t metric, struct err *e)
{
	struct rtnl_route *r = rtnl_route_alloc();
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	struct nl_addr *gw = nl_addr_build(AF_INET, &gateway, 4);
	struct nl_addr *dst = nl_addr_build(AF_INET, &(uint32_t){ 0 }, 4);
	int rc = -NLE_NOMEM;

	if (r && hop && gw && dst) {
		nl_addr_set_prefixlen(dst, 0);
		rtnl_route_set_family(r, AF_INET);
		rtnl_route_set_scope(r, RT_SCOPE_UNIVERSE);
		rtnl_route_set_table(r, RT_TABLE_MAIN);
		rtnl_route_set_protocol(r, RTPROT_STATIC);
		rtnl_route_set_priority(r, metric);
		rc = rtnl_route_set_dst(r, dst);
		rtnl_route_nh_set_gateway(hop, gw);
		rtnl_route_nh_set_ifindex(hop, (int)if_nametoindex(name));
		rtnl_route_add_nexthop(r, hop);
		hop = NULL;
		if (rc == 0)
			rc = rtnl_route_add(n->sk, r, NLM_F_CREATE | NLM_F_REPLACE);
	}
	if (gw)
		nl_addr_put(gw);
	if (dst)
		nl_addr_put(dst);
	if (hop)
		rtnl_route_nh_free(hop);
	if (r)
		rtnl_route_put(r);
	return rc < 0 ? nl_fail(e, rc, "default route by", name) : 0;
}

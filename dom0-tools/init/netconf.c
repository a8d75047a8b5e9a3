/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One struct port per NIC that the configuration wants.  Each message of the
 * kernel about links makes us look again at those not yet set up.
 */
#include "init/netconf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "init/dhcp.h"
#include "net/netif.h"

enum { PORT_UPLINK, PORT_MANAGEMENT, PORT_N, METRIC_UPLINK = 100, METRIC_MANAGEMENT = 200 };

struct port {
	struct netconf *nc;
	const char *role;
	const struct host_nic *cfg;
	const char *bridge;		/* NULL: the NIC itself has the address */
	uint32_t metric;
	bool done;			/* found and set up; an address may still come by DHCP */
	char nic[IFNAMSIZ];
	char on[IFNAMSIZ];		/* what has the address: bridge or NIC */
	uint8_t mac[6];
	uint32_t ip;
	unsigned prefix;
	uint32_t gateway;
	struct dhcp *dhcp;
};

struct netconf {
	struct loop *loop;
	const struct host_cfg *cfg;
	struct netif *netif;
	struct port ports[PORT_N];
	int watch_fd;
	struct loop_src *watch;
};

static const char *ip_text(uint32_t ip, char out[INET_ADDRSTRLEN])
{
	struct in_addr a = { .s_addr = ip };

	return inet_ntop(AF_INET, &a, out, INET_ADDRSTRLEN) ?: "";
}

static void write_resolv(const uint32_t *dns, unsigned n)
{
	char text[HOST_DNS_MAX * 32], ip[INET_ADDRSTRLEN];
	int len = 0;
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < n && i < HOST_DNS_MAX; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "nameserver %s\n", ip_text(dns[i], ip));
	if (len > 0 && fd_write_file("/run/resolv.conf", text, (size_t)len, 0644, &e) < 0)
		log_fail(&e, "resolv.conf");
}

static void give_address(struct port *p, uint32_t ip, unsigned prefix, uint32_t gateway, const char *source)
{
	struct netif *n = p->nc->netif;
	struct err e = ERR_INIT;
	char a[INET_ADDRSTRLEN], g[INET_ADDRSTRLEN];

	if (netif_addr_add(n, p->on, ip, prefix, &e) < 0 ||
	    (gateway && netif_route_default(n, p->on, gateway, p->metric, &e) < 0))
		log_fail(&e, "network: %s", p->role);
	p->ip = ip;
	p->prefix = prefix;
	p->gateway = gateway;
	log_info("network: %s %s is %s/%u%s%s (%s)", p->role, p->on, ip_text(ip, a), prefix,
		 gateway ? " by " : "", gateway ? ip_text(gateway, g) : "", source);
}

static void on_lease(void *arg, const struct dhcp_answer *lease)
{
	struct port *p = arg;
	struct err e = ERR_INIT;

	if (lease) {
		give_address(p, lease->ip, lease->prefix, lease->gateway, "dhcp");
		if (p->nc->cfg->n_dns == 0)
			write_resolv(lease->dns, lease->n_dns);
		return;
	}
	log_warn("network: %s %s lost its address", p->role, p->on);
	if (netif_addr_del(p->nc->netif, p->on, p->ip, p->prefix, &e) < 0)
		log_fail(&e, "network: %s", p->role);
	p->ip = 0;
}

static bool matches(const struct port *p, const struct netif_info *i)
{
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", i->mac[0], i->mac[1], i->mac[2], i->mac[3],
		 i->mac[4], i->mac[5]);
	return strcmp(p->cfg->match, mac) == 0 || strcmp(p->cfg->match, i->name) == 0;
}

/* The NIC of a port, or NULL if it is not there (yet). */
static const struct netif_info *pick(const struct port *p, const struct netif_info *v, unsigned n)
{
	const struct port *other = &p->nc->ports[PORT_MANAGEMENT];
	const struct netif_info *found = NULL;

	for (unsigned i = 0; i < n; i++) {
		if (!v[i].physical)
			continue;
		if (p->cfg->match[0]) {
			if (matches(p, &v[i]))
				return &v[i];
			continue;
		}
		/* Any NIC will do: the one that a manager before us took, else the first with a carrier. */
		if (p->bridge && strcmp(v[i].master, p->bridge) == 0)
			return &v[i];
		if (!found && v[i].carrier && !(other->cfg->wanted && matches(other, &v[i])))
			found = &v[i];
	}
	return found;
}

static int make_bridge(struct port *p, const struct netif_info *nic, struct err *e)
{
	struct netif *n = p->nc->netif;

	if (netif_bridge_make(n, p->bridge, nic->mac, e) < 0 || netif_set_up(n, nic->name, true, e) < 0)
		return -1;
	if (strcmp(nic->master, p->bridge) != 0 && netif_bridge_join(n, p->bridge, nic->name, e) < 0)
		return -1;
	if (netif_set_mtu(n, p->bridge, nic->mtu, e) < 0)
		return -1;
	return netif_set_up(n, p->bridge, true, e);
}

static int set_up(struct port *p, const struct netif_info *nic, struct err *e)
{
	snprintf(p->nic, sizeof(p->nic), "%s", nic->name);
	snprintf(p->on, sizeof(p->on), "%s", p->bridge ? p->bridge : nic->name);
	memcpy(p->mac, nic->mac, 6);
	p->done = true;
	if (p->bridge && make_bridge(p, nic, e) < 0)
		return -1;
	if (!p->bridge && netif_set_up(p->nc->netif, p->nic, true, e) < 0)
		return -1;
	if (p->cfg->dhcp)
		return dhcp_start(p->nc->loop, p->on, p->mac, p->nc->cfg->hostname, on_lease, p, &p->dhcp, e);
	if (p->cfg->ip)
		give_address(p, p->cfg->ip, p->cfg->prefix, p->cfg->gateway, "static");
	return 0;
}

/* Carriers show only on interfaces that are up. */
static void raise_all(struct netconf *nc, const struct netif_info *v, unsigned n)
{
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < n; i++)
		if (v[i].physical && !v[i].up && netif_set_up(nc->netif, v[i].name, true, &e) < 0)
			log_fail(&e, "network");
}

static void look(struct netconf *nc)
{
	static struct netif_info v[NETIF_MAX];
	struct err e = ERR_INIT;
	unsigned n = NETIF_MAX;

	if (netif_list(nc->netif, v, &n, &e) < 0) {
		log_fail(&e, "network");
		return;
	}
	if (!nc->cfg->uplink.match[0] && !nc->ports[PORT_UPLINK].done) {
		raise_all(nc, v, n);
		n = NETIF_MAX;
		if (netif_list(nc->netif, v, &n, &e) < 0)
			return;
	}
	for (int i = 0; i < PORT_N; i++) {
		struct port *p = &nc->ports[i];
		const struct netif_info *nic = p->cfg->wanted && !p->done ? pick(p, v, n) : NULL;

		if (nic && set_up(p, nic, &e) < 0)
			log_fail(&e, "network: %s", p->role);
	}
}

static void on_link_message(void *arg, unsigned events)
{
	struct netconf *nc = arg;
	char drop[8192];
	bool all_done = true;

	(void)events;
	while (recv(nc->watch_fd, drop, sizeof(drop), 0) > 0 || errno == ENOBUFS)
		;
	for (int i = 0; i < PORT_N; i++)
		all_done = all_done && (nc->ports[i].done || !nc->ports[i].cfg->wanted);
	if (!all_done)
		look(nc);
}

static int watch_links(struct netconf *nc, struct err *e)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

	nc->watch_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (nc->watch_fd < 0 || bind(nc->watch_fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(e, errno, "watch links");
	return loop_watch(nc->loop, nc->watch_fd, LOOP_READ, on_link_message, nc, &nc->watch, e);
}

int netconf_start(struct loop *l, const struct host_cfg *cfg, struct netconf **out, struct err *e)
{
	struct netconf *nc = calloc(1, sizeof(*nc));

	if (!nc)
		return err_set(e, ERR_NO_SPACE, "no memory for the network");
	*nc = (struct netconf){ .loop = l, .cfg = cfg, .watch_fd = -1 };
	nc->ports[PORT_UPLINK] = (struct port){ .nc = nc, .role = "uplink", .cfg = &cfg->uplink,
						.bridge = cfg->bridge, .metric = METRIC_UPLINK };
	nc->ports[PORT_MANAGEMENT] = (struct port){ .nc = nc, .role = "management", .cfg = &cfg->management,
						    .metric = METRIC_MANAGEMENT };
	if (netif_open(&nc->netif, e) < 0 || watch_links(nc, e) < 0) {
		netconf_free(nc);
		return -1;
	}
	if (netif_set_up(nc->netif, "lo", true, e) < 0)
		log_fail(e, "network");
	write_resolv(cfg->dns, cfg->n_dns);
	look(nc);
	for (int i = 0; i < PORT_N; i++)
		if (nc->ports[i].cfg->wanted && !nc->ports[i].done)
			log_warn("network: no NIC for the %s yet (%s); it is taken when it appears",
				 nc->ports[i].role, nc->ports[i].cfg->match[0] ? nc->ports[i].cfg->match :
				 "any with a carrier");
	*out = nc;
	return 0;
}

void netconf_free(struct netconf *nc)
{
	if (!nc)
		return;
	for (int i = 0; i < PORT_N; i++)
		dhcp_free(nc->ports[i].dhcp);
	loop_unwatch(&nc->watch);
	fd_close(&nc->watch_fd);
	netif_close(nc->netif);
	free(nc);
}

static json_t *port_json(const struct port *p)
{
	char mac[18], ip[INET_ADDRSTRLEN], gw[INET_ADDRSTRLEN], address[INET_ADDRSTRLEN + 4] = "";
	const char *source = !p->cfg->dhcp && p->ip ? "static" : p->cfg->dhcp ? "dhcp" : "none";
	json_t *o;

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", p->mac[0], p->mac[1], p->mac[2], p->mac[3],
		 p->mac[4], p->mac[5]);
	if (p->ip)
		snprintf(address, sizeof(address), "%s/%u", ip_text(p->ip, ip), p->prefix);
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "role", p->role, "interface", p->nic, "mac", mac,
		      "address", address, "gateway", p->ip && p->gateway ? ip_text(p->gateway, gw) : "",
		      "source", source);
	if (p->bridge)
		json_object_set_new(o, "bridge", json_string(p->bridge));
	return o;
}

json_t *netconf_info(const struct netconf *nc)
{
	json_t *a = json_array();

	for (int i = 0; nc && i < PORT_N; i++)
		if (nc->ports[i].cfg->wanted && nc->ports[i].done)
			json_array_append_new(a, port_json(&nc->ports[i]));
	return a;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of dhcp.h over a packet socket: the interface has no address
 * yet, so the kernel's UDP would refuse or pick another interface's.
 */
#include "init/dhcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

enum dhcp_state { ST_SELECTING, ST_REQUESTING, ST_BOUND, ST_RENEWING, ST_REBINDING, ST_N };

static const char *const state_names[ST_N] = { "selecting", "requesting", "bound", "renewing", "rebinding" };

struct dhcp {
	struct loop *loop;
	char ifname[IFNAMSIZ];
	uint8_t mac[6];
	const char *hostname;
	void (*on_lease)(void *arg, const struct dhcp_answer *a);
	void *arg;
	int fd;
	struct loop_src *src;
	struct loop_timer *timer;
	enum dhcp_state state;
	uint32_t xid;
	struct dhcp_answer lease;	/* the offer, then the lease */
	bool have_lease;		/* on_lease was called with it */
	uint8_t server_mac[6];
	uint64_t bound_ms;
	uint64_t retry_ms;
};

static void enter(struct dhcp *d, enum dhcp_state to)
{
	if (d->state != to)
		log_debug("dhcp %s: %s", d->ifname, state_names[to]);
	d->state = to;
	d->retry_ms = DHCP_RETRY_MS_FIRST;
}

static void send_ask(struct dhcp *d, enum dhcp_type type)
{
	bool renewing = d->state == ST_RENEWING || d->state == ST_REBINDING;
	bool direct = d->state == ST_RENEWING;
	struct dhcp_ask a = {
		.type = type, .xid = d->xid, .hostname = d->hostname,
		.ciaddr = renewing ? d->lease.ip : 0,
		.wanted = d->state == ST_REQUESTING ? d->lease.ip : 0,
		.server = d->state == ST_REQUESTING ? d->lease.server : 0,
		.dst = direct ? d->lease.server : INADDR_BROADCAST,
	};
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_halen = 6,
		.sll_ifindex = (int)if_nametoindex(d->ifname),
	};
	uint8_t packet[DHCP_SEND_BYTES];

	memcpy(a.mac, d->mac, 6);
	memset(to.sll_addr, 0xff, 6);
	if (direct)
		memcpy(to.sll_addr, d->server_mac, 6);
	/* A link that is down is as good as a lost packet: the timer asks again. */
	if (sendto(d->fd, packet, dhcp_encode(&a, packet), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		log_debug("dhcp %s: send: %s", d->ifname, strerror(errno));
}

static void ask(struct dhcp *d)
{
	send_ask(d, d->state == ST_SELECTING ? DHCP_DISCOVER : DHCP_REQUEST);
	loop_timer_set(d->timer, d->retry_ms, 0);
	d->retry_ms = d->retry_ms * 2 > DHCP_RETRY_MS_MAX ? DHCP_RETRY_MS_MAX : d->retry_ms * 2;
}

static void start_over(struct dhcp *d)
{
	if (d->have_lease)
		d->on_lease(d->arg, NULL);
	d->have_lease = false;
	if (getrandom(&d->xid, sizeof(d->xid), GRND_NONBLOCK) != (ssize_t)sizeof(d->xid))
		d->xid = (uint32_t)clock_mono_ns() ^ (uint32_t)d->mac[5] << 24;
	enter(d, ST_SELECTING);
	ask(d);
}

/* When renewing, asks are spread over the time that is left, as RFC 2131 4.4.5 says, not sped up. */
static void renew(struct dhcp *d)
{
	uint64_t now = (clock_mono_ms() - d->bound_ms) / 1000, next;

	if (now >= d->lease.lease_s) {
		log_warn("dhcp %s: the lease is over", d->ifname);
		start_over(d);
		return;
	}
	if (now >= d->lease.t2_s && d->state != ST_REBINDING)
		enter(d, ST_REBINDING);
	else if (d->state == ST_BOUND)
		enter(d, ST_RENEWING);
	send_ask(d, DHCP_REQUEST);
	next = ((d->state == ST_REBINDING ? d->lease.lease_s : d->lease.t2_s) - now) / 2;
	loop_timer_set(d->timer, (next < 10 ? 10 : next) * 1000, 0);
}

static void on_timer(void *arg)
{
	struct dhcp *d = arg;

	if (d->state == ST_SELECTING) {
		ask(d);
	} else if (d->state == ST_REQUESTING) {
		/* No answer to several requests: the server may be gone, look for another. */
		if (d->retry_ms > DHCP_RETRY_MS_FIRST * 8)
			start_over(d);
		else
			ask(d);
	} else {
		renew(d);
	}
}

static void take_lease(struct dhcp *d, const struct dhcp_answer *a, const uint8_t from[6])
{
	uint32_t server = a->server ? a->server : d->lease.server;
	bool fresh = !d->have_lease || d->lease.ip != a->ip;

	if (d->have_lease && fresh)
		d->on_lease(d->arg, NULL);
	d->lease = *a;
	d->lease.server = server;
	memcpy(d->server_mac, from, 6);
	d->bound_ms = clock_mono_ms();
	d->have_lease = true;
	enter(d, ST_BOUND);
	loop_timer_set(d->timer, (uint64_t)d->lease.t1_s * 1000, 0);
	if (fresh)
		d->on_lease(d->arg, &d->lease);
}

static void on_answer(struct dhcp *d, const struct dhcp_answer *a, const uint8_t from[6])
{
	if (d->state == ST_SELECTING && a->type == DHCP_OFFER) {
		d->lease = *a;
		enter(d, ST_REQUESTING);
		ask(d);
		return;
	}
	if (d->state == ST_SELECTING || d->state == ST_BOUND || a->type == DHCP_OFFER)
		return;		/* late or repeated */
	if (d->state == ST_REQUESTING && a->server && a->server != d->lease.server)
		return;		/* of a server we did not choose */
	if (a->type == DHCP_ACK)
		take_lease(d, a, from);
	else
		start_over(d);
}

static void on_packet(void *arg, unsigned events)
{
	struct dhcp *d = arg;
	uint8_t p[DHCP_PACKET_BYTES_MAX];
	struct sockaddr_ll from;
	struct dhcp_answer a;
	struct err e = ERR_INIT;

	(void)events;
	for (int i = 0; i < 32; i++) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(d->fd, p, sizeof(p), 0, (struct sockaddr *)&from, &len);

		if (n < 0)
			return;
		if (from.sll_pkttype == PACKET_OUTGOING)
			continue;
		if (dhcp_decode(p, (size_t)n, d->mac, d->xid, &a, &e) == 0)
			on_answer(d, &a, from.sll_addr);
		else if (e.code != ERR_NOT_FOUND)
			log_debug("dhcp %s: %s", d->ifname, e.detail);
	}
}

/* Only UDP to port 68 reaches us: without this each packet of the host would wake the manager. */
static int set_filter(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),			/* protocol */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 17, 0, 4),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),			/* X = length of the IP head */
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),			/* UDP destination */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DHCP_CLIENT_PORT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, DHCP_PACKET_BYTES_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { .len = ARRAY_LEN(code), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

static int open_socket(struct dhcp *d, struct err *e)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };

	at.sll_ifindex = (int)if_nametoindex(d->ifname);
	if (at.sll_ifindex == 0)
		return err_set(e, ERR_NOT_FOUND, "no interface '%s'", d->ifname);
	/* Protocol 0 until it is bound and filtered: nothing of other interfaces gets in. */
	d->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0 || set_filter(d->fd) < 0 || bind(d->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_sys(e, errno, "packet socket on '%s'", d->ifname);
	return loop_watch(d->loop, d->fd, LOOP_READ, on_packet, d, &d->src, e);
}

int dhcp_start(struct loop *l, const char *ifname, const uint8_t mac[6], const char *hostname,
	       void (*on_lease)(void *arg, const struct dhcp_answer *a), void *arg, struct dhcp **out, struct err *e)
{
	struct dhcp *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(e, ERR_NO_SPACE, "no memory for DHCP");
	*d = (struct dhcp){ .loop = l, .hostname = hostname, .on_lease = on_lease, .arg = arg, .fd = -1 };
	snprintf(d->ifname, sizeof(d->ifname), "%s", ifname);
	memcpy(d->mac, mac, 6);
	d->timer = loop_timer_new(l, on_timer, d);
	if (open_socket(d, e) < 0) {
		dhcp_free(d);
		return -1;
	}
	start_over(d);
	*out = d;
	return 0;
}

void dhcp_free(struct dhcp *d)
{
	if (!d)
		return;
	loop_unwatch(&d->src);
	loop_timer_free(&d->timer);
	fd_close(&d->fd);
	free(d);
}

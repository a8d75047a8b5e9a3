/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packet socket on the bridge.  A frame sent there leaves by every port that
 * forwards, the uplink among them, with the guest's MAC as its source.
 */
#include "net/announce.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "net/frames.h"

struct announce {
	int fd;
	struct loop_timer *timer;
	uint8_t mac[6];
	uint32_t ip;
	unsigned sent, failed;
	uint64_t wait_ms;
	void (*done)(void *arg, unsigned failed);
	void *arg;
};

static int open_socket(const char *bridge, int *out, struct err *e)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(bridge) };
	int fd;

	if (at.sll_ifindex == 0)
		return err_set(e, ERR_NOT_FOUND, "no bridge '%s'", bridge);
	/* Protocol 0: it sends and never receives. */
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		err_sys(e, errno, "packet socket on '%s'", bridge);
		fd_close(&fd);
		return -1;
	}
	*out = fd;
	return 0;
}

static int send_round(int fd, const uint8_t mac[6], uint32_t ip, struct err *e)
{
	uint8_t frame[FRAME_BYTES];

	frame_rarp(mac, frame);
	if (send(fd, frame, sizeof(frame), 0) < 0)
		return err_sys(e, errno, "send RARP");
	if (!ip)
		return 0;
	frame_garp(mac, ip, frame);
	return send(fd, frame, sizeof(frame), 0) < 0 ? err_sys(e, errno, "send gratuitous ARP") : 0;
}

/* A round that fails is not the end: the next may pass (link coming up, queue full). */
static void on_timer(void *arg)
{
	struct announce *a = arg;
	struct err e = ERR_INIT;

	if (send_round(a->fd, a->mac, a->ip, &e) < 0)
		a->failed++;
	a->sent++;
	if (a->sent < ANNOUNCE_TIMES) {
		loop_timer_set(a->timer, a->wait_ms, 0);
		a->wait_ms *= 2;
	} else if (a->done) {
		a->done(a->arg, a->failed);
	}
}

int announce_start(struct loop *l, const char *bridge, const uint8_t mac[6], uint32_t ip,
		   void (*done)(void *arg, unsigned failed), void *arg, struct announce **out, struct err *e)
{
	struct announce *a;
	AUTO_FD int fd = -1;

	if (open_socket(bridge, &fd, e) < 0 || send_round(fd, mac, ip, e) < 0)
		return -1;
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(e, ERR_NO_SPACE, "no memory to announce");
	*a = (struct announce){ .fd = fd_take(&fd), .ip = ip, .sent = 1, .wait_ms = ANNOUNCE_FIRST_MS,
				.done = done, .arg = arg };
	memcpy(a->mac, mac, 6);
	a->timer = loop_timer_new(l, on_timer, a);
	loop_timer_set(a->timer, a->wait_ms, 0);
	a->wait_ms *= 2;
	*out = a;
	return 0;
}

void announce_free(struct announce *a)
{
	if (!a)
		return;
	loop_timer_free(&a->timer);
	fd_close(&a->fd);
	free(a);
}

int announce_once(const char *bridge, const uint8_t mac[6], uint32_t ip, struct err *e)
{
	AUTO_FD int fd = -1;

	if (open_socket(bridge, &fd, e) < 0)
		return -1;
	return send_round(fd, mac, ip, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves by a bridge's port when a MAC is announced, how often and how spaced. */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/announce.h"
#include "net/frames.h"
#include "net/netif.h"
#include "tests/unit/check.h"
#include "tests/unit/netns.h"

static const uint8_t mac[6] = { 0, 0x16, 0x3e, 0, 0, 0x10 };

/* The kernel lets a new port forward when its link-watch work has run, which a busy machine delays: frames of another
 * MAC are sent until one comes through. */
static void wait_forwarding(int s)
{
	enum { TRIES = 200, TRY_MS = 50 };
	static const uint8_t other[6] = { 2, 0, 0, 0, 0, 1 };
	struct pollfd p = { .fd = s, .events = POLLIN };
	uint8_t got[2000], want[FRAME_BYTES];
	struct err e = ERR_INIT;

	frame_rarp(other, want);
	for (int i = 0; i < TRIES; i++) {
		assert_int_equal(announce_once("br0", other, 0, &e), 0);
		while (poll(&p, 1, TRY_MS) > 0) {
			ssize_t n = recv(s, got, sizeof(got), 0);

			if (n == FRAME_BYTES && !memcmp(got, want, sizeof(want)))
				return;
		}
	}
	fail_msg("the bridge's port does not forward");
}

/* A bridge whose uplink ends in "wire", and a socket that listens there. */
static int listen_on_wire(void)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct netif *n = NULL;
	struct err e = ERR_INIT;
	int s;

	if (!netns_enter() || !netns_veth("up", "wire"))
		return -1;
	assert_int_equal(netif_open(&n, &e), 0);
	assert_int_equal(netif_bridge_make(n, "br0", NULL, &e), 0);
	assert_int_equal(netif_bridge_join(n, "br0", "up", &e), 0);
	assert_int_equal(netif_set_up(n, "up", true, &e), 0);
	assert_int_equal(netif_set_up(n, "wire", true, &e), 0);
	assert_int_equal(netif_set_up(n, "br0", true, &e), 0);
	netif_close(n);
	s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	at.sll_ifindex = (int)if_nametoindex("wire");
	assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
	wait_forwarding(s);
	return s;
}

/* Counts until `want` frames of ours were seen, and then what is there already; a busy kernel may deliver late. */
static void count(int s, uint32_t ip, unsigned want, unsigned *rarp, unsigned *garp)
{
	uint8_t got[2000], a[FRAME_BYTES], b[FRAME_BYTES];
	struct pollfd p = { .fd = s, .events = POLLIN };
	ssize_t n;

	frame_rarp(mac, a);
	frame_garp(mac, ip, b);
	while (poll(&p, 1, *rarp + *garp < want ? 10000 : 0) > 0 && (n = recv(s, got, sizeof(got), 0)) > 0) {
		*rarp += n == FRAME_BYTES && memcmp(got, a, sizeof(a)) == 0;
		*garp += n == FRAME_BYTES && memcmp(got, b, sizeof(b)) == 0;
	}
}

static void done(void *arg, unsigned failed)
{
	assert_int_equal(failed, 0);
	(*(unsigned *)arg)++;
}

static void repeats_and_ends(void **state)
{
	uint32_t ip = inet_addr("10.77.0.9");
	unsigned rarp = 0, garp = 0, ended = 0;
	struct announce *a = NULL;
	struct loop *l = NULL;
	struct err e = ERR_INIT;
	uint64_t t0 = clock_mono_ms();
	int s = listen_on_wire();

	(void)state;
	if (s < 0)
		skip();
	assert_int_equal(loop_new(&l, &e), 0);
	assert_int_equal(announce_start(l, "br0", mac, ip, done, &ended, &a, &e), 0);
	count(s, ip, 2, &rarp, &garp);
	assert_int_equal(rarp, 1);		/* the first does not wait for the loop */
	assert_int_equal(garp, 1);
	while (!ended && clock_mono_ms() - t0 < 20000)
		loop_once(l, 100);
	assert_int_equal(ended, 1);
	assert_true(clock_mono_ms() - t0 >= ANNOUNCE_FIRST_MS * 15);	/* 1 + 2 + 4 + 8 */
	count(s, ip, 2 * ANNOUNCE_TIMES, &rarp, &garp);
	assert_int_equal(rarp, ANNOUNCE_TIMES);
	assert_int_equal(garp, ANNOUNCE_TIMES);
	announce_free(a);
	loop_free(l);
	close(s);
}

static void without_an_address(void **state)
{
	unsigned rarp = 0, garp = 0;
	struct err e = ERR_INIT;
	int s = listen_on_wire();

	(void)state;
	if (s < 0)
		skip();
	assert_int_equal(announce_once("br0", mac, 0, &e), 0);
	count(s, 0, 1, &rarp, &garp);
	assert_int_equal(rarp, 1);
	assert_int_equal(garp, 0);
	assert_int_equal(announce_once("br7", mac, 0, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repeats_and_ends),
		cmocka_unit_test(without_an_address),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a server at the other end of a wire: lease, refusal, silence. */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "init/dhcp.h"
#include "net/netif.h"
#include "tests/unit/check.h"
#include "tests/unit/dhcp_server.h"
#include "tests/unit/netns.h"

enum { PATIENCE_MS = 20000 };

struct rig {
	struct loop *l;
	struct dhcp *d;
	int wire;
	uint8_t mac[6];
	struct dhcp_answer lease;
	unsigned leases, losses;
};

static void on_lease(void *arg, const struct dhcp_answer *a)
{
	struct rig *r = arg;

	if (a)
		r->lease = *a;
	r->leases += a != NULL;
	r->losses += a == NULL;
}

static void build_wire(struct rig *r)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	struct netif *n = NULL;
	struct netif_info i;
	struct err e = ERR_INIT;

	assert_int_equal(netif_open(&n, &e), 0);
	assert_int_equal(netif_set_up(n, "nic", true, &e), 0);
	assert_int_equal(netif_set_up(n, "wire", true, &e), 0);
	assert_int_equal(netif_find(n, "nic", &i, &e), 0);
	memcpy(r->mac, i.mac, 6);
	netif_close(n);
	r->wire = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_IP));
	at.sll_ifindex = (int)if_nametoindex("wire");
	assert_int_equal(bind(r->wire, (struct sockaddr *)&at, sizeof(at)), 0);
}

static int start(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;

	log_init("test", LOG_ERR);
	*state = NULL;
	if (!netns_enter() || !netns_veth("nic", "wire")) {
		free(r);
		return 0;
	}
	build_wire(r);
	if (loop_new(&r->l, &e) < 0 || dhcp_start(r->l, "nic", r->mac, "hv1", on_lease, r, &r->d, &e) < 0)
		return -1;
	*state = r;
	return 0;
}

static int end(void **state)
{
	struct rig *r = *state;

	if (!r)
		return 0;
	dhcp_free(r->d);
	loop_free(r->l);
	close(r->wire);
	free(r);
	return 0;
}

/* The client's next message of this type; its transaction. */
static uint32_t next(struct rig *r, enum dhcp_type want)
{
	uint64_t until = clock_mono_ms() + PATIENCE_MS;
	uint8_t p[1500];
	uint32_t xid;

	while (clock_mono_ms() < until) {
		ssize_t n = recv(r->wire, p, sizeof(p), 0);

		if (n < 0) {
			loop_once(r->l, 10);
			continue;
		}
		if (n < 272 || p[9] != 17 || p[23] != DHCP_SERVER_PORT)
			continue;
		assert_int_equal(server_sum(p, 20), 0);
		assert_int_equal(server_udp_sum(p, (size_t)n), 0);
		if (p[270] != want)
			continue;
		memcpy(&xid, p + 32, 4);
		return ntohl(xid);
	}
	fail_msg("no message of type %u", (unsigned)want);
	return 0;
}

static void answer(struct rig *r, struct server s, uint32_t xid)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_halen = 6,
				  .sll_ifindex = (int)if_nametoindex("wire") };
	uint8_t p[600];

	memset(to.sll_addr, 0xff, 6);
	s.xid = xid;
	s.mac = r->mac;
	assert_true(sendto(r->wire, p, server_packet(&s, p), 0, (struct sockaddr *)&to, sizeof(to)) > 0);
}

static void wait_for(struct rig *r, const unsigned *counter)
{
	uint64_t until = clock_mono_ms() + PATIENCE_MS;

	while (!*counter && clock_mono_ms() < until)
		loop_once(r->l, 100);
	assert_int_equal(*counter, 1);
}

static void lease(void **state)
{
	struct rig *r = *state;
	uint32_t xid;

	if (!r)
		skip();
	xid = next(r, DHCP_DISCOVER);
	answer(r, (struct server){ .type = DHCP_OFFER, .ip = "10.9.9.9", .lease_s = 600 }, xid + 1);
	answer(r, (struct server){ .type = DHCP_OFFER, .ip = "10.0.2.15", .lease_s = 600 }, xid);
	assert_int_equal(next(r, DHCP_REQUEST), xid);
	assert_int_equal(r->leases, 0);		/* an offer is no lease */
	answer(r, (struct server){ .type = DHCP_ACK, .ip = "10.0.2.15", .lease_s = 600 }, xid);
	wait_for(r, &r->leases);
	assert_int_equal(r->lease.ip, inet_addr("10.0.2.15"));
	assert_int_equal(r->lease.gateway, inet_addr("10.0.2.2"));
	assert_int_equal(r->losses, 0);
}

static void refused_request_starts_over(void **state)
{
	struct rig *r = *state;
	uint32_t xid;

	if (!r)
		skip();
	xid = next(r, DHCP_DISCOVER);
	answer(r, (struct server){ .type = DHCP_OFFER, .ip = "10.0.2.15", .lease_s = 600 }, xid);
	next(r, DHCP_REQUEST);
	answer(r, (struct server){ .type = DHCP_NAK, .ip = "0.0.0.0" }, xid);
	next(r, DHCP_DISCOVER);
	assert_int_equal(r->leases + r->losses, 0);
}

static void silence_is_asked_again(void **state)
{
	struct rig *r = *state;
	uint64_t t0 = clock_mono_ms();

	if (!r)
		skip();
	for (int i = 0; i < 3; i++)
		next(r, DHCP_DISCOVER);
	assert_true(clock_mono_ms() - t0 >= DHCP_RETRY_MS_FIRST);
	assert_int_equal(r->leases, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lease, start, end),
		cmocka_unit_test_setup_teardown(refused_request_starts_over, start, end),
		cmocka_unit_test_setup_teardown(silence_is_asked_again, start, end),
	};

	return check_main(tests);
}

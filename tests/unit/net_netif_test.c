/* SPDX-License-Identifier: Apache-2.0 */
/* Links, bridges, addresses and routes on a real kernel, in a namespace of its own. */
#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "net/netif.h"
#include "tests/unit/check.h"
#include "tests/unit/netns.h"

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x77, 0, 1 };
static struct netif *n;

static int start(void **state)
{
	struct err e = ERR_INIT;

	*state = NULL;
	n = NULL;
	if (netns_enter() && netns_veth("v0", "v1") && netif_open(&n, &e) == 0)
		*state = n;
	return 0;
}

static int end(void **state)
{
	(void)state;
	netif_close(n);
	return 0;
}

static void links(void **state)
{
	struct netif_info v[NETIF_MAX], i;
	unsigned count = NETIF_MAX;
	struct err e = ERR_INIT;

	if (!*state)
		skip();
	assert_int_equal(netif_list(n, v, &count, &e), 0);
	assert_int_equal(count, 3);
	assert_string_equal(v[0].name, "lo");
	assert_false(v[0].physical || v[1].physical);
	assert_int_equal(netif_set_up(n, "v0", true, &e), 0);
	assert_int_equal(netif_set_up(n, "v1", true, &e), 0);
	assert_int_equal(netif_find(n, "v0", &i, &e), 0);
	assert_true(i.up && i.carrier);
	assert_int_equal(netif_set_mtu(n, "v0", 1400, &e), 0);
	assert_int_equal(netif_set_mac(n, "v0", mac, &e), 0);
	assert_int_equal(netif_find(n, "v0", &i, &e), 0);
	assert_int_equal(i.mtu, 1400);
	assert_memory_equal(i.mac, mac, 6);
	assert_int_equal(netif_set_up(n, "v1", false, &e), 0);
	assert_int_equal(netif_find(n, "v0", &i, &e), 0);
	assert_false(i.carrier);
	assert_int_equal(netif_find(n, "v9", &i, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(netif_set_up(n, "v9", true, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void bridges(void **state)
{
	struct netif_info i;
	struct err e = ERR_INIT;

	if (!*state)
		skip();
	for (int again = 0; again < 2; again++) {
		assert_int_equal(netif_bridge_make(n, "br0", mac, &e), 0);
		assert_int_equal(netif_bridge_join(n, "br0", "v0", &e), 0);
		assert_int_equal(netif_find(n, "v0", &i, &e), 0);
		assert_string_equal(i.master, "br0");
	}
	assert_int_equal(netif_find(n, "br0", &i, &e), 0);
	assert_memory_equal(i.mac, mac, 6);
	for (int again = 0; again < 2; again++)
		assert_int_equal(netif_bridge_leave(n, "v0", &e), 0);
	assert_int_equal(netif_find(n, "v0", &i, &e), 0);
	assert_string_equal(i.master, "");
	assert_int_equal(netif_bridge_join(n, "br1", "v0", &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_non_null(strstr(e.detail, "br1"));
}

/* Sees the result as a program would: by connecting a datagram socket. */
static uint32_t source_towards(const char *ip)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = inet_addr(ip) }, me;
	socklen_t len = sizeof(me);
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t got = 0;

	if (connect(s, (struct sockaddr *)&to, sizeof(to)) == 0 && getsockname(s, (struct sockaddr *)&me, &len) == 0)
		got = me.sin_addr.s_addr;
	close(s);
	return got;
}

static void addresses_and_routes(void **state)
{
	uint32_t ip = inet_addr("10.77.0.1");
	struct err e = ERR_INIT;

	if (!*state)
		skip();
	assert_int_equal(netif_set_up(n, "v0", true, &e), 0);
	assert_int_equal(netif_set_up(n, "v1", true, &e), 0);
	for (int again = 0; again < 2; again++)
		assert_int_equal(netif_addr_add(n, "v0", ip, 24, &e), 0);
	assert_int_equal(source_towards("10.77.0.2"), ip);
	assert_int_equal(source_towards("192.0.2.1"), 0);
	for (int again = 0; again < 2; again++)
		assert_int_equal(netif_route_default(n, "v0", inet_addr("10.77.0.254"), 100, &e), 0);
	assert_int_equal(source_towards("192.0.2.1"), ip);
	for (int again = 0; again < 2; again++)
		assert_int_equal(netif_addr_del(n, "v0", ip, 24, &e), 0);
	assert_int_equal(source_towards("10.77.0.2"), 0);
	assert_int_equal(netif_addr_add(n, "v9", ip, 24, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(links, start, end),
		cmocka_unit_test_setup_teardown(bridges, start, end),
		cmocka_unit_test_setup_teardown(addresses_and_routes, start, end),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* DHCP packets: what we send is right bit by bit, what comes in is bounded. */
#include <arpa/inet.h>
#include <string.h>

#include "init/dhcp_proto.h"
#include "tests/unit/check.h"
#include "tests/unit/dhcp_server.h"

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x78, 0, 1 };

static void discover(void **state)
{
	struct dhcp_ask a = { .type = DHCP_DISCOVER, .xid = 0x01020304, .dst = INADDR_BROADCAST, .hostname = "hv1" };
	uint8_t p[DHCP_SEND_BYTES];

	(void)state;
	memcpy(a.mac, mac, 6);
	assert_int_equal(dhcp_encode(&a, p), DHCP_SEND_BYTES);
	assert_int_equal(server_sum(p, 20), 0);			/* a right checksum sums to zero */
	assert_memory_equal(p + 12, "\0\0\0\0\xff\xff\xff\xff", 8);
	assert_memory_equal(p + 20, "\0\x44\0\x43", 4);
	assert_memory_equal(p + 28, "\1\1\6\0\1\2\3\4\0\0\x80\0", 12);
	assert_memory_equal(p + 28 + 28, mac, 6);
	assert_memory_equal(p + 264, "\x63\x82\x53\x63\x35\1\1\x0c\3hv1\x37", 13);
	assert_int_equal(server_udp_sum(p, DHCP_SEND_BYTES), 0);
}

static void request_and_renewal(void **state)
{
	struct dhcp_ask a = { .type = DHCP_REQUEST, .wanted = inet_addr("10.0.2.15"), .server = inet_addr("10.0.2.2"),
			      .dst = INADDR_BROADCAST, .hostname = "" };
	uint8_t p[DHCP_SEND_BYTES];

	(void)state;
	dhcp_encode(&a, p);
	assert_memory_equal(p + 268, "\x35\1\3\x32\4\x0a\0\2\x0f\x36\4\x0a\0\2\2\x37", 16);
	a = (struct dhcp_ask){ .type = DHCP_REQUEST, .ciaddr = inet_addr("10.0.2.15"), .dst = inet_addr("10.0.2.2"),
			       .hostname = "" };
	dhcp_encode(&a, p);
	assert_memory_equal(p + 12, "\x0a\0\2\x0f\x0a\0\2\2", 8);
	assert_memory_equal(p + 28 + 10, "\0\0\x0a\0\2\x0f", 6);	/* no broadcast flag, ciaddr */
}

static void long_hostname_is_cut(void **state)
{
	struct dhcp_ask a = { .type = DHCP_REQUEST, .wanted = 1, .server = 1, .dst = INADDR_BROADCAST,
			      .hostname = "123456789012345678901234567890123456789012345678901234567890123" };
	uint8_t p[DHCP_SEND_BYTES];

	(void)state;
	dhcp_encode(&a, p);
	assert_memory_equal(p + 283, "\x0c\x20" "12345678901234567890123456789012\x37", 35);
	assert_int_equal(p[DHCP_SEND_BYTES - 3], 255);
}

static void offer(void **state)
{
	struct server s = { .type = DHCP_OFFER, .xid = 7, .mac = mac, .ip = "10.0.2.15", .lease_s = 86400 };
	uint8_t p[600];
	size_t n = server_packet(&s, p);
	struct dhcp_answer a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(dhcp_decode(p, n, mac, 7, &a, &e), 0);
	assert_int_equal(a.type, DHCP_OFFER);
	assert_int_equal(a.ip, inet_addr("10.0.2.15"));
	assert_int_equal(a.server, inet_addr("10.0.2.2"));
	assert_int_equal(a.prefix, 24);
	assert_int_equal(a.gateway, inet_addr("10.0.2.2"));
	assert_int_equal(a.n_dns, 1);
	assert_int_equal(a.lease_s, 86400);
	assert_int_equal(a.t1_s, 43200);
	assert_int_equal(a.t2_s, 75600);
	/* Ethernet pads short packets. */
	assert_int_equal(dhcp_decode(p, n + 9, mac, 7, &a, &e), 0);
}

static void not_for_us(void **state)
{
	static const uint8_t other[6] = { 1 };
	struct server s = { .type = DHCP_OFFER, .xid = 7, .mac = mac, .ip = "10.0.2.15", .lease_s = 60 };
	uint8_t p[600];
	size_t n = server_packet(&s, p);
	struct dhcp_answer a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(dhcp_decode(p, n, mac, 8, &a, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(dhcp_decode(p, n, other, 7, &a, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	p[9] = 6;			/* TCP */
	assert_int_equal(dhcp_decode(p, n, mac, 7, &a, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

/* Cut anywhere, a packet is refused or, inside the options behind what counts, still safe. */
static void every_cut(void **state)
{
	struct server s = { .type = DHCP_ACK, .xid = 7, .mac = mac, .ip = "10.0.2.15", .lease_s = 60 };
	uint8_t p[600];
	size_t n = server_packet(&s, p);
	struct dhcp_answer a;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t cut = 0; cut < n; cut++) {
		uint8_t *q = malloc(cut + 1);	/* its own block, for the sanitizer */

		memcpy(q, p, cut);
		assert_int_equal(dhcp_decode(q, cut, mac, 7, &a, &e), -1);
		free(q);
	}
}

static void bad_answers(void **state)
{
	static const struct { struct server s; const char *label; } cases[] = {
		{ { .type = DHCP_OFFER, .ip = "0.0.0.0", .lease_s = 60 }, "no address" },
		{ { .type = DHCP_OFFER, .ip = "255.255.255.255", .lease_s = 60 }, "all ones" },
		{ { .type = DHCP_ACK, .ip = "127.0.0.1", .lease_s = 60 }, "loopback" },
		{ { .type = DHCP_ACK, .ip = "224.0.0.1", .lease_s = 60 }, "multicast" },
		{ { .type = DHCP_DISCOVER, .ip = "10.0.0.1", .lease_s = 60 }, "a client's message" },
		{ { .type = DHCP_ACK, .ip = "10.0.0.1", .mask = "255.0.255.0" }, "mask with a hole" },
		{ { .type = DHCP_ACK, .ip = "10.0.0.1", .mask = "0.0.0.0" }, "no mask" },
		{ { .type = DHCP_ACK, .ip = "10.0.0.1", .long_option = true }, "option behind the end" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct server s = cases[i].s;
		uint8_t p[600];
		struct dhcp_answer a;
		struct err e = ERR_INIT;

		s.xid = 7;
		s.mac = mac;
		if (dhcp_decode(p, server_packet(&s, p), mac, 7, &a, &e) == 0 || e.code != ERR_CORRUPT)
			fail_msg("%s: %s", cases[i].label, e.detail);
	}
}

/* Whatever a server says of times, they are ordered and bounded. */
static void times(void **state)
{
	static const uint32_t leases[] = { 0, 1, 59, 60, 86400, 0x7fffffff, 0xffffffff };
	static const uint32_t t[] = { 0, 1, 100, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(leases) * 16; i++) {
		struct server s = { .type = DHCP_ACK, .xid = 7, .mac = mac, .ip = "10.0.0.1",
				    .lease_s = leases[i / 16], .t1_s = t[i % 4], .t2_s = t[i / 4 % 4] };
		uint8_t p[600];
		struct dhcp_answer a;
		struct err e = ERR_INIT;

		assert_int_equal(dhcp_decode(p, server_packet(&s, p), mac, 7, &a, &e), 0);
		assert_true(a.lease_s >= DHCP_LEASE_S_MIN && a.lease_s <= DHCP_LEASE_S_MAX);
		assert_true(a.t1_s < a.t2_s && a.t2_s < a.lease_s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(discover),
		cmocka_unit_test(request_and_renewal),
		cmocka_unit_test(long_hostname_is_cut),
		cmocka_unit_test(offer),
		cmocka_unit_test(not_for_us),
		cmocka_unit_test(every_cut),
		cmocka_unit_test(bad_answers),
		cmocka_unit_test(times),
	};

	return check_main(tests);
}

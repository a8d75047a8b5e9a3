/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of DHCP for tests: builds a server's packet, good or bad in
 * one chosen way, and checks checksums.
 */
#ifndef TESTS_UNIT_DHCP_SERVER_H
#define TESTS_UNIT_DHCP_SERVER_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include "init/dhcp_proto.h"

struct server {
	enum dhcp_type type;
	uint32_t xid;
	const uint8_t *mac;
	const char *ip;
	const char *mask;		/* NULL: 255.255.255.0 */
	uint32_t lease_s, t1_s, t2_s;	/* t1, t2: 0 for none */
	bool long_option;		/* an option that claims more bytes than there are */
};

static inline unsigned server_sum(const uint8_t *p, size_t n)
{
	uint32_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return ~s & 0xffff;
}

/* 0 if the UDP checksum of a packet without IP options is right. */
static inline unsigned server_udp_sum(const uint8_t *p, size_t n)
{
	uint8_t pseudo[1500] = { 0 };

	memcpy(pseudo, p + 12, 8);
	pseudo[9] = 17;
	memcpy(pseudo + 10, p + 24, 2);
	memcpy(pseudo + 12, p + 20, n - 20);
	return server_sum(pseudo, n - 20 + 12);
}

static inline uint8_t *server_option(uint8_t *o, uint8_t type, const void *v, uint8_t n)
{
	*o++ = type;
	*o++ = n;
	memcpy(o, v, n);
	return o + n;
}

static inline uint8_t *server_ip_option(uint8_t *o, uint8_t type, const char *ip)
{
	uint32_t a = inet_addr(ip);

	return server_option(o, type, &a, 4);
}

static inline uint8_t *server_u32_option(uint8_t *o, uint8_t type, uint32_t v)
{
	v = htonl(v);
	return server_option(o, type, &v, 4);
}

/* The bytes used of out (600 are enough). */
static inline size_t server_packet(const struct server *s, uint8_t *out)
{
	uint8_t *b = out + 28, *o = b + 240;
	uint8_t type = (uint8_t)s->type;
	uint32_t ip = inet_addr(s->ip), xid = htonl(s->xid);
	uint16_t v;
	size_t n;

	memset(out, 0, 600);
	b[0] = 2;
	b[1] = 1;
	b[2] = 6;
	memcpy(b + 4, &xid, 4);
	memcpy(b + 16, &ip, 4);
	memcpy(b + 28, s->mac, 6);
	memcpy(b + 236, "\x63\x82\x53\x63", 4);
	o = server_option(o, 53, &type, 1);
	o = server_ip_option(o, 54, "10.0.2.2");
	*o++ = 0;			/* padding is allowed anywhere */
	o = server_ip_option(o, 1, s->mask ? s->mask : "255.255.255.0");
	o = server_ip_option(o, 3, "10.0.2.2");
	o = server_ip_option(o, 6, "10.0.2.3");
	o = server_u32_option(o, 51, s->lease_s);
	if (s->t1_s)
		o = server_u32_option(o, 58, s->t1_s);
	if (s->t2_s)
		o = server_u32_option(o, 59, s->t2_s);
	if (s->long_option)
		o = (uint8_t *)memcpy(o, "\x4d\xc8" "abc", 5) + 5;
	else
		*o++ = 255;
	n = (size_t)(o - out);
	out[0] = 0x45;
	v = htons((uint16_t)n);
	memcpy(out + 2, &v, 2);
	out[8] = 64;
	out[9] = 17;
	memcpy(out + 12, "\x0a\0\2\2\xff\xff\xff\xff", 8);
	memcpy(out + 20, "\0\x43\0\x44", 4);
	v = htons((uint16_t)(n - 20));
	memcpy(out + 24, &v, 2);
	return n;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building and reading the probe's frames.
 */
#include "tests/lab/frames.h"

#include <string.h>

enum { TYPE_IP = 0x0800, TYPE_ARP = 0x0806, TYPE_RARP = 0x8035, PROTO_ICMP = 1, PROTO_UDP = 17 };

const uint8_t frame_my_mac[6] = { 2, 0, 0, 0, 0, 0x99 };
const uint8_t frame_my_ip[4] = { 10, 77, 0, 99 };

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned checksum(const uint8_t *p, size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i + 1 < n; i += 2)
		sum += frame_get16(p + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static void put_eth(uint8_t *f, const uint8_t *to, unsigned type)
{
	memcpy(f, to, 6);
	memcpy(f + 6, frame_my_mac, 6);
	put16(f + 12, type);
}

static void put_arp(uint8_t *f, unsigned op, const uint8_t *to, const uint8_t *mac, const uint8_t *ip)
{
	uint8_t *a = f + ETH_BYTES;

	memset(f, 0, ARP_FRAME_BYTES);
	put_eth(f, to, TYPE_ARP);
	put16(a, 1);
	put16(a + 2, TYPE_IP);
	a[4] = 6;
	a[5] = 4;
	put16(a + 6, op);
	memcpy(a + 8, frame_my_mac, 6);
	memcpy(a + 14, frame_my_ip, 4);
	memcpy(a + 18, mac, 6);
	memcpy(a + 24, ip, 4);
}

void frame_arp_ask(uint8_t f[ARP_FRAME_BYTES], const uint8_t ip[4])
{
	static const uint8_t everyone[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, nobody[6];

	put_arp(f, 1, everyone, nobody, ip);
}

void frame_arp_answer(uint8_t f[ARP_FRAME_BYTES], const uint8_t mac[6], const uint8_t ip[4])
{
	put_arp(f, 2, mac, mac, ip);
}

/* Ethernet and IPv4 headers in front of n bytes; returns where those go. */
static uint8_t *put_ip(uint8_t *f, const uint8_t *mac, const uint8_t *ip, unsigned proto, size_t n)
{
	uint8_t *h = f + ETH_BYTES;

	memset(h, 0, IP_BYTES);
	put_eth(f, mac, TYPE_IP);
	h[0] = 0x45;
	put16(h + 2, IP_BYTES + n);
	h[8] = 64;
	h[9] = (uint8_t)proto;
	memcpy(h + 12, frame_my_ip, 4);
	memcpy(h + 16, ip, 4);
	put16(h + 10, checksum(h, IP_BYTES));
	return h + IP_BYTES;
}

void frame_echo(uint8_t f[ECHO_FRAME_BYTES], const uint8_t mac[6], const uint8_t ip[4], unsigned seq)
{
	uint8_t *c = put_ip(f, mac, ip, PROTO_ICMP, ECHO_BYTES);

	memset(c, 0, ECHO_BYTES);
	c[0] = 8;
	put16(c + 4, 0x1234);
	put16(c + 6, seq);
	put16(c + 2, checksum(c, ECHO_BYTES));
}

size_t frame_udp(uint8_t f[UDP_FRAME_MAX], const uint8_t mac[6], const uint8_t ip[4], unsigned from_port,
		 unsigned to_port, const char *text, size_t n)
{
	uint8_t *u = put_ip(f, mac, ip, PROTO_UDP, UDP_BYTES + n);

	put16(u, from_port);
	put16(u + 2, to_port);
	put16(u + 4, UDP_BYTES + n);
	put16(u + 6, 0);		/* no checksum */
	memcpy(u + UDP_BYTES, text, n);
	return ETH_BYTES + IP_BYTES + UDP_BYTES + n;
}

static void read_udp(struct frame *r, const uint8_t *u, size_t n)
{
	size_t len = frame_get16(u + 4);

	if (len < UDP_BYTES || len > n)
		return;
	r->kind = FRAME_UDP;
	r->from_port = frame_get16(u);
	r->to_port = frame_get16(u + 2);
	r->text = u + UDP_BYTES;
	r->text_len = len - UDP_BYTES;
}

static void read_ip(struct frame *r, const uint8_t *h, size_t n)
{
	if (h[0] != 0x45 || n < IP_BYTES + UDP_BYTES)
		return;
	r->ip = h + 12;
	r->to_ip = h + 16;
	if (h[9] == PROTO_ICMP && h[IP_BYTES] == 0) {
		r->kind = FRAME_ECHO_ANSWER;
		r->seq = frame_get16(h + IP_BYTES + 6);
	} else if (h[9] == PROTO_UDP) {
		read_udp(r, h + IP_BYTES, n - IP_BYTES);
	}
}

struct frame frame_read(const uint8_t *f, size_t n)
{
	struct frame r = { .kind = FRAME_OTHER, .mac = f + 6 };
	unsigned type = frame_get16(f + 12);
	const uint8_t *a = f + ETH_BYTES;

	if (type == TYPE_ARP && n >= ETH_BYTES + ARP_BYTES) {
		r.kind = frame_get16(a + 6) == 1 ? FRAME_ARP_ASK : FRAME_ARP_ANSWER;
		r.mac = a + 8;
		r.ip = a + 14;
		r.to_ip = a + 24;
	} else if (type == TYPE_RARP) {
		r.kind = FRAME_RARP;
	} else if (type == TYPE_IP && n > ETH_BYTES + IP_BYTES) {
		read_ip(&r, a, n - ETH_BYTES);
	}
	return r;
}

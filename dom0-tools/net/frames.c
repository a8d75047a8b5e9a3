/* SPDX-License-Identifier: Apache-2.0 */
/* Builders of the two frames in frames.h; they share all but four fields. */
#include "net/frames.h"

#include <string.h>

enum { TYPE_ARP = 0x0806, TYPE_RARP = 0x8035, OP_ARP_REQUEST = 1, OP_RARP_REQUEST = 3 };

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void build(const uint8_t mac[6], unsigned type, unsigned op, uint32_t ip, const uint8_t target[6],
		  uint8_t out[FRAME_BYTES])
{
	memset(out, 0, FRAME_BYTES);
	memset(out, 0xff, 6);
	memcpy(out + 6, mac, 6);
	put16(out + 12, type);
	put16(out + 14, 1);		/* Ethernet */
	put16(out + 16, 0x0800);	/* IPv4 */
	out[18] = 6;
	out[19] = 4;
	put16(out + 20, op);
	memcpy(out + 22, mac, 6);
	memcpy(out + 28, &ip, 4);
	memcpy(out + 32, target, 6);
	memcpy(out + 38, &ip, 4);
}

void frame_rarp(const uint8_t mac[6], uint8_t out[FRAME_BYTES])
{
	build(mac, TYPE_RARP, OP_RARP_REQUEST, 0, mac, out);
}

void frame_garp(const uint8_t mac[6], uint32_t ip, uint8_t out[FRAME_BYTES])
{
	static const uint8_t none[6];

	build(mac, TYPE_ARP, OP_ARP_REQUEST, ip, none, out);
}

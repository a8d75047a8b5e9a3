/* SPDX-License-Identifier: Apache-2.0 */
/* Encoder and bounded decoder of dhcp_proto.h; pure. */
#include "init/dhcp_proto.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/rd.h"

enum {
	IP_BYTES = 20, UDP_BYTES = 8, BOOTP_BYTES = 236, MAGIC = 0x63825363,
	PROTO_UDP = 17, BOOTREQUEST = 1, BOOTREPLY = 2, FLAG_BROADCAST = 0x8000,
	OPT_PAD = 0, OPT_MASK = 1, OPT_ROUTER = 3, OPT_DNS = 6, OPT_HOSTNAME = 12, OPT_WANTED_IP = 50, OPT_LEASE = 51,
	OPT_TYPE = 53, OPT_SERVER = 54, OPT_PARAMS = 55, OPT_T1 = 58, OPT_T2 = 59, OPT_END = 255,
	HOSTNAME_MAX = 32,
	OPT_BYTES_MAX = DHCP_SEND_BYTES - IP_BYTES - UDP_BYTES - BOOTP_BYTES - 4,
};

/* Type 3, server 6, wanted IP 6, host name 2 + 32, parameters 2 + 6, end 1: always fits. */
_Static_assert(3 + 6 + 6 + 2 + HOSTNAME_MAX + 8 + 1 <= OPT_BYTES_MAX, "options fit");

static uint8_t *put16(uint8_t *p, unsigned v)
{
	*p++ = (uint8_t)(v >> 8);
	*p++ = (uint8_t)v;
	return p;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	return put16(put16(p, v >> 16), v & 0xffff);
}

/* From network order. */
static uint8_t *put_ip(uint8_t *p, uint32_t ip)
{
	memcpy(p, &ip, 4);
	return p + 4;
}

static uint32_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static unsigned fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static void put_heads(uint8_t *out, size_t total, uint32_t src, uint32_t dst)
{
	unsigned udp_len = (unsigned)total - IP_BYTES;
	uint8_t *udp = out + IP_BYTES;
	uint32_t sum;

	out[0] = 0x45;
	put16(out + 2, (unsigned)total);
	out[8] = 64;
	out[9] = PROTO_UDP;
	put_ip(out + 12, src);
	put_ip(out + 16, dst);
	put16(out + 10, fold(sum16(out, IP_BYTES, 0)));
	put16(udp, DHCP_CLIENT_PORT);
	put16(udp + 2, DHCP_SERVER_PORT);
	put16(udp + 4, udp_len);
	/* The pseudo header: both addresses, the protocol, the length. */
	sum = fold(sum16(udp, udp_len, sum16(out + 12, 8, PROTO_UDP + udp_len)));
	put16(udp + 6, sum ? sum : 0xffff);
}

static void put_options(uint8_t *p, const struct dhcp_ask *a)
{
	static const uint8_t params[] = { OPT_PARAMS, 6, OPT_MASK, OPT_ROUTER, OPT_DNS, OPT_LEASE, OPT_T1, OPT_T2 };
	size_t n = strnlen(a->hostname, HOSTNAME_MAX);

	*p++ = OPT_TYPE;
	*p++ = 1;
	*p++ = (uint8_t)a->type;
	if (a->wanted) {
		*p++ = OPT_WANTED_IP;
		*p++ = 4;
		p = put_ip(p, a->wanted);
	}
	if (a->server) {
		*p++ = OPT_SERVER;
		*p++ = 4;
		p = put_ip(p, a->server);
	}
	if (n > 0) {
		*p++ = OPT_HOSTNAME;
		*p++ = (uint8_t)n;
		memcpy(p, a->hostname, n);
		p += n;
	}
	memcpy(p, params, sizeof(params));
	p[sizeof(params)] = OPT_END;
}

size_t dhcp_encode(const struct dhcp_ask *a, uint8_t out[DHCP_SEND_BYTES])
{
	uint8_t *p = out + IP_BYTES + UDP_BYTES;

	memset(out, 0, DHCP_SEND_BYTES);
	p[0] = BOOTREQUEST;
	p[1] = 1;			/* Ethernet, 6 bytes of address */
	p[2] = 6;
	put32(p + 4, a->xid);
	/* We hear answers before we have an address, but only those sent to all. */
	put16(p + 10, a->ciaddr ? 0 : FLAG_BROADCAST);
	put_ip(p + 12, a->ciaddr);
	memcpy(p + 28, a->mac, 6);
	put32(p + BOOTP_BYTES, MAGIC);
	put_options(p + BOOTP_BYTES + 4, a);
	put_heads(out, DHCP_SEND_BYTES, a->ciaddr, a->dst);
	return DHCP_SEND_BYTES;
}

/* Moves r to the BOOTP message and bounds it there. */
static int read_heads(struct rd *r, struct err *e)
{
	const uint8_t *ip = r->p;
	unsigned vhl = rd_u8(r), ip_len, head = (vhl & 15) * 4, frag, proto, udp_len, src, dst;

	rd_skip(r, 1);
	ip_len = rd_be16(r);
	rd_skip(r, 2);
	frag = rd_be16(r);
	rd_skip(r, 1);
	proto = rd_u8(r);
	rd_skip(r, 10);
	if (r->bad || vhl >> 4 != 4 || head < IP_BYTES || ip_len < head + UDP_BYTES || ip_len > r->end - ip)
		return err_set(e, ERR_CORRUPT, "bad IP head");
	if (proto != PROTO_UDP || (frag & 0x3fff) != 0)
		return err_set(e, ERR_NOT_FOUND, "not UDP in one piece");
	r->end = ip + ip_len;		/* behind it is Ethernet padding */
	rd_skip(r, head - IP_BYTES);
	src = rd_be16(r);
	dst = rd_be16(r);
	udp_len = rd_be16(r);
	rd_skip(r, 2);
	if (r->bad || udp_len < UDP_BYTES || udp_len - UDP_BYTES > rd_left(r))
		return err_set(e, ERR_CORRUPT, "bad UDP head");
	r->end = r->p + (udp_len - UDP_BYTES);
	if (src != DHCP_SERVER_PORT || dst != DHCP_CLIENT_PORT)
		return err_set(e, ERR_NOT_FOUND, "other ports");
	return 0;
}

static uint32_t rd_ip(struct rd *r)
{
	uint32_t ip;

	rd_copy(r, &ip, 4);
	return ip;
}

static int read_bootp(struct rd *r, const uint8_t mac[6], uint32_t xid, struct dhcp_answer *out, struct err *e)
{
	unsigned op = rd_u8(r), htype = rd_u8(r), hlen = rd_u8(r);
	uint8_t chaddr[6];
	uint32_t got_xid;

	rd_skip(r, 1);
	got_xid = rd_be32(r);
	rd_skip(r, 8);			/* secs, flags, ciaddr */
	out->ip = rd_ip(r);
	rd_skip(r, 8);			/* siaddr, giaddr */
	rd_copy(r, chaddr, 6);
	rd_skip(r, 10 + 64 + 128);	/* rest of chaddr, sname, file */
	if (rd_be32(r) != MAGIC || r->bad)
		return err_set(e, ERR_CORRUPT, "BOOTP message cut short or without DHCP's magic");
	if (op != BOOTREPLY || htype != 1 || hlen != 6 || got_xid != xid || memcmp(chaddr, mac, 6) != 0)
		return err_set(e, ERR_NOT_FOUND, "an answer to somebody else");
	return 0;
}

/* Ones from the top, then zeros only. */
static int mask_prefix(uint32_t mask, unsigned *out, struct err *e)
{
	unsigned n = 0;

	while (n < 32 && mask & (0x80000000u >> n))
		n++;
	if (n == 0 || (n < 32 && mask << n))
		return err_set(e, ERR_CORRUPT, "mask %08x is none", mask);
	*out = n;
	return 0;
}

static int read_option(unsigned type, struct rd *v, struct dhcp_answer *out, struct err *e)
{
	switch (type) {
	case OPT_TYPE:
		out->type = (enum dhcp_type)rd_u8(v);
		break;
	case OPT_MASK:
		if (mask_prefix(rd_be32(v), &out->prefix, e) < 0)
			return -1;
		break;
	case OPT_ROUTER:
		out->gateway = rd_ip(v);
		break;
	case OPT_DNS:
		for (out->n_dns = 0; out->n_dns < DHCP_DNS_MAX && rd_left(v) >= 4; out->n_dns++)
			out->dns[out->n_dns] = rd_ip(v);
		break;
	case OPT_SERVER:
		out->server = rd_ip(v);
		break;
	case OPT_LEASE:
		out->lease_s = rd_be32(v);
		break;
	case OPT_T1:
		out->t1_s = rd_be32(v);
		break;
	case OPT_T2:
		out->t2_s = rd_be32(v);
		break;
	default:
		break;
	}
	return v->bad ? err_set(e, ERR_CORRUPT, "option %u is too short", type) : 0;
}

static int read_options(struct rd *r, struct dhcp_answer *out, struct err *e)
{
	while (rd_left(r) > 0) {
		unsigned type = rd_u8(r), len;
		const uint8_t *p;
		struct rd v;

		if (type == OPT_PAD)
			continue;
		if (type == OPT_END)
			return 0;
		len = rd_u8(r);
		p = rd_bytes(r, len);
		if (!p)
			return err_set(e, ERR_CORRUPT, "option %u ends behind the packet", type);
		v = rd_of(p, len);
		if (read_option(type, &v, out, e) < 0)
			return -1;
	}
	return 0;
}

static void fix_times(struct dhcp_answer *a)
{
	if (a->lease_s < DHCP_LEASE_S_MIN)
		a->lease_s = DHCP_LEASE_S_MIN;
	if (a->lease_s > DHCP_LEASE_S_MAX)
		a->lease_s = DHCP_LEASE_S_MAX;
	if (a->t2_s == 0 || a->t2_s >= a->lease_s)
		a->t2_s = a->lease_s / 8 * 7;
	if (a->t1_s == 0 || a->t1_s >= a->t2_s)
		a->t1_s = a->t2_s < a->lease_s / 2 ? a->t2_s / 2 : a->lease_s / 2;
}

/* What an address must not be: none, all ones, loopback, multicast. */
static bool usable_ip(uint32_t ip)
{
	uint32_t h = ntohl(ip);

	return h >> 24 != 0 && h >> 24 != 127 && h >> 24 < 224;
}

int dhcp_decode(const uint8_t *p, size_t n, const uint8_t mac[6], uint32_t xid, struct dhcp_answer *out,
		struct err *e)
{
	struct rd r = rd_of(p, n);
	struct dhcp_answer a = { .prefix = 0 };

	if (read_heads(&r, e) < 0 || read_bootp(&r, mac, xid, &a, e) < 0 || read_options(&r, &a, e) < 0)
		return -1;
	if (a.type != DHCP_OFFER && a.type != DHCP_ACK && a.type != DHCP_NAK)
		return err_set(e, ERR_CORRUPT, "message type %u from a server", (unsigned)a.type);
	if (a.type != DHCP_NAK && !usable_ip(a.ip))
		return err_set(e, ERR_CORRUPT, "an offer without a usable address");
	if (a.type == DHCP_OFFER && !a.server)
		return err_set(e, ERR_CORRUPT, "an offer that does not name its server");
	if (a.prefix == 0)
		a.prefix = ntohl(a.ip) >> 31 == 0 ? 8 : ntohl(a.ip) >> 30 == 2 ? 16 : 24;
	fix_times(&a);
	*out = a;
	return 0;
}

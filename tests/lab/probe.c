/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ARP, ICMP echo and UDP, just enough of each.
 */
#include "tests/lab/probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"

enum {
	ETH_BYTES = 14, IP_BYTES = 20, ARP_BYTES = 28, MIN_FRAME = 60, PING_BYTES = 56,
	RTTS_MAX = 65536, UDP_PORT = 7000, ARP_AGAIN_MS = 200,
};

static const uint8_t my_mac[6] = { 2, 0, 0, 0, 0, 0x99 };
static const uint8_t my_ip[4] = PROBE_IP;

struct probe {
	struct loop_timer *timer, *udp_timer;
	void (*send)(void *arg, const uint8_t *f, size_t n);
	void *arg;
	uint8_t target[4], target_mac[6];
	bool have_mac, pinging;
	uint32_t every_ms;
	uint16_t seq;
	uint64_t sent_ns[65536];
	uint64_t sent, received, start_ns, last_ns, longest_ns;
	struct { uint64_t at_ms, ms; } gaps[PROBE_GAPS_MAX];
	unsigned n_gaps, n_rtts;
	uint32_t rtts_us[RTTS_MAX];
	/* the command under way */
	uint8_t udp_ip[4], udp_mac[6];
	uint16_t udp_to;
	char udp_text[PROBE_TEXT_MAX];
	unsigned udp_tries;
	bool udp_have_mac;
	void (*udp_done)(void *arg, const char *answer);
	void *udp_arg;
};

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint16_t checksum(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < n; i += 2)
		sum += get16(p + i);
	if (n & 1)
		sum += (uint32_t)p[n - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

bool probe_is_me(const uint8_t mac[6])
{
	return !memcmp(mac, my_mac, 6);
}

static void eth(uint8_t *f, const uint8_t *to, unsigned type)
{
	memcpy(f, to, 6);
	memcpy(f + 6, my_mac, 6);
	put16(f + 12, type);
}

static void send_arp(struct probe *p, unsigned op, const uint8_t *mac, const uint8_t *ip)
{
	static const uint8_t everyone[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint8_t f[MIN_FRAME] = { 0 }, *a = f + ETH_BYTES;

	eth(f, mac ? mac : everyone, 0x0806);
	put16(a, 1);
	put16(a + 2, 0x0800);
	a[4] = 6;
	a[5] = 4;
	put16(a + 6, op);
	memcpy(a + 8, my_mac, 6);
	memcpy(a + 14, my_ip, 4);
	if (mac)
		memcpy(a + 18, mac, 6);
	memcpy(a + 24, ip, 4);
	p->send(p->arg, f, sizeof(f));
}

/* Fills Ethernet and IPv4 headers for n bytes of payload; returns where those go. */
static uint8_t *ip_frame(uint8_t *f, const uint8_t *mac, const uint8_t *ip, unsigned proto, size_t n)
{
	uint8_t *h = f + ETH_BYTES;

	eth(f, mac, 0x0800);
	h[0] = 0x45;
	put16(h + 2, (unsigned)(IP_BYTES + n));
	h[8] = 64;
	h[9] = (uint8_t)proto;
	memcpy(h + 12, my_ip, 4);
	memcpy(h + 16, ip, 4);
	put16(h + 10, checksum(h, IP_BYTES));
	return h + IP_BYTES;
}

static void send_echo(struct probe *p)
{
	uint8_t f[ETH_BYTES + IP_BYTES + 8 + PING_BYTES] = { 0 };
	uint8_t *c = ip_frame(f, p->target_mac, p->target, 1, 8 + PING_BYTES);

	c[0] = 8;
	put16(c + 4, 0x1234);
	put16(c + 6, ++p->seq);
	put16(c + 2, checksum(c, 8 + PING_BYTES));
	p->sent_ns[p->seq] = clock_mono_ns();
	p->sent++;
	p->send(p->arg, f, sizeof(f));
}

static void on_timer(void *arg)
{
	struct probe *p = arg;

	if (p->have_mac)
		send_echo(p);
	else
		send_arp(p, 1, NULL, p->target);
}

static void on_reply(struct probe *p, const uint8_t *c)
{
	uint64_t now = clock_mono_ns(), gap = now - p->last_ns;

	p->received++;
	if (p->n_rtts < RTTS_MAX)
		p->rtts_us[p->n_rtts++] = (uint32_t)((now - p->sent_ns[get16(c + 6)]) / 1000);
	if (!p->last_ns)
		p->start_ns = now;
	else if (gap > p->longest_ns)
		p->longest_ns = gap;
	if (p->last_ns && gap > PROBE_GAP_MS * 1000000ull && p->n_gaps < PROBE_GAPS_MAX) {
		p->gaps[p->n_gaps].at_ms = (p->last_ns - p->start_ns) / 1000000;
		p->gaps[p->n_gaps++].ms = gap / 1000000;
	}
	p->last_ns = now;
}

static void send_udp(struct probe *p)
{
	uint8_t f[ETH_BYTES + IP_BYTES + 8 + PROBE_TEXT_MAX] = { 0 };
	size_t n = strlen(p->udp_text);
	uint8_t *u = ip_frame(f, p->udp_mac, p->udp_ip, 17, 8 + n);

	put16(u, UDP_PORT);
	put16(u + 2, p->udp_to);
	put16(u + 4, (unsigned)(8 + n));	/* checksum 0: none */
	memcpy(u + 8, p->udp_text, n);
	p->send(p->arg, f, ETH_BYTES + IP_BYTES + 8 + n);
}

static void udp_finish(struct probe *p, const char *answer)
{
	void (*done)(void *arg, const char *answer) = p->udp_done;

	p->udp_done = NULL;
	loop_timer_stop(p->udp_timer);
	if (done)
		done(p->udp_arg, answer);
}

static void on_udp_timer(void *arg)
{
	struct probe *p = arg;

	if (p->udp_tries++ >= PROBE_UDP_TRIES)
		udp_finish(p, NULL);
	else if (p->udp_have_mac)
		send_udp(p);
	else
		send_arp(p, 1, NULL, p->udp_ip);
}

static void on_arp(struct probe *p, const uint8_t *a)
{
	if (get16(a + 6) == 1 && !memcmp(a + 24, my_ip, 4))
		send_arp(p, 2, a + 8, a + 14);
	if (p->pinging && !memcmp(a + 14, p->target, 4)) {
		memcpy(p->target_mac, a + 8, 6);
		p->have_mac = true;
	}
	if (p->udp_done && !p->udp_have_mac && !memcmp(a + 14, p->udp_ip, 4)) {
		memcpy(p->udp_mac, a + 8, 6);
		p->udp_have_mac = true;
		send_udp(p);
	}
}

static void on_udp(struct probe *p, const uint8_t *ip, const uint8_t *u, size_t n)
{
	char text[PROBE_TEXT_MAX + 1];

	if (n < 8 || get16(u + 2) != UDP_PORT || get16(u) != p->udp_to || memcmp(ip + 12, p->udp_ip, 4) || !p->udp_done)
		return;
	size_t len = get16(u + 4) >= 8 ? get16(u + 4) - 8u : 0;

	len = len < n - 8 ? len : n - 8;
	len = len < PROBE_TEXT_MAX ? len : PROBE_TEXT_MAX;
	memcpy(text, u + 8, len);
	text[len] = '\0';
	udp_finish(p, text);
}

void probe_frame(struct probe *p, const uint8_t *f, size_t n)
{
	const uint8_t *h = f + ETH_BYTES;

	if (n >= ETH_BYTES + ARP_BYTES && get16(f + 12) == 0x0806) {
		on_arp(p, h);
		return;
	}
	if (n < ETH_BYTES + IP_BYTES + 8 || get16(f + 12) != 0x0800 || h[0] != 0x45 || memcmp(h + 16, my_ip, 4))
		return;
	if (h[9] == 1 && h[IP_BYTES] == 0 && p->pinging && !memcmp(h + 12, p->target, 4))
		on_reply(p, h + IP_BYTES);
	else if (h[9] == 17)
		on_udp(p, h, h + IP_BYTES, n - ETH_BYTES - IP_BYTES);
}

struct probe *probe_new(struct loop *l, void (*send)(void *arg, const uint8_t *f, size_t n), void *arg)
{
	struct probe *p = mem_alloc(sizeof(*p));

	p->send = send;
	p->arg = arg;
	p->timer = loop_timer_new(l, on_timer, p);
	p->udp_timer = loop_timer_new(l, on_udp_timer, p);
	return p;
}

void probe_free(struct probe *p)
{
	loop_timer_free(&p->timer);
	loop_timer_free(&p->udp_timer);
	free(p);
}

void probe_ping_start(struct probe *p, const uint8_t ip[4], uint32_t every_ms)
{
	memcpy(p->target, ip, 4);
	p->have_mac = false;
	p->pinging = true;
	p->every_ms = every_ms;
	p->sent = p->received = p->start_ns = p->last_ns = p->longest_ns = 0;
	p->n_gaps = p->n_rtts = 0;
	loop_timer_set(p->timer, 1, every_ms);
}

void probe_ping_stop(struct probe *p)
{
	p->pinging = false;
	loop_timer_stop(p->timer);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static double rtt_ms(const struct probe *p, unsigned percent)
{
	AUTO_FREE uint32_t *v = mem_alloc(sizeof(p->rtts_us));

	if (!p->n_rtts)
		return 0;
	memcpy(v, p->rtts_us, p->n_rtts * sizeof(*v));
	qsort(v, p->n_rtts, sizeof(*v), by_value);
	return v[(uint64_t)(p->n_rtts - 1) * percent / 100] / 1000.0;
}

json_t *probe_ping_stat(const struct probe *p)
{
	json_t *gaps = json_array();
	uint64_t silent_ns = p->last_ns ? clock_mono_ns() - p->last_ns : 0;

	for (unsigned i = 0; i < p->n_gaps; i++)
		json_array_append_new(gaps, json_pack("{s:I, s:I}", "at_ms", (json_int_t)p->gaps[i].at_ms, "ms",
						      (json_int_t)p->gaps[i].ms));
	return json_pack("{s:I, s:I, s:I, s:f, s:f, s:o, s:{s:f, s:f}}", "sent", (json_int_t)p->sent, "received",
			 (json_int_t)p->received, "lost", (json_int_t)(p->sent - p->received), "longest_gap_ms",
			 (double)p->longest_ns / 1e6, "silent_ms", (double)silent_ns / 1e6, "gaps", gaps, "rtt_ms",
			 "median", rtt_ms(p, 50), "p99", rtt_ms(p, 99));
}

bool probe_udp(struct probe *p, const uint8_t ip[4], uint16_t port, const char *text,
	       void (*done)(void *arg, const char *answer), void *arg)
{
	if (p->udp_done || strlen(text) >= sizeof(p->udp_text))
		return false;
	memcpy(p->udp_ip, ip, 4);
	memcpy(p->udp_text, text, strlen(text) + 1);
	p->udp_to = port;
	p->udp_have_mac = false;
	p->udp_tries = 0;
	p->udp_done = done;
	p->udp_arg = arg;
	loop_timer_set(p->udp_timer, 1, PROBE_UDP_MS);
	return true;
}

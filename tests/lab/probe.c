/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pings go where the switch learned the guest to be, so a guest that moved
 * and did not announce itself shows as a gap.  Who-has is asked of all ports,
 * so a second copy shows as a second answer.
 */
#include "tests/lab/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tests/lab/ports.h"

enum { SEQS = 65536, RTTS_MAX = 65536 };

struct moment {
	const char *kind;
	int port;
	uint8_t mac[6];
	uint64_t at_ms;
};

static struct {
	struct loop_timer *timer;
	uint8_t ip[4], mac[6];
	bool have_mac, running;
	unsigned every_ms, gap_ms;
	uint16_t seq;
	uint64_t sent_ns[SEQS];		/* 0: answered, or not sent */
	uint64_t sent, received, duplicates, start_ns, last_ns, longest_ns;
	struct { uint64_t at_ms, ms; } gaps[PROBE_GAPS_MAX];
	struct moment moves[PROBE_MOVES_MAX];
	uint32_t rtts_us[RTTS_MAX];
	unsigned n_gaps, n_moves, n_rtts;
} ping;

static struct {
	struct loop_timer *timer;
	uint8_t ip[4];
	struct ctl_call *call;
	json_t *answers;
} who;

static struct moment announces[PROBE_ANNOUNCES_MAX];
static unsigned n_announces;

static json_t *moments_json(const struct moment *m, unsigned n)
{
	json_t *list = json_array();
	char mac[18];

	for (unsigned i = 0; i < n; i++) {
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[i].mac[0], m[i].mac[1], m[i].mac[2],
			 m[i].mac[3], m[i].mac[4], m[i].mac[5]);
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I}", "kind", m[i].kind, "port",
						      ports_name(m[i].port), "mac", mac, "at_ms",
						      (json_int_t)m[i].at_ms));
	}
	return list;
}

static struct moment moment_now(const char *kind, int port, const uint8_t *mac)
{
	struct moment m = { .kind = kind, .port = port, .at_ms = clock_real_ms() };

	memcpy(m.mac, mac, 6);
	return m;
}

/* ---- pings, in the order they run ---- */

static void on_ping_timer(void *arg)
{
	uint8_t f[ECHO_FRAME_BYTES];

	(void)arg;
	if (!ping.have_mac) {
		frame_arp_ask(f, ping.ip);
		ports_send(f, ARP_FRAME_BYTES);
		return;
	}
	frame_echo(f, ping.mac, ping.ip, ++ping.seq);
	ping.sent_ns[ping.seq] = clock_mono_ns();
	ping.sent++;
	ports_send(f, ECHO_FRAME_BYTES);
}

static void on_ping_mac(const uint8_t *mac)
{
	memcpy(ping.mac, mac, 6);
	if (ping.have_mac)
		return;
	ping.have_mac = true;
	loop_timer_set(ping.timer, ping.every_ms, ping.every_ms);
}

static void ping_gap(uint64_t now_ns)
{
	uint64_t gap_ns = now_ns - ping.last_ns, ms = gap_ns / 1000000;

	if (gap_ns > ping.longest_ns)
		ping.longest_ns = gap_ns;
	if (ms < ping.gap_ms || ping.n_gaps == PROBE_GAPS_MAX)
		return;
	ping.gaps[ping.n_gaps].at_ms = clock_real_ms() - ms;
	ping.gaps[ping.n_gaps++].ms = ms;
}

static void on_echo(int from, const struct frame *f)
{
	uint64_t now_ns = clock_mono_ns();

	if (!ping.sent_ns[f->seq]) {
		ping.duplicates++;
		return;
	}
	if (ping.n_rtts < RTTS_MAX)
		ping.rtts_us[ping.n_rtts++] = (uint32_t)((now_ns - ping.sent_ns[f->seq]) / 1000);
	ping.sent_ns[f->seq] = 0;
	if (ping.received++)
		ping_gap(now_ns);
	ping.last_ns = now_ns;
	if (!ping.n_moves || (ping.moves[ping.n_moves - 1].port != from && ping.n_moves < PROBE_MOVES_MAX))
		ping.moves[ping.n_moves++] = moment_now("move", from, f->mac);
}

void probe_ping(const uint8_t ip[4], unsigned every_ms, unsigned gap_ms)
{
	struct loop_timer *timer = ping.timer;
	uint16_t seq = ping.seq;

	memset(&ping, 0, sizeof(ping));
	ping.timer = timer;
	ping.seq = seq;
	memcpy(ping.ip, ip, 4);
	ping.running = true;
	ping.every_ms = every_ms;
	ping.gap_ms = gap_ms;
	ping.start_ns = clock_mono_ns();
	loop_timer_set(ping.timer, 1, PROBE_ARP_AGAIN_MS);
}

void probe_ping_stop(void)
{
	ping.running = false;
	loop_timer_stop(ping.timer);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static json_t *rtt_json(void)
{
	AUTO_FREE uint32_t *v = mem_alloc((ping.n_rtts + 1) * sizeof(*v));
	unsigned last = ping.n_rtts ? ping.n_rtts - 1 : 0;

	memcpy(v, ping.rtts_us, ping.n_rtts * sizeof(*v));
	qsort(v, ping.n_rtts, sizeof(*v), by_value);
	return json_pack("{s:f, s:f, s:f}", "median", v[last / 2] / 1e3, "p99", v[last * 99ul / 100] / 1e3, "max",
			 v[last] / 1e3);
}

json_t *probe_ping_stat(void)
{
	json_t *gaps = json_array();
	uint64_t since_ns = ping.last_ns ? ping.last_ns : ping.start_ns;

	for (unsigned i = 0; i < ping.n_gaps; i++)
		json_array_append_new(gaps, json_pack("{s:I, s:I}", "at_ms", (json_int_t)ping.gaps[i].at_ms, "ms",
						      (json_int_t)ping.gaps[i].ms));
	return json_pack("{s:b, s:I, s:I, s:I, s:f, s:f, s:o, s:o, s:o}", "running", ping.running,
			 "sent", (json_int_t)ping.sent, "received", (json_int_t)ping.received,
			 "duplicates", (json_int_t)ping.duplicates, "longest_gap_ms", (double)ping.longest_ns / 1e6,
			 "silent_ms", since_ns ? (double)(clock_mono_ns() - since_ns) / 1e6 : 0.0, "rtt_ms", rtt_json(),
			 "gaps", gaps, "moves", moments_json(ping.moves, ping.n_moves));
}

/* ---- who-has ---- */

static void on_who_over(void *arg)
{
	struct ctl_call *call = who.call;

	(void)arg;
	who.call = NULL;
	if (call)
		ctl_finish(call, json_pack("{s:o}", "answers", who.answers), NULL);
}

static void on_who_answer(int from, const struct frame *f)
{
	struct moment m = moment_now("who-has", from, f->mac);
	json_t *list = moments_json(&m, 1);

	json_array_extend(who.answers, list);
	json_decref(list);
}

void probe_who_has(const uint8_t ip[4], unsigned wait_ms, struct ctl_call *c)
{
	uint8_t f[ARP_FRAME_BYTES];

	on_who_over(NULL);		/* one at a time: an older question ends with what it has */
	memcpy(who.ip, ip, 4);
	who.answers = json_array();
	who.call = ctl_defer(c);
	loop_timer_set(who.timer, wait_ms ? wait_ms : 1, 0);
	frame_arp_ask(f, ip);
	ports_send(f, ARP_FRAME_BYTES);
}

/* ---- all frames ---- */

static void note_announce(int from, const struct frame *f)
{
	bool arp = f->kind == FRAME_ARP_ASK || f->kind == FRAME_ARP_ANSWER;

	if (f->kind != FRAME_RARP && !(arp && !memcmp(f->ip, f->to_ip, 4)))
		return;
	if (n_announces < PROBE_ANNOUNCES_MAX)
		announces[n_announces++] = moment_now(arp ? "arp" : "rarp", from, f->mac);
}

json_t *probe_announces(bool clear)
{
	json_t *o = json_pack("{s:o}", "announces", moments_json(announces, n_announces));

	if (clear)
		n_announces = 0;
	return o;
}

static void on_arp(int from, const struct frame *f)
{
	uint8_t answer[ARP_FRAME_BYTES];

	if (f->kind == FRAME_ARP_ASK && !memcmp(f->to_ip, frame_my_ip, 4)) {
		frame_arp_answer(answer, f->mac, f->ip);
		ports_send(answer, sizeof(answer));
	}
	if (ping.running && !memcmp(f->ip, ping.ip, 4))
		on_ping_mac(f->mac);
	if (who.call && f->kind == FRAME_ARP_ANSWER && !memcmp(f->ip, who.ip, 4))
		on_who_answer(from, f);
}

void probe_frame(int from, const struct frame *f)
{
	note_announce(from, f);
	if (f->kind == FRAME_ARP_ASK || f->kind == FRAME_ARP_ANSWER)
		on_arp(from, f);
	else if (f->kind == FRAME_ECHO_ANSWER && !memcmp(f->ip, ping.ip, 4))
		on_echo(from, f);
}

void probe_init(struct loop *l)
{
	ping.timer = loop_timer_new(l, on_ping_timer, NULL);
	who.timer = loop_timer_new(l, on_who_over, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions under way, each with a timer and a port of its own.
 */
#include "tests/lab/ask.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tests/lab/ports.h"

struct ask {
	struct loop_timer *timer;
	struct ctl_call *call;		/* NULL: free */
	uint8_t ip[4], mac[6];
	bool have_mac;
	unsigned from_port, to_port;
	uint64_t end_ms;
	char *text;
};

static struct ask asks[ASKS_MAX];
static unsigned next_port;

static void ask_end(struct ask *a, json_t *out, const struct err *e)
{
	struct ctl_call *call = a->call;

	loop_timer_stop(a->timer);
	a->call = NULL;
	free(a->text);
	a->text = NULL;
	ctl_finish(call, out, e);
}

static void ask_send(struct ask *a)
{
	uint8_t f[UDP_FRAME_MAX];

	if (a->have_mac) {
		ports_send(f, frame_udp(f, a->mac, a->ip, a->from_port, a->to_port, a->text, strlen(a->text)));
	} else {
		frame_arp_ask(f, a->ip);
		ports_send(f, ARP_FRAME_BYTES);
	}
}

static void on_timer(void *arg)
{
	struct ask *a = arg;
	struct err e = ERR_INIT;

	if (clock_mono_ms() < a->end_ms) {
		ask_send(a);
		return;
	}
	err_set(&e, ERR_TIMEOUT, "%u.%u.%u.%u gave no answer to '%s' (%s)", a->ip[0], a->ip[1], a->ip[2], a->ip[3],
		a->text, a->have_mac ? "its address was there" : "nobody has the address");
	ask_end(a, NULL, &e);
}

static void on_answer(struct ask *a, const struct frame *f)
{
	struct err e = ERR_INIT;
	json_t *text = json_stringn((const char *)f->text, f->text_len);

	if (text) {
		ask_end(a, json_pack("{s:o}", "text", text), NULL);
		return;
	}
	err_set(&e, ERR_CORRUPT, "the answer is not text");
	ask_end(a, NULL, &e);
}

void ask_frame(const struct frame *f)
{
	for (struct ask *a = asks; a < asks + ASKS_MAX; a++) {
		if (!a->call || !f->ip || memcmp(f->ip, a->ip, 4))
			continue;
		if (f->kind == FRAME_UDP && f->to_port == a->from_port && f->from_port == a->to_port) {
			on_answer(a, f);
		} else if (f->kind == FRAME_ARP_ANSWER && !a->have_mac) {
			memcpy(a->mac, f->mac, 6);
			a->have_mac = true;
			ask_send(a);
		}
	}
}

int ask_start(const uint8_t ip[4], unsigned port, const char *text, unsigned timeout_ms, struct ctl_call *c,
	      struct err *e)
{
	struct ask *a = asks;

	while (a < asks + ASKS_MAX && a->call)
		a++;
	if (a == asks + ASKS_MAX)
		return err_set(e, ERR_BUSY, "%d questions are under way", ASKS_MAX);
	memcpy(a->ip, ip, 4);
	a->have_mac = false;
	a->from_port = ASK_FIRST_PORT + next_port++ % ASK_PORTS;
	a->to_port = port;
	a->end_ms = clock_mono_ms() + timeout_ms;
	a->text = mem_strdup(text);
	a->call = ctl_defer(c);
	loop_timer_set(a->timer, 1, ASK_AGAIN_MS);
	return 0;
}

void ask_init(struct loop *l)
{
	for (struct ask *a = asks; a < asks + ASKS_MAX; a++)
		a->timer = loop_timer_new(l, on_timer, a);
}

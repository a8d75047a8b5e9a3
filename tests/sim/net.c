/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines between processes, as TCP gives them: in order within one, in any
 * order between two; a cut holds everything back and loses nothing; an end
 * that is closed lets what was sent arrive first; a reset loses the lot.
 * Messages travel as the bytes of mig_wire.h, so its coder is part of the run.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void deliver(struct sim *w, const struct event *ev);

static void tell_down(struct sim *w, const struct line *l, int end)
{
	struct err e = ERR_INIT;

	if (!proc_is(w, l->proc[end], l->epoch[end]))
		return;
	err_set(&e, ERR_NET, "line closed by the other side");
	proc_event(w, l->proc[end], (struct mig_event){ .kind = MIG_EV_LINK_DOWN, .link = l->number[end], .err = &e });
}

static void push(struct sim *w, int line, int from, uint8_t *msg, size_t len)
{
	struct line_dir *d = &w->line[line].dir[from];
	uint64_t when = w->now_ms + 1 + rnd(w, w->latency_ms);
	unsigned i = (d->head + d->n) % LINE_MSGS_MAX;

	if (d->n >= LINE_MSGS_MAX) {
		violated(w, "simulator: more than %d messages wait in one line", LINE_MSGS_MAX);
		free(msg);
		return;
	}
	if (when < d->last_ms)
		when = d->last_ms;
	d->last_ms = when;
	d->msg[i] = msg;
	d->len[i] = (uint32_t)len;
	d->n++;
	at(w, when - w->now_ms, "deliver", deliver, (struct event){ .a = (uint32_t)line, .b = (uint32_t)from });
}

static void hand_over(struct sim *w, struct line *l, int to, const uint8_t *bytes, uint32_t len)
{
	struct rd r = rd_of(bytes, len);
	struct mig_hdr h;
	struct mig_msg m;
	struct err e = ERR_INIT;

	if (mig_hdr_decode(&r, &h, &e) < 0 || mig_body_decode(&h, r.p, &m, &e) < 0) {
		violated(w, "a message that was encoded does not decode: %s", e.detail);
		return;
	}
	mark(w, 0x100u + (uint64_t)m.type * 8 + w->proc[l->proc[to]]->host);
	if (m.type != MIG_PING && m.type != MIG_PONG)
		say(w, "host %u  p%u gets %s", l->host[to], l->proc[to], mig_type_name(m.type));
	proc_event(w, l->proc[to], (struct mig_event){ .kind = MIG_EV_MSG, .link = l->number[to], .msg = &m });
}

static void deliver(struct sim *w, const struct event *ev)
{
	struct line *l = &w->line[ev->a];
	int from = (int)ev->b, to = 1 - from;
	struct line_dir *d = &l->dir[from];
	uint8_t *msg;
	uint32_t len;

	if (w->cut) {
		d->due++;
		return;
	}
	if (!d->n)
		return;		/* reset in between */
	msg = d->msg[d->head];
	len = d->len[d->head];
	d->head = (d->head + 1) % LINE_MSGS_MAX;
	d->n--;
	if (!w->host[l->host[to]].up) {
		free(msg);
		return;
	}
	if (!l->open[to] || !proc_is(w, l->proc[to], l->epoch[to])) {	/* nobody there: the sender is told */
		free(msg);
		if (msg && l->open[from])
			line_reset(w, (int)ev->a);
		return;
	}
	if (!msg) {
		l->open[to] = false;
		tell_down(w, l, to);
		return;
	}
	hand_over(w, l, to, msg, len);
	free(msg);
}

int line_new(struct sim *w, uint32_t pa, uint32_t pb)
{
	uint32_t p[2] = { pa, pb };
	struct line *l;

	if (w->n_lines >= LINKS_MAX)
		return -1;
	l = &w->line[w->n_lines];
	memset(l, 0, sizeof(*l));
	l->used = true;
	for (unsigned i = 0; i < 2; i++) {
		l->open[i] = true;
		l->proc[i] = p[i];
		l->epoch[i] = w->proc[p[i]]->epoch;
		l->host[i] = w->proc[p[i]]->host;
		l->number[i] = w->proc[p[i]]->line_number;
		w->proc[p[i]]->line = (int)w->n_lines;
		w->proc[p[i]]->line_end = (int)i;
	}
	return (int)w->n_lines++;
}

void line_send(struct sim *w, int line, int end, const struct mig_msg *m)
{
	AUTO_BUF struct buf b = { 0 };
	struct err e = ERR_INIT;
	size_t len;

	if (line < 0 || !w->line[line].open[end])
		return;
	if (mig_encode(m, &b, &e) < 0) {
		violated(w, "a session said what cannot be encoded: %s", e.detail);
		return;
	}
	len = b.len;
	push(w, line, end, buf_take(&b), len);
}

void line_close(struct sim *w, int line, int end)
{
	if (line < 0 || !w->line[line].open[end])
		return;
	w->line[line].open[end] = false;
	push(w, line, end, NULL, 0);
}

static void drop(struct line_dir *d)
{
	for (; d->n; d->n--, d->head = (d->head + 1) % LINE_MSGS_MAX)
		free(d->msg[d->head]);
}

static void reset_heard(struct sim *w, const struct event *ev)
{
	tell_down(w, &w->line[ev->a], (int)ev->b);
}

void line_reset(struct sim *w, int line)
{
	struct line *l = &w->line[line];

	for (uint32_t i = 0; i < 2; i++) {
		drop(&l->dir[i]);
		if (l->open[i] && w->host[l->host[i]].up)
			at(w, 1 + rnd(w, 20), "reset", reset_heard, (struct event){ .a = (uint32_t)line, .b = i });
		l->open[i] = false;
	}
}

void line_vanish(struct sim *w, int line, int end)
{
	if (line >= 0)
		w->line[line].open[end] = false;
}

void net_cut(struct sim *w)
{
	if (!w->cut)
		say(w, "network cut");
	w->cut = true;
}

void net_heal(struct sim *w)
{
	if (!w->cut)
		return;
	say(w, "network healed");
	w->cut = false;
	for (unsigned i = 0; i < w->n_lines; i++) {
		for (uint32_t d = 0; d < 2; d++) {
			struct line_dir *dir = &w->line[i].dir[d];

			for (; dir->due; dir->due--) {
				uint64_t when = w->now_ms + 1 + rnd(w, w->latency_ms * 4);

				dir->last_ms = dir->last_ms > when ? dir->last_ms : when;
				at(w, dir->last_ms - w->now_ms, "deliver", deliver,
				   (struct event){ .a = i, .b = d });
			}
		}
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's memory on its way: rounds of a few DATA messages, a decision
 * after each, the suspend request, the rest.  How much is dirty after a round
 * is a matter of chance, so every way of the policy is taken.
 */
#include "tests/sim/sim.h"

#include <string.h>

static void saver_works(struct sim *w, const struct event *ev);

static void again(struct sim *w, uint32_t i)
{
	struct proc *p = w->proc[i];

	at(w, 20 + rnd(w, 400), "saver", saver_works,
	   (struct event){ .a = i, .b = (uint32_t)p->saver_epoch, .epoch = p->epoch });
}

static void send_batch(struct sim *w, struct proc *p)
{
	static const uint8_t batch[BATCH_HDR_BYTES];
	struct mig_msg m = { .type = MIG_DATA, .seq = p->batches++, .body = { batch, sizeof(batch) } };

	line_send(w, p->line, p->line_end, &m);
}

static void round_over(struct sim *w, uint32_t i)
{
	struct proc *p = w->proc[i];
	uint64_t left = rnd(w, 3) ? 40000u >> (p->round + rnd(w, 3)) : 20000 + rnd(w, 20000);
	struct mig_event ev = { .kind = MIG_EV_STREAM_ROUND };

	ev.round = (struct policy_round){
		.number = p->round,
		.sent_pages = p->round ? left + 1000 : 60000,
		.wire_bytes = 10000000,
		.duration_ms = 200 + rnd(w, 1000),
		.left_pages = left,
	};
	p->round++;
	proc_event(w, i, ev);
}

static void saver_works(struct sim *w, const struct event *ev)
{
	uint32_t i = ev->a;
	struct proc *p;

	if (!proc_is(w, i, ev->epoch) || w->proc[i]->saver_epoch != ev->b)
		return;
	p = w->proc[i];
	send_batch(w, p);
	proc_event(w, i, (struct mig_event){ .kind = MIG_EV_STREAM_PROGRESS });
	if (!proc_is(w, i, ev->epoch) || w->proc[i]->saver_epoch != ev->b)
		return;
	if (p->round_left && --p->round_left) {
		again(w, i);
	} else if (p->saver_stops) {
		p->saver_epoch++;
		proc_event(w, i, (struct mig_event){ .kind = MIG_EV_STREAM_DONE, .batches = p->batches });
	} else if (chance(w, 2)) {
		struct err e = ERR_INIT;

		err_set(&e, ERR_XEN, "xc_domain_save failed");
		p->saver_epoch++;
		proc_event(w, i, (struct mig_event){ .kind = MIG_EV_STREAM_FAILED, .err = &e });
	} else {
		round_over(w, i);
	}
}

void saver_start(struct sim *w, uint32_t i)
{
	w->proc[i]->saver_epoch = 1;
	saver_continue(w, i);
}

void saver_continue(struct sim *w, uint32_t i)
{
	w->proc[i]->round_left = 1 + rnd(w, 3);
	again(w, i);
}

void saver_suspend(struct sim *w, uint32_t i)
{
	struct proc *p = w->proc[i];

	p->saver_stops = true;
	p->round_left = 1 + rnd(w, 2);
	host_suspend(w, p->host);
}

/* Now and then the guest has read the request already and stands still all the same. */
void saver_stop(struct sim *w, uint32_t i)
{
	struct proc *p = w->proc[i];

	p->saver_epoch++;
	if (p->saver_stops && chance(w, 70))
		w->host[p->host].suspend_asked = false;
}

void saver_suspended(struct sim *w, uint32_t h)
{
	for (uint32_t i = 0; i < w->n_procs; i++) {
		struct proc *p = w->proc[i];
		uint64_t epoch = p->epoch, saver = p->saver_epoch;

		if (!p->alive || p->host != h || !p->saver_stops || p->s.role != MIG_ROLE_SEND || !p->s.stream_runs)
			continue;
		proc_event(w, i, (struct mig_event){ .kind = MIG_EV_STREAM_SUSPENDED });
		if (proc_is(w, i, epoch) && p->saver_epoch == saver)
			again(w, i);
	}
}

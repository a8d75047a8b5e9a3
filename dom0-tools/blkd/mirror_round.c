/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting near: rounds over the map until the ring keeps up, then the ring.
 * Each step names its successor (mirror.c).
 */
#include "blkd/mirror_priv.h"

enum { RETRY_MS = 1000 };

/* ---- barrier ----------------------------------------------------------------------------------- */

static void cut_here(void *arg)
{
	struct mirror *m = arg;

	m->cut_due = false;
	m->has_cut = true;
	mirror_advance(m);
}

/* On the I/O thread or the worker. */
static void cut_done(void *arg, const struct feed_cut *cut)
{
	struct mirror *m = arg;

	m->cut = *cut;
	loop_post(m->vm->loop, cut_here, m);
}

/* Off-loop. */
static void job_barrier(struct mirror *m)
{
	(void)!feed_barrier(m->c, cut_done, m, &m->job_e);
}

/* The barrier, or all of a switch, takes too long. */
void mirror_late(void *arg)
{
	struct mirror *m = arg;

	m->too_late = true;
	mirror_interrupt(m);
}

void mirror_barrier(struct mirror *m, uint64_t ms, void (*next)(struct mirror *m))
{
	m->cut_due = true;
	m->has_cut = m->too_late = false;
	loop_timer_set(m->late, ms, 0);
	mirror_run_job(m, job_barrier, next);
}

/* ---- a round of the map ------------------------------------------------------------------------ */

void mirror_retry_due(void *arg)
{
	struct mirror *m = arg;

	m->retrying = false;
	mirror_advance(m);
}

void mirror_retry_later(struct mirror *m, void (*next)(struct mirror *m))
{
	m->retrying = true;
	m->next = next;
	loop_timer_set(m->retry, RETRY_MS, 0);
}

void mirror_job_measure(struct mirror *m)
{
	struct dirty_run run;
	uint64_t from = 0;

	m->round_bytes = m->round_done = 0;
	while (feed_map_next(m->c, m->number, from, DIRTY_BYTES_MAX, &run)) {
		m->round_bytes += run.bytes;
		from = run.off + run.bytes;
	}
	m->map_from = 0;
}

/* Off-loop.  The next runs of this disk's map. */
static void job_map(struct mirror *m)
{
	struct dirty_run run;

	m->n_runs = 0;
	while (m->n_runs < MIRROR_RUNS && feed_map_next(m->c, m->number, m->map_from, DIRTY_BYTES_MAX, &run)) {
		m->runs[m->n_runs++] = run;
		m->map_from = run.off + run.bytes;
	}
	if (m->n_runs < MIRROR_RUNS)
		m->map_from = UINT64_MAX;
	m->run = m->n_runs;		/* mirror_copy_runs begins */
}

/* Off-loop.  What the map named is copied. */
static void job_ack(struct mirror *m)
{
	(void)!feed_ack(m->c, m->cut.position, &m->job_e);
}

static void map_copied(struct mirror *m)
{
	if (m->map_from != UINT64_MAX) {
		mirror_map_copy(m);
		return;
	}
	m->copied_position = m->cut.position;
	m->has_cut = false;
	mirror_run_job(m, job_ack, m->holding ? mirror_switch_apply : mirror_follow);
}

static void map_read(struct mirror *m)
{
	m->next = map_copied;
	if (m->n_runs)
		mirror_copy_runs(m);
	else
		mirror_advance(m);
}

void mirror_map_copy(struct mirror *m)
{
	mirror_run_job(m, job_map, map_read);
}

static void cut_for_round(struct mirror *m)
{
	loop_timer_stop(m->late);
	if (m->has_cut)
		mirror_run_job(m, mirror_job_measure, mirror_map_copy);
	else				/* given up: a write of the guest hangs */
		mirror_retry_later(m, mirror_round);
}

void mirror_round(struct mirror *m)
{
	mirror_enter(m, MIRROR_COPYING);
	m->round++;
	m->flushed = false;
	mirror_barrier(m, FEED_BARRIER_MS_MAX, cut_for_round);
}

/* ---- following the ring ------------------------------------------------------------------------ */

static void flush_posted(void *arg)
{
	struct mirror *m = arg;

	m->flushing = false;
	mirror_advance(m);
}

static void flushed(struct req *r, int res)
{
	struct mirror *m = ((struct mirror_chunk *)(void *)r)->m;
	struct err e = ERR_INIT;

	if (res < 0) {
		err_sys(&e, -res, "flush of the target");
		mirror_fail(m, &e);
	}
	/* The target's queue may be in the middle of this completion. */
	loop_post(m->vm->loop, flush_posted, m);
}

void mirror_flush_target(struct mirror *m, void (*next)(struct mirror *m))
{
	struct req *r = &m->chunks[0].r;

	m->flushing = true;
	m->next = next;
	*r = (struct req){ .op = REQ_FLUSH, .internal = true, .disk = m->tq, .done = flushed };
	queue_submit(m->vm->q, r);
	queue_kick(m->vm->q);
}

void mirror_copy_unknown(struct mirror *m, void (*next)(struct mirror *m))
{
	m->next = next;
	if (m->n_runs)
		mirror_copy_runs(m);
	else
		mirror_advance(m);
}

static void follow_over(struct mirror *m)
{
	ring_release(m->ring);
	if (m->ring_lost) {
		mirror_round(m);
	} else if (!m->ring_empty) {
		mirror_follow(m);
	} else if (!m->flushed) {	/* now, so that the flush of the switch has little to do */
		m->flushed = true;
		mirror_flush_target(m, mirror_follow);
	} else {
		mirror_switch(m);
	}
}

static void follow_applied(struct mirror *m)
{
	mirror_copy_unknown(m, follow_over);
}

void mirror_follow(struct mirror *m)
{
	mirror_enter(m, MIRROR_FOLLOWING);
	m->next = follow_applied;
	mirror_apply(m);
}

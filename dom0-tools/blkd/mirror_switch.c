/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going over.  From the barrier on the guest's writes are held, from the drain
 * on all its requests; MIRROR_SWITCH_MS_MAX after the beginning they go on,
 * switched or not, unless the note is being written: while it is not known
 * whether that is durable neither image may be written.
 */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "blkd/mirror_priv.h"

static void map_unheld(struct mirror *m)
{
	mirror_enter(m, MIRROR_COPYING);
	mirror_run_job(m, mirror_job_measure, mirror_map_copy);
}

/* Let go meanwhile: the source goes on, and so does the copy.  The barrier's mark is in the ring, so a gap before it
 * will not show there any more: the map has to be copied then. */
static bool gave_up(struct mirror *m)
{
	if (m->holding)
		return false;
	log_warn("mirror of disk '%s': the switch took more than %d ms, going on", m->v->name, MIRROR_SWITCH_MS_MAX);
	mirror_retry_later(m, m->has_cut && !m->cut.complete ? map_unheld : mirror_follow);
	return true;
}

static void switched(struct mirror *m)
{
	struct disk *old;

	if (m->job_e.code != ERR_NONE) {
		m->committed = false;
		mirror_end(m);
		return;
	}
	queue_remove(m->tq);
	m->tq = NULL;
	old = qdisk_swap(m->v->qd, m->target);
	m->v->disk = m->target;
	m->target = old;		/* to be closed */
	mirror_let_go(m);
	mirror_enter(m, MIRROR_SWITCHED);
	mirror_end(m);
}

static int write_note(int fd, const char *text, size_t n)
{
	ssize_t put = pwrite(fd, text, n, 0);

	if (put != (ssize_t)n)
		return put < 0 ? -errno : -EIO;
	return fdatasync(fd) < 0 ? -errno : 0;
}

/* Off-loop.  All requests on this disk stand still, the target has all of it durably. */
static void job_note(struct mirror *m)
{
	int rc = write_note(m->note_fd, MIRROR_NOTE, sizeof(MIRROR_NOTE) - 1);

	if (rc == 0)
		return;
	err_sys(&m->job_e, -rc, "write the note of the switch");
	if (ftruncate(m->note_fd, 0) == 0 && fdatasync(m->note_fd) == 0)
		return;
	err_set(&m->job_e, ERR_IN_DOUBT, "the note of the switch could neither be written nor taken back");
	err_remedy(&m->job_e, "the source is the disk, whatever the note says: remove the note");
}

static void commit(struct mirror *m)
{
	if (gave_up(m))
		return;
	m->committed = true;
	mirror_run_job(m, job_note, switched);
}

static void drain_over(void *arg)
{
	struct mirror *m = arg;

	m->drain_posted = false;
	m->drained = m->drain_due;	/* unless it was let go */
	m->drain_due = false;
	mirror_advance(m);
}

static void drained(void *arg)
{
	struct mirror *m = arg;

	m->drain_posted = true;
	loop_post(m->vm->loop, drain_over, m);
}

static void drain_source(struct mirror *m)
{
	if (gave_up(m))
		return;
	m->next = commit;
	m->drain_due = true;
	queue_drain(m->v->qd, drained, m);
}

static void switch_over(struct mirror *m)
{
	ring_release(m->ring);
	if (gave_up(m))
		return;
	if (m->ring_empty)
		mirror_flush_target(m, drain_source);
	else
		mirror_switch_apply(m);
}

static void switch_applied(struct mirror *m)
{
	mirror_copy_unknown(m, switch_over);
}

void mirror_switch_apply(struct mirror *m)
{
	if (gave_up(m))
		return;
	m->next = switch_applied;
	mirror_apply(m);
}

/* The ring does not have it all; the map does. */
static void switch_measured(struct mirror *m)
{
	if (m->round_bytes > MIRROR_HELD_BYTES_MAX)
		mirror_let_go(m);
	if (!m->holding)
		mirror_enter(m, MIRROR_COPYING);
	mirror_map_copy(m);
}

static void cut_for_switch(struct mirror *m)
{
	if (gave_up(m))
		return;
	if (m->cut.complete)
		mirror_switch_apply(m);
	else
		mirror_run_job(m, mirror_job_measure, switch_measured);
}

void mirror_switch(struct mirror *m)
{
	m->flushed = false;
	if (m->vm->cut.active) {	/* a barrier of the control socket */
		mirror_retry_later(m, mirror_follow);
		return;
	}
	mirror_enter(m, MIRROR_SWITCHING);
	m->holding = true;
	feed_hold(m->feed);
	mirror_barrier(m, MIRROR_SWITCH_MS_MAX, cut_for_switch);
}

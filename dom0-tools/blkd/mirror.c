/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes next.  Each step starts something (a job of the worker, a barrier,
 * transfers, a flush, a drain) and names its successor; mirror_advance takes
 * that when nothing is under way any more, or goes to the end when it was
 * cancelled or failed meanwhile.
 */
#include "blkd/mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "blkd/mirror_priv.h"

enum { EVERY_MS = 1000 };

/* ---- state ------------------------------------------------------------------------------------- */

static const char *const state_names[MIRROR_STATE_N] = {
	[MIRROR_OPENING] = "opening", [MIRROR_COPYING] = "copying", [MIRROR_FOLLOWING] = "following",
	[MIRROR_SWITCHING] = "switching", [MIRROR_SWITCHED] = "switched", [MIRROR_CANCELLED] = "cancelled",
	[MIRROR_FAILED] = "failed",
};

json_t *mirror_json(const struct mirror *m)
{
	uint64_t left = m->round_bytes > m->round_done ? m->round_bytes - m->round_done : 0;
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "disk", m->v->name, "state", state_names[m->state],
			      "round", (json_int_t)m->round, "total_bytes", (json_int_t)disk_bytes(m->v->disk),
			      "copied_bytes", (json_int_t)m->copied_bytes, "left_bytes", (json_int_t)left);

	if (m->state == MIRROR_FAILED)
		json_object_set_new(o, "error", js_from_err(&m->e));
	return o;
}

static void publish(void *arg)
{
	struct mirror *m = arg;
	json_t *o;

	if (m->begun)			/* nobody was told that there is one */
		return;
	o = mirror_json(m);
	json_object_set_new(o, "event", json_string(BLKD_EVENT_MIRROR));
	vm_event(m->vm, o);
}

/* The only function that writes m->state. */
void mirror_enter(struct mirror *m, enum mirror_state to)
{
	if (m->state == to)
		return;
	log_info("mirror of disk '%s': %s -> %s%s%s", m->v->name, state_names[m->state], state_names[to],
		 to == MIRROR_FAILED ? ": " : "", to == MIRROR_FAILED ? m->e.detail : "");
	m->state = to;
	publish(m);
}

struct vdisk *mirror_disk(const struct mirror *m)
{
	return m->v;
}

bool mirror_switching(const struct mirror *m)
{
	return m->holding || (m->committed && m->state != MIRROR_SWITCHED);
}

bool mirror_on_feed(const struct mirror *m)
{
	return m->feed != NULL;
}

bool mirror_stops(const struct mirror *m)
{
	return m->cancel || m->e.code != ERR_NONE;
}

static bool idle(const struct mirror *m)
{
	bool copying = m->run < m->n_runs && !mirror_stops(m);

	return !m->opening && !m->job_busy && !m->cut_due && !m->flushing && !m->drain_due && !m->drain_posted &&
	       !m->retrying && !m->transfers && !m->pump_posted && !copying;
}

void mirror_advance(struct mirror *m)
{
	void (*next)(struct mirror *m) = mirror_stops(m) && !m->committed && !m->leaving ? mirror_end : m->next;

	if (!idle(m) || !next)
		return;
	m->next = NULL;
	next(m);
}

/* ---- holding, and letting go ------------------------------------------------------------------- */

void mirror_let_go(struct mirror *m)
{
	bool drain = m->drain_due || m->drained;

	loop_timer_stop(m->late);
	m->drain_due = m->drained = false;
	if (drain)
		queue_resume(m->v->qd);
	if (m->holding)
		feed_release(m->feed);
	m->holding = false;
}

/* Whatever it waits for that may take long is given up; the next step follows.  Not once it is committed. */
void mirror_interrupt(struct mirror *m)
{
	if (m->committed || m->leaving)
		return;
	mirror_let_go(m);
	if (m->cut_due && feed_barrier_cancel(m->c))
		m->cut_due = false;
	if (m->retrying)
		loop_timer_set(m->retry, 0, 0);
	mirror_copy_poke(m);
}

void mirror_fail(struct mirror *m, const struct err *e)
{
	if (mirror_stops(m))
		return;
	m->e = *e;
	mirror_interrupt(m);
}

void mirror_cancel(struct mirror *m, void (*fn)(void *arg, const struct err *e), void *arg)
{
	struct err e = ERR_INIT;

	if (m->committed || (m->cancelled && fn)) {
		err_set(&e, ERR_STATE, "the mirror of disk '%s' %s", m->v->name,
			m->committed ? "goes over to its target" : "is being cancelled already");
		if (fn)
			fn(arg, &e);
		return;
	}
	if (fn) {
		m->cancelled = fn;
		m->cancelled_arg = arg;
	}
	if (mirror_stops(m))
		return;
	m->cancel = true;
	mirror_interrupt(m);
}

/* ---- jobs of the worker ------------------------------------------------------------------------ */

/* Off-loop. */
static void job_do(struct meta_job *j)
{
	struct mirror *m = j->arg;

	m->job_fn(m);
}

static void job_done(struct meta_job *j)
{
	struct mirror *m = j->arg;

	m->job_busy = false;
	if (m->job_e.code != ERR_NONE) {
		m->cut_due = false;
		mirror_fail(m, &m->job_e);
	}
	/* It was interrupted before it asked. */
	if (m->cut_due && (mirror_stops(m) || m->too_late) && feed_barrier_cancel(m->c))
		m->cut_due = false;
	mirror_advance(m);
}

void mirror_run_job(struct mirror *m, void (*fn)(struct mirror *m), void (*next)(struct mirror *m))
{
	m->job_fn = fn;
	m->job_e = (struct err)ERR_INIT;
	m->job = (struct meta_job){ .fn = job_do, .done = job_done, .arg = m };
	m->job_busy = true;
	m->next = next;
	meta_put(m->worker, &m->job);
}

/* ---- the end ----------------------------------------------------------------------------------- */

static void tell(struct mirror *m)
{
	if (m->begun) {
		m->begun(m->begun_arg, &m->e);
		m->begun = NULL;
	}
	if (m->cancelled)
		m->cancelled(m->cancelled_arg, NULL);
}

static void mirror_free(struct mirror *m)
{
	mirror_copy_fini(m);
	loop_timer_free(&m->every_s);
	loop_timer_free(&m->retry);
	loop_timer_free(&m->late);
	meta_free(m->worker);
	image_fini(&m->image);
	fd_close(&m->note_fd);
	free(m);
}

static void closed(void *arg)
{
	struct mirror *m = arg;
	struct vm *vm = m->vm;

	if (m->cancel && m->e.code == ERR_NONE)
		err_set(&m->e, ERR_CANCELLED, "the mirror was cancelled");
	if (m->state != MIRROR_SWITCHED)
		mirror_enter(m, m->cancel ? MIRROR_CANCELLED : MIRROR_FAILED);
	vm->mirror = NULL;
	tell(m);
	mirror_free(m);
	vm_look(vm);
}

static void left(struct mirror *m)
{
	if (m->tq)
		queue_remove(m->tq);
	qdisk_set_align(m->v->qd, 0);
	image_close(m->vm->loop, m->target, closed, m);
}

/* Off-loop. */
static void job_leave(struct mirror *m)
{
	ring_reader_free(m->ring);
	feed_detach(m->c);
	fd_close(&m->wake_fd);
	(void)!feed_forget(m->feed, MIRROR_CONSUMER, &m->job_e);
}

void mirror_end(struct mirror *m)
{
	m->leaving = true;
	mirror_let_go(m);
	loop_timer_stop(m->every_s);
	if (m->c)
		mirror_run_job(m, job_leave, left);
	else
		left(m);
}

/* ---- the beginning ----------------------------------------------------------------------------- */

static void attached(struct mirror *m)
{
	m->begun(m->begun_arg, NULL);
	m->begun = NULL;
	loop_timer_set(m->every_s, EVERY_MS, EVERY_MS);
	mirror_round(m);
}

/* Off-loop. */
static void job_attach(struct mirror *m)
{
	struct feed_attach a = { .name = MIRROR_CONSUMER, .ring_bytes = RING_BYTES };
	struct feed_attached info;

	if (feed_attach(m->feed, &a, &m->c, &info, &m->job_e) < 0)
		return;
	m->wake_fd = info.wake_fd;
	(void)!ring_reader_new(info.ring_fd, &m->ring, &m->job_e);
}

static void attach(struct mirror *m)
{
	int number = m->vm->taps ? taps_number(m->vm->taps, m->v->qd) : -1;

	if (number < 0) {
		err_set(&m->e, ERR_STATE, "disk '%s' is not in the feed", m->v->name);
		mirror_advance(m);
		return;
	}
	m->number = (unsigned)number;
	m->feed = taps_feed(m->vm->taps);
	m->tq = queue_add(m->vm->q, m->target, NULL);
	qdisk_set_align(m->v->qd, blob_align(disk_leaf(m->target)));
	mirror_run_job(m, job_attach, attached);
}

static void feed_made(void *arg, const struct err *e)
{
	struct mirror *m = arg;

	m->opening = false;
	if (e)
		mirror_fail(m, e);
	m->next = attach;
	mirror_advance(m);
}

static void need_feed(struct mirror *m)
{
	if (m->vm->taps && taps_number(m->vm->taps, m->v->qd) >= 0) {
		attach(m);
		return;
	}
	m->opening = true;
	if (vm_feed(m->vm, feed_made, m, &m->e) == 0)
		return;
	m->opening = false;
	mirror_advance(m);
}

static bool same_file(struct disk *a, struct disk *b)
{
	struct stat sa, sb;

	return fstat(blob_fd(disk_leaf(a)), &sa) == 0 && fstat(blob_fd(disk_leaf(b)), &sb) == 0 &&
	       (S_ISBLK(sa.st_mode) ? S_ISBLK(sb.st_mode) && sa.st_rdev == sb.st_rdev :
				      sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino);
}

static int check_target(const struct mirror *m, struct err *e)
{
	struct disk *s = m->v->disk, *t = m->target;

	if (same_file(s, t))
		return err_set(e, ERR_USAGE, "'%s' is the disk's own image", blob_name(disk_leaf(t)));
	if (disk_sector(s) != disk_sector(t))
		return err_set(e, ERR_INCOMPATIBLE, "'%s' has sectors of %u bytes, disk '%s' of %u",
			       blob_name(disk_leaf(t)), disk_sector(t), m->v->name, disk_sector(s));
	if (disk_bytes(s) == disk_bytes(t))
		return 0;
	err_set(e, ERR_INCOMPATIBLE, "'%s' has %llu bytes, disk '%s' has %llu", blob_name(disk_leaf(t)),
		(unsigned long long)disk_bytes(t), m->v->name, (unsigned long long)disk_bytes(s));
	return err_remedy(e, "create the target with the same size");
}

static void target_opened(void *arg, struct disk *d, const struct err *e)
{
	struct mirror *m = arg;

	m->opening = false;
	m->target = d;
	if (!d)
		m->e = *e;
	else
		(void)!check_target(m, &m->e);
	m->next = need_feed;
	mirror_advance(m);
}

static int check_start(const struct vdisk *v, struct err *e)
{
	const struct vm *vm = v->vm;

	if (vm->mirror)
		return err_set(e, ERR_BUSY, "disk '%s' is being mirrored; one at a time", vm->mirror->v->name);
	if (v->resizing)
		return err_set(e, ERR_BUSY, "disk '%s' is being resized", v->name);
	if (disk_read_only(v->disk))
		return err_set(e, ERR_REFUSED, "disk '%s' is read-only: copy its image, it does not change", v->name);
	return 0;
}

int mirror_start(struct vdisk *v, struct image *im, int note_fd, uint64_t bytes_s,
		 void (*begun)(void *arg, const struct err *e), void *arg, struct err *e)
{
	struct throttle_limits limits = { .bytes_s = bytes_s };
	struct loop *l = v->vm->loop;
	struct mirror *m;

	if (check_start(v, e) < 0) {
		image_fini(im);
		fd_close(&note_fd);
		return -1;
	}
	m = mem_alloc(sizeof(*m));
	*m = (struct mirror){ .vm = v->vm, .v = v, .image = *im, .note_fd = note_fd, .begun = begun, .begun_arg = arg,
			      .wake_fd = -1, .opening = true };
	mirror_copy_init(m);
	throttle_init(&m->throttle, &limits, clock_mono_ns());
	m->every_s = loop_timer_new(l, publish, m);
	m->retry = loop_timer_new(l, mirror_retry_due, m);
	m->late = loop_timer_new(l, mirror_late, m);
	if (meta_new(l, &m->worker, e) < 0) {
		mirror_free(m);
		return -1;
	}
	v->vm->mirror = m;
	image_open(l, &m->image, target_opened, m);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cut: every disk drained at the same time.  Of the feed it is the way in:
 * taps come and go while nothing is at work.
 *
 * What was written while no tap was there is in no map.  So when a disk that
 * gets one has been written before, the activity log is emptied: a log that
 * begins anew knows no consumer that could miss it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "blkd/mirror.h"
#include "blkd/vm.h"

/* ---- cut ------------------------------------------------------------------------------------------- */

static void reached(void *arg)
{
	struct vm *vm = arg;

	loop_timer_stop(vm->cut.timer);
	vm->cut.fn(vm->cut.arg, NULL);
}

static void one_drained(void *arg)
{
	struct vm *vm = arg;

	/* Later: a queue that is in the middle of a completion is not resumed. */
	if (--vm->cut.waiting == 0)
		loop_post(vm->loop, reached, vm);
}

static void too_late(void *arg)
{
	struct vm *vm = arg;
	struct err e = ERR_INIT;
	const char *who = "?";

	if (!vm->cut.active || !vm->cut.waiting)	/* it is on its way */
		return;
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		if (vm->disks[i].in_cut && qdisk_in_flight(vm->disks[i].qd))
			who = vm->disks[i].name;
	err_set(&e, ERR_TIMEOUT, "requests on disk '%s' did not end within %d ms", who, BLKD_CUT_MS_MAX);
	vm_cut_end(vm);
	vm->cut.fn(vm->cut.arg, &e);
}

int vm_cut(struct vm *vm, vm_cut_fn *fn, void *arg, struct err *e)
{
	struct vm_cut *c = &vm->cut;

	if (c->active)
		return err_set(e, ERR_BUSY, "another barrier of '%s' is under way", vm->name);
	if (vm->mirror && mirror_switching(vm->mirror))
		return err_set(e, ERR_BUSY, "disk '%s' goes over to its mirror", mirror_disk(vm->mirror)->name);
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++) {
		if (vm->disks[i].qd && qdisk_paused(vm->disks[i].qd)) {
			err_set(e, ERR_STATE, "disk '%s' is paused by an error", vm->disks[i].name);
			return err_remedy(e, "resume it first");
		}
	}
	if (!c->timer)
		c->timer = loop_timer_new(vm->loop, too_late, vm);
	c->active = true;
	c->fn = fn;
	c->arg = arg;
	c->asked_ns = clock_mono_ns();
	c->waiting = 1;
	loop_timer_set(c->timer, BLKD_CUT_MS_MAX, 0);
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++) {
		struct vdisk *v = &vm->disks[i];

		v->in_cut = v->qd != NULL;
		c->waiting += v->in_cut;
		if (v->in_cut)
			queue_drain(v->qd, one_drained, vm);
	}
	one_drained(vm);
	return 0;
}

void vm_cut_end(struct vm *vm)
{
	vm->cut.active = false;
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++) {
		if (vm->disks[i].in_cut)
			queue_resume(vm->disks[i].qd);
		vm->disks[i].in_cut = false;
	}
	vm_look(vm);
}

/* ---- the feed -------------------------------------------------------------------------------------- */

struct making {
	struct vm *vm;
	struct taps_disk disks[BLKD_DISKS_MAX];
	unsigned n;
	bool fresh;			/* the log must begin anew */
	struct taps *taps;
	struct feed_server *old;
	struct err e;
	void (*fn)(void *arg, const struct err *e);
	void *arg;
};

static bool written(const struct vdisk *v)
{
	struct qdisk_stats st;

	qdisk_stats(v->qd, &st);
	return st.ops[REQ_WRITE] || st.ops[REQ_ZERO] || st.ops[REQ_DISCARD] || st.errors;
}

/* By key, so that the log of the last life fits whatever the order of attaching. */
static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct taps_disk *)a)->key, ((const struct taps_disk *)b)->key);
}

static bool gather(struct making *m)
{
	struct vm *vm = m->vm;
	bool same = vm->taps != NULL;

	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++) {
		struct vdisk *v = &vm->disks[i];
		bool tapped = vm->taps && v->state == VDISK_OPEN && taps_number(vm->taps, v->qd) >= 0;

		if (v->state != VDISK_OPEN)
			continue;
		same = same && tapped;
		m->fresh = m->fresh || (!tapped && written(v));
		m->disks[m->n].qd = v->qd;
		memcpy(m->disks[m->n++].key, v->key, sizeof(v->key));
	}
	qsort(m->disks, m->n, sizeof(m->disks[0]), by_key);
	return same && m->n == feed_n_disks(taps_feed(vm->taps));
}

static void made(void *arg)
{
	struct making *m = arg;
	struct vm *vm = m->vm;
	int fd = m->taps ? fcntl(vm->feed_fd, F_DUPFD_CLOEXEC, 0) : -1;

	taps_free(vm->taps);
	vm->taps = m->taps;
	if (vm->taps)
		taps_put(vm->taps);
	vm_cut_end(vm);
	if (m->taps && fd < 0)
		err_sys(&m->e, errno, "socket of the feed");
	if (fd >= 0 && feed_server_from_fd(taps_feed(vm->taps), fd, geteuid(), &vm->feed, &m->e) == 0)
		log_info("feed over %u disks%s", m->n, m->fresh ? ", its log begins anew" : "");
	m->fn(m->arg, m->e.code == ERR_NONE ? NULL : &m->e);
	free(m);
}

/* Off-loop; nothing is at work on any disk, no tap is in place. */
static void make(void *arg)
{
	struct making *m = arg;
	struct err ignored = ERR_INIT;

	feed_server_free(m->old);
	if (m->vm->taps)
		taps_stop(m->vm->taps);
	if (m->fresh && ftruncate(m->vm->log_fd, 0) < 0) {
		err_sys(&m->e, errno, "empty the feed's activity log");
		return;
	}
	if (taps_new(m->vm->loop, m->disks, m->n, m->vm->log_fd, &m->taps, &m->e) < 0)
		return;
	/* Of a life that ended while it ran; it would hold marks for ever. */
	(void)!feed_forget(taps_feed(m->taps), MIRROR_CONSUMER, &ignored);
}

static bool somebody_reads(struct vm *vm, struct err *e)
{
	struct feed_stats st;

	if (!vm->taps)
		return false;
	if (vm->mirror && mirror_on_feed(vm->mirror)) {
		err_set(e, ERR_BUSY, "the mirror of disk '%s' reads the feed, which would begin anew",
			mirror_disk(vm->mirror)->name);
		return true;
	}
	feed_get_stats(taps_feed(vm->taps), &st);
	for (unsigned i = 0; i < st.n_consumers; i++)
		if (st.consumers[i].attached) {
			err_set(e, ERR_BUSY, "consumer '%s' reads the feed, which would begin anew",
				st.consumers[i].name);
			err_remedy(e, "end it first, or leave the set of disks as it is");
			return true;
		}
	return false;
}

static void drained(void *arg, const struct err *e)
{
	struct making *m = arg;
	struct vm *vm = m->vm;
	bool same = false;

	if (e)
		m->e = *e;
	else
		same = gather(m);
	if (!e && !same && m->n == 0)
		err_set(&m->e, ERR_STATE, "no disk is attached");
	if (!e && (same || m->n == 0 || somebody_reads(vm, &m->e)))
		vm_cut_end(vm);
	if (same || m->e.code != ERR_NONE) {
		m->fn(m->arg, same ? NULL : &m->e);
		free(m);
		return;
	}
	if (vm->taps)
		taps_pull(vm->taps);
	m->old = vm->feed;
	vm->feed = NULL;
	if (loop_work(vm->loop, make, made, m, &m->e) == 0)
		return;
	m->e = (struct err)ERR_INIT;	/* no thread to be had: then here */
	make(m);
	loop_post(vm->loop, made, m);
}

int vm_feed(struct vm *vm, void (*fn)(void *arg, const struct err *e), void *arg, struct err *e)
{
	struct making *m = mem_alloc(sizeof(*m));

	*m = (struct making){ .vm = vm, .fn = fn, .arg = arg };
	if (vm_cut(vm, drained, m, e) == 0)
		return 0;
	free(m);
	return -1;
}

void vm_feed_free(struct vm *vm)
{
	feed_server_free(vm->feed);
	vm->feed = NULL;
	taps_free(vm->taps);
	vm->taps = NULL;
	loop_timer_free(&vm->cut.timer);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a request may run and what its end means.
 *
 * A request is in exactly one place: the disk's waiting list (not admitted),
 * the overlap table only (admitted, waits for an earlier write), the tap
 * (kept), a transfer, a flush, or the list of failed ones of a paused disk.
 * From admission to completion it counts as in flight.
 */
#include "blkd/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "blkd/queue_priv.h"

enum { NS_PER_MS = 1000000 };

static bool changes(enum req_op op)
{
	return op == REQ_WRITE || op == REQ_ZERO || op == REQ_DISCARD;
}

static int check(const struct req *r)
{
	const struct disk *d = r->disk->disk;
	uint32_t sector = disk_sector(d);
	uint64_t size = disk_bytes(d);

	if (r->op == REQ_FLUSH)
		return 0;
	if (changes(r->op) && disk_read_only(d))
		return -EROFS;
	if (!r->len || (r->off | r->len) & (sector - 1) || r->n_iov > REQ_IOV_MAX)
		return -EINVAL;
	if (r->off > size || r->len > size - r->off)
		return r->op == REQ_WRITE ? -ENOSPC : -EINVAL;
	return 0;
}

static void tell_tap(struct req *r, int res)
{
	if (r->tapped)
		r->disk->tap->after(r->disk->tap->arg, r, res);
	r->tapped = false;
}

static void run(struct queue *q, struct req *r)
{
	while (r->at < r->len) {
		int64_t n = queue_step(q, r);

		if (n == 0)
			return;
		if (n < 0) {
			queue_progress(q, r, n);
			return;
		}
		r->at += (uint64_t)n;
	}
	tell_tap(r, 0);
	if (r->op == REQ_FLUSH || (r->fua && changes(r->op)))
		queue_flush(q, r);
	else
		queue_complete(q, r, 0);
}

static void fail(struct queue *q, struct req *r, int res)
{
	struct qdisk *qd = r->disk;

	if ((res == -ENOSPC || res == -EIO) && !r->internal && qd->setup.on_error &&
	    qd->setup.on_error(qd->setup.arg, r, res) == QUEUE_PAUSE) {
		qd->paused = true;
		req_list_put(&qd->failed, r);
		return;
	}
	tell_tap(r, res);
	queue_complete(q, r, res);
}

void queue_progress(struct queue *q, struct req *r, int64_t n)
{
	if (n < 0) {
		fail(q, r, (int)n);
		return;
	}
	r->at += (uint64_t)n;
	run(q, r);
}

/* Nothing earlier overlaps with r any more. */
static void start(struct queue *q, struct req *r)
{
	const struct tap *tap = changes(r->op) ? r->disk->tap : NULL;
	int rc = tap ? tap->before(tap->arg, r) : 0;

	r->tapped = tap && rc == 0;
	if (rc < 0) {
		queue_complete(q, r, rc);
	} else if (rc == 0) {
		r->active = true;
		r->disk->active++;
		run(q, r);
	} else {
		req_list_put(&r->disk->kept, r);
	}
}

void queue_ask_again(struct qdisk *qd)
{
	struct req_list kept = qd->kept;

	if (qd->draining && qd->drained)	/* queue_resume will */
		return;
	req_list_init(&qd->kept);
	for (struct req *r; (r = req_list_take(&kept)) != NULL;)
		start(qd->q, r);
	queue_batch_end(qd->q);
}

static void admit(struct queue *q, struct req *r)
{
	struct qdisk *qd = r->disk;

	qd->in_flight++;
	if (changes(r->op)) {
		uint32_t own = blob_align(disk_leaf(qd->disk)), align = own > qd->align ? own : qd->align;
		uint64_t mask = align > DISK_SECTOR ? align - 1u : 0;

		/* Two writes that share a block of the device would read and write it back around each other. */
		r->linked = true;
		if (!overlap_add(&qd->overlaps, &r->overlap, r->off & ~mask, (r->off + r->len + mask) & ~mask)) {
			qd->stats.serialised++;
			return;
		}
	}
	start(q, r);
}

static bool held(const struct qdisk *qd)
{
	return qd->draining || qd->paused || qd->throttle_waits;
}

/* True if r may go now; else the timer will come back for it. */
static bool take_tokens(struct qdisk *qd, const struct req *r)
{
	uint64_t ns;

	if (!qd->limited || r->op == REQ_FLUSH || r->internal)
		return true;
	ns = throttle_take(&qd->throttle, r->op == REQ_READ || r->op == REQ_WRITE ? r->len : 0, clock_mono_ns());
	if (!ns)
		return true;
	qd->stats.throttled++;
	qd->throttle_waits = true;
	loop_timer_set(qd->timer, (ns + NS_PER_MS - 1) / NS_PER_MS, 0);
	return false;
}

static void pump(struct qdisk *qd)
{
	while (qd->waiting.first && !held(qd) && take_tokens(qd, qd->waiting.first))
		admit(qd->q, req_list_take(&qd->waiting));
}

static void throttle_due(void *arg)
{
	struct qdisk *qd = arg;

	qd->throttle_waits = false;
	pump(qd);
	queue_batch_end(qd->q);
}

void queue_submit(struct queue *q, struct req *r)
{
	struct qdisk *qd = r->disk;
	int rc = check(r);

	r->at = 0;
	r->touched = false;
	r->tapped = false;
	r->linked = false;
	r->active = false;
	r->bounce = NULL;
	if (r->op == REQ_FLUSH)
		r->len = 0;
	if (rc < 0) {
		qd->stats.errors++;
		r->done(r, rc);
	} else if (r->internal ? qd->draining : qd->waiting.first || held(qd) || !take_tokens(qd, r)) {
		req_list_put(&qd->waiting, r);
	} else {
		admit(q, r);
	}
}

static void put_ready(struct queue *q, struct overlap *more)
{
	struct overlap **at = &q->ready;

	while (*at)
		at = &(*at)->next_ready;
	*at = more;
}

static void check_drained(struct qdisk *qd)
{
	if (qd->active || !qd->draining || qd->drained)
		return;
	qd->drained = true;
	qd->drain_fn(qd->drain_arg);
}

void queue_complete(struct queue *q, struct req *r, int res)
{
	struct qdisk *qd = r->disk;

	if (r->linked)
		put_ready(q, overlap_del(&qd->overlaps, &r->overlap));
	if (r->internal) {
		;
	} else if (res < 0) {
		qd->stats.errors++;
	} else {
		qd->stats.ops[r->op]++;
		qd->stats.bytes[r->op] += r->len;
	}
	assert(qd->in_flight > 0 && qd->active >= r->active);
	qd->in_flight--;
	qd->active -= r->active;
	r->done(r, res);
	check_drained(qd);
}

static void start_ready(struct queue *q)
{
	if (q->draining_ready)
		return;
	q->draining_ready = true;
	while (q->ready) {
		struct overlap *o = q->ready;

		q->ready = o->next_ready;
		start(q, (struct req *)(void *)((char *)o - offsetof(struct req, overlap)));
	}
	q->draining_ready = false;
}

static void submit_again(void *arg)
{
	struct queue *q = arg;

	q->kick_again = false;
	queue_kick(q);
}

void queue_kick(struct queue *q)
{
	int rc;

	start_ready(q);
	if (!q->unsubmitted)
		return;
	rc = io_uring_submit(&q->ring);
	if (rc >= 0)
		q->unsubmitted -= (unsigned)rc < q->unsubmitted ? (unsigned)rc : q->unsubmitted;
	if (q->unsubmitted && !q->kick_again) {		/* the kernel is short of something: later */
		q->kick_again = true;
		loop_post(q->loop, submit_again, q);
	}
}

void queue_batch_end(struct queue *q)
{
	queue_kick(q);
	for (struct queue_hook *h = q->hooks; h; h = h->next)
		h->fn(h->arg);
}

static void completions(void *arg, unsigned events)
{
	struct queue *q = arg;
	struct io_uring_cqe *cqe;

	(void)events;
	while (io_uring_peek_cqe(&q->ring, &cqe) == 0) {
		uint64_t ud = cqe->user_data;
		int res = cqe->res;

		io_uring_cqe_seen(&q->ring, cqe);
		if (ud & QUEUE_UD_SYNC) {
			queue_flushed((struct qdisk *)(uintptr_t)(ud & ~(uint64_t)QUEUE_UD_SYNC), res);
		} else {
			struct req *r = (struct req *)(uintptr_t)ud;
			int64_t n = queue_stepped(q, r, res);

			if (n)
				queue_progress(q, r, n);
		}
	}
	queue_batch_end(q);
}

/* A system call filter does not see what goes by the ring (it could open files): the ring gets its own. */
static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t ops[] = { IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_READ, IORING_OP_WRITE,
				       IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_FADVISE };
	struct io_uring_restriction r[ARRAY_LEN(ops) + 2];
	unsigned n = 0;
	int rc;

	memset(r, 0, sizeof(r));
	for (; n < ARRAY_LEN(ops); n++) {
		r[n].opcode = IORING_RESTRICTION_SQE_OP;
		r[n].sqe_op = ops[n];
	}
	r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	r[n++].sqe_flags = IOSQE_FIXED_FILE;
	r[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	r[n++].register_op = IORING_REGISTER_FILES_UPDATE;
	/* By the bare call: liburing 2.3 declares the functions for these two and does not export them. */
	rc = io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, r, n);
	return rc < 0 ? rc : io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int open_ring(struct queue *q, struct err *e)
{
	const unsigned flags = IORING_SETUP_R_DISABLED;
	int rc = io_uring_queue_init(QUEUE_RING_ENTRIES, &q->ring, flags | IORING_SETUP_COOP_TASKRUN);

	if (rc == -EINVAL)		/* before Linux 5.19 */
		rc = io_uring_queue_init(QUEUE_RING_ENTRIES, &q->ring, flags);
	if (rc < 0) {
		err_sys(e, -rc, "io_uring");
		return rc == -EPERM ? err_remedy(e, "allow it: sysctl kernel.io_uring_disabled=0") : -1;
	}
	q->ring_open = true;
	q->files_registered = io_uring_register_files_sparse(&q->ring, QUEUE_FILES_MAX) == 0;
	rc = restrict_ring(&q->ring);
	if (rc < 0)
		return err_sys(e, -rc, "restrict io_uring to transfers");
	return loop_watch(q->loop, q->ring.ring_fd, LOOP_READ, completions, q, &q->src, e);
}

int queue_new(struct loop *l, struct queue **out, struct err *e)
{
	struct queue *q = mem_alloc(sizeof(*q));

	q->loop = l;
	if (open_ring(q, e) < 0 || meta_new(l, &q->meta, e) < 0) {
		queue_free(q);
		return -1;
	}
	*out = q;
	return 0;
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	meta_free(q->meta);
	loop_unwatch(&q->src);
	if (q->ring_open)
		io_uring_queue_exit(&q->ring);
	bufpool_fini(&q->pool);
	free(q);
}

struct qdisk *queue_add(struct queue *q, struct disk *d, const struct qdisk_setup *setup)
{
	struct qdisk *qd = mem_alloc(sizeof(*qd));

	qd->q = q;
	qd->disk = d;
	if (setup)
		qd->setup = *setup;
	qd->timer = loop_timer_new(q->loop, throttle_due, qd);
	req_list_init(&qd->waiting);
	req_list_init(&qd->failed);
	req_list_init(&qd->kept);
	req_list_init(&qd->sync_now);
	req_list_init(&qd->sync_next);
	return qd;
}

void queue_remove(struct qdisk *qd)
{
	assert(!qd->in_flight && !qd->waiting.first);
	loop_timer_free(&qd->timer);
	qdisk_forget_slots(qd);
	free(qd);
}

struct disk *qdisk_disk(const struct qdisk *qd)
{
	return qd->disk;
}

unsigned qdisk_in_flight(const struct qdisk *qd)
{
	return qd->in_flight;
}

void qdisk_set_limits(struct qdisk *qd, const struct throttle_limits *l)
{
	qd->limited = l->iops || l->bytes_s;
	throttle_init(&qd->throttle, l, clock_mono_ns());
	if (qd->throttle_waits)
		loop_timer_set(qd->timer, 0, 0);
}

void qdisk_set_tap(struct qdisk *qd, const struct tap *tap)
{
	assert(!qd->active);
	qd->tap = tap;
}

struct disk *qdisk_swap(struct qdisk *qd, struct disk *d)
{
	struct disk *old = qd->disk;

	assert(qd->draining && !qd->active && !qd->sync_busy);
	assert(disk_bytes(d) == disk_bytes(old) && disk_sector(d) == disk_sector(old));
	qdisk_forget_slots(qd);
	qd->disk = d;
	qd->sync_error = 0;
	return old;
}

void qdisk_set_align(struct qdisk *qd, uint32_t bytes)
{
	qd->align = bytes;
}

void queue_drain(struct qdisk *qd, void (*fn)(void *arg), void *arg)
{
	assert(!qd->draining);
	qd->draining = true;
	qd->drained = false;
	qd->drain_fn = fn;
	qd->drain_arg = arg;
	check_drained(qd);
}

void queue_resume(struct qdisk *qd)
{
	struct req_list again = qd->failed;

	if (qd->draining) {
		qd->draining = false;
	} else {
		req_list_init(&qd->failed);
		qd->paused = false;
		for (struct req *r; (r = req_list_take(&again)) != NULL;)
			run(qd->q, r);
	}
	pump(qd);
	queue_ask_again(qd);
}

bool qdisk_paused(const struct qdisk *qd)
{
	return qd->paused;
}

struct resize {
	struct meta_job job;
	struct qdisk *qd;
	uint64_t bytes;
	struct err e;
	void (*fn)(void *arg, const struct err *e);
	void *arg;
};

static void resize_do(struct meta_job *j)
{
	struct resize *z = j->arg;

	j->res = disk_resize(z->qd->disk, z->bytes, &z->e);
}

static void resize_done(struct meta_job *j)
{
	struct resize *z = j->arg;

	z->qd->in_flight--;
	z->qd->active--;
	z->fn(z->arg, &z->e);
	check_drained(z->qd);
	free(z);
}

void queue_resize(struct qdisk *qd, uint64_t bytes, void (*fn)(void *arg, const struct err *e), void *arg)
{
	struct resize *z = mem_alloc(sizeof(*z));

	*z = (struct resize){ .qd = qd, .bytes = bytes, .fn = fn, .arg = arg,
			      .job = { .fn = resize_do, .done = resize_done } };
	z->job.arg = z;
	qd->in_flight++;
	qd->active++;
	meta_put(qd->q->meta, &z->job);
}

void queue_hook_add(struct queue *q, struct queue_hook *h)
{
	h->next = q->hooks;
	q->hooks = h;
}

void queue_hook_del(struct queue *q, struct queue_hook *h)
{
	for (struct queue_hook **at = &q->hooks; *at; at = &(*at)->next) {
		if (*at == h) {
			*at = h->next;
			return;
		}
	}
}

struct bufpool *queue_pool(struct queue *q)
{
	return &q->pool;
}

void qdisk_stats(const struct qdisk *qd, struct qdisk_stats *out)
{
	*out = qd->stats;
}

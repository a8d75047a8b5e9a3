/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests between a ring and the queue.
 *
 *	take: ring -> [tables: one grant copy] -> check -> [data of writes: one grant copy] -> queue_submit
 *	answer: done -> [data of reads: one grant copy] -> responses -> one bell
 *
 * take works in batches of BLKIF_BATCH; answer takes all that is done since
 * the last time.  Both are bounded by the slots of the ring, since a slot is
 * free again only when answer has shown its response.
 *
 * A request's charge is what its buffer costs at most, so it can be charged
 * before the table that tells the exact size is fetched.
 */
#include "blkd/blkif.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "blkd/blkif_priv.h"

/* ---- memory of requests -------------------------------------------------------------------------------- */

static void list_init(struct blkif_io_list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_put(struct blkif_io_list *l, struct blkif_io *io)
{
	io->next = NULL;
	*l->last = io;
	l->last = &io->next;
}

static struct blkif_io *list_take_all(struct blkif_io_list *l)
{
	struct blkif_io *first = l->first;

	list_init(l);
	return first;
}

static struct blkif_io *io_get(struct blkif *b)
{
	struct blkif_io *io = b->idle;

	if (io)
		b->idle = io->next;
	else
		io = mem_alloc(sizeof(*io));
	io->b = b;
	io->iov = (struct iovec){ 0 };
	io->charge = 0;
	io->flushed = false;
	return io;
}

static void io_put(struct blkif *b, struct blkif_io *io)
{
	bufpool_put(queue_pool(b->s.queue), io->iov.iov_base, io->iov.iov_len);
	b->stats.bytes -= io->charge;
	io->next = b->idle;
	b->idle = io;
}

void blkif_io_fini(struct blkif *b)
{
	assert(!b->stats.in_flight);
	while (b->idle) {
		struct blkif_io *io = b->idle;

		b->idle = io->next;
		free(io);
	}
	free(b->copies);
	b->copies = NULL;
	b->room = 0;
	free(b->tables);
	b->tables = NULL;
}

/* ---- grant copies ---------------------------------------------------------------------------------------- */

static struct gnt_copy *copy_next(struct blkif *b)
{
	if (b->n_copies == b->room) {
		b->room = b->room ? b->room * 2 : BLKIF_BATCH * BLKIF_SEGS_MAX;
		b->copies = mem_realloc(b->copies, b->room * sizeof(*b->copies));
	}
	return &b->copies[b->n_copies++];
}

static void copy_data(struct blkif *b, const struct blkif_io *io, bool to_guest)
{
	uint8_t *at = io->iov.iov_base;

	for (unsigned i = 0; i < io->q.n_segs; i++) {
		const struct blkif_seg *s = &io->q.segs[i];
		uint16_t off = (uint16_t)(s->first * BLKIF_SECTOR_BYTES);
		uint16_t len = (uint16_t)((s->last - s->first + 1) * BLKIF_SECTOR_BYTES);

		*copy_next(b) = (struct gnt_copy){ .ref = s->ref, .off = off, .len = len, .to_guest = to_guest,
						   .local = at };
		at += len;
	}
}

/* What failed, its res tells. */
static void copy_run(struct blkif *b)
{
	int rc;

	if (!b->n_copies)
		return;
	b->stats.copy_calls++;
	b->stats.copy_segs += b->n_copies;
	rc = b->s.xen->copy(b->s.x, b->s.domid, b->copies, b->n_copies);
	(void)rc;
	b->n_copies = 0;
}

/* Looks at the results of io's n copies from *at on. */
static void copy_results(struct blkif *b, struct blkif_io *io, unsigned n, unsigned *at)
{
	for (unsigned i = 0; i < n; i++)
		if (b->copies[(*at)++].res)
			io->st = BLKIF_FAILED;
}

/* ---- ring to queue ------------------------------------------------------------------------------------- */

static bool has_data(const struct blkif_io *io)
{
	return io->q.op != BLKIF_DISCARD && io->q.n_segs;
}

static bool brings_data(const struct blkif_io *io)
{
	return io->st == BLKIF_OKAY && io->q.op != BLKIF_READ && has_data(io);
}

static bool wants_data(const struct blkif_io *io)
{
	return io->st == BLKIF_OKAY && io->q.op == BLKIF_READ;
}

static bool wants_table(const struct blkif_io *io)
{
	return io->st == BLKIF_OKAY && io->q.indirect;
}

/* Buffers come in powers of two (bufpool.h). */
static size_t charge_of(const struct blkif_io *io)
{
	size_t pages = 1;

	if (!has_data(io))
		return 0;
	while (pages < io->q.n_segs)
		pages *= 2;
	return pages * BLKIF_PAGE_BYTES;
}

/* How many came, 0 also when there is no room; -1: the counters lie. */
static int take_batch(struct blkif *b, struct blkif_io **v)
{
	unsigned n = 0;

	while (n < BLKIF_BATCH && b->stats.bytes + BLKIF_REQ_BYTES_MAX <= BLKIF_BYTES_MAX) {
		struct blkif_io *io = io_get(b);
		int rc = blkif_ring_next(&b->ring, &io->q);

		if (rc <= 0) {
			io_put(b, io);
			if (rc == 0)
				break;
			while (n)
				io_put(b, v[--n]);
			return -1;
		}
		io->st = blkif_req_begin(&io->q);
		if (io->st == BLKIF_OKAY)
			io->charge = charge_of(io);
		b->stats.bytes += io->charge;
		v[n++] = io;
	}
	return (int)n;
}

static void fetch_tables(struct blkif *b, struct blkif_io **v, unsigned n)
{
	unsigned at = 0;

	for (unsigned i = 0; i < n; i++)
		if (wants_table(v[i]))
			*copy_next(b) = (struct gnt_copy){ .ref = v[i]->q.table_ref, .local = b->tables[i],
							   .len = (uint16_t)(v[i]->q.n_segs * BLKIF_SEG_BYTES) };
	copy_run(b);
	for (unsigned i = 0; i < n; i++) {
		if (!wants_table(v[i]))
			continue;
		copy_results(b, v[i], 1, &at);
		if (v[i]->st == BLKIF_OKAY)
			blkif_req_table(&v[i]->q, b->tables[i]);
	}
}

static void check_all(struct blkif *b, struct blkif_io **v, unsigned n)
{
	const struct disk *d = qdisk_disk(b->s.disk);
	const struct blkif_geometry g = {
		.sectors = disk_bytes(d) / BLKIF_SECTOR_BYTES, .sector_bytes = disk_sector(d),
		.read_only = b->s.read_only || disk_read_only(d), .discard = b->s.discard,
	};

	for (unsigned i = 0; i < n; i++) {
		if (v[i]->st == BLKIF_OKAY)
			v[i]->st = blkif_req_check(&v[i]->q, &g);
		if (v[i]->st != BLKIF_OKAY || !has_data(v[i]))
			continue;
		v[i]->iov.iov_len = v[i]->q.n_sectors * BLKIF_SECTOR_BYTES;
		assert(v[i]->iov.iov_len <= v[i]->charge);
		v[i]->iov.iov_base = bufpool_get(queue_pool(b->s.queue), v[i]->iov.iov_len);
	}
}

static void fetch_data(struct blkif *b, struct blkif_io **v, unsigned n)
{
	unsigned at = 0;

	for (unsigned i = 0; i < n; i++)
		if (brings_data(v[i]))
			copy_data(b, v[i], false);
	copy_run(b);
	for (unsigned i = 0; i < n; i++)
		if (brings_data(v[i]))
			copy_results(b, v[i], v[i]->q.n_segs, &at);
}

static void done(struct req *r, int res)
{
	struct blkif_io *io = (struct blkif_io *)(void *)r;

	io->st = res == 0 ? BLKIF_OKAY : res == -EOPNOTSUPP ? BLKIF_UNSUPPORTED : BLKIF_FAILED;
	if (io->q.op == BLKIF_FLUSH && has_data(io) && res == 0 && !io->flushed) {
		io->flushed = true;
		list_put(&io->b->again, io);
		return;
	}
	list_put(&io->b->done, io);
}

/* A flush with data flushes what was written before it, then writes its data and makes that durable too. */
static void submit(struct blkif *b, struct blkif_io *io)
{
	static const enum req_op ops[] = {
		[BLKIF_READ] = REQ_READ, [BLKIF_WRITE] = REQ_WRITE, [BLKIF_FLUSH] = REQ_FLUSH,
		[BLKIF_DISCARD] = REQ_DISCARD,
	};
	struct req *r = &io->r;

	*r = (struct req){ .op = io->flushed ? REQ_WRITE : ops[io->q.op], .fua = io->flushed, .disk = b->s.disk,
			   .done = done };
	if (r->op != REQ_FLUSH) {
		r->off = io->q.sector * BLKIF_SECTOR_BYTES;
		r->len = io->q.n_sectors * BLKIF_SECTOR_BYTES;
	}
	if (r->op == REQ_READ || r->op == REQ_WRITE) {
		r->iov = &io->iov;
		r->n_iov = 1;
	}
	queue_submit(b->s.queue, r);
}

static void begin_batch(struct blkif *b, struct blkif_io **v, unsigned n)
{
	b->stats.in_flight += n;
	fetch_tables(b, v, n);
	check_all(b, v, n);
	fetch_data(b, v, n);
	for (unsigned i = 0; i < n; i++) {
		if (v[i]->st == BLKIF_OKAY)
			submit(b, v[i]);
		else
			list_put(&b->done, v[i]);
	}
}

/* ---- queue to ring ------------------------------------------------------------------------------------- */

static void hand_over_data(struct blkif *b, struct blkif_io *first)
{
	unsigned at = 0;

	for (struct blkif_io *io = first; io; io = io->next)
		if (wants_data(io))
			copy_data(b, io, true);
	copy_run(b);
	for (struct blkif_io *io = first; io; io = io->next)
		if (wants_data(io))
			copy_results(b, io, io->q.n_segs, &at);
}

static void answer(struct blkif *b)
{
	struct blkif_io *first = list_take_all(&b->done);
	bool heard = b->end != BLKIF_DROP;

	if (heard)
		hand_over_data(b, first);
	for (struct blkif_io *io = first, *next; io; io = next) {
		next = io->next;
		if (heard)
			blkif_ring_respond(&b->ring, io->q.id, io->q.op, io->st);
		b->stats.requests += heard;
		b->stats.failed += heard && io->st != BLKIF_OKAY;
		b->stats.dropped += !heard;
		b->stats.in_flight--;
		io_put(b, io);
	}
	if (heard && blkif_ring_push(&b->ring)) {
		b->stats.bells_out++;
		b->s.xen->notify(b->s.x, b->port);
	}
}

/* Until nothing more is done.  Takes nothing new, so it ends. */
static void settle(struct blkif *b)
{
	do {
		for (struct blkif_io *io = list_take_all(&b->again), *next; io; io = next) {
			next = io->next;
			submit(b, io);
		}
		queue_kick(b->s.queue);
		if (b->done.first)
			answer(b);
	} while (b->done.first || b->again.first);
	/* By the timer: a guest that keeps us busy must not keep the loop from the others.  Half: not for each one. */
	if (b->stalled && b->stats.bytes <= BLKIF_BYTES_MAX / 2)
		loop_timer_set(b->timer, 0, 0);
	if (b->end && !b->stats.in_flight)
		blkif_ended(b);
}

static void batch_over(void *arg)
{
	struct blkif *b = arg;

	if (b->live)
		settle(b);
}

void blkif_take(struct blkif *b)
{
	struct blkif_io *v[BLKIF_BATCH];
	struct err e = ERR_INIT;
	int n;

	if (!b->tables)
		b->tables = mem_alloc(BLKIF_BATCH * sizeof(*b->tables));
	b->stalled = false;
	for (;;) {
		n = take_batch(b, v);
		if (n < 0)
			break;
		begin_batch(b, v, (unsigned)n);
		b->stalled = b->stats.bytes + BLKIF_REQ_BYTES_MAX > BLKIF_BYTES_MAX;
		if (b->stalled || (n < BLKIF_BATCH && !blkif_ring_more(&b->ring)))
			break;
	}
	b->stats.stalls += b->stalled;
	if (n < 0) {
		err_set(&e, ERR_CORRUPT, "the ring claims more requests than it has slots");
		blkif_break(b, &e);
	}
	settle(b);
}

void blkif_rang(struct blkif *b)
{
	int port = b->port;

	b->stats.bells_in++;
	if (!b->live || b->end)
		return;			/* its bell is not wanted any more */
	if (!b->stalled)
		blkif_take(b);
	if (b->live && !b->end)
		b->s.xen->unmask(b->s.x, port);
}

/* ---- life ------------------------------------------------------------------------------------------------ */

/* stop_fn is last: it may free b. */
static void later(void *arg)
{
	struct blkif *b = arg;

	if (b->look_again) {
		b->look_again = false;
		blkif_look(b);
	}
	if (b->live && !b->end && b->stalled)
		blkif_take(b);
	if (b->stopping && !b->live && b->stop_fn) {
		void (*fn)(void *arg) = b->stop_fn;

		b->stop_fn = NULL;
		fn(b->stop_arg);
	}
}

int blkif_new(const struct blkif_setup *setup, struct blkif **out, struct err *e)
{
	struct blkif *b;

	if (setup->domid > BLKIF_DOMID_MAX)
		return err_set(e, ERR_USAGE, "domain %u; %d is the largest", setup->domid, BLKIF_DOMID_MAX);
	b = mem_alloc(sizeof(*b));
	b->s = *setup;
	b->port = -1;
	list_init(&b->done);
	list_init(&b->again);
	b->timer = loop_timer_new(setup->loop, later, b);
	b->hook = (struct queue_hook){ .fn = batch_over, .arg = b };
	queue_hook_add(setup->queue, &b->hook);
	if (blkif_offer(b, e) < 0) {
		blkif_free(b);
		return -1;
	}
	*out = b;
	return 0;
}

void blkif_free(struct blkif *b)
{
	if (!b)
		return;
	assert(!b->live);
	queue_hook_del(b->s.queue, &b->hook);
	loop_timer_free(&b->timer);
	blkif_io_fini(b);
	free(b);
}

int blkif_port(const struct blkif *b)
{
	return b->live ? b->port : -1;
}

void blkif_stats(const struct blkif *b, struct blkif_stats *out)
{
	*out = b->stats;
}

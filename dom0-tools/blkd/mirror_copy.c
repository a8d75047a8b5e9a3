/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes to the target: pieces of the source that the map names, and records of
 * the ring.  Never both at once: a record must not be overtaken by an older
 * read of the source.
 *
 * Transfers may complete inside queue_submit, so their ends only count; the
 * pump runs from the loop, a bounded number of pieces each turn.
 */
#include <string.h>

#include "base/clock.h"
#include "blkd/mirror_priv.h"

enum { NS_PER_MS = 1000000 };

static void fail_transfer(struct mirror *m, const char *what, const struct req *r, int res)
{
	struct err e = ERR_INIT;

	err_sys(&e, -res, "%s %llu bytes at %llu", what, (unsigned long long)r->len, (unsigned long long)r->off);
	mirror_fail(m, &e);
}

/* ---- pieces of the source ---------------------------------------------------------------------- */

static void pump(void *arg);

static void post_pump(struct mirror *m)
{
	if (m->pump_posted)
		return;
	m->pump_posted = true;
	loop_post(m->vm->loop, pump, m);
}

static void piece_over(struct mirror_chunk *c)
{
	c->busy = false;
	c->m->transfers--;
	if (!c->m->pumping)
		post_pump(c->m);
}

static void written(struct req *r, int res)
{
	struct mirror_chunk *c = (struct mirror_chunk *)(void *)r;

	if (res < 0)
		fail_transfer(c->m, "write to the target:", r, res);
	c->m->copied_bytes += res < 0 ? 0 : r->len;
	c->m->round_done += res < 0 ? 0 : r->len;
	piece_over(c);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

static void read_done(struct req *r, int res)
{
	struct mirror_chunk *c = (struct mirror_chunk *)(void *)r;
	struct mirror *m = c->m;

	if (res < 0)
		fail_transfer(m, "read from the source:", r, res);
	if (mirror_stops(m)) {
		piece_over(c);
		return;
	}
	c->r = (struct req){ .op = is_zero(c->buf, r->len) ? REQ_ZERO : REQ_WRITE, .internal = true, .disk = m->tq,
			     .off = r->off, .len = r->len, .iov = &c->iov, .n_iov = 1, .done = written };
	queue_submit(m->vm->q, &c->r);
}

/* The next piece to copy; false: there is none, or not now. */
static bool next_piece(struct mirror *m, uint64_t *off, uint64_t *len)
{
	const struct dirty_run *run = &m->runs[m->run];
	uint64_t end, ns;

	if (m->run == m->n_runs || m->paced || mirror_stops(m))
		return false;
	*off = m->run_at;
	end = run->off + run->bytes;
	*len = end - *off < MIRROR_CHUNK_BYTES ? end - *off : MIRROR_CHUNK_BYTES;
	ns = m->throttle.limits.bytes_s && !m->holding ? throttle_take(&m->throttle, *len, clock_mono_ns()) : 0;
	if (ns) {
		m->paced = true;
		loop_timer_set(m->pace, (ns + NS_PER_MS - 1) / NS_PER_MS, 0);
		return false;
	}
	m->run_at += *len;
	if (m->run_at < end)
		return true;
	m->run++;
	m->run_at = m->run < m->n_runs ? m->runs[m->run].off : 0;
	return true;
}

static struct mirror_chunk *free_chunk(struct mirror *m)
{
	for (unsigned i = 0; i < MIRROR_CHUNKS; i++)
		if (!m->chunks[i].busy)
			return &m->chunks[i];
	return NULL;
}

static void begin_piece(struct mirror *m, struct mirror_chunk *c, uint64_t off, uint64_t len)
{
	if (!c->buf)
		c->buf = bufpool_get(queue_pool(m->vm->q), MIRROR_CHUNK_BYTES);
	c->busy = true;
	m->transfers++;
	c->iov = (struct iovec){ c->buf, len };
	c->r = (struct req){ .op = REQ_READ, .internal = true, .disk = m->v->qd, .off = off, .len = len,
			     .iov = &c->iov, .n_iov = 1, .done = read_done };
	queue_submit(m->vm->q, &c->r);
}

static void pump(void *arg)
{
	struct mirror *m = arg;
	struct mirror_chunk *c;
	uint64_t off, len;
	unsigned n = 0;

	m->pump_posted = false;
	m->pumping = true;
	while (n < MIRROR_TURN && (c = free_chunk(m)) != NULL && next_piece(m, &off, &len)) {
		begin_piece(m, c, off, len);
		n++;
	}
	queue_kick(m->vm->q);
	m->pumping = false;
	if (n == MIRROR_TURN)
		post_pump(m);
	else
		mirror_advance(m);
}

static void may_go_on(void *arg)
{
	struct mirror *m = arg;

	m->paced = false;
	pump(m);
}

void mirror_copy_poke(struct mirror *m)
{
	if (m->paced)
		loop_timer_set(m->pace, 0, 0);
	post_pump(m);
}

void mirror_copy_runs(struct mirror *m)
{
	m->run = 0;
	m->run_at = m->runs[0].off;
	post_pump(m);
}

/* ---- records of the ring ----------------------------------------------------------------------- */

static void applied(struct req *r, int res)
{
	struct mirror_record *k = (struct mirror_record *)(void *)r;
	struct mirror *m = k->m;

	if (res < 0)
		fail_transfer(m, "write to the target:", r, res);
	m->copied_bytes += res < 0 ? 0 : r->len;
	m->transfers--;
	if (!m->pumping)
		post_pump(m);
}

static void begin_record(struct mirror *m, struct mirror_record *k, const struct ring_rec *rec, const uint8_t *data)
{
	k->m = m;
	k->iov = (struct iovec){ (void *)(uintptr_t)data, rec->len };
	k->r = (struct req){ .op = rec->flags & RING_ZERO ? REQ_ZERO : REQ_WRITE, .internal = true, .disk = m->tq,
			     .off = rec->off, .len = rec->len, .iov = &k->iov, .n_iov = 1, .done = applied };
	m->transfers++;
	queue_submit(m->vm->q, &k->r);
}

/* False: the batch ends here. */
static bool take_record(struct mirror *m, struct ring_rec *rec, const uint8_t **data)
{
	struct err e = ERR_INIT;

	switch (ring_next(m->ring, rec, data, &e)) {
	case RING_REC:
		return true;
	case RING_EMPTY:
		m->ring_empty = true;
		return false;
	case RING_LOST:
		m->ring_lost = true;
		return false;
	case RING_BAD:
		mirror_fail(m, &e);
		return false;
	}
	return false;
}

/* What is unknown is read from the source after the batch: that is newer than all records of it. */
void mirror_apply(struct mirror *m)
{
	const uint8_t *data = NULL;
	struct ring_rec rec;
	uint64_t bytes = 0;
	unsigned n = 0;

	m->ring_empty = m->ring_lost = false;
	m->run = m->n_runs = 0;
	m->pumping = true;
	while (n < MIRROR_RECORDS && m->n_runs < MIRROR_RUNS && bytes < MIRROR_BATCH_BYTES &&
	       take_record(m, &rec, &data)) {
		if (rec.flags & RING_MARK || rec.disk != m->number || !rec.len || rec.position <= m->copied_position)
			continue;
		if (rec.flags & RING_UNKNOWN) {
			m->runs[m->n_runs++] = (struct dirty_run){ rec.off, rec.len };
			continue;
		}
		begin_record(m, &m->records[n++], &rec, data);
		bytes += rec.flags & RING_ZERO ? 0 : rec.len;
	}
	queue_kick(m->vm->q);
	m->pumping = false;
	/* Not pump: the runs wait for the records. */
	m->run = m->n_runs;
	post_pump(m);
}

/* ---- life -------------------------------------------------------------------------------------- */

void mirror_copy_init(struct mirror *m)
{
	for (unsigned i = 0; i < MIRROR_CHUNKS; i++)
		m->chunks[i].m = m;
	m->pace = loop_timer_new(m->vm->loop, may_go_on, m);
}

void mirror_copy_fini(struct mirror *m)
{
	for (unsigned i = 0; i < MIRROR_CHUNKS; i++)
		bufpool_put(queue_pool(m->vm->q), m->chunks[i].buf, MIRROR_CHUNK_BYTES);
	loop_timer_free(&m->pace);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters wrap at 2^32; differences of them are what is compared.
 */
#include "blkd/blkif_ring.h"

#include <assert.h>
#include <string.h>

#include "base/rd.h"

static const struct {
	uint32_t slot_bytes, rsp_bytes;
	uint8_t id, sector, segs, discard_n, table_ref;
} layouts[] = {
	[BLKIF_ABI_64] = { BLKIF_SLOT64_BYTES, BLKIF_RSP64_BYTES, 8, 16, 24, 24, 28 },
	[BLKIF_ABI_32] = { BLKIF_SLOT32_BYTES, BLKIF_RSP32_BYTES, 4, 12, 20, 20, 24 },
};

static uint32_t *counter(const struct blkif_ring *r, unsigned at)
{
	return (uint32_t *)(void *)(r->shared + at);
}

static uint32_t load(const struct blkif_ring *r, unsigned at)
{
	return __atomic_load_n(counter(r, at), __ATOMIC_ACQUIRE);
}

static void store(const struct blkif_ring *r, unsigned at, uint32_t v)
{
	__atomic_store_n(counter(r, at), v, __ATOMIC_RELEASE);
}

/* Our store before it is there before our load after it: else both sides may miss each other's news. */
static void full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint8_t *slot(const struct blkif_ring *r, uint32_t index)
{
	return r->shared + BLKIF_SLOTS_AT + (size_t)(index & (r->slots - 1)) * layouts[r->abi].slot_bytes;
}

int blkif_ring_init(struct blkif_ring *r, void *shared, unsigned pages, enum blkif_abi abi, struct err *e)
{
	uint32_t fit, slots = 1, waiting;

	assert(pages >= 1 && pages <= BLKIF_RING_PAGES_MAX);
	fit = (pages * BLKIF_PAGE_BYTES - BLKIF_SLOTS_AT) / layouts[abi].slot_bytes;
	while (slots * 2 <= fit)
		slots *= 2;
	*r = (struct blkif_ring){ .shared = shared, .abi = abi, .slots = slots };
	r->rsp_pushed = r->rsp_prod = r->req_cons = load(r, BLKIF_RSP_PROD_AT);
	waiting = load(r, BLKIF_REQ_PROD_AT) - r->req_cons;
	if (waiting > slots)
		return err_set(e, ERR_CORRUPT, "the ring claims %u requests and has %u slots", waiting, slots);
	return 0;
}

static void decode(enum blkif_abi abi, const uint8_t *p, struct blkif_req *q)
{
	uint32_t bytes = layouts[abi].slot_bytes;
	struct rd r = rd_of(p, bytes);

#define AT(off) (r = rd_of(p + (off), bytes - (off)))
	q->op = rd_u8(&r);
	q->indirect = q->op == BLKIF_INDIRECT;
	if (q->indirect)
		q->op = rd_u8(&r);
	q->n_segs = q->indirect ? rd_le16(&r) : rd_u8(&r);
	AT(layouts[abi].id);
	q->id = rd_le64(&r);
	AT(layouts[abi].sector);
	q->sector = rd_le64(&r);
	q->n_sectors = 0;
	if (q->indirect) {
		AT(layouts[abi].table_ref);
		q->table_ref = rd_le32(&r);
	} else if (q->op == BLKIF_DISCARD) {
		AT(layouts[abi].discard_n);
		q->n_sectors = rd_le64(&r);
		q->n_segs = 0;		/* its place holds the flag of secure discard, which is not offered */
	} else if (q->n_segs <= BLKIF_SEGS_MAX) {
		blkif_req_table(q, p + layouts[abi].segs);
	}
#undef AT
}

int blkif_ring_next(struct blkif_ring *r, struct blkif_req *out)
{
	uint32_t prod = load(r, BLKIF_REQ_PROD_AT);
	uint8_t copy[BLKIF_SLOT64_BYTES];

	if (prod - r->rsp_prod > r->slots || prod - r->rsp_prod < r->req_cons - r->rsp_prod)
		return -1;
	if (prod == r->req_cons)
		return 0;
	memcpy(copy, slot(r, r->req_cons), layouts[r->abi].slot_bytes);
	/* The compiler may not look at the slot again from here on. */
	__asm__ volatile("" ::: "memory");
	r->req_cons++;
	decode(r->abi, copy, out);
	return 1;
}

bool blkif_ring_more(struct blkif_ring *r)
{
	store(r, BLKIF_REQ_EVENT_AT, r->req_cons + 1);
	full_barrier();
	return load(r, BLKIF_REQ_PROD_AT) != r->req_cons;
}

void blkif_ring_respond(struct blkif_ring *r, uint64_t id, uint8_t op, enum blkif_status st)
{
	uint8_t b[BLKIF_RSP64_BYTES] = { 0 };
	uint16_t status = (uint16_t)(int16_t)st;

	assert(r->rsp_prod != r->req_cons);
	for (unsigned i = 0; i < 8; i++)
		b[i] = (uint8_t)(id >> (8 * i));
	b[8] = op;
	b[10] = (uint8_t)status;
	b[11] = (uint8_t)(status >> 8);
	memcpy(slot(r, r->rsp_prod), b, layouts[r->abi].rsp_bytes);
	r->rsp_prod++;
}

bool blkif_ring_push(struct blkif_ring *r)
{
	uint32_t old = r->rsp_pushed;

	if (old == r->rsp_prod)
		return false;
	r->rsp_pushed = r->rsp_prod;
	store(r, BLKIF_RSP_PROD_AT, r->rsp_pushed);
	full_barrier();
	return r->rsp_pushed - load(r, BLKIF_RSP_EVENT_AT) < r->rsp_pushed - old;
}

enum blkif_status blkif_req_begin(struct blkif_req *q)
{
	bool moves = q->op == BLKIF_READ || q->op == BLKIF_WRITE;

	if (q->indirect) {
		if (!moves || !q->n_segs || q->n_segs > BLKIF_INDIRECT_SEGS_MAX)
			return BLKIF_FAILED;
		return BLKIF_OKAY;
	}
	if (q->op == BLKIF_DISCARD)
		return BLKIF_OKAY;
	if (!moves && q->op != BLKIF_FLUSH)
		return BLKIF_UNSUPPORTED;
	if (q->n_segs > BLKIF_SEGS_MAX || (moves && !q->n_segs))
		return BLKIF_FAILED;
	return BLKIF_OKAY;
}

void blkif_req_table(struct blkif_req *q, const uint8_t *table)
{
	assert(q->n_segs <= BLKIF_INDIRECT_SEGS_MAX);
	for (unsigned i = 0; i < q->n_segs; i++) {
		struct rd r = rd_of(table + (size_t)i * BLKIF_SEG_BYTES, BLKIF_SEG_BYTES);

		q->segs[i].ref = rd_le32(&r);
		q->segs[i].first = rd_u8(&r);
		q->segs[i].last = rd_u8(&r);
	}
}

enum blkif_status blkif_req_check(struct blkif_req *q, const struct blkif_geometry *g)
{
	uint32_t unit = g->sector_bytes / BLKIF_SECTOR_BYTES;
	uint64_t n = 0;

	for (unsigned i = 0; i < q->n_segs; i++) {
		const struct blkif_seg *s = &q->segs[i];

		if (s->first > s->last || s->last >= BLKIF_PAGE_SECTORS)
			return BLKIF_FAILED;
		n += (uint64_t)(s->last - s->first) + 1;
	}
	if (q->op == BLKIF_DISCARD) {
		if (!g->discard)
			return BLKIF_UNSUPPORTED;
		n = q->n_sectors;
	}
	q->n_sectors = n;
	if (q->op == BLKIF_FLUSH && !n)
		return BLKIF_OKAY;
	if (q->op != BLKIF_READ && g->read_only)
		return BLKIF_FAILED;
	if (!n || q->sector > g->sectors || n > g->sectors - q->sector || q->sector % unit || n % unit)
		return BLKIF_FAILED;
	return BLKIF_OKAY;
}

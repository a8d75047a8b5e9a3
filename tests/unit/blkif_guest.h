/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of blkif: the front-end of a 64-bit guest.  Pages 1 to 16 are
 * its ring, TABLES on its tables (one for each request by its id), DATA on its
 * data.
 */
#ifndef TESTS_UNIT_BLKIF_GUEST_H
#define TESTS_UNIT_BLKIF_GUEST_H

#include "tests/unit/blkif_rig.h"

enum { GUEST_RING = 1, GUEST_TABLES = 64, GUEST_DATA = 1024, GUEST_IDS = 512, GUEST_NONE = 99 };

struct guest {
	struct rig *g;
	uint8_t *ring;
	uint32_t slots, prod, cons;
	int status[GUEST_IDS];		/* of the answer, GUEST_NONE: none yet */
	uint8_t wants[GUEST_IDS];	/* the op of the answer, and one; blkfront gives a disk up at another */
	unsigned answers;
};

static inline void guest_store(uint8_t *p, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline uint64_t guest_load(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

/* The front-end's nodes but for its state; an empty ring. */
static inline void guest_init(struct guest *u, struct rig *g, unsigned order)
{
	char path[128], ref[16];

	memset(u, 0, sizeof(*u));
	u->g = g;
	u->ring = g->pages[GUEST_RING];
	memset(u->ring, 0, (size_t)BLKIF_PAGE_BYTES << order);
	guest_store(u->ring + BLKIF_REQ_EVENT_AT, 1, 4);
	guest_store(u->ring + BLKIF_RSP_EVENT_AT, 1, 4);
	u->slots = 32u << order;
	for (unsigned i = 0; i < GUEST_IDS; i++)
		u->status[i] = GUEST_NONE;
	for (unsigned i = 0; i < 1u << order; i++) {
		snprintf(path, sizeof(path), order ? RIG_FRONT "ring-ref%u" : RIG_FRONT "ring-ref", i);
		snprintf(ref, sizeof(ref), "%u", GUEST_RING + i);
		rig_set(g, path, ref);
	}
	snprintf(ref, sizeof(ref), "%u", order);
	rig_set(g, RIG_FRONT "ring-page-order", ref);
	rig_set(g, RIG_FRONT "protocol", BLKIF_PROTOCOL_64);
	snprintf(ref, sizeof(ref), "%d", RIG_REMOTE_PORT);
	rig_set(g, RIG_FRONT "event-channel", ref);
}

static inline void guest_state(struct guest *u, const char *state)
{
	rig_set(u->g, RIG_FRONT "state", state);
	blkif_look(u->g->b);
}

static inline void guest_connect(struct guest *u, struct rig *g, unsigned order)
{
	guest_init(u, g, order);
	guest_state(u, "3");
	assert_string_equal(blkif_state(g->b), "connected");
	guest_state(u, "4");
}

static inline uint8_t *guest_slot(struct guest *u)
{
	uint8_t *p = u->ring + BLKIF_SLOTS_AT + (size_t)(u->prod++ & (u->slots - 1)) * BLKIF_SLOT64_BYTES;

	memset(p, 0, BLKIF_SLOT64_BYTES);
	return p;
}

static inline void guest_seg(uint8_t *p, uint32_t ref, uint8_t first, uint8_t last)
{
	guest_store(p, ref, 4);
	p[4] = first;
	p[5] = last;
}

/* n whole pages from reference ref on; by a table when they are more than fit. */
static inline void guest_put(struct guest *u, uint8_t op, unsigned id, uint64_t sector, uint32_t ref, unsigned n)
{
	bool indirect = n > BLKIF_SEGS_MAX;
	uint8_t *p = guest_slot(u), *segs = indirect ? u->g->pages[GUEST_TABLES + id] : p + 24;

	u->wants[id] = (uint8_t)(op + 1);
	p[0] = indirect ? BLKIF_INDIRECT : op;
	if (indirect) {
		p[1] = op;
		guest_store(p + 2, n, 2);
		guest_store(p + 28, GUEST_TABLES + id, 4);
	} else {
		p[1] = (uint8_t)n;
	}
	guest_store(p + 8, id, 8);
	guest_store(p + 16, sector, 8);
	for (unsigned i = 0; i < n; i++)
		guest_seg(segs + (size_t)i * BLKIF_SEG_BYTES, ref + i, 0, BLKIF_PAGE_SECTORS - 1);
}

static inline void guest_discard(struct guest *u, unsigned id, uint64_t sector, uint64_t n)
{
	uint8_t *p = guest_slot(u);

	p[0] = BLKIF_DISCARD;
	guest_store(p + 8, id, 8);
	guest_store(p + 16, sector, 8);
	guest_store(p + 24, n, 8);
}

/* Shows the requests and rings. */
static inline void guest_ring(struct guest *u)
{
	guest_store(u->ring + BLKIF_REQ_PROD_AT, u->prod, 4);
	blkif_rang(u->g->b);
}

/* Takes what answers there are. */
static inline void guest_hear(struct guest *u)
{
	uint32_t end = (uint32_t)guest_load(u->ring + BLKIF_RSP_PROD_AT, 4);

	while (u->cons != end) {
		const uint8_t *p = u->ring + BLKIF_SLOTS_AT + (size_t)(u->cons++ & (u->slots - 1)) * BLKIF_SLOT64_BYTES;
		uint64_t id = guest_load(p, 8);

		assert_true(id < GUEST_IDS);
		assert_int_equal(u->status[id], GUEST_NONE);
		if (u->wants[id])
			assert_int_equal(guest_load(p + 8, 1), u->wants[id] - 1);
		u->status[id] = (int16_t)guest_load(p + 10, 2);
		u->answers++;
	}
	guest_store(u->ring + BLKIF_RSP_EVENT_AT, u->cons + 1, 4);
}

/* Until n more answers are there. */
static inline void guest_wait(struct guest *u, unsigned n)
{
	n += u->answers;
	for (int i = 0; i < RIG_TURNS && u->answers < n; i++) {
		guest_hear(u);
		if (u->answers < n)
			loop_once(u->g->loop, RIG_WAIT_MS);
	}
	assert_int_equal(u->answers, n);
}

/* One request, waited for. */
static inline int guest_run(struct guest *u, uint8_t op, uint64_t sector, uint32_t ref, unsigned n)
{
	u->status[0] = GUEST_NONE;
	guest_put(u, op, 0, sector, ref, n);
	guest_ring(u);
	guest_wait(u, 1);
	return u->status[0];
}

static inline void guest_fill(struct guest *u, uint32_t ref, unsigned n, uint8_t seed)
{
	uint8_t *p = u->g->pages[ref];

	for (size_t i = 0; i < (size_t)n * BLKIF_PAGE_BYTES; i++)
		p[i] = (uint8_t)(seed + i % 251 + i / BLKIF_PAGE_BYTES);
}

#endif

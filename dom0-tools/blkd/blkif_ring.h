/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring that a guest shares with us, and the requests in it.  Pure: memory
 * in, memory out; nothing here waits, allocates or touches Xen.
 *
 * The guest may be hostile and may change every byte at any time.  So: each
 * counter is read once per use, each slot is copied out once and only the copy
 * is looked at, and our own counters are never read back from the ring.
 *
 *	blkif_ring_next -> blkif_req_begin -> (indirect: fetch the table, blkif_req_table) -> blkif_req_check
 *	... -> blkif_ring_respond, any number -> blkif_ring_push -> true: ring the guest's bell
 */
#ifndef BLKD_BLKIF_RING_H
#define BLKD_BLKIF_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "xen/blkif_fmt.h"

enum {
	BLKIF_RING_ORDER_MAX = 4,
	BLKIF_RING_PAGES_MAX = 1 << BLKIF_RING_ORDER_MAX,
	BLKIF_INDIRECT_SEGS_MAX = 256,	/* offered to guests: 1 MiB in one request */
	BLKIF_TABLE_BYTES_MAX = BLKIF_INDIRECT_SEGS_MAX * BLKIF_SEG_BYTES,	/* one page holds it */
};

enum blkif_abi { BLKIF_ABI_64, BLKIF_ABI_32 };

struct blkif_ring {
	uint8_t *shared;		/* borrowed */
	enum blkif_abi abi;
	uint32_t slots;			/* a power of two */
	uint32_t req_cons;
	uint32_t rsp_prod;		/* ours, may be ahead of */
	uint32_t rsp_pushed;		/* what the guest sees */
};

struct blkif_seg {
	uint32_t ref;
	uint8_t first, last;		/* sectors of the page, both in it */
};

struct blkif_req {
	uint8_t op;			/* READ, WRITE, FLUSH or DISCARD once begun; of an indirect one: the real one */
	bool indirect;
	uint16_t n_segs;
	uint32_t table_ref;		/* indirect: the page with the segments */
	uint64_t id;
	uint64_t sector;
	uint64_t n_sectors;		/* discard: asked; else the sum of the segments, after the check */
	struct blkif_seg segs[BLKIF_INDIRECT_SEGS_MAX];
};

struct blkif_geometry {
	uint64_t sectors;		/* of 512 bytes */
	uint32_t sector_bytes;		/* the disk's: what requests must be aligned to */
	bool read_only, discard;
};

/* pages: 1 << order, order at most BLKIF_RING_ORDER_MAX.  Begins where the responses end, as a ring that was in use
 * before demands.  ERR_CORRUPT if the counters cannot be. */
MUSTUSE int blkif_ring_init(struct blkif_ring *r, void *shared, unsigned pages, enum blkif_abi abi, struct err *e);

/* 1: *out is the next request; 0: there is none; -1: the guest claims more requests than the ring holds. */
int blkif_ring_next(struct blkif_ring *r, struct blkif_req *out) MUSTUSE;
/* Asks the guest for a bell with its next request; true: there is one already. */
bool blkif_ring_more(struct blkif_ring *r) MUSTUSE;
/* At most one per request taken.  op: its op, also of an indirect one: blkfront gives a disk up whose response says
 * BLKIF_INDIRECT (drivers/block/xen-blkfront.c, blkif_interrupt, since Linux 5.16). */
void blkif_ring_respond(struct blkif_ring *r, uint64_t id, uint8_t op, enum blkif_status st);
/* Shows the responses; true: the guest wants a bell. */
bool blkif_ring_push(struct blkif_ring *r) MUSTUSE;

/* The three below: BLKIF_OKAY, or the status to answer with. */
enum blkif_status blkif_req_begin(struct blkif_req *q);
/* table: n_segs * BLKIF_SEG_BYTES, a private copy. */
void blkif_req_table(struct blkif_req *q, const uint8_t *table);
/* Segments, range, alignment, rights. */
enum blkif_status blkif_req_check(struct blkif_req *q, const struct blkif_geometry *g);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of a blkif share: blkif.c moves requests while a ring is
 * there; blkif_xs.c decides when one is.
 *
 * Invariant: a ring stays mapped while a request of it is in flight, so a
 * request never meets a ring that is not its own.
 */
#ifndef BLKD_BLKIF_PRIV_H
#define BLKD_BLKIF_PRIV_H

#include "blkd/blkif.h"
#include "blkd/blkif_ring.h"

enum {
	BLKIF_BATCH = 32,		/* requests whose tables and data are fetched together */
	BLKIF_REQ_BYTES_MAX = BLKIF_INDIRECT_SEGS_MAX * BLKIF_PAGE_BYTES,
	BLKIF_PATH_BYTES = 96,
};

struct blkif_io {
	struct req r;			/* first: done() is given this */
	struct blkif *b;
	struct blkif_io *next;
	struct iovec iov;		/* all segments side by side */
	size_t charge;			/* of b->bytes */
	enum blkif_status st;
	bool flushed;			/* a flush that carries data: the first half is over */
	struct blkif_req q;
};

struct blkif_io_list {
	struct blkif_io *first, **last;
};

/* What the front-end tells of its ring. */
struct blkif_front {
	uint32_t abi, pages, port;
	uint32_t refs[BLKIF_RING_PAGES_MAX];
};

/* How a ring ends: its requests in flight are answered, or there is nobody to answer. */
enum blkif_end { BLKIF_STAYS, BLKIF_ANSWER, BLKIF_DROP };

struct blkif {
	struct blkif_setup s;
	struct queue_hook hook;
	struct loop_timer *timer;	/* what must not happen inside a call: look, take, stop_fn */
	struct blkif_stats stats;

	/* blkif_xs.c */
	char front[BLKIF_PATH_BYTES], back[BLKIF_PATH_BYTES];
	enum xb_state state;		/* ours */
	bool live;			/* the ring is there */
	bool seen_connected;		/* so a front-end in Initialised is another life of it */
	bool barred;			/* until it comes from Initialising */
	bool look_again;
	unsigned breaks;
	enum blkif_end end;
	enum xb_state end_state;
	struct blkif_front peer;
	bool stopping, keep_state;
	void (*stop_fn)(void *arg);
	void *stop_arg;

	/* blkif.c: valid while live */
	void *shared;
	int port;
	struct blkif_ring ring;
	bool stalled;
	struct blkif_io_list done, again;
	struct blkif_io *idle;
	struct gnt_copy *copies;	/* of one call; the array only grows */
	unsigned n_copies, room;
	uint8_t (*tables)[BLKIF_TABLE_BYTES_MAX];	/* of a batch */
};

/* ---- blkif.c */
/* Takes what is in the ring, submits it and answers what is done. */
void blkif_take(struct blkif *b);
/* Frees what only a ring needs; nothing is in flight. */
void blkif_io_fini(struct blkif *b);

/* ---- blkif_xs.c */
/* The front-end broke the protocol. */
void blkif_break(struct blkif *b, const struct err *why);
/* Nothing is in flight and b->end is set: unmaps the ring and enters the next state. */
void blkif_ended(struct blkif *b);
MUSTUSE int blkif_offer(struct blkif *b, struct err *e);	/* the beginning */

#endif

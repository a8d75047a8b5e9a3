/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which writes in flight touch the same bytes.  A write waits for all earlier
 * ones it overlaps with, so that what is on disk is what the last one in
 * order wrote, and the feed can tell the same order.
 *
 * Ranges are hashed by grains of 64 KiB.  A write of at most two grains costs
 * O(1) unless it meets others in its grains; larger ones (`wide`) look at all
 * that are in flight.  No memory of its own: nodes are in the requests.
 */
#ifndef BLKD_OVERLAP_H
#define BLKD_OVERLAP_H

#include <stdbool.h>
#include <stdint.h>

enum { OVERLAP_BUCKETS = 1024, OVERLAP_GRAIN_SHIFT = 16, OVERLAP_NODES = 2 };

struct overlap_node {
	struct overlap_node *next, **at;
	struct overlap *of;
};

struct overlap {			/* one write */
	uint64_t lo, hi;		/* bytes [lo, hi) */
	uint64_t seq;
	unsigned blockers;		/* earlier ones still in flight */
	bool wide;
	unsigned n_nodes;
	struct overlap_node node[OVERLAP_NODES];
	struct overlap *next_ready;	/* for whom collects the released */
	struct overlap_node all;
};

struct overlap_table {
	uint64_t seq;
	struct overlap_node *all, *wide;
	struct overlap_node *bucket[OVERLAP_BUCKETS];
};

/* lo < hi.  True: it may start at once; false: it has to wait until overlap_del of others releases it.
 * o must stay in place until its own overlap_del. */
bool overlap_add(struct overlap_table *t, struct overlap *o, uint64_t lo, uint64_t hi);
/* The write is complete.  Returns those that may start now, linked by next_ready in order of their arrival. */
struct overlap *overlap_del(struct overlap_table *t, struct overlap *o);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which grains of a disk changed: one bit a grain, and two summaries above
 * it, so that a walk over the map of an almost clean 64 TiB disk looks at
 * some 32 KiB and not at 128 MiB.
 *
 *	level 2     one bit: a word of level 1 has something
 *	level 1     one bit: a word of level 0 has something
 *	level 0     one bit: the grain is dirty
 *
 * A summary bit without anything below it may stand for a moment; a dirty
 * grain without its summary bits only while the setter is still at work.
 *
 * Threads: any number may set, beside at most one that walks, takes, clears
 * or merges.  Nothing here blocks or allocates except new and free.  Who sets
 * a grain after its write completed, and reads the disk after he took it,
 * misses nothing.  Memory is reserved whole but only touched where bits are.
 */
#ifndef FEED_DIRTY_MAP_H
#define FEED_DIRTY_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
	DIRTY_GRAIN_SHIFT_MIN = 12,
	DIRTY_GRAIN_SHIFT = 16,		/* 64 KiB, the default */
	DIRTY_GRAIN_SHIFT_MAX = 26,
};
#define DIRTY_BYTES_MAX (64ull << 40)	/* of one disk */

struct dirty_map;

struct dirty_run {
	uint64_t off;			/* bytes, both multiples of the grain; the last run may pass the disk's end */
	uint64_t bytes;
};

/* All clean.  bytes: size of the disk, 1 .. DIRTY_BYTES_MAX. */
MUSTUSE int dirty_map_new(uint64_t bytes, unsigned grain_shift, struct dirty_map **out, struct err *e);
void dirty_map_free(struct dirty_map *m);	/* NULL is fine */

/* Marks every grain that the range touches.  What lies behind the disk's end is ignored. */
void dirty_map_set(struct dirty_map *m, uint64_t off, uint64_t len);
void dirty_map_set_all(struct dirty_map *m);

/* The first dirty run at or after `from`, of at most max bytes (at least one grain).  False: nothing more. */
bool dirty_map_next(const struct dirty_map *m, uint64_t from, uint64_t max, struct dirty_run *out);
/* The same, and the run is clean afterwards. */
bool dirty_map_take(struct dirty_map *m, uint64_t from, uint64_t max, struct dirty_run *out);
void dirty_map_clear(struct dirty_map *m);

/* Moves all of src into dst; same size and grain.  src is clean afterwards. */
void dirty_map_merge(struct dirty_map *dst, struct dirty_map *src);
/* Exchanges two maps, for a barrier: whoever sets must be kept out by the caller meanwhile. */
static inline void dirty_map_swap(struct dirty_map **a, struct dirty_map **b)
{
	struct dirty_map *t = *a;

	*a = *b;
	*b = t;
}

uint64_t dirty_map_bytes(const struct dirty_map *m);	/* dirty, in whole grains */
uint64_t dirty_map_grain(const struct dirty_map *m);	/* bytes */

#endif

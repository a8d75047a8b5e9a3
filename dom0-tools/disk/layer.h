/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One image file of a chain, as its format sees it: where in the blob a range
 * of the guest's disk lies, and how to make room for one that lies nowhere.
 *
 * The data path asks map() (I/O thread: memory only, never blocks) and does
 * the transfer itself.  What needs metadata goes to alloc(), sync() and
 * resize(), which block and run on one other thread, one at a time, beside
 * map() and written(): tables that both see are atomics.
 *
 *	write:	map(for_write) -> LAYER_DATA: write there, then written()
 *		               -> LAYER_BELOW: alloc(), map again
 *	flush:	if dirty(): sync() (which orders its own flushes); then blob_flush
 *
 * Power may go at any write: what was written before the last completed
 * sync + blob_flush is there afterwards, the rest may be old, new or torn at
 * 512 bytes, never something else (a block that was never written reads as
 * zeroes or as the parent's).
 */
#ifndef DISK_LAYER_H
#define DISK_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/blob.h"

enum {
	DISK_ID_BYTES = 16,
	DISK_NAME_BYTES = 512,
	DISK_SECTOR = 512,
};
#define DISK_BYTES_MAX (64ull << 40)

enum layer_where {
	LAYER_DATA,			/* at run.off of this layer's blob */
	LAYER_ZERO,			/* reads as zeroes, whatever is below; for_write: never */
	LAYER_BELOW,			/* this layer has nothing: the parent's, or zeroes without one */
};

struct layer_run {
	enum layer_where where;
	uint64_t off;			/* in the blob, for LAYER_DATA */
	uint64_t bytes;			/* from the asked offset on; at least one sector, at most what was asked */
};

struct layer_info {
	const char *format;		/* "raw", "vhd", "vhdx" */
	const char *kind;		/* "fixed", "dynamic", "differencing" */
	uint64_t bytes;			/* the guest's size */
	uint32_t sector_bytes;		/* logical: 512 or 4096 */
	uint32_t physical_bytes;
	uint32_t block_bytes;		/* unit of allocation, 0 for fixed ones */
	uint8_t id[DISK_ID_BYTES];	/* of this image's present contents; zeroes for raw */
	uint8_t parent_id[DISK_ID_BYTES];
	char parent_name[DISK_NAME_BYTES];	/* UTF-8, "" without one; a hint, the id decides */
	uint64_t used_bytes;		/* of the guest's disk that have a place in this blob */
};

/* A problem that check() found.  fixed: by this run. */
typedef void layer_problem_fn(void *arg, bool fixed, const char *text);

struct layer_ops {
	void (*info)(const void *l, struct layer_info *out);
	/* off + len is within the disk and sector aligned.  Any one thread. */
	void (*map)(void *l, uint64_t off, uint64_t len, bool for_write, struct layer_run *out);
	/* The range maps to LAYER_DATA for writes when 0 comes back; -ENOSPC, -EIO ... */
	int (*alloc)(void *l, uint64_t off, uint64_t len);
	/* The bytes are in the blob; map() of reads says so from now on.  NULL: nothing to note. */
	void (*written)(void *l, uint64_t off, uint64_t len);
	bool (*dirty)(const void *l);	/* NULL: never */
	int (*sync)(void *l);		/* NULL: nothing to do */
	int (*resize)(void *l, uint64_t bytes, struct err *e);	/* -1: e says why; shrinking is refused */
	/* Number of problems left, or -1 with e.  repair: fixes what loses nothing. */
	int (*check)(void *l, bool repair, layer_problem_fn *fn, void *arg, struct err *e);
	void (*close)(void *l);		/* does not sync */
};

/* An open image.  Formats fill it; the blob stays the owner's. */
struct layer {
	const struct layer_ops *ops;
	void *l;
};

struct layer_create {
	uint64_t bytes;
	const char *kind;		/* "fixed", "dynamic", "differencing" */
	uint32_t sector_bytes;		/* 0: 512 */
	uint32_t block_bytes;		/* 0: the format's default */
	const uint8_t *parent_id;	/* of a differencing image */
	const char *parent_name;
	uint64_t parent_time_ms;	/* VHD: the parent's modification time (real clock) */
};

/* What a format exports, one each in raw.h, vhd.h, vhdx.h. */
struct layer_format {
	const char *name;
	const char *suffix;		/* ".vhdx" */
	/* Score 0..100 that the blob is of this format; for import only, attach never probes. */
	int (*probe)(struct blob *b);
	/* Writable blobs are brought in order first (log replay, footer); a read-only blob with work to do is refused
	 * unless `replay_in_memory` does for the format (VHDX).  Bad files: ERR_CORRUPT naming the field and offset. */
	int (*open)(struct blob *b, struct layer *out, struct err *e);
	/* Into an empty blob; flushed when it returns. */
	int (*create)(struct blob *b, const struct layer_create *c, struct err *e);
};

#endif

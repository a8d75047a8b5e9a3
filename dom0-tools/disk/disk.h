/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's disk: an image with its parents (leaf first), whole requests on it,
 * and the steps the queue needs to do them without blocking.
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/blob.h"
#include "disk/layer.h"

struct disk;

enum { DISK_CHAIN_MAX = 32 };		/* images in a chain */

struct disk_part {			/* one image of the chain */
	const struct layer_format *format;	/* as recorded at attach, never probed */
	struct blob *blob;		/* owned by the disk once disk_open succeeds */
};

/* n_parts >= 1, leaf first; every parent must be what its child names (id), of the same or smaller size, and is only
 * read.  read_only: the leaf too. */
MUSTUSE int disk_open(const struct disk_part *parts, unsigned n_parts, bool read_only,
		      struct disk **out, struct err *e);
void disk_close(struct disk *d);		/* NULL is fine; syncs nothing */

void disk_info(const struct disk *d, struct layer_info *out);	/* of the leaf */
uint64_t disk_bytes(const struct disk *d);
uint32_t disk_sector(const struct disk *d);
bool disk_read_only(const struct disk *d);

struct disk_run {
	enum layer_where where;		/* reads: DATA or ZERO; writes: DATA or BELOW (needs disk_alloc) */
	struct blob *blob;		/* for DATA: where the bytes are, through the chain */
	uint64_t off;
	uint64_t bytes;
};

/* I/O thread; never blocks.  Range as for layer map(). */
void disk_map(struct disk *d, uint64_t off, uint64_t len, bool for_write, struct disk_run *out);
/* Metadata thread; blocks. */
int disk_alloc(struct disk *d, uint64_t off, uint64_t len) MUSTUSE;
/* I/O thread; the transfer that disk_map(for_write) named is complete. */
void disk_written(struct disk *d, uint64_t off, uint64_t len);
/* I/O thread: may a flush go to blob_fd(leaf) at once, without disk_sync? */
bool disk_dirty(const struct disk *d);
struct blob *disk_leaf(struct disk *d);
/* Metadata thread; everything completed before is durable when it returns 0 (includes the blob's flush). */
int disk_sync(struct disk *d) MUSTUSE;
/* Durable when it returns 0. */
MUSTUSE int disk_resize(struct disk *d, uint64_t bytes, struct err *e);
/* Of the leaf; as layer_ops check.  Metadata thread, nothing in flight. */
MUSTUSE int disk_check(struct disk *d, bool repair, layer_problem_fn *fn, void *arg, struct err *e);

/* Whole requests, blocking, for tools and tests: same steps as the queue, one thread. 0 or -errno. */
int disk_read(struct disk *d, uint64_t off, void *p, size_t n) MUSTUSE;
int disk_write(struct disk *d, uint64_t off, const void *p, size_t n) MUSTUSE;
int disk_zero(struct disk *d, uint64_t off, uint64_t n) MUSTUSE;	/* keeps sparse what is sparse */

/* "raw", "vhd", "vhdx"; NULL: unknown. */
const struct layer_format *disk_format(const char *name);
/* For import: the format with the best score (raw when none). */
const struct layer_format *disk_probe(struct blob *b);

#endif

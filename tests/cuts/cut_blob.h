/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blob in memory that loses power.
 *
 * It keeps every change since the last flush.  When power goes, each of them is
 * there, is not, or is torn at 512 bytes, as a seed says; changes of the size
 * are there up to some point, as a journal of a file system has them.  The
 * change at which power goes may be there as well.  After that every call fails
 * with -EIO until the next cut_blob_open.
 */
#ifndef TESTS_CUTS_CUT_BLOB_H
#define TESTS_CUTS_CUT_BLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/blob.h"

enum { CUT_TEAR_BYTES = 512 };
#define CUT_BYTES_MAX (256ull << 20)	/* of the blob; more is -ENOSPC */

struct cut_blob;

struct cut_blob *cut_blob_new(void);
void cut_blob_free(struct cut_blob *c);
/* Empty again, nothing unflushed. */
void cut_blob_reset(struct cut_blob *c);

/* A blob over what is there; c must outlive it. */
struct blob *cut_blob_open(struct cut_blob *c, bool read_only) MUSTUSE;

/* Power goes at the n-th change or flush from now on (1: the next); 0: it does not. */
void cut_blob_arm(struct cut_blob *c, unsigned n);
/* Power goes now. */
void cut_blob_off(struct cut_blob *c);
bool cut_blob_is_off(const struct cut_blob *c);
/* Power is gone and back: what is left is decided by *rng.  Closed blobs only. */
void cut_blob_cut(struct cut_blob *c, uint64_t *rng);

/* Called at each flush, before or after it by turns: what happens on the I/O thread meanwhile.  NULL: nothing. */
void cut_blob_on_flush(struct cut_blob *c, void (*fn)(void *arg), void *arg);
uint64_t cut_blob_bytes(const struct cut_blob *c);
/* Growth past it is -ENOSPC; CUT_BYTES_MAX after a reset. */
void cut_blob_limit(struct cut_blob *c, uint64_t bytes);

/* For proofs: flushes say that they worked and do nothing. */
void cut_blob_lie(struct cut_blob *c, bool flushes_lie);

/* The next number of a seeded run (xorshift); *rng is never 0. */
uint64_t cut_rand(uint64_t *rng);
/* One of 0 .. n - 1. */
uint64_t cut_below(uint64_t *rng, uint64_t n);

#endif

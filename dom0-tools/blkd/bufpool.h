/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aligned buffers for the data path, in powers of two, kept for the next user:
 * the last one given back is the first given out, so it is still in the cache.
 * One thread.
 */
#ifndef BLKD_BUFPOOL_H
#define BLKD_BUFPOOL_H

#include <stddef.h>

#include "base/err.h"

enum {
	BUFPOOL_ALIGN = 4096,		/* of every buffer; enough for O_DIRECT anywhere */
	BUFPOOL_CLASSES = 14,		/* 4 KiB << 0 .. 13 */
	BUFPOOL_BYTES_MAX = BUFPOOL_ALIGN << (BUFPOOL_CLASSES - 1),	/* 32 MiB */
	BUFPOOL_KEPT_BYTES_MAX = 64 << 20,	/* more goes back to the system */
};

struct bufpool {
	void *free[BUFPOOL_CLASSES];
	size_t kept_bytes;
};

/* All zero is a valid start.  1 <= bytes <= BUFPOOL_BYTES_MAX; never NULL; content undefined. */
void *bufpool_get(struct bufpool *p, size_t bytes) MUSTUSE;
/* bytes as asked for; b NULL is fine. */
void bufpool_put(struct bufpool *p, void *b, size_t bytes);
void bufpool_fini(struct bufpool *p);		/* idempotent; buffers in use must have come back */

#endif

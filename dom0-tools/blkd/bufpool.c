/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free buffers of a class form a list through their own first bytes.
 */
#include "blkd/bufpool.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

static unsigned class_of(size_t bytes)
{
	size_t pages = (bytes + BUFPOOL_ALIGN - 1) / BUFPOOL_ALIGN;

	assert(bytes > 0 && bytes <= BUFPOOL_BYTES_MAX);
	return pages == 1 ? 0 : 64 - (unsigned)__builtin_clzl(pages - 1);
}

void *bufpool_get(struct bufpool *p, size_t bytes)
{
	unsigned c = class_of(bytes);
	void *b = p->free[c];

	if (b) {
		p->free[c] = *(void **)b;
		p->kept_bytes -= (size_t)BUFPOOL_ALIGN << c;
		return b;
	}
	b = aligned_alloc(BUFPOOL_ALIGN, (size_t)BUFPOOL_ALIGN << c);
	if (!b)
		abort();	/* as base/buf.h: the sizes are bounded, so the host is out of memory */
	return b;
}

void bufpool_put(struct bufpool *p, void *b, size_t bytes)
{
	unsigned c;

	if (!b)
		return;
	c = class_of(bytes);
	if (p->kept_bytes + ((size_t)BUFPOOL_ALIGN << c) > BUFPOOL_KEPT_BYTES_MAX) {
		free(b);
		return;
	}
	*(void **)b = p->free[c];
	p->free[c] = b;
	p->kept_bytes += (size_t)BUFPOOL_ALIGN << c;
}

void bufpool_fini(struct bufpool *p)
{
	for (unsigned c = 0; c < BUFPOOL_CLASSES; c++) {
		while (p->free[c]) {
			void *b = p->free[c];

			p->free[c] = *(void **)b;
			free(b);
		}
	}
	p->kept_bytes = 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that another domain granted us: mapped (rings) or copied from and to
 * (data).  A grant reference is foreign input: one that is not valid fails
 * its own copy with -EFAULT and nothing else.  One thread per handle.
 */
#ifndef XEN_GNT_H
#define XEN_GNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct gnt;

enum { GNT_PAGE_BYTES = 4096 };

struct gnt_copy {
	uint32_t ref;
	uint16_t off, len;		/* in the granted page: off + len <= GNT_PAGE_BYTES */
	bool to_guest;			/* from local; else into it */
	void *local;			/* may cross pages */
	int res;			/* out: 0 or -EFAULT */
};

/* Opens /dev/xen/gntdev. */
MUSTUSE int gnt_open(struct gnt **out, struct err *e);
void gnt_close(struct gnt *g);		/* NULL is fine; ends all mappings */

/* Maps n pages of domid side by side, writable.  *out is untouched on failure. */
MUSTUSE int gnt_map(struct gnt *g, unsigned domid, const uint32_t *refs, unsigned n, void **out, struct err *e);
void gnt_unmap(struct gnt *g, void *p, unsigned n);

/* One call to the kernel for all; each has its res.  0, or -errno: none was done (and each res says so). */
int gnt_copy_all(struct gnt *g, unsigned domid, struct gnt_copy *c, unsigned n) MUSTUSE;

#endif

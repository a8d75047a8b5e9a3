/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libxengnttab behind our types.  The table of segments is kept between calls
 * and only grows.
 */
#include "xen/gnt.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <xengnttab.h>

#include "base/buf.h"

struct gnt {
	xengnttab_handle *h;
	xengnttab_grant_copy_segment_t *segs;
	unsigned room;
};

int gnt_open(struct gnt **out, struct err *e)
{
	xengnttab_handle *h = xengnttab_open(NULL, 0);
	struct gnt *g;

	if (!h) {
		err_sys(e, errno, "open the grant device");
		return err_remedy(e, "load xen-gntdev: modprobe xen-gntdev");
	}
	g = mem_alloc(sizeof(*g));
	g->h = h;
	*out = g;
	return 0;
}

void gnt_close(struct gnt *g)
{
	if (!g)
		return;
	xengnttab_close(g->h);
	free(g->segs);
	free(g);
}

int gnt_map(struct gnt *g, unsigned domid, const uint32_t *refs, unsigned n, void **out, struct err *e)
{
	AUTO_FREE uint32_t *own = mem_alloc(n * sizeof(*own));	/* the library wants it writable */
	void *p;

	memcpy(own, refs, n * sizeof(*own));
	p = xengnttab_map_domain_grant_refs(g->h, n, domid, own, PROT_READ | PROT_WRITE);
	if (!p)
		return err_sys(e, errno, "map %u granted pages of domain %u, first reference %u", n, domid, refs[0]);
	*out = p;
	return 0;
}

void gnt_unmap(struct gnt *g, void *p, unsigned n)
{
	xengnttab_unmap(g->h, p, n);
}

static void segment_of(xengnttab_grant_copy_segment_t *s, unsigned domid, const struct gnt_copy *c)
{
	union xengnttab_copy_ptr here = { .virt = c->local };
	union xengnttab_copy_ptr there = {
		.foreign = { .ref = c->ref, .offset = c->off, .domid = (uint16_t)domid },
	};

	*s = (xengnttab_grant_copy_segment_t){
		.source = c->to_guest ? here : there,
		.dest = c->to_guest ? there : here,
		.len = c->len,
		.flags = c->to_guest ? GNTCOPY_dest_gref : GNTCOPY_source_gref,
	};
}

int gnt_copy_all(struct gnt *g, unsigned domid, struct gnt_copy *c, unsigned n)
{
	int rc;

	if (n > g->room) {
		g->segs = mem_realloc(g->segs, n * sizeof(*g->segs));
		g->room = n;
	}
	for (unsigned i = 0; i < n; i++)
		segment_of(&g->segs[i], domid, &c[i]);
	rc = xengnttab_grant_copy(g->h, n, g->segs) < 0 ? -errno : 0;
	for (unsigned i = 0; i < n; i++)
		c[i].res = rc == 0 && g->segs[i].status == GNTST_okay ? 0 : -EFAULT;
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the VHD tests: images made and opened on a rig's blob, and whole
 * transfers through a layer, with the steps the queue does.
 */
#ifndef TESTS_UNIT_VHD_RIG_H
#define TESTS_UNIT_VHD_RIG_H

#include "disk/layer.h"
#include "disk/vhd.h"
#include "tests/unit/vhd_rig_blob.h"

static inline void rig_create(struct rig *k, const char *kind, uint64_t bytes, uint32_t block)
{
	static const uint8_t parent[DISK_ID_BYTES] = "parent of tests";
	struct layer_create c = { .bytes = bytes, .kind = kind, .block_bytes = block };
	struct err e = ERR_INIT;

	if (!strcmp(kind, "differencing")) {
		c.parent_id = parent;
		c.parent_name = "base.vhd";
	}
	if (vhd_format.create(k->b, &c, &e) < 0)
		fail_msg("create %s: %s", kind, e.detail);
}

static inline struct layer rig_open(struct rig *k)
{
	struct err e = ERR_INIT;
	struct layer l = { 0 };

	if (vhd_format.open(k->b, &l, &e) < 0)
		fail_msg("open: %s", e.detail);
	return l;
}

/* As the queue does it.  What is below reads as `below`. */
static inline int rig_get(struct rig *k, const struct layer *l, uint64_t off, uint8_t *p, uint64_t n, int below)
{
	struct layer_run run;
	int rc = 0;

	for (; n && !rc; off += run.bytes, p += run.bytes, n -= run.bytes) {
		l->ops->map(l->l, off, n, false, &run);
		if (run.where == LAYER_DATA)
			rc = blob_read(k->b, run.off, p, run.bytes);
		else
			memset(p, run.where == LAYER_ZERO ? 0 : below, run.bytes);
	}
	return rc;
}

static inline int rig_put(struct rig *k, const struct layer *l, uint64_t off, const uint8_t *p, uint64_t n)
{
	struct layer_run run;
	int rc;

	for (; n; off += run.bytes, p += run.bytes, n -= run.bytes) {
		l->ops->map(l->l, off, n, true, &run);
		if (run.where == LAYER_BELOW) {
			rc = l->ops->alloc(l->l, off, n);
			if (rc)
				return rc;
			l->ops->map(l->l, off, n, true, &run);
		}
		if (run.where != LAYER_DATA)
			return -EPROTO;
		rc = blob_write(k->b, run.off, p, run.bytes);
		if (rc)
			return rc;
		if (l->ops->written)
			l->ops->written(l->l, off, run.bytes);
	}
	return 0;
}

static inline int rig_sync(struct rig *k, const struct layer *l)
{
	int rc = l->ops->dirty && l->ops->dirty(l->l) ? l->ops->sync(l->l) : 0;

	return rc ? rc : blob_flush(k->b);
}

#endif

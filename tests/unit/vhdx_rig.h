/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the VHDX tests: whole transfers through a layer, with the queue's steps,
 * on the image of vhdx_rig_blob.h.
 */
#ifndef TESTS_UNIT_VHDX_RIG_H
#define TESTS_UNIT_VHDX_RIG_H

#include "tests/unit/vhdx_rig_blob.h"

static inline void rig_nop(void *arg)
{
	(void)arg;
}

static inline void rig_blob(struct rig *k, bool read_only)
{
	static const struct blob_ops ops = {
		.read = rig_read, .write = rig_write, .flush = rig_flush, .set_bytes = rig_set_bytes, .zero = rig_zero,
		.close = rig_nop,
	};

	blob_close(k->b);
	k->b = blob_new(&ops, k, "disk.vhdx", k->now.bytes, -1, 1, read_only);
}

static inline int rig_up(void **state)
{
	struct rig *k = mem_alloc(sizeof(*k));

	k->bytes_max = (uint64_t)RIG_PAGE * RIG_PAGES;
	k->fail_in = -1;
	rig_blob(k, false);
	*state = k;
	return 0;
}

static inline int rig_down(void **state)
{
	struct rig *k = *state;

	rig_settle(k, NULL, NULL);
	blob_close(k->b);
	for (size_t i = 0; i < RIG_PAGES; i++) {
		free(k->now.page[i]);
		free(k->kept.page[i]);
	}
	free(k->log);
	free(k);
	return 0;
}

/* Power is gone and back: want(arg) says of each sector that was not flushed whether it is there. */
static inline void rig_cut(struct rig *k, bool (*want)(void *arg), void *arg)
{
	rig_settle(k, want, arg);
	rig_file_copy(&k->now, &k->kept);
	k->fail_in = -1;
	rig_blob(k, false);
}

static inline bool rig_nothing(void *arg)
{
	(void)arg;
	return false;
}

/* Bytes of the image changed behind the layer's back, durable. */
static inline void rig_poke(struct rig *k, uint64_t off, const void *p, size_t n)
{
	rig_file_put(&k->now, off, p, n);
	rig_file_put(&k->kept, off, p, n);
}

static inline void rig_create(struct rig *k, const char *kind, uint64_t bytes, uint32_t block, uint32_t sector)
{
	static const uint8_t parent[DISK_ID_BYTES] = "parent of tests";
	struct layer_create c = { .bytes = bytes, .kind = kind, .block_bytes = block, .sector_bytes = sector };
	struct err e = ERR_INIT;

	if (!strcmp(kind, "differencing")) {
		c.parent_id = parent;
		c.parent_name = "/pool/base.vhdx";
	}
	if (vhdx_format.create(k->b, &c, &e) < 0)
		fail_msg("create %s: %s", kind, e.detail);
}

static inline struct layer rig_open(struct rig *k)
{
	struct err e = ERR_INIT;
	struct layer l = { 0 };

	if (vhdx_format.open(k->b, &l, &e) < 0)
		fail_msg("open: %s", e.detail);
	return l;
}

/* As the queue does it.  What is below reads as RIG_BELOW, and there is nothing below a disk without a parent. */
static inline int rig_get(struct rig *k, const struct layer *l, uint64_t off, uint8_t *p, uint64_t n)
{
	struct layer_run run;
	int rc = 0;

	for (; n && !rc; off += run.bytes, p += run.bytes, n -= run.bytes) {
		l->ops->map(l->l, off, n, false, &run);
		if (run.where == LAYER_DATA)
			rc = blob_read(k->b, run.off, p, run.bytes);
		else
			memset(p, run.where == LAYER_ZERO ? 0 : RIG_BELOW, run.bytes);
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
		l->ops->written(l->l, off, run.bytes);
	}
	return 0;
}

static inline int rig_sync(struct rig *k, const struct layer *l)
{
	int rc = l->ops->dirty(l->l) ? l->ops->sync(l->l) : 0;

	return rc ? rc : blob_flush(k->b);
}

#endif

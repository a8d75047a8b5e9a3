/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain of images as one disk: opened only when every parent is the one its
 * child was made from, read through from the leaf down, written in the leaf.
 *
 * A parent that is not as long as its child reads as zeroes behind its end.
 */
#include "disk/disk.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct image {
	struct layer layer;
	struct blob *blob;
	uint64_t bytes;			/* of parents: the leaf's may grow */
};

struct disk {
	bool read_only;
	uint32_t sector_bytes;
	_Atomic uint64_t bytes;
	unsigned n;
	struct image images[DISK_CHAIN_MAX];	/* leaf first */
};

/* ---- opening ------------------------------------------------------------------------------------- */

static const struct layer_ops *leaf_ops(const struct disk *d) { return d->images[0].layer.ops; }
static void *leaf(const struct disk *d) { return d->images[0].layer.l; }

static void close_layers(struct disk *d)
{
	for (unsigned i = 0; i < d->n; i++)
		d->images[i].layer.ops->close(d->images[i].layer.l);
	d->n = 0;
}

static bool differencing(const struct layer_info *i)
{
	return !strcmp(i->kind, "differencing");
}

static int check_leaf(const struct blob *b, const struct layer_info *i, bool read_only, struct err *e)
{
	if (!read_only && blob_read_only(b)) {
		err_set(e, ERR_REFUSED, "'%s' is open read-only, the disk is to be written", blob_name(b));
		return err_remedy(e, "open the image for writing, or the disk read-only");
	}
	if (i->bytes > DISK_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "'%s': %llu bytes, limit %llu", blob_name(b),
			       (unsigned long long)i->bytes, DISK_BYTES_MAX);
	return 0;
}

/* child names parent, and nothing about it can be other than it was then. */
static int check_link(const struct blob *cb, const struct layer_info *child, const struct blob *pb,
		      const struct layer_info *parent, struct err *e)
{
	static const uint8_t none[DISK_ID_BYTES];

	if (!differencing(child))
		return err_set(e, ERR_REFUSED, "'%s' is %s and has no parent, but '%s' is given as one", blob_name(cb),
			       child->kind, blob_name(pb));
	if (!memcmp(parent->id, none, sizeof(none)))
		return err_set(e, ERR_REFUSED, "'%s' has no id (%s): it cannot be the parent of '%s'", blob_name(pb),
			       parent->format, blob_name(cb));
	if (memcmp(parent->id, child->parent_id, sizeof(none))) {
		err_set(e, ERR_REFUSED, "'%s' is not the parent that '%s' was made from, or was changed since",
			blob_name(pb), blob_name(cb));
		return err_remedy(e,
				  "the child names '%.120s'; its parent must be unchanged since", child->parent_name);
	}
	if (parent->bytes > child->bytes)
		return err_set(e, ERR_REFUSED, "parent '%s' has %llu bytes, more than the %llu of '%s'", blob_name(pb),
			       (unsigned long long)parent->bytes, (unsigned long long)child->bytes, blob_name(cb));
	if (parent->sector_bytes != child->sector_bytes)
		return err_set(e, ERR_INCOMPATIBLE, "parent '%s' has sectors of %u bytes, '%s' of %u", blob_name(pb),
			       parent->sector_bytes, blob_name(cb), child->sector_bytes);
	return 0;
}

static int open_image(struct disk *d, const struct disk_part *part, struct layer_info *info, struct err *e)
{
	struct image *m = &d->images[d->n];

	if (part->format->open(part->blob, &m->layer, e) < 0)
		return -1;
	m->blob = part->blob;
	d->n++;
	m->layer.ops->info(m->layer.l, info);
	m->bytes = info->bytes;
	return 0;
}

static int open_chain(struct disk *d, const struct disk_part *parts, unsigned n, struct err *e)
{
	struct layer_info above, info = { 0 };

	for (unsigned i = 0; i < n; i++) {
		above = info;
		if (i && !blob_read_only(parts[i].blob))
			return err_set(e, ERR_USAGE, "parent '%s' is open for writing", blob_name(parts[i].blob));
		if (open_image(d, &parts[i], &info, e) < 0)
			return -1;
		if (!i && check_leaf(parts[i].blob, &info, d->read_only, e) < 0)
			return -1;
		if (i && check_link(parts[i - 1].blob, &above, parts[i].blob, &info, e) < 0)
			return -1;
	}
	if (!differencing(&info))
		return 0;
	err_set(e, ERR_NOT_FOUND, "'%s' needs its parent '%.200s'", blob_name(parts[n - 1].blob), info.parent_name);
	return err_remedy(e, "name the parent too");
}

int disk_open(const struct disk_part *parts, unsigned n_parts, bool read_only, struct disk **out, struct err *e)
{
	struct layer_info info;
	struct disk *d;

	if (!n_parts || n_parts > DISK_CHAIN_MAX)
		return err_set(e, ERR_LIMIT, "%u images; a chain has 1 to %d", n_parts, DISK_CHAIN_MAX);
	d = mem_alloc(sizeof(*d));
	d->read_only = read_only;
	if (open_chain(d, parts, n_parts, e) < 0) {
		close_layers(d);
		free(d);
		return -1;
	}
	disk_info(d, &info);
	d->sector_bytes = info.sector_bytes;
	atomic_init(&d->bytes, info.bytes);
	*out = d;
	return 0;
}

void disk_close(struct disk *d)
{
	unsigned n = d ? d->n : 0;

	if (!d)
		return;
	close_layers(d);
	for (unsigned i = 0; i < n; i++)
		blob_close(d->images[i].blob);
	free(d);
}

void disk_info(const struct disk *d, struct layer_info *out)
{
	leaf_ops(d)->info(leaf(d), out);
}

uint64_t disk_bytes(const struct disk *d) { return atomic_load(&d->bytes); }
uint32_t disk_sector(const struct disk *d) { return d->sector_bytes; }
bool disk_read_only(const struct disk *d) { return d->read_only; }
struct blob *disk_leaf(struct disk *d) { return d->images[0].blob; }

/* ---- steps of the queue -------------------------------------------------------------------------- */

/* Reads: the first image that has it, of the longest run that is all alike. */
static void map_read(struct disk *d, uint64_t off, uint64_t len, struct disk_run *out)
{
	struct layer_run run = { .where = LAYER_BELOW };
	unsigned i;

	for (i = 0; i < d->n && run.where == LAYER_BELOW; i++) {
		struct image *m = &d->images[i];

		if (i && off >= m->bytes)
			break;
		if (i && len > m->bytes - off)
			len = m->bytes - off;
		m->layer.ops->map(m->layer.l, off, len, false, &run);
		len = run.bytes;
	}
	*out = (struct disk_run){ .where = LAYER_ZERO, .bytes = len };
	if (run.where != LAYER_DATA)
		return;
	out->where = LAYER_DATA;
	out->blob = d->images[i - 1].blob;
	out->off = run.off;
}

void disk_map(struct disk *d, uint64_t off, uint64_t len, bool for_write, struct disk_run *out)
{
	struct layer_run run;

	if (!for_write) {
		map_read(d, off, len, out);
		return;
	}
	leaf_ops(d)->map(leaf(d), off, len, true, &run);
	assert(run.where != LAYER_ZERO);
	*out = (struct disk_run){ .where = run.where, .bytes = run.bytes };
	if (run.where != LAYER_DATA)
		return;
	out->blob = disk_leaf(d);
	out->off = run.off;
}

int disk_alloc(struct disk *d, uint64_t off, uint64_t len)
{
	return d->read_only ? -EROFS : leaf_ops(d)->alloc(leaf(d), off, len);
}

void disk_written(struct disk *d, uint64_t off, uint64_t len)
{
	if (leaf_ops(d)->written)
		leaf_ops(d)->written(leaf(d), off, len);
}

bool disk_dirty(const struct disk *d)
{
	return leaf_ops(d)->dirty && leaf_ops(d)->dirty(leaf(d));
}

/* Data is durable before the metadata that says it is there, that before the flush ends. */
int disk_sync(struct disk *d)
{
	int rc = 0;

	if (d->read_only)
		return 0;
	if (disk_dirty(d)) {
		rc = blob_flush(disk_leaf(d));
		if (!rc && leaf_ops(d)->sync)
			rc = leaf_ops(d)->sync(leaf(d));
	}
	return rc ? rc : blob_flush(disk_leaf(d));
}

int disk_resize(struct disk *d, uint64_t bytes, struct err *e)
{
	struct layer_info info;

	if (d->read_only)
		return err_set(e, ERR_REFUSED, "'%s' is open read-only", blob_name(disk_leaf(d)));
	if (bytes > DISK_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "size %llu, limit %llu", (unsigned long long)bytes, DISK_BYTES_MAX);
	if (leaf_ops(d)->resize(leaf(d), bytes, e) < 0)
		return -1;
	disk_info(d, &info);
	atomic_store(&d->bytes, info.bytes);
	return 0;
}

int disk_check(struct disk *d, bool repair, layer_problem_fn *fn, void *arg, struct err *e)
{
	return leaf_ops(d)->check(leaf(d), repair && !d->read_only, fn, arg, e);
}

/* ---- whole requests ------------------------------------------------------------------------------ */

static int check_range(const struct disk *d, uint64_t off, uint64_t n)
{
	uint64_t bytes = disk_bytes(d);

	return off > bytes || n > bytes - off || (off | n) % d->sector_bytes ? -EINVAL : 0;
}

int disk_read(struct disk *d, uint64_t off, void *p, size_t n)
{
	int rc = check_range(d, off, n);
	uint8_t *at = p;
	struct disk_run run;

	for (; n && !rc; off += run.bytes, at += run.bytes, n -= run.bytes) {
		disk_map(d, off, n, false, &run);
		if (run.where == LAYER_DATA)
			rc = blob_read(run.blob, run.off, at, run.bytes);
		else
			memset(at, 0, run.bytes);
	}
	return rc;
}

/* run: where [off, off + len) may be written, made if there is no such place. */
static int place(struct disk *d, uint64_t off, uint64_t len, struct disk_run *run)
{
	int rc;

	if (d->read_only)
		return -EROFS;
	disk_map(d, off, len, true, run);
	if (run->where == LAYER_DATA)
		return 0;
	rc = disk_alloc(d, off, run->bytes);
	if (rc)
		return rc;
	disk_map(d, off, len, true, run);
	return run->where == LAYER_DATA ? 0 : -EIO;
}

int disk_write(struct disk *d, uint64_t off, const void *p, size_t n)
{
	int rc = check_range(d, off, n);
	const uint8_t *at = p;
	struct disk_run run = { 0 };

	for (; n && !rc; off += run.bytes, at += run.bytes, n -= run.bytes) {
		rc = place(d, off, n, &run);
		if (!rc)
			rc = blob_write(run.blob, run.off, at, run.bytes);
		if (rc)
			break;
		disk_written(d, off, run.bytes);
	}
	return rc;
}

int disk_zero(struct disk *d, uint64_t off, uint64_t n)
{
	int rc = d->read_only ? -EROFS : check_range(d, off, n);
	struct disk_run run;

	for (; n && !rc; off += run.bytes, n -= run.bytes) {
		disk_map(d, off, n, false, &run);
		if (run.where == LAYER_ZERO)
			continue;
		rc = place(d, off, run.bytes, &run);
		if (!rc)
			rc = blob_zero(run.blob, run.off, run.bytes);
		if (rc)
			break;
		disk_written(d, off, run.bytes);
	}
	return rc;
}

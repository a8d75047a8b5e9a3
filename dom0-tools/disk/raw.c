/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raw format.  It has no metadata, so nothing is ever allocated, dirty or
 * broken; and no id, so it can be nobody's parent.
 */
#include "disk/raw.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct raw {
	struct blob *b;
	_Atomic uint64_t bytes;
};

static void raw_info(const void *l, struct layer_info *out)
{
	const struct raw *r = l;
	uint64_t bytes = atomic_load(&r->bytes);
	uint32_t align = blob_align(r->b);

	*out = (struct layer_info){
		.format = "raw",
		.kind = "fixed",
		.bytes = bytes,
		.sector_bytes = DISK_SECTOR,
		.physical_bytes = align > DISK_SECTOR ? align : DISK_SECTOR,
		.used_bytes = bytes,
	};
}

static void raw_map(void *l, uint64_t off, uint64_t len, bool for_write, struct layer_run *out)
{
	(void)l, (void)for_write;
	*out = (struct layer_run){ LAYER_DATA, off, len };
}

static int raw_alloc(void *l, uint64_t off, uint64_t len)
{
	(void)l, (void)off, (void)len;
	return 0;
}

static int check_size(uint64_t bytes, struct err *e)
{
	if (!bytes || bytes % DISK_SECTOR)
		return err_set(e, ERR_USAGE, "size %llu is no number of %d-byte sectors", (unsigned long long)bytes,
			       DISK_SECTOR);
	if (bytes > DISK_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "size %llu, limit %llu", (unsigned long long)bytes, DISK_BYTES_MAX);
	return 0;
}

static int set_size(struct blob *b, uint64_t bytes, struct err *e)
{
	int rc = blob_bytes(b) == bytes ? 0 : blob_set_bytes(b, bytes);

	if (!rc)
		rc = blob_flush(b);
	return rc ? err_sys(e, -rc, "give '%s' %llu bytes", blob_name(b), (unsigned long long)bytes) : 0;
}

static int raw_resize(void *l, uint64_t bytes, struct err *e)
{
	struct raw *r = l;
	uint64_t now = atomic_load(&r->bytes);

	if (check_size(bytes, e) < 0)
		return -1;
	if (bytes < now)
		return err_set(e, ERR_REFUSED, "size %llu is less than the %llu that '%s' has: data would be cut off",
			       (unsigned long long)bytes, (unsigned long long)now, blob_name(r->b));
	if (bytes == now)
		return 0;
	if (set_size(r->b, bytes, e) < 0)
		return -1;
	atomic_store(&r->bytes, bytes);
	return 0;
}

static int raw_check(void *l, bool repair, layer_problem_fn *fn, void *arg, struct err *e)
{
	const struct raw *r = l;
	uint64_t tail = blob_bytes(r->b) - atomic_load(&r->bytes);
	char text[160];

	(void)repair, (void)e;
	if (!tail)
		return 0;
	snprintf(text, sizeof(text), "%llu bytes behind the last whole sector are no part of the disk: resize it to "
		 "keep them", (unsigned long long)tail);
	if (fn)
		fn(arg, false, text);
	return 1;
}

static void raw_close(void *l)
{
	free(l);
}

static const struct layer_ops raw_ops = {
	.info = raw_info,
	.map = raw_map,
	.alloc = raw_alloc,
	.resize = raw_resize,
	.check = raw_check,
	.close = raw_close,
};

static int raw_open(struct blob *b, struct layer *out, struct err *e)
{
	uint64_t bytes = blob_bytes(b) / DISK_SECTOR * DISK_SECTOR;
	struct raw *r;

	if (!bytes)
		return err_set(e, ERR_CORRUPT, "'%s': %llu bytes are less than a sector", blob_name(b),
			       (unsigned long long)blob_bytes(b));
	if (bytes > DISK_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "'%s': %llu bytes, limit %llu", blob_name(b), (unsigned long long)bytes,
			       DISK_BYTES_MAX);
	r = mem_alloc(sizeof(*r));
	r->b = b;
	atomic_init(&r->bytes, bytes);
	*out = (struct layer){ .ops = &raw_ops, .l = r };
	return 0;
}

static int raw_create(struct blob *b, const struct layer_create *c, struct err *e)
{
	if (c->kind && strcmp(c->kind, "fixed"))
		return err_set(e, ERR_USAGE, "a raw image is fixed, not '%s': use vhdx or vhd", c->kind);
	if (c->block_bytes)
		return err_set(e, ERR_USAGE, "block size %u: a raw image has none", c->block_bytes);
	if (c->sector_bytes && c->sector_bytes != DISK_SECTOR)
		return err_set(e, ERR_USAGE, "sectors of %u bytes: a raw image has %d, use vhdx", c->sector_bytes,
			       DISK_SECTOR);
	return check_size(c->bytes, e) < 0 ? -1 : set_size(b, c->bytes, e);
}

/* Any bytes may be raw; everything that knows itself goes first. */
static int raw_probe(struct blob *b)
{
	return blob_bytes(b) >= DISK_SECTOR;
}

const struct layer_format raw_format = {
	.name = "raw",
	.suffix = ".raw",
	.probe = raw_probe,
	.open = raw_open,
	.create = raw_create,
};

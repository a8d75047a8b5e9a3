/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block status: one chunk per context that the client chose,
 *
 *	chunk head, context id:32, (length:32 flags:32) per extent
 *
 * base:allocation is what the image's map says; where that says "data in a
 * file" the file system is asked for its holes, so a sparse raw image shows.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "blkd/nbd_priv.h"

enum {
	EXTENT_BYTES = 8,
	LOOKS_MAX = 4 * NBD_STATUS_EXTENTS_MAX,	/* map steps of one reply: bounds its time; the client asks on */
};

struct extent { uint64_t bytes; uint32_t flags; };

/* Data of a file may be a hole in it. */
static struct extent data_extent(const struct disk_run *run)
{
	int fd = blob_fd(run->blob);
	off_t at = (off_t)run->off, data, hole;

	if (fd < 0)
		return (struct extent){ run->bytes, 0 };
	data = lseek(fd, at, SEEK_DATA);
	if (data < 0 && errno == ENXIO)		/* a hole up to the end */
		return (struct extent){ run->bytes, NBD_STATE_HOLE | NBD_STATE_ZERO };
	if (data < 0)				/* a block device */
		return (struct extent){ run->bytes, 0 };
	data &= ~(off_t)(DISK_SECTOR - 1);
	if (data > at) {
		uint64_t n = (uint64_t)(data - at);

		return (struct extent){ n < run->bytes ? n : run->bytes, NBD_STATE_HOLE | NBD_STATE_ZERO };
	}
	hole = lseek(fd, at, SEEK_HOLE);
	if (hole > at) {
		uint64_t n = ((uint64_t)(hole - at) + DISK_SECTOR - 1) & ~(uint64_t)(DISK_SECTOR - 1);

		return (struct extent){ n < run->bytes ? n : run->bytes, 0 };
	}
	return (struct extent){ run->bytes, 0 };
}

static struct extent look(const struct nbd_export *x, enum nbd_context ctx, uint64_t off, uint64_t len)
{
	struct disk_run run;

	if (ctx == NBD_CONTEXT_DIRTY) {
		bool dirty = x->dirty(x->dirty_arg, off, &len);

		return (struct extent){ len, dirty ? NBD_STATE_DIRTY : 0 };
	}
	disk_map(qdisk_disk(x->disk), off, len, false, &run);
	if (run.where == LAYER_DATA)
		return data_extent(&run);
	return (struct extent){ run.bytes, NBD_STATE_HOLE | NBD_STATE_ZERO };
}

static void put_be32(uint8_t *p, uint64_t v)
{
	uint32_t b = __builtin_bswap32((uint32_t)v);

	memcpy(p, &b, sizeof(b));
}

/* Writes the extents of [off, off + len) or its beginning to p; returns their number. */
static unsigned put_extents(const struct nbd_export *x, enum nbd_context ctx, uint64_t off, uint64_t len,
			    unsigned max, uint8_t *p)
{
	struct extent now = { 0, 0 };
	unsigned n = 0;

	for (unsigned looks = 0; len && looks < LOOKS_MAX; looks++) {
		struct extent e = look(x, ctx, off, len);

		if (now.bytes && e.flags != now.flags) {
			put_be32(p + n * EXTENT_BYTES, now.bytes);
			put_be32(p + n * EXTENT_BYTES + 4, now.flags);
			now.bytes = 0;
			if (++n == max)
				return n;
		}
		now = (struct extent){ now.bytes + e.bytes, e.flags };
		off += e.bytes;
		len -= e.bytes;
	}
	put_be32(p + n * EXTENT_BYTES, now.bytes);
	put_be32(p + n * EXTENT_BYTES + 4, now.flags);
	return n + 1;
}

static int check(const struct nbd_req *n)
{
	const struct disk *d = qdisk_disk(n->c->x->disk);
	uint64_t size = disk_bytes(d), off = n->q.off, len = n->q.len;

	if (!len || (off | len) & (disk_sector(d) - 1))
		return -EINVAL;
	return off > size || len > size - off ? -EINVAL : 0;
}

int nbd_status(struct nbd_req *n)
{
	unsigned contexts = n->c->terms.contexts, max = n->q.flags & NBD_CMD_REQ_ONE ? 1 : NBD_STATUS_EXTENTS_MAX;
	size_t each = NBD_CHUNK_BYTES + 4 + (size_t)max * EXTENT_BYTES, at = 0;
	int rc = check(n);
	uint8_t *p;

	if (rc < 0)
		return rc;
	n->buf_bytes = each * NBD_CONTEXT_N;
	n->buf = p = bufpool_get(queue_pool(n->c->s->q), n->buf_bytes);
	for (unsigned ctx = 0; ctx < NBD_CONTEXT_N; ctx++) {
		bool last = !(contexts >> (ctx + 1));
		unsigned k;

		if (!(contexts & BIT(ctx)))
			continue;
		k = put_extents(n->c->x, (enum nbd_context)ctx, n->q.off, n->q.len, max, p + at + NBD_CHUNK_BYTES + 4);
		nbd_put_chunk(p + at, n->q.cookie, NBD_CHUNK_BLOCK_STATUS, last ? NBD_CHUNK_DONE : 0,
			      4 + k * EXTENT_BYTES);
		put_be32(p + at + NBD_CHUNK_BYTES, ctx + 1);
		at += NBD_CHUNK_BYTES + 4 + k * EXTENT_BYTES;
	}
	n->data_bytes = (uint32_t)at;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places for blocks: at the end of the file, which grows by several at a time
 * (zeroes, flushed), then BAT entries through the log.
 *
 * A block of a differencing disk that was not there becomes partly present,
 * with all its bits clear; any other becomes fully present and is zeroes.
 */
#include "disk/vhdx_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct change {
	uint64_t entry, value;
};

struct batch {
	struct vhdx_txn t;
	struct change c[2 * VHDX_ALLOC_BLOCKS];
	unsigned n, blocks;
	bool bits;			/* has bitmap pieces; their other bits may name data not flushed */
};

/* [ready_end, to) becomes zeroes of the file, flushed. */
static int grow_to(struct vhdx *v, uint64_t to)
{
	uint64_t have = blob_bytes(v->b), dirty = have < to ? have : to;
	int rc = to > have ? blob_set_bytes(v->b, to) : 0;

	if (!rc)
		v->grown = true;
	if (!rc && dirty > v->ready_end)
		rc = blob_zero(v->b, v->ready_end, dirty - v->ready_end);
	if (!rc)
		rc = blob_flush(v->b);
	if (!rc) {
		v->ready_end = to;
		v->flushed_bytes = blob_bytes(v->b);
	}
	return rc;
}

static int take(struct vhdx *v, uint64_t bytes, uint64_t *off)
{
	uint64_t more = bytes > VHDX_GROW_BYTES ? bytes : VHDX_GROW_BYTES;
	int rc = 0;

	if (v->ready_end - v->end < bytes) {
		rc = grow_to(v, v->end + more);
		/* A full file system may still have room for what is needed now. */
		if (rc == -ENOSPC && more > bytes)
			rc = grow_to(v, v->end + bytes);
	}
	if (rc)
		return rc;
	*off = v->end;
	v->end += bytes;
	return 0;
}

/* Entry i of the BAT becomes value: in the transaction now, in memory when that is durable. */
static bool change(struct vhdx *v, struct batch *h, uint64_t i, uint64_t value)
{
	uint64_t at = 8 * i / VHDX_LOG_SECTOR * VHDX_LOG_SECTOR;
	bool fresh;
	uint8_t *p = vhdx_txn_sector(&h->t, v->bat_at.off + at, &fresh);

	if (!p)
		return false;
	if (fresh)
		vhdx_bat_sector(v, at, p);
	vhdx_put_le64(p + (8 * i - at), value);
	h->c[h->n++] = (struct change){ i, value };
	return true;
}

/* The bits of block k are clear, in memory and (if one was set, by whoever had the block before) with the
 * transaction. */
static int clear_bits(struct vhdx *v, struct batch *h, uint64_t k, uint64_t bitmap)
{
	unsigned shift = v->block_shift - v->sector_shift;
	uint64_t word = k << shift >> 6, end = (k + 1) << shift >> 6;

	for (; word < end; word++) {
		struct vhdx_piece *p = atomic_load(&v->pieces[word / VHDX_PIECE_WORDS]);
		uint64_t in_chunk = p->index % (VHDX_BITMAP_BYTES / VHDX_PIECE_BYTES);
		bool fresh;
		uint8_t *raw;

		if (!atomic_load(&p->w[word % VHDX_PIECE_WORDS]))
			continue;
		raw = vhdx_txn_sector(&h->t, bitmap + in_chunk * VHDX_PIECE_BYTES, &fresh);
		if (!raw)
			return -EAGAIN;
		/* Nobody looks at these bits: the block is not partly present yet. */
		atomic_store(&p->w[word % VHDX_PIECE_WORDS], 0);
		if (fresh)
			vhdx_piece_encode(p, raw);
		else
			vhdx_put_le64(raw + 8 * (word % VHDX_PIECE_WORDS), 0);
		h->bits = true;
	}
	return 0;
}

/* The bitmap block of k's chunk, which this transaction may be the one to allocate. */
static int bitmap_block(struct vhdx *v, struct batch *h, uint64_t k, uint64_t *off)
{
	uint64_t entry = vhdx_bat_of_bitmap(v, k >> v->ratio_shift), now = atomic_load(&v->bat[entry]);
	int rc;

	for (unsigned i = 0; i < h->n; i++)
		if (h->c[i].entry == entry)
			now = h->c[i].value;
	*off = VHDX_BAT_OFF(now);
	if (VHDX_BAT_STATE(now) == VHDX_PRESENT)
		return 0;
	rc = take(v, VHDX_BITMAP_BYTES, off);
	if (!rc && !change(v, h, entry, *off | VHDX_PRESENT))
		rc = -EAGAIN;
	return rc;
}

static int prepare_bits(struct vhdx *v, struct batch *h, uint64_t k)
{
	bool had = VHDX_BAT_STATE(atomic_load(&v->bat[vhdx_bat_of_bitmap(v, k >> v->ratio_shift)])) == VHDX_PRESENT;
	uint64_t bitmap;
	int rc;

	if (v->pieces_bytes > VHDX_BITMAPS_BYTES_MAX)
		return -ENOMEM;
	rc = bitmap_block(v, h, k, &bitmap);
	if (!rc)
		rc = vhdx_pieces_load(v, k, had ? bitmap : 0);
	return rc ? rc : clear_bits(v, h, k, bitmap);
}

/* -EAGAIN: the transaction is full; what is in it may be committed. */
static int add_block(struct vhdx *v, struct batch *h, uint64_t k)
{
	uint64_t entry = vhdx_bat_of(v, k), off;
	enum vhdx_state s = VHDX_BAT_STATE(atomic_load(&v->bat[entry])), to = VHDX_PRESENT;
	int rc;

	if (s >= VHDX_PRESENT)
		return 0;
	if (h->blocks == VHDX_ALLOC_BLOCKS || h->t.n + 2 > VHDX_TXN_SECTORS)
		return -EAGAIN;
	if (v->differencing && s == VHDX_NOT_PRESENT) {
		rc = prepare_bits(v, h, k);
		if (rc)
			return rc;
		to = VHDX_PARTIAL;
	}
	rc = take(v, v->block_bytes, &off);
	if (!rc && !change(v, h, entry, off | to))
		rc = -EAGAIN;
	h->blocks += !rc;
	return rc;
}

static int commit(struct vhdx *v, struct batch *h)
{
	int rc = h->bits ? blob_flush(v->b) : 0;

	if (!rc)
		rc = vhdx_txn_commit(&h->t);
	else
		v->failed = true;
	for (unsigned i = 0; i < h->n && !rc; i++)
		atomic_store_explicit(&v->bat[h->c[i].entry], h->c[i].value, memory_order_release);
	if (!rc)
		atomic_fetch_add(&v->used_blocks, h->blocks);
	h->n = h->blocks = 0;
	h->bits = false;
	return rc;
}

int vhdx_alloc_blocks(struct vhdx *v, uint64_t k, uint64_t last)
{
	AUTO_FREE struct batch *h = NULL;
	int rc = 0;

	while (k <= last && VHDX_BAT_STATE(atomic_load(&v->bat[vhdx_bat_of(v, k)])) >= VHDX_PRESENT)
		k++;
	if (k > last)
		return 0;
	h = mem_alloc(sizeof(*h));
	h->t.v = v;
	while (k <= last) {
		int full = add_block(v, h, k);

		if (!full) {
			k++;
			continue;
		}
		if (full != -EAGAIN)
			rc = full;
		/* Space that ran out leaves what is there already in order. */
		if (h->t.n)
			full = commit(v, h);
		if (rc || full)
			return rc ? rc : full;
	}
	return commit(v, h);
}

int vhdx_alloc(void *l, uint64_t off, uint64_t len)
{
	struct vhdx *v = l;
	int rc = vhdx_start(v);

	return rc ? rc : vhdx_alloc_blocks(v, off >> v->block_shift, (off + len - 1) >> v->block_shift);
}

int vhdx_trim(struct vhdx *v)
{
	int rc = 0;

	/* Entries of an open log say how large the file must be. */
	if (v->failed || atomic_load(&v->log_open))
		return -EBUSY;
	if (blob_bytes(v->b) > v->end)
		rc = blob_set_bytes(v->b, v->end);
	v->ready_end = v->end;
	v->file_bytes = v->end;
	if (v->flushed_bytes > v->end)
		v->flushed_bytes = v->end;
	return rc;
}

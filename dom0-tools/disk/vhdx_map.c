/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a range of the guest's disk lies in a VHDX, and the sector bitmaps of
 * partly present blocks: read by the I/O thread, set by it when data has
 * arrived, brought to the file by vhdx_sync.
 */
#include "disk/vhdx_state.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static uint64_t entry_of(const struct vhdx *v, uint64_t block)
{
	return atomic_load_explicit(&v->bat[vhdx_bat_of(v, block)], memory_order_acquire);
}

static struct vhdx_piece *piece_of(const struct vhdx *v, uint64_t sector)
{
	return atomic_load_explicit(&v->pieces[sector >> VHDX_PIECE_SHIFT], memory_order_acquire);
}

static struct vhdx_piece *piece_new(struct vhdx *v, uint32_t index)
{
	struct vhdx_piece *p = mem_alloc(sizeof(*p));

	p->index = index;
	p->next = v->all_pieces;
	v->all_pieces = p;
	v->pieces_bytes += sizeof(*p);
	return p;
}

int vhdx_pieces_load(struct vhdx *v, uint64_t k, uint64_t bitmap_off)
{
	uint64_t first = k << (v->block_shift - v->sector_shift) >> VHDX_PIECE_SHIFT;
	uint64_t last = (((k + 1) << (v->block_shift - v->sector_shift)) - 1) >> VHDX_PIECE_SHIFT;
	uint8_t raw[VHDX_PIECE_BYTES];

	for (uint64_t i = first; i <= last; i++) {
		uint64_t in_chunk = i % (VHDX_BITMAP_BYTES / VHDX_PIECE_BYTES);
		struct vhdx_piece *p;
		int rc = 0;

		if (atomic_load(&v->pieces[i]))
			continue;
		memset(raw, 0, sizeof(raw));
		if (bitmap_off)
			rc = vhdx_read(v, bitmap_off + in_chunk * VHDX_PIECE_BYTES, raw, sizeof(raw));
		if (rc)
			return rc;
		p = piece_new(v, (uint32_t)i);
		for (unsigned w = 0; w < VHDX_PIECE_WORDS; w++) {
			uint64_t word;

			memcpy(&word, raw + 8 * w, 8);
			atomic_store_explicit(&p->w[w], le64toh(word), memory_order_relaxed);
		}
		atomic_store_explicit(&v->pieces[i], p, memory_order_release);
	}
	return 0;
}

void vhdx_piece_encode(const struct vhdx_piece *p, uint8_t raw[VHDX_PIECE_BYTES])
{
	for (unsigned w = 0; w < VHDX_PIECE_WORDS; w++)
		vhdx_put_le64(raw + 8 * w, atomic_load(&p->w[w]));
}

/* How many of n sectors from `s` on, all in partly present blocks, are like the first; *set: what that is. */
static uint64_t bits_run(const struct vhdx *v, uint64_t s, uint64_t n, bool *set)
{
	uint64_t run = 0;

	*set = false;
	while (run < n) {
		const struct vhdx_piece *p = piece_of(v, s + run);
		uint32_t at = (uint32_t)(s + run) & ((1u << VHDX_PIECE_SHIFT) - 1), in = at % 64;
		uint64_t word = atomic_load_explicit(&p->w[at / 64], memory_order_acquire) >> in, other;
		uint32_t same;

		if (!run)
			*set = word & 1;
		other = *set ? ~word : word;
		same = other ? (uint32_t)__builtin_ctzll(other) : 64;
		if (same > 64 - in)
			same = 64 - in;
		run += same;
		if (same < 64 - in)
			break;
	}
	return run < n ? run : n;
}

static enum layer_where where_of(const struct vhdx *v, enum vhdx_state s, bool for_write)
{
	if (s >= VHDX_PRESENT)
		return LAYER_DATA;
	if (for_write || (s == VHDX_NOT_PRESENT && v->differencing))
		return LAYER_BELOW;
	return LAYER_ZERO;
}

/* The run over blocks that are alike and, if they have data, lie one behind the other.  first: the entry of the first
 * one, as the caller judged it; the metadata thread may have changed it since. */
static void map_blocks(const struct vhdx *v, uint64_t first, uint64_t off, uint64_t len, bool for_write,
		       struct layer_run *out)
{
	uint64_t block = off >> v->block_shift, in = off & (v->block_bytes - 1), n = v->block_bytes - in;
	enum layer_where where = where_of(v, VHDX_BAT_STATE(first), for_write);

	while (n < len) {
		uint64_t next = entry_of(v, ++block);

		if (where_of(v, VHDX_BAT_STATE(next), for_write) != where)
			break;
		if (VHDX_BAT_STATE(next) == VHDX_PARTIAL && !for_write)
			break;
		if (where == LAYER_DATA && VHDX_BAT_OFF(next) != VHDX_BAT_OFF(first) + in + n)
			break;
		n += v->block_bytes;
	}
	*out = (struct layer_run){ where, where == LAYER_DATA ? VHDX_BAT_OFF(first) + in : 0, n < len ? n : len };
}

void vhdx_map(void *l, uint64_t off, uint64_t len, bool for_write, struct layer_run *out)
{
	struct vhdx *v = l;
	uint64_t in = off & (v->block_bytes - 1), entry, n;
	bool set;

	assert(len && off % v->sector_bytes == 0 && off + len <= atomic_load(&v->bytes));
	if (for_write && !atomic_load_explicit(&v->started, memory_order_acquire)) {
		/* alloc() has to give the image its new ids before anything changes. */
		*out = (struct layer_run){ LAYER_BELOW, 0, len };
		return;
	}
	entry = entry_of(v, off >> v->block_shift);
	if (for_write || VHDX_BAT_STATE(entry) != VHDX_PARTIAL) {
		map_blocks(v, entry, off, len, for_write, out);
		return;
	}
	if (len > v->block_bytes - in)
		len = v->block_bytes - in;
	n = bits_run(v, off >> v->sector_shift,
		     (len + v->sector_bytes - 1) >> v->sector_shift, &set) << v->sector_shift;
	*out = (struct layer_run){ set ? LAYER_DATA : LAYER_BELOW,
		set ? VHDX_BAT_OFF(entry) + in : 0, n < len ? n : len };
}

static void mark_dirty(struct vhdx *v, struct vhdx_piece *p)
{
	if (atomic_exchange(&p->dirty, true))
		return;
	p->next_dirty = atomic_load(&v->dirty);
	while (!atomic_compare_exchange_weak(&v->dirty, &p->next_dirty, p))
		;
}

static void set_bits(struct vhdx *v, uint64_t s, uint64_t n)
{
	while (n) {
		struct vhdx_piece *p = piece_of(v, s);
		uint32_t at = (uint32_t)s & ((1u << VHDX_PIECE_SHIFT) - 1), in = at % 64;
		uint64_t k = n < 64 - in ? n : 64 - in;
		uint64_t mask = (k == 64 ? UINT64_MAX : (1ull << k) - 1) << in;

		if (~atomic_fetch_or(&p->w[at / 64], mask) & mask)
			mark_dirty(v, p);
		s += k;
		n -= k;
	}
}

void vhdx_written(void *l, uint64_t off, uint64_t len)
{
	struct vhdx *v = l;

	while (v->pieces && len) {
		uint64_t n = v->block_bytes - (off & (v->block_bytes - 1));

		if (n > len)
			n = len;
		if (VHDX_BAT_STATE(entry_of(v, off >> v->block_shift)) == VHDX_PARTIAL)
			set_bits(v, off >> v->sector_shift, n >> v->sector_shift);
		off += n;
		len -= n;
	}
}

/* The list first: vhdx_sync says `syncing` before it takes the list, and until what it took is durable. */
bool vhdx_dirty(const void *l)
{
	const struct vhdx *v = l;

	return atomic_load(&v->dirty) || atomic_load(&v->syncing) || atomic_load(&v->log_open);
}

/* Moves pieces of *list into the transaction until one is full; took: which.  From here on a new bit puts a piece into
 * the list again. */
static unsigned snapshot(struct vhdx *v, struct vhdx_piece **list, struct vhdx_txn *t, struct vhdx_piece **took)
{
	while (*list && t->n < VHDX_TXN_SECTORS) {
		struct vhdx_piece *p = *list;
		uint64_t chunk = p->index / (VHDX_BITMAP_BYTES / VHDX_PIECE_BYTES);
		uint64_t in_chunk = p->index % (VHDX_BITMAP_BYTES / VHDX_PIECE_BYTES);
		uint64_t bitmap = VHDX_BAT_OFF(atomic_load(&v->bat[vhdx_bat_of_bitmap(v, chunk)]));
		bool fresh;

		*list = p->next_dirty;
		atomic_store(&p->dirty, false);
		took[t->n] = p;
		vhdx_piece_encode(p, vhdx_txn_sector(t, bitmap + in_chunk * VHDX_PIECE_BYTES, &fresh));
	}
	return t->n;
}

/* The bits as they are, then the data they name, then the log. */
static int sync_pieces(struct vhdx *v, struct vhdx_piece *list)
{
	AUTO_FREE struct vhdx_txn *t = mem_alloc(sizeof(*t));
	struct vhdx_piece *took[VHDX_TXN_SECTORS];
	int rc = v->failed ? -EIO : 0;

	t->v = v;
	while (list && !rc) {
		unsigned n = snapshot(v, &list, t, took);

		rc = blob_flush(v->b);
		if (!rc)
			rc = vhdx_txn_commit(t);
		for (unsigned i = 0; rc && i < n; i++)
			mark_dirty(v, took[i]);
	}
	while (list) {
		struct vhdx_piece *p = list;

		list = p->next_dirty;
		atomic_store(&p->dirty, false);
		mark_dirty(v, p);
	}
	return rc;
}

int vhdx_sync(void *l)
{
	struct vhdx *v = l;
	struct vhdx_piece *list;
	int rc;

	atomic_store(&v->syncing, true);
	list = atomic_exchange(&v->dirty, NULL);
	rc = list ? sync_pieces(v, list) : 0;
	if (!rc && !v->failed)
		rc = vhdx_log_close(v);
	else if (!rc)
		rc = blob_flush(v->b);	/* what is in the log is durable, and no bit is missing there */
	atomic_store(&v->syncing, false);
	return rc;
}

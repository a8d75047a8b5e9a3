/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a range of the guest's disk lies in a VHD file, and the bitmaps that
 * say which sectors of a block are there: read by the I/O thread, set by it
 * when data has arrived, brought to the file by vhd_sync.
 */
#include "disk/vhd_state.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "base/buf.h"

struct vhd_bits *vhd_bits_new(struct vhd *v, uint32_t block)
{
	struct vhd_bits *bits = mem_alloc(sizeof(struct vhd_bits) + 8 * (size_t)v->bitmap_words);

	bits->block = block;
	v->bits_bytes += 8ull * v->bitmap_words;
	return bits;
}

void vhd_bits_decode(const struct vhd *v, const uint8_t *raw, struct vhd_bits *out)
{
	for (uint32_t i = 0; i < v->bitmap_words; i++) {
		uint64_t word;

		memcpy(&word, raw + 8 * i, 8);
		atomic_store_explicit(&out->w[i], be64toh(word), memory_order_relaxed);
	}
}

void vhd_bits_encode(const struct vhd *v, const struct vhd_bits *bits, uint8_t *raw)
{
	for (uint32_t i = 0; i < v->bitmap_words; i++) {
		uint64_t word = htobe64(atomic_load(&bits->w[i]));

		memcpy(raw + 8 * i, &word, 8);
	}
	memset(raw + 8 * v->bitmap_words, 0, v->bitmap_bytes - 8 * v->bitmap_words);
}

/* How many of n sectors from `at` on are like the first; *set: what that is. */
static uint32_t bits_run(const struct vhd_bits *bits, uint32_t at, uint32_t n, bool *set)
{
	uint32_t run = 0;

	*set = atomic_load_explicit(&bits->w[at / 64], memory_order_acquire) >> (63 - at % 64) & 1;
	while (run < n) {
		uint32_t in = (at + run) % 64;
		uint64_t word = atomic_load_explicit(&bits->w[(at + run) / 64], memory_order_acquire);
		uint64_t other = (*set ? ~word : word) << in;
		uint32_t same = other ? (uint32_t)__builtin_clzll(other) : 64 - in;

		run += same;
		if (same < 64 - in)
			break;
	}
	return run < n ? run : n;
}

/* No block at off: the run goes on over all that are missing too. */
static uint64_t missing_run(const struct vhd *v, const struct vhd_table *t, uint64_t off, uint64_t len)
{
	uint64_t n = v->h.block_bytes - (off & (v->h.block_bytes - 1));

	while (n < len && !atomic_load_explicit(&t->e[(off + n) >> v->block_shift].sector, memory_order_acquire))
		n += v->h.block_bytes;
	return n < len ? n : len;
}

void vhd_map(void *l, uint64_t off, uint64_t len, bool for_write, struct layer_run *out)
{
	struct vhd *v = l;
	const struct vhd_table *t = atomic_load_explicit(&v->table, memory_order_acquire);
	enum layer_where nothing = v->type == VHD_DIFFERENCING || for_write ? LAYER_BELOW : LAYER_ZERO;
	uint32_t block, in;
	uint64_t sector;
	struct vhd_bits *bits;
	bool set = true;

	assert(len && off % VHD_SECTOR == 0 && off + len <= atomic_load(&v->bytes));
	if (!t) {
		*out = (struct layer_run){ LAYER_DATA, off, len };
		return;
	}
	block = (uint32_t)(off >> v->block_shift);
	in = (uint32_t)(off & (v->h.block_bytes - 1));
	sector = atomic_load_explicit(&t->e[block].sector, memory_order_acquire);
	if (!sector) {
		*out = (struct layer_run){ nothing, 0, missing_run(v, t, off, len) };
		return;
	}
	if (len > v->h.block_bytes - in)
		len = v->h.block_bytes - in;
	bits = atomic_load_explicit(&t->e[block].bits, memory_order_acquire);
	if (bits && !for_write) {
		uint32_t n = bits_run(bits, in / VHD_SECTOR, (uint32_t)((len + VHD_SECTOR - 1) / VHD_SECTOR), &set);

		if ((uint64_t)n * VHD_SECTOR < len)
			len = (uint64_t)n * VHD_SECTOR;
	}
	out->where = set ? LAYER_DATA : nothing;
	out->off = set ? sector * VHD_SECTOR + v->bitmap_bytes + in : 0;
	out->bytes = len;
}

/* True when a bit was clear before. */
static bool bits_set(struct vhd_bits *bits, uint32_t at, uint32_t n)
{
	bool changed = false;

	while (n) {
		uint32_t in = at % 64;
		uint32_t k = n < 64 - in ? n : 64 - in;
		uint64_t mask = (k == 64 ? UINT64_MAX : ((1ull << k) - 1) << (64 - k)) >> in;

		if (~atomic_fetch_or(&bits->w[at / 64], mask) & mask)
			changed = true;
		at += k;
		n -= k;
	}
	return changed;
}

static void mark_dirty(struct vhd *v, struct vhd_bits *bits)
{
	if (atomic_exchange(&bits->dirty, true))
		return;
	bits->next_dirty = atomic_load(&v->dirty);
	while (!atomic_compare_exchange_weak(&v->dirty, &bits->next_dirty, bits))
		;
}

void vhd_written(void *l, uint64_t off, uint64_t len)
{
	struct vhd *v = l;
	const struct vhd_table *t = atomic_load_explicit(&v->table, memory_order_acquire);

	while (t && len) {
		uint32_t in = (uint32_t)(off & (v->h.block_bytes - 1));
		uint32_t n = v->h.block_bytes - in;
		struct vhd_bits *bits = atomic_load_explicit(&t->e[off >> v->block_shift].bits, memory_order_acquire);

		if (n > len)
			n = (uint32_t)len;
		if (bits && bits_set(bits, in / VHD_SECTOR, n / VHD_SECTOR))
			mark_dirty(v, bits);
		off += n;
		len -= n;
	}
}

/* The list first: vhd_sync says `syncing` before it takes the list, and until what it took is durable. */
bool vhd_dirty(const void *l)
{
	const struct vhd *v = l;

	return atomic_load(&v->dirty) || atomic_load(&v->syncing);
}

/* Takes the dirty list; the bitmaps as they are now go into raw, one behind the other. */
static uint32_t snapshot(struct vhd *v, struct buf *raw, struct vhd_bits ***out)
{
	struct vhd_bits **all = NULL;
	uint32_t n = 0, room = 0;
	struct vhd_bits *next;

	for (struct vhd_bits *bits = atomic_exchange(&v->dirty, NULL); bits; bits = next, n++) {
		next = bits->next_dirty;
		if (n == room) {
			room = room ? 2 * room : 64;
			all = mem_realloc(all, room * sizeof(struct vhd_bits *));
		}
		all[n] = bits;
		/* From here on a new bit puts it in the list again. */
		atomic_store(&bits->dirty, false);
		buf_reserve(raw, v->bitmap_bytes);
		vhd_bits_encode(v, bits, raw->p + raw->len);
		raw->len += v->bitmap_bytes;
	}
	*out = all;
	return n;
}

static int write_bitmaps(struct vhd *v, struct vhd_bits *const *all, const uint8_t *raw, uint32_t n)
{
	const struct vhd_table *t = atomic_load(&v->table);
	int rc = blob_flush(v->b);	/* the data before the bits that name it */

	for (uint32_t i = 0; i < n && !rc; i++) {
		uint64_t at = (uint64_t)atomic_load(&t->e[all[i]->block].sector) * VHD_SECTOR;

		rc = blob_write(v->b, at, raw + (size_t)i * v->bitmap_bytes, v->bitmap_bytes);
	}
	return rc ? rc : blob_flush(v->b);
}

int vhd_sync(void *l)
{
	struct vhd *v = l;
	AUTO_BUF struct buf raw = { 0 };
	AUTO_FREE struct vhd_bits **all = NULL;
	uint32_t n;
	int rc;

	atomic_store(&v->syncing, true);
	n = snapshot(v, &raw, &all);
	rc = n ? write_bitmaps(v, all, raw.p, n) : 0;
	for (uint32_t i = 0; rc && i < n; i++)
		mark_dirty(v, all[i]);
	atomic_store(&v->syncing, false);
	return rc;
}

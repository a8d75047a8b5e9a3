/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BAT into memory, at open: every entry's state must be one that the
 * disk's kind knows, every block lie in the file and on nothing else.
 */
#include "disk/vhdx_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/rd.h"

enum { BAT_CHUNK = 64 << 10 };

/* A part of the file and what it is: a region (of the table, or the log), or the block of a BAT entry. */
struct used {
	uint64_t off, bytes;
	uint64_t entry;			/* of the BAT; NO_ENTRY: a region */
	bool payload;
};

#define NO_ENTRY UINT64_MAX

uint64_t vhdx_bat_room(const struct vhdx *v)
{
	uint64_t ratio = 1ull << v->ratio_shift;
	uint64_t whole = v->bat_entries / (ratio + 1), rest = v->bat_entries % (ratio + 1);

	return (whole << v->ratio_shift) + (v->differencing ? 0 : rest < ratio ? rest : ratio);
}

void vhdx_bat_sector(const struct vhdx *v, uint64_t at, uint8_t out[VHDX_LOG_SECTOR])
{
	for (uint64_t i = 0; i < VHDX_LOG_SECTOR / 8; i++)
		vhdx_put_le64(out + 8 * i, atomic_load(&v->bat[at / 8 + i]));
}

static bool is_bitmap(const struct vhdx *v, uint64_t entry)
{
	uint64_t ratio = 1ull << v->ratio_shift;

	return entry % (ratio + 1) == ratio;
}

static int check_state(const struct vhdx *v, uint64_t i, uint64_t raw, struct err *e)
{
	enum vhdx_state s = VHDX_BAT_STATE(raw);
	bool bitmap = is_bitmap(v, i);
	bool good = bitmap ? s == VHDX_NOT_PRESENT || s == VHDX_PRESENT :
			     s <= VHDX_UNMAPPED || s == VHDX_PRESENT || (s == VHDX_PARTIAL && v->differencing);

	return good ? 0 : err_set(e, ERR_CORRUPT, "'%s': BAT entry %llu: state %d of a %s block", blob_name(v->b),
				  (unsigned long long)i, (int)s, bitmap ? "bitmap" : "payload");
}

static int take_entry(struct vhdx *v, uint64_t i, uint64_t raw, struct buf *used, struct err *e)
{
	struct used u = { .off = VHDX_BAT_OFF(raw), .entry = i, .payload = !is_bitmap(v, i) };

	/* Of a disk without a parent these mean nothing, and some programs leave garbage there. */
	if (!u.payload && !v->differencing)
		return 0;
	if (check_state(v, i, raw, e) < 0)
		return -1;
	atomic_store(&v->bat[i], raw);
	u.bytes = u.payload ? v->block_bytes : VHDX_BITMAP_BYTES;
	if (VHDX_BAT_STATE(raw) < VHDX_PRESENT) {
		/* A place that the block may still hold: nothing else goes there. */
		if (u.off < v->file_bytes && v->file_bytes - u.off >= u.bytes && u.off + u.bytes > v->end)
			v->end = u.off + u.bytes;
		return 0;
	}
	if (u.off < VHDX_MIB || u.off > v->file_bytes || u.bytes > v->file_bytes - u.off)
		return err_set(e, ERR_CORRUPT,
			       "'%s': BAT entry %llu: block at byte %llu is not in the file's %llu bytes: "
			       "cut short", blob_name(v->b), (unsigned long long)i, (unsigned long long)u.off,
			       (unsigned long long)v->file_bytes);
	buf_put(used, &u, sizeof(u));
	if (u.payload)
		atomic_fetch_add(&v->used_blocks, 1);
	return 0;
}

static int load_entries(struct vhdx *v, uint64_t n, struct buf *used, struct err *e)
{
	AUTO_FREE uint8_t *raw = mem_alloc(BAT_CHUNK);

	for (uint64_t i = 0; i < n;) {
		uint64_t k = n - i < BAT_CHUNK / 8 ? n - i : BAT_CHUNK / 8;
		struct rd r = rd_of(raw, 8 * k);
		int rc = vhdx_read(v, v->bat_at.off + 8 * i, raw, 8 * k);

		if (rc)
			return err_sys(e, -rc, "read '%s': BAT entry %llu", blob_name(v->b), (unsigned long long)i);
		for (uint64_t end = i + k; i < end; i++)
			if (take_entry(v, i, rd_le64(&r), used, e) < 0)
				return -1;
	}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct used *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static int overlap_err(const struct vhdx *v, const struct used *x, const struct used *y, struct err *e)
{
	const struct used *block = x->entry != NO_ENTRY ? x : y;
	unsigned long long at = y->off;

	if (block->entry == NO_ENTRY)
		return err_set(e, ERR_CORRUPT, "'%s': two regions overlap at byte %llu", blob_name(v->b), at);
	if (x->entry == NO_ENTRY || y->entry == NO_ENTRY)
		return err_set(e, ERR_CORRUPT, "'%s': BAT entry %llu: block at byte %llu lies on a region",
			       blob_name(v->b),
			       (unsigned long long)block->entry, (unsigned long long)block->off);
	return err_set(e, ERR_CORRUPT, "'%s': blocks of BAT entries %llu and %llu overlap at byte %llu",
		       blob_name(v->b),
		       (unsigned long long)x->entry, (unsigned long long)y->entry, at);
}

/* The payload block of u[0..n), sorted, that patch c changes; NULL: none. */
static const struct used *payload_hit(const struct used *u, size_t n, const struct vhdx_patch *c)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (u[mid].off < c->off + c->bytes)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low && u[low - 1].off + u[low - 1].bytes > c->off; low--)
		if (u[low - 1].payload)
			return &u[low - 1];
	return NULL;
}

/* Read-only and a log: what it changes must be tables, which are in memory, because data is read past the patches. */
static int check_patches(const struct vhdx *v, const struct used *u, size_t n, struct err *e)
{
	const struct used *hit = NULL;

	if (!blob_read_only(v->b))
		return 0;
	for (uint32_t k = 0; k < v->n_patches && !hit; k++)
		hit = payload_hit(u, n, &v->patches[k]);
	if (!hit && n && u[n - 1].payload && u[n - 1].off + u[n - 1].bytes > blob_bytes(v->b))
		hit = &u[n - 1];
	if (!hit)
		return 0;
	err_set(e, ERR_STATE, "'%s': the log must be replayed: it changes the data of BAT entry %llu", blob_name(v->b),
		(unsigned long long)hit->entry);
	return err_remedy(e, "open the image once for writing");
}

static int check_places(struct vhdx *v, struct buf *used, struct err *e)
{
	struct used *u;
	size_t n;

	for (uint32_t i = 0; i < v->n_regions; i++) {
		struct used r = { v->regions[i].off, v->regions[i].bytes, NO_ENTRY, false };

		buf_put(used, &r, sizeof(r));
	}
	u = (struct used *)(void *)used->p;
	n = used->len / sizeof(*u);
	qsort(u, n, sizeof(*u), by_place);
	for (size_t i = 0; i < n; i++) {
		if (i && u[i].off - u[i - 1].off < u[i - 1].bytes)
			return overlap_err(v, &u[i - 1], &u[i], e);
		if (u[i].off + u[i].bytes > v->end)
			v->end = u[i].off + u[i].bytes;
	}
	return check_patches(v, u, n, e);
}

static int load_pieces(struct vhdx *v, struct err *e)
{
	uint64_t blocks = vhdx_blocks(v, atomic_load(&v->bytes));

	for (uint64_t k = 0; k < blocks; k++) {
		uint64_t chunk = k >> v->ratio_shift, entry = vhdx_bat_of_bitmap(v, chunk), bitmap;
		int rc;

		if (VHDX_BAT_STATE(atomic_load(&v->bat[vhdx_bat_of(v, k)])) != VHDX_PARTIAL)
			continue;
		bitmap = atomic_load(&v->bat[entry]);
		if (VHDX_BAT_STATE(bitmap) != VHDX_PRESENT)
			return err_set(e, ERR_CORRUPT,
				       "'%s': block %llu is partly present, but BAT entry %llu has no bitmap "
				       "block", blob_name(v->b), (unsigned long long)k, (unsigned long long)entry);
		if (v->pieces_bytes > VHDX_BITMAPS_BYTES_MAX) {
			err_set(e, ERR_LIMIT, "'%s': more than %d bytes of bitmaps", blob_name(v->b),
				VHDX_BITMAPS_BYTES_MAX);
			return err_remedy(e, "merge the image with its parent, or convert it");
		}
		rc = vhdx_pieces_load(v, k, VHDX_BAT_OFF(bitmap));
		if (rc)
			return err_sys(e, -rc, "read '%s': bitmap of block %llu",
				       blob_name(v->b), (unsigned long long)k);
	}
	return 0;
}

int vhdx_load_bat(struct vhdx *v, struct err *e)
{
	AUTO_BUF struct buf used = { 0 };
	uint64_t blocks = vhdx_blocks(v, atomic_load(&v->bytes));
	uint64_t need = vhdx_bat_need(blocks, v->ratio_shift, v->differencing), reach;

	v->bat_entries = (uint32_t)(v->bat_at.bytes / 8);
	if (need > v->bat_entries)
		return err_set(e, ERR_CORRUPT, "'%s': BAT with room for %u entries, the disk's %llu bytes need %llu",
			       blob_name(v->b), v->bat_entries, (unsigned long long)atomic_load(&v->bytes),
			       (unsigned long long)need);
	v->bat = mem_alloc((size_t)v->bat_entries * sizeof(*v->bat));
	v->end = VHDX_MIB;
	if (load_entries(v, need, &used, e) < 0 || check_places(v, &used, e) < 0)
		return -1;
	v->ready_end = v->end;
	if (!v->differencing)
		return 0;
	reach = vhdx_bat_room(v) << v->block_shift;
	if (reach > VHDX_BYTES_MAX)
		reach = vhdx_round(VHDX_BYTES_MAX, v->block_bytes);
	v->n_pieces = (uint32_t)(((reach >> v->sector_shift) + (1u << VHDX_PIECE_SHIFT) - 1) >> VHDX_PIECE_SHIFT);
	v->pieces = mem_alloc(v->n_pieces * sizeof(*v->pieces));
	return load_pieces(v, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a dynamic or differencing VHD into memory, at open: each entry
 * of the BAT must name a block inside the file that nothing else uses; every
 * bitmap with a clear bit is kept.
 *
 * Costs one small read per block of the file.
 */
#include "disk/vhd_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/rd.h"

enum { BAT_CHUNK = 64 << 10 };

struct vhd_table *vhd_table_new(uint32_t n)
{
	struct vhd_table *t = mem_alloc(sizeof(*t) + (size_t)n * sizeof(t->e[0]));

	t->n = n;
	return t;
}

void vhd_table_free(struct vhd_table *t)
{
	/* The newest table names all bitmaps. */
	for (uint32_t i = 0; t && i < t->n; i++)
		free(atomic_load(&t->e[i].bits));
	while (t) {
		struct vhd_table *old = t->old;

		free(t);
		t = old;
	}
}

static int read_at(struct vhd *v, uint64_t off, void *p, size_t n, struct err *e)
{
	int rc = blob_read(v->b, off, p, n);

	return rc ? err_sys(e, -rc, "read '%s' at byte %llu", blob_name(v->b), (unsigned long long)off) : 0;
}

uint64_t vhd_locator_space(const struct vhd *v, int i)
{
	const struct vhd_locator *loc = &v->h.locators[i];
	/* Bytes, or (as the specification has it) sectors. */
	uint64_t space = loc->space < VHD_SECTOR ? (uint64_t)loc->space * VHD_SECTOR : loc->space;
	uint64_t bytes = blob_bytes(v->b);

	if (v->f.type != VHD_DIFFERENCING)
		return 0;
	if (!loc->code || space < loc->bytes)
		space = loc->code ? loc->bytes : 0;
	return loc->off < VHD_FOOTER_BYTES || loc->off > bytes || space > bytes - loc->off ? 0 : space;
}

static bool locator_name(const struct vhd *v, uint32_t code, char out[DISK_NAME_BYTES])
{
	uint8_t raw[VHD_LOCATOR_BYTES_MAX];

	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *loc = &v->h.locators[i];
		size_t n = loc->bytes < sizeof(raw) ? loc->bytes : sizeof(raw);

		if (loc->code != code || !vhd_locator_space(v, i) || blob_read(v->b, loc->off, raw, n))
			continue;
		vhd_name_decode(raw, n, false, out, DISK_NAME_BYTES);
		for (char *p = out; *p; p++)
			if (*p == '\\')
				*p = '/';
		if (*out)
			return true;
	}
	return false;
}

void vhd_parent_name(const struct vhd *v, char out[DISK_NAME_BYTES])
{
	out[0] = '\0';
	if (v->f.type != VHD_DIFFERENCING)
		return;
	vhd_name_decode(v->h.parent_name, VHD_NAME_BYTES, true, out, DISK_NAME_BYTES);
	if (*out || locator_name(v, VHD_LOC_RELATIVE, out))
		return;
	locator_name(v, VHD_LOC_ABSOLUTE, out);
}

static int check_header(struct vhd *v, uint64_t limit, struct err *e)
{
	uint64_t table = vhd_table_bytes(v->h.entries);

	if (v->h.table_off < v->f.header_off + VHD_HEADER_BYTES && v->f.header_off < v->h.table_off + table)
		return err_set(e, ERR_CORRUPT, "'%s': table offset %llu lies on the header at byte %llu",
			       blob_name(v->b), (unsigned long long)v->h.table_off,
			       (unsigned long long)v->f.header_off);
	if (v->h.table_off > limit || table > limit - v->h.table_off)
		return err_set(e, ERR_CORRUPT, "'%s': table of %u entries at byte %llu ends past the file's %llu bytes",
			       blob_name(v->b), v->h.entries, (unsigned long long)v->h.table_off,
			       (unsigned long long)limit);
	if (v->h.entries < vhd_blocks(v, v->f.current_bytes))
		return err_set(e, ERR_CORRUPT, "'%s': %u table entries, but %llu bytes in blocks of %u need %u",
			       blob_name(v->b), v->h.entries, (unsigned long long)v->f.current_bytes, v->h.block_bytes,
			       vhd_blocks(v, v->f.current_bytes));
	return 0;
}

static bool overlaps(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a_bytes && b_bytes && a < b + b_bytes && b < a + a_bytes;
}

/* What an entry's block must not lie on: the structures of the file, and what is past its end. */
static int check_entry(const struct vhd *v, uint32_t i, uint32_t sector, uint64_t limit, struct err *e)
{
	uint64_t off = (uint64_t)sector * VHD_SECTOR, n = (uint64_t)v->bitmap_bytes + v->h.block_bytes;
	unsigned long long at = off;
	const char *what = NULL;

	if (off + n > limit)
		return err_set(e, ERR_CORRUPT, "'%s': table entry %u: block at byte %llu ends past the data, which "
			       "ends at byte %llu: the file was cut short", blob_name(v->b), i, at,
			       (unsigned long long)limit);
	if (overlaps(off, n, 0, VHD_FOOTER_BYTES))
		what = "footer";
	else if (overlaps(off, n, v->f.header_off, VHD_HEADER_BYTES))
		what = "header";
	else if (overlaps(off, n, v->h.table_off, vhd_table_bytes(v->h.entries)))
		what = "table";
	for (int k = 0; k < VHD_LOCATORS; k++)
		if (overlaps(off, n, v->h.locators[k].off, vhd_locator_space(v, k)))
			what = "parent locator";
	if (what)
		return err_set(e, ERR_CORRUPT, "'%s': table entry %u: block at byte %llu lies on the %s",
			       blob_name(v->b), i, at, what);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* No two blocks share a byte: `sectors` sorted, each a block further than the one before. */
static int check_overlap(const struct vhd *v, uint32_t *sectors, size_t n, struct err *e)
{
	uint32_t block_sectors = (v->bitmap_bytes + v->h.block_bytes) / VHD_SECTOR;

	if (n)
		qsort(sectors, n, sizeof(*sectors), by_number);
	for (size_t i = 1; i < n; i++)
		if (sectors[i] - sectors[i - 1] < block_sectors)
			return err_set(e, ERR_CORRUPT, "'%s': blocks at sectors %u and %u of the file overlap "
				       "(%u sectors each)", blob_name(v->b), sectors[i - 1], sectors[i], block_sectors);
	return 0;
}

static int load_table(struct vhd *v, struct vhd_table *t, uint64_t limit, struct err *e)
{
	AUTO_FREE uint8_t *raw = mem_alloc(BAT_CHUNK);
	AUTO_BUF struct buf used = { 0 };
	uint64_t left = vhd_table_bytes(t->n), off = v->h.table_off;
	struct rd r = { 0 };

	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t sector;

		if (!rd_left(&r)) {
			size_t n = left < BAT_CHUNK ? left : BAT_CHUNK;

			if (read_at(v, off, raw, n, e) < 0)
				return -1;
			r = rd_of(raw, n);
			off += n;
			left -= n;
		}
		sector = rd_be32(&r);
		if (sector == VHD_BAT_FREE)
			continue;
		if (check_entry(v, i, sector, limit, e) < 0)
			return -1;
		atomic_store(&t->e[i].sector, sector);
		buf_put(&used, &sector, sizeof(sector));
	}
	atomic_store(&v->used_blocks, used.len / 4);
	return check_overlap(v, (uint32_t *)(void *)used.p, used.len / 4, e);
}

/* Keeps the bitmap of block i if one of its sectors is not there. */
static int load_bitmap(struct vhd *v, struct vhd_table *t, uint32_t i, uint8_t *raw, struct err *e)
{
	struct vhd_bits *bits;

	if (read_at(v, (uint64_t)atomic_load(&t->e[i].sector) * VHD_SECTOR, raw, v->bitmap_bytes, e) < 0)
		return -1;
	if (raw[0] == 0xff && !memcmp(raw, raw + 1, 8 * v->bitmap_words - 1))
		return 0;
	bits = vhd_bits_new(v, i);
	vhd_bits_decode(v, raw, bits);
	if (v->bits_bytes > VHD_BITMAPS_MAX_BYTES) {
		free(bits);
		return err_set(e, ERR_LIMIT, "'%s': bitmaps of more than %d bytes", blob_name(v->b),
			       VHD_BITMAPS_MAX_BYTES);
	}
	atomic_store(&t->e[i].bits, bits);
	return 0;
}

static uint64_t find_end(const struct vhd *v, const struct vhd_table *t)
{
	uint64_t end = v->f.header_off + VHD_HEADER_BYTES;

	if (v->h.table_off + vhd_table_bytes(t->n) > end)
		end = v->h.table_off + vhd_table_bytes(t->n);
	for (int i = 0; i < VHD_LOCATORS; i++)
		if (vhd_locator_space(v, i) && v->h.locators[i].off + vhd_locator_space(v, i) > end)
			end = v->h.locators[i].off + vhd_locator_space(v, i);
	for (uint32_t i = 0; i < t->n; i++) {
		uint64_t sector = atomic_load(&t->e[i].sector);
		uint64_t behind = sector * VHD_SECTOR + v->bitmap_bytes + v->h.block_bytes;

		if (sector && behind > end)
			end = behind;
	}
	return vhd_round(end, VHD_SECTOR);
}

static int load_header(struct vhd *v, uint64_t limit, struct err *e)
{
	if (v->f.header_off > limit || VHD_HEADER_BYTES > limit - v->f.header_off)
		return err_set(e, ERR_CORRUPT, "'%s': header at byte %llu ends past the file's %llu bytes",
			       blob_name(v->b), (unsigned long long)v->f.header_off, (unsigned long long)limit);
	if (read_at(v, v->f.header_off, v->raw_header, sizeof(v->raw_header), e) < 0)
		return -1;
	if (vhd_header_decode(v->raw_header, v->f.header_off, &v->h, e) < 0)
		return err_wrap(e, "'%s'", blob_name(v->b));
	v->bitmap_bytes = vhd_bitmap_bytes(v->h.block_bytes);
	v->bitmap_words = v->h.block_bytes / VHD_SECTOR / 64;
	v->block_shift = (unsigned)__builtin_ctz(v->h.block_bytes);
	return check_header(v, limit, e);
}

int vhd_load(struct vhd *v, uint64_t limit, struct err *e)
{
	AUTO_FREE uint8_t *raw = NULL;
	struct vhd_table *t;

	if (load_header(v, limit, e) < 0)
		return -1;
	t = vhd_table_new(v->h.entries);
	atomic_store(&v->table, t);
	if (load_table(v, t, limit, e) < 0)
		return -1;
	raw = mem_alloc(v->bitmap_bytes);
	for (uint32_t i = 0; i < t->n; i++)
		if (atomic_load(&t->e[i].sector) && load_bitmap(v, t, i, raw, e) < 0)
			return -1;
	v->end = find_end(v, t);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New blocks of a dynamic or differencing VHD.
 *
 * A block's bitmap is the same whatever part of the disk it will hold, so
 * blocks are prepared at the end of the file several at a time:
 *
 *	extend by n blocks, footer behind them, zero the old footer,
 *	bitmaps, flush                        (once for n blocks)
 *	BAT sector that names one of them     (512 bytes: old or new)
 *
 * and giving one to a place of the disk is one write without a flush: it is
 * durable with the flush that makes the guest's data durable.  Until then a
 * power cut leaves the block unnamed, and the place as it was before.
 *
 * Blocks that are prepared and not used are cut off again by vhd_trim, because
 * other programs allocate right behind the last block that the BAT names.
 */
#include "disk/vhd_state.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"

int vhd_trim(struct vhd *v)
{
	int rc;

	v->ready_n = 0;
	v->tail_used = true;
	if (blob_bytes(v->b) < v->end + VHD_FOOTER_BYTES) {
		rc = blob_set_bytes(v->b, v->end + VHD_FOOTER_BYTES);
		if (rc)
			return rc;
	}
	rc = blob_write(v->b, v->end, v->raw_footer, VHD_FOOTER_BYTES);
	if (!rc)
		rc = blob_flush(v->b);
	if (!rc)
		rc = blob_set_bytes(v->b, v->end + VHD_FOOTER_BYTES);
	if (!rc)
		rc = blob_flush(v->b);
	v->tail_used = rc != 0;
	return rc;
}

int vhd_extend(struct vhd *v, uint64_t new_end)
{
	int rc = v->tail_used || v->ready_n ? vhd_trim(v) : 0;

	if (rc)
		return rc;
	v->extended = true;
	v->tail_used = true;		/* the caller clears it when what is there is in order */
	rc = blob_set_bytes(v->b, new_end + VHD_FOOTER_BYTES);
	if (!rc)
		rc = blob_write(v->b, new_end, v->raw_footer, VHD_FOOTER_BYTES);
	return rc ? rc : blob_zero(v->b, v->end, VHD_FOOTER_BYTES);
}

static uint64_t block_stride(const struct vhd *v)
{
	return vhd_round((uint64_t)v->bitmap_bytes + v->h.block_bytes, VHD_DATA_ALIGN);
}

/* Blocks to prepare when `need` are needed now: twice as many as the last time, up to the limits and what the disk
 * lacks. */
static uint32_t how_many(const struct vhd *v, uint32_t need)
{
	uint32_t have = (uint32_t)atomic_load(&v->used_blocks), lack = vhd_blocks(v, atomic_load(&v->bytes));
	uint32_t most = VHD_READY_BYTES_MAX / v->h.block_bytes;
	uint32_t n = v->ready_last * 2;

	lack = lack > have ? lack - have : 0;
	if (most > VHD_READY_MAX)
		most = VHD_READY_MAX;
	if (n > most)
		n = most;
	if (n > lack)
		n = lack;
	return n > need ? n : need;
}

static int prepare_n(struct vhd *v, uint32_t n)
{
	uint64_t first = vhd_round(v->end + v->bitmap_bytes, VHD_DATA_ALIGN);
	uint64_t new_end = first + (n - 1) * block_stride(v) + v->h.block_bytes;
	AUTO_FREE uint8_t *ones = mem_alloc(v->bitmap_bytes);
	int rc;

	if (new_end / VHD_SECTOR >= VHD_BAT_FREE)
		return -ENOSPC;		/* the BAT cannot say where */
	rc = vhd_extend(v, new_end);
	memset(ones, 0xff, v->bitmap_bytes);
	/* All of a dynamic disk's new block is there and zero; of a differencing one nothing is. */
	for (uint32_t i = 0; i < n && !rc && v->f.type == VHD_DYNAMIC; i++)
		rc = blob_write(v->b, first + i * block_stride(v) - v->bitmap_bytes, ones, v->bitmap_bytes);
	if (!rc)
		rc = blob_flush(v->b);
	if (rc)
		return rc;
	v->tail_used = false;
	v->ready_off = first;
	v->ready_n = n;
	v->ready_last = n < VHD_READY_MAX ? n : VHD_READY_MAX;
	return 0;
}

static int prepare(struct vhd *v, uint32_t need)
{
	uint32_t n = how_many(v, need);
	int rc = prepare_n(v, n);

	/* A full file system may still have room for fewer. */
	while (rc == -ENOSPC && n > 1)
		rc = prepare_n(v, n /= 2);
	return rc;
}

void vhd_bat_sector(const struct vhd_table *t, uint32_t first, uint32_t out[VHD_BAT_SECTOR_ENTRIES])
{
	for (uint32_t i = 0; i < VHD_BAT_SECTOR_ENTRIES; i++) {
		uint32_t sector = first + i < t->n ? atomic_load(&t->e[first + i].sector) : 0;

		out[i] = htobe32(sector ? sector : VHD_BAT_FREE);
	}
}

/* Prepared blocks for the places [block, last], all in one BAT sector, until there are none left.  Names them in the
 * file first, in memory (where the I/O thread sees them) second. */
static int give(struct vhd *v, struct vhd_table *t, uint32_t *block, uint32_t last)
{
	uint32_t first = *block / VHD_BAT_SECTOR_ENTRIES * VHD_BAT_SECTOR_ENTRIES;
	uint32_t bat[VHD_BAT_SECTOR_ENTRIES], given[VHD_BAT_SECTOR_ENTRIES] = { 0 };
	uint32_t n = 0, i;
	int rc;

	vhd_bat_sector(t, first, bat);
	for (i = *block; i <= last; i++) {
		if (atomic_load(&t->e[i].sector))
			continue;
		if (n == v->ready_n)
			break;
		given[i - first] = (uint32_t)((v->ready_off + n++ * block_stride(v) - v->bitmap_bytes) / VHD_SECTOR);
		bat[i - first] = htobe32(given[i - first]);
	}
	rc = n ? blob_write(v->b, v->h.table_off + 4ull * first, bat, sizeof(bat)) : 0;
	if (rc) {
		/* Perhaps it arrived all the same: these blocks are never named again. */
		v->end = v->ready_off + (v->ready_n - 1) * block_stride(v) + v->h.block_bytes;
		v->ready_n = 0;
		return rc;
	}
	for (uint32_t k = 0; k < VHD_BAT_SECTOR_ENTRIES; k++) {
		if (!given[k])
			continue;
		if (v->f.type == VHD_DIFFERENCING)
			atomic_store(&t->e[first + k].bits, vhd_bits_new(v, first + k));
		atomic_store_explicit(&t->e[first + k].sector, given[k], memory_order_release);
		v->end = v->ready_off + v->h.block_bytes;
		v->ready_off += block_stride(v);
	}
	v->ready_n -= n;
	atomic_fetch_add(&v->used_blocks, n);
	*block = i;
	return 0;
}

static uint32_t lacking(const struct vhd_table *t, uint32_t block, uint32_t last)
{
	uint32_t n = 0;

	for (; block <= last; block++)
		n += !atomic_load(&t->e[block].sector);
	return n;
}

int vhd_alloc(void *l, uint64_t off, uint64_t len)
{
	struct vhd *v = l;
	struct vhd_table *t = atomic_load(&v->table);
	uint32_t block, last;

	if (!t)
		return 0;
	if (blob_read_only(v->b))
		return -EROFS;
	if (v->failed)
		return -EIO;
	block = (uint32_t)(off >> v->block_shift);
	last = (uint32_t)((off + len - 1) >> v->block_shift);
	while (block <= last) {
		uint32_t in_sector = block | (VHD_BAT_SECTOR_ENTRIES - 1);
		uint32_t to = in_sector < last ? in_sector : last;
		uint32_t need = lacking(t, block, to);
		int rc = need && !v->ready_n ? prepare(v, need) : 0;

		if (!rc)
			rc = give(v, t, &block, to);
		if (rc)
			return rc;
	}
	return 0;
}

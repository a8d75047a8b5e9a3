/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open VHD image in memory, for the vhd*.c files only.
 *
 * map() and written() run on the I/O thread and see `bytes`, `table` (entries
 * and bitmaps: atomics) and the dirty list; everything else belongs to the
 * metadata thread.  Tables are replaced whole when they grow, and the old one
 * is kept until close, so that map() never follows a pointer to freed memory.
 *
 * Order on the medium: a block's space (zeroes), its bitmap and the footer
 * behind it are flushed before the BAT names it; data is flushed before a
 * bitmap bit says that it is there.  So a table never names what is not in the
 * file: an entry past the end is damage (a file cut short), never a power cut.
 */
#ifndef DISK_VHD_STATE_H
#define DISK_VHD_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "disk/blob.h"
#include "disk/layer.h"
#include "disk/vhd_fmt.h"

enum {
	VHD_READY_MAX = 8,		/* blocks prepared at the end of the file before they are needed */
	VHD_READY_BYTES_MAX = 16 << 20,	/* of them together, unless one block is larger */
	VHD_BITMAPS_MAX_BYTES = (int)(VHD_BYTES_MAX / VHD_SECTOR / 8),	/* a bit for every sector there can be */
};
#define VHD_GROW_STEP_BYTES (1ull << 30)	/* fixed disks grow by this a step; how far a lost footer is searched */

/* The bitmap of a block in which sectors are missing.  First sector: high bit of w[0]. */
struct vhd_bits {
	struct vhd_bits *next_dirty;
	uint32_t block;
	_Atomic bool dirty;		/* is in the dirty list */
	_Atomic uint64_t w[];
};

struct vhd_entry {
	_Atomic uint32_t sector;	/* of the bitmap; 0: no block */
	struct vhd_bits *_Atomic bits;	/* NULL: all sectors are there */
};

struct vhd_table {
	struct vhd_table *old;		/* kept until close */
	uint32_t n;
	struct vhd_entry e[];
};

struct vhd {
	struct blob *b;
	struct vhd_footer f;
	struct vhd_header h;
	uint8_t raw_footer[VHD_FOOTER_BYTES], raw_header[VHD_HEADER_BYTES];
	enum vhd_type type;		/* as in f, for the I/O thread */
	_Atomic uint64_t bytes;		/* of the guest's disk */
	_Atomic uint64_t used_blocks;
	unsigned block_shift;
	uint32_t bitmap_bytes;		/* in the file */
	uint32_t bitmap_words;		/* of 64 sectors, that mean something */
	struct vhd_table *_Atomic table;	/* NULL: fixed */
	struct vhd_bits *_Atomic dirty;
	_Atomic bool syncing;
	uint64_t bits_bytes;		/* memory of all bitmaps, at most VHD_BITMAPS_MAX_BYTES */

	uint64_t end;			/* behind the last structure: where the footer belongs */
	bool tail_used;			/* there may be bytes between end and the footer */
	bool extended;			/* we have put something there */
	uint64_t ready_off;		/* data of the first prepared block */
	uint32_t ready_n, ready_last;	/* prepared blocks left; how many the last time */
	bool failed;			/* what the file's header says is not known: no more changes */
	bool front_bad, end_bad;	/* footer copies, as found */
	uint64_t lost_off;		/* fixed, growth cut short: where the footer was */
};

static inline uint32_t vhd_blocks(const struct vhd *v, uint64_t bytes)
{
	return (uint32_t)((bytes + v->h.block_bytes - 1) >> v->block_shift);
}

static inline uint64_t vhd_table_bytes(uint32_t entries)
{
	return ((uint64_t)entries * 4 + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
}

static inline uint64_t vhd_round(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

/* vhd_find.c: which footer counts; fills f, raw_footer, front_bad, end_bad, lost_off. */
MUSTUSE int vhd_find_footer(struct vhd *v, struct err *e);

/* vhd_load.c: header, table and bitmaps into memory; finds `end`.  limit: where blocks must end. */
MUSTUSE int vhd_load(struct vhd *v, uint64_t limit, struct err *e);
struct vhd_table *vhd_table_new(uint32_t n) MUSTUSE;
void vhd_table_free(struct vhd_table *t);	/* with its bitmaps, and the older ones */
/* Bytes that parent locator i takes up, 0 when it is unused or not inside the file. */
uint64_t vhd_locator_space(const struct vhd *v, int i);
/* The parent's name as this image has it, "" without one. */
void vhd_parent_name(const struct vhd *v, char out[DISK_NAME_BYTES]);

/* vhd_map.c */
void vhd_map(void *l, uint64_t off, uint64_t len, bool for_write, struct layer_run *out);
void vhd_written(void *l, uint64_t off, uint64_t len);
bool vhd_dirty(const void *l);
int vhd_sync(void *l) MUSTUSE;
/* Memory for a block's bitmap, all clear. */
struct vhd_bits *vhd_bits_new(struct vhd *v, uint32_t block) MUSTUSE;
/* From and to the file's form; n: v->bitmap_bytes. */
void vhd_bits_decode(const struct vhd *v, const uint8_t *raw, struct vhd_bits *out);
void vhd_bits_encode(const struct vhd *v, const struct vhd_bits *bits, uint8_t *raw);

/* vhd_alloc.c */
int vhd_alloc(void *l, uint64_t off, uint64_t len) MUSTUSE;
/* The file ends with the footer at v->end again; prepared blocks are given up.  Flushed. */
int vhd_trim(struct vhd *v) MUSTUSE;
/* Makes [v->end, new_end) zeroes with the footer behind; the caller writes what belongs there, flushes, clears
 * tail_used. */
int vhd_extend(struct vhd *v, uint64_t new_end) MUSTUSE;

/* The BAT's bytes from entry `first` on, a sector, as the table has them. */
void vhd_bat_sector(const struct vhd_table *t, uint32_t first, uint32_t out[VHD_BAT_SECTOR_ENTRIES]);

/* vhd_resize.c */
int vhd_resize(void *l, uint64_t bytes, struct err *e);
/* A fixed disk whose growth a power cut stopped: the old footer, now in the middle of the data, is zeroed. */
MUSTUSE int vhd_finish_growth(struct vhd *v, struct err *e);

/* vhd_create.c */
int vhd_create(struct blob *b, const struct layer_create *c, struct err *e);

/* vhd_check.c */
int vhd_check(void *l, bool repair, layer_problem_fn *fn, void *arg, struct err *e);

#endif

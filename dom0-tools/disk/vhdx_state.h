/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open VHDX image in memory, for the vhdx*.c files only.
 *
 * map() and written() run on the I/O thread and see `bytes`, `started`, `bat`,
 * `pieces` and the dirty list, all atomics that are never moved or freed before
 * close; everything else belongs to the metadata thread.
 *
 * Order on the medium, each step flushed before the next:
 *	first change of a session: headers with new ids (map() sends the first write to alloc() for that)
 *	space (zeroes), or the data that new bitmap bits name
 *	log entry; if it is the first of a log: headers that name the log
 *	BAT, bitmap or metadata sectors in place (flushed by whatever flushes next)
 *	sync: flush, headers without a log
 * So a log that a header names always has an entry, and what is not flushed in
 * place is in the log.
 */
#ifndef DISK_VHDX_STATE_H
#define DISK_VHDX_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "disk/blob.h"
#include "disk/layer.h"
#include "disk/vhdx_fmt.h"

enum {
	VHDX_GROW_BYTES = 64 << 20,	/* the file grows by so much at once, or by one block if that is larger */
	VHDX_TXN_SECTORS = 64,		/* in one entry of our log */
	VHDX_ALLOC_BLOCKS = 64,		/* blocks that get their place with one entry */
	VHDX_PIECE_BYTES = 4096,
	VHDX_PIECE_SHIFT = 15,		/* 2^15 sectors have their bits in a piece */
	VHDX_PIECE_WORDS = VHDX_PIECE_BYTES / 8,
	VHDX_CHUNK_SHIFT = 23,
};

struct vhdx_extent {
	uint64_t off, bytes;
};

struct vhdx_patch {			/* what the log makes of a part of the file */
	uint64_t off, bytes;
	uint8_t *p;			/* NULL: zeroes */
};

/* 4 KiB of the chunk bitmaps.  Piece i: sectors i << 15 and on. */
struct vhdx_piece {
	struct vhdx_piece *next_dirty;
	struct vhdx_piece *next;	/* of all */
	uint32_t index;
	_Atomic bool dirty;		/* is in the dirty list */
	_Atomic uint64_t w[VHDX_PIECE_WORDS];
};

struct vhdx {
	struct blob *b;
	struct vhdx_header h;
	int current;			/* which header that is */
	bool head_bad[2], regions_bad[2];	/* as found */
	uint8_t ids[2][VHDX_GUID_BYTES];	/* of the contents: as found, of this session */
	_Atomic bool started;		/* the headers have this session's ids */
	bool file_id_new;		/* replay has set it */

	struct vhdx_extent bat_at, meta_at;
	struct vhdx_extent *regions;	/* all of the table, those two among them */
	uint32_t n_regions;
	uint64_t file_bytes;		/* as the log says, at least the blob's */
	struct vhdx_patch *patches;	/* from the log; applied, or looked through when the blob is read-only */
	uint32_t n_patches;

	uint32_t block_bytes, sector_bytes, physical_bytes;
	unsigned block_shift, sector_shift, ratio_shift;
	bool fixed, differencing;
	uint64_t size_at;		/* where the file has the disk's size */
	uint8_t parent_id[VHDX_GUID_BYTES];
	char parent_name[DISK_NAME_BYTES];
	_Atomic uint64_t bytes;
	_Atomic uint64_t used_blocks;

	_Atomic uint64_t *bat;		/* as in the file; zeroes behind the disk's end */
	uint32_t bat_entries;		/* room */
	struct vhdx_piece *_Atomic *pieces;	/* NULL: no parent */
	uint32_t n_pieces;
	struct vhdx_piece *all_pieces;
	uint64_t pieces_bytes;		/* in memory */
	struct vhdx_piece *_Atomic dirty;
	_Atomic bool syncing;

	_Atomic bool log_open;		/* the headers name a log */
	uint32_t log_head;		/* where the next entry goes */
	uint32_t log_tail;		/* the oldest that may not be flushed in place */
	uint64_t log_sequence;		/* of the next entry */
	uint8_t log_id[VHDX_GUID_BYTES];
	bool failed;			/* what headers, log or BAT say is not known: no more changes */

	uint64_t end;			/* behind what is in use */
	uint64_t ready_end;		/* [end, ready_end): zeroes, flushed */
	uint64_t flushed_bytes;		/* of the file, that a power cut leaves: what log entries may count on */
	bool grown;			/* by this session */
};

static inline uint64_t vhdx_round(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

static inline uint64_t vhdx_blocks(const struct vhdx *v, uint64_t bytes)
{
	return (bytes + v->block_bytes - 1) >> v->block_shift;
}

/* Where payload block k, and the bitmap block of chunk c, have their BAT entries. */
static inline uint64_t vhdx_bat_of(const struct vhdx *v, uint64_t k) { return k + (k >> v->ratio_shift); }
static inline uint64_t vhdx_bat_of_bitmap(const struct vhdx *v, uint64_t c)
{
	return ((c + 1) << v->ratio_shift) + c;
}

/* Entries that a disk of n blocks needs. */
static inline uint64_t vhdx_bat_need(uint64_t n, unsigned ratio_shift, bool differencing)
{
	uint64_t ratio = 1ull << ratio_shift;

	return differencing ? ((n + ratio - 1) >> ratio_shift) * (ratio + 1) : n + ((n - 1) >> ratio_shift);
}

/* vhdx_head.c: identifier, headers and regions; a log to replay is replayed between the two. */
MUSTUSE int vhdx_find_header(struct vhdx *v, struct err *e);
MUSTUSE int vhdx_load_regions(struct vhdx *v, struct err *e);
/* Both header copies become v->h with higher sequence numbers, a flush behind each.  0 or -errno (failed is set). */
int vhdx_write_headers(struct vhdx *v) MUSTUSE;
/* The first change of the session.  0 or -errno. */
int vhdx_start(struct vhdx *v) MUSTUSE;
int vhdx_random_id(uint8_t id[VHDX_GUID_BYTES]) MUSTUSE;

/* vhdx_log.c: what the log says into v->patches; applied to a writable blob. */
MUSTUSE int vhdx_replay(struct vhdx *v, struct err *e);
/* The file with v->patches.  0 or -errno. */
int vhdx_read(const struct vhdx *v, uint64_t off, void *p, size_t n) MUSTUSE;

/* vhdx_txn.c: sectors of 4 KiB that change together, whole or not at all. */
struct vhdx_txn {
	struct vhdx *v;
	unsigned n;
	uint64_t off[VHDX_TXN_SECTORS];
	uint8_t data[VHDX_TXN_SECTORS][VHDX_LOG_SECTOR];
};
/* The sector's new bytes, for the caller to fill; *fresh: it is not in the transaction yet.  NULL: no room. */
uint8_t *vhdx_txn_sector(struct vhdx_txn *t, uint64_t off, bool *fresh);
int vhdx_txn_commit(struct vhdx_txn *t) MUSTUSE;
/* Flushes what is in place and says in the headers that there is no log. */
int vhdx_log_close(struct vhdx *v) MUSTUSE;

/* vhdx_meta.c */
MUSTUSE int vhdx_load_metadata(struct vhdx *v, struct err *e);

/* vhdx_bat.c */
MUSTUSE int vhdx_load_bat(struct vhdx *v, struct err *e);
/* Blocks that the BAT region has entries for. */
uint64_t vhdx_bat_room(const struct vhdx *v);
/* The 4 KiB of the BAT's region from byte `at` on, as memory has them. */
void vhdx_bat_sector(const struct vhdx *v, uint64_t at, uint8_t out[VHDX_LOG_SECTOR]);

/* vhdx_map.c */
void vhdx_map(void *l, uint64_t off, uint64_t len, bool for_write, struct layer_run *out);
void vhdx_written(void *l, uint64_t off, uint64_t len);
bool vhdx_dirty(const void *l);
int vhdx_sync(void *l) MUSTUSE;
/* The pieces of block k are in memory, read from the bitmap block at `bitmap_off` where they were not
 * (0: all clear). */
int vhdx_pieces_load(struct vhdx *v, uint64_t k, uint64_t bitmap_off) MUSTUSE;
void vhdx_piece_encode(const struct vhdx_piece *p, uint8_t raw[VHDX_PIECE_BYTES]);

/* vhdx_alloc.c */
int vhdx_alloc(void *l, uint64_t off, uint64_t len) MUSTUSE;
/* Blocks [k, last] have a place. */
int vhdx_alloc_blocks(struct vhdx *v, uint64_t k, uint64_t last) MUSTUSE;
/* Space that was prepared and not used goes back, when nothing depends on the file's size. */
int vhdx_trim(struct vhdx *v) MUSTUSE;

/* vhdx_resize.c, vhdx_create.c, vhdx_check.c */
int vhdx_resize(void *l, uint64_t bytes, struct err *e);
int vhdx_create(struct blob *b, const struct layer_create *c, struct err *e);
int vhdx_check(void *l, bool repair, layer_problem_fn *fn, void *arg, struct err *e);

#endif

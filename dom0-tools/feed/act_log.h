/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable activity log of a VM's disks: which extents were written since
 * all consumers acknowledged.  An extent is on stable storage in the log
 * before its first write, so that after SIGKILL or a power cut the marked
 * extents are a superset of what changed, and the whole disk is not.
 *
 *	write -> before(): marked?  yes: go (memory only, no I/O, no lock)
 *	                            no:  wait; the writer's thread marks all that
 *	                                 wait with one write each block and one
 *	                                 flush, then calls wake: ask again
 *	cut():   a barrier: a new interval begins
 *	acked(): everything up to an interval is with all consumers: its extents
 *	         that were not written since may go.  ACT_LOG_IDLE_MAX of them stay
 *	         marked, the last used ones: they are likely to be written again.
 *
 * The file is blocks of ACT_LOG_BLOCK_BYTES, each there twice, with a sequence
 * number and a checksum; the older copy is overwritten, so a torn write leaves
 * the other, and a mark counts only after its flush.
 *
 *	+------+------+-----------------+-----------------+
 *	|head A|head B| marks, copies A | marks, copies B |
 *	+------+------+-----------------+-----------------+
 *
 *	block:  0     4    8    16        24      28    32       64
 *		+-----+----+----+---------+-------+-----+--------+-------------+
 *		|magic|crc |seq |feed id  |number |inc. |floor.. | payload     |
 *		+-----+----+----+---------+-------+-----+--------+-------------+
 *	little-endian; crc: CRC-32 of the block with this field zero; floor u64 at 32.
 *	head payload:  u32 extent shift, u32 disks, u32 consumers, u32 0,
 *	               disks * {u64 bytes, key[32]}, consumers * name[64]
 *	marks payload: bits of ACT_LOG_BLOCK_BITS extents of one disk, disks one after the other
 *
 * Threads: before, cut and acked belong to the I/O thread (or one lock around
 * them); act_log_set_consumers, open and close to the control thread.
 */
#ifndef FEED_ACT_LOG_H
#define FEED_ACT_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/blob.h"

enum {
	ACT_LOG_BLOCK_BYTES = 4096,
	ACT_LOG_BLOCK_HEAD = 64,
	ACT_LOG_BLOCK_BITS = (ACT_LOG_BLOCK_BYTES - ACT_LOG_BLOCK_HEAD) * 8,
	ACT_LOG_EXTENT_SHIFT = 24,	/* 16 MiB, the default: compared in well under a second */
	ACT_LOG_EXTENT_SHIFT_MIN = 20,
	ACT_LOG_EXTENT_SHIFT_MAX = 30,
	ACT_LOG_IDLE_MAX = 256,		/* extents that stay marked without need: at most 4 GiB to compare */
	ACT_LOG_RETRY_MS = 1000,	/* after a failed write of the log */
	ACT_LOG_KEY_BYTES = 32,
	ACT_LOG_NAME_BYTES = 64,
	ACT_LOG_DISKS_MAX = 32,
	ACT_LOG_CONSUMERS_MAX = 8,
};

struct act_log;

struct act_log_disk {
	char key[ACT_LOG_KEY_BYTES];	/* "xvda", or what names the image; not empty */
	uint64_t bytes;			/* the most it may grow to */
};

struct act_log_cfg {
	/* The file; read, write, flush and set_bytes are used, on one thread at a time.  arg stays the caller's. */
	const struct blob_ops *ops;
	void *io;
	const struct act_log_disk *disks;
	unsigned n_disks;
	unsigned extent_shift;		/* 0: the default */
	/* On the writer's thread: what waited may be asked again.  Must only schedule. */
	void (*wake)(void *arg);
	void *arg;
	bool no_thread;			/* tests: act_log_step is called instead */
};

/* What the last life of the log left. */
struct act_log_found {
	bool fresh;			/* there was none that fits these disks: nothing is known */
	uint64_t feed_id;		/* random, as old as the file's contents */
	uint32_t incarnation;		/* counts the opens, from 1 */
	uint64_t floor;			/* positions below are not covered by the marks */
	unsigned n_consumers;
	char consumers[ACT_LOG_CONSUMERS_MAX][ACT_LOG_NAME_BYTES];
};

/* Blocks.  A file that is empty, of other disks, or damaged in both heads is begun anew (found->fresh); marks
 * that are damaged in both copies count as set. */
MUSTUSE int act_log_open(const struct act_log_cfg *cfg, struct act_log **out, struct act_log_found *found,
			 struct err *e);
/* Nothing waits any more.  Blocks until the writer's thread is at rest; NULL is fine. */
void act_log_close(struct act_log *l);

enum act_log_answer { ACT_LOG_GO, ACT_LOG_WAIT, ACT_LOG_FAILED };
/* Never blocks.  FAILED: the log could not be written (for ACT_LOG_RETRY_MS); the write must not be done. */
enum act_log_answer act_log_before(struct act_log *l, unsigned disk, uint64_t off, uint64_t len);
/* No write is between its before() and its completion.  Returns the number of the interval that ended. */
uint32_t act_log_cut(struct act_log *l);
/* All consumers have what was written in `interval` and before; they stand at position `floor` or later. */
void act_log_acked(struct act_log *l, uint32_t interval, uint64_t floor);
/* Durable when it returns 0.  Blocks. */
MUSTUSE int act_log_set_consumers(struct act_log *l, const char (*names)[ACT_LOG_NAME_BYTES], unsigned n,
				  struct err *e);

/* The next marked extent of the disk at or after from; false: no more. */
bool act_log_next(struct act_log *l, unsigned disk, uint64_t from, uint64_t *off, uint64_t *bytes);

struct act_log_stats {
	uint64_t marked;		/* extents, now */
	uint64_t batches, blocks;	/* flushes, and blocks written for marks */
	uint64_t waits;			/* before() that had to wait */
	uint64_t failures;
};
void act_log_get_stats(struct act_log *l, struct act_log_stats *out);

/* One batch on the caller's thread (no_thread): true if there was something to do. */
bool act_log_step(struct act_log *l);

/* Ops for a plain file, arg = (void *)(intptr_t)fd; close closes it. */
extern const struct blob_ops act_log_file_ops;

#endif

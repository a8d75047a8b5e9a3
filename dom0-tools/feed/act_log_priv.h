/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the activity log, shared by act_log.c (marks in memory, LRU)
 * and act_log_io.c (open, batches, the writer's thread); nobody else's.
 */
#ifndef FEED_ACT_LOG_PRIV_H
#define FEED_ACT_LOG_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "feed/act_log.h"
#include "feed/act_log_fmt.h"

enum {
	ACT_LOG_WORDS = ACT_LOG_BLOCK_BITS / 64,	/* of a marks block; divides evenly */
	ACT_LOG_BATCH_BLOCKS = 64,
	ACT_LOG_INTERVAL_BEFORE = 1,	/* of extents that an earlier life marked */
};

/* An extent's number counts through all blocks: block * ACT_LOG_BLOCK_BITS + bit.  0xffffffff: none. */
#define ACT_LOG_NIL UINT32_MAX

struct act_log_span {			/* the extents of one disk */
	uint32_t first;			/* extent number, at the beginning of a block */
	uint32_t n;
};

struct act_log {
	struct act_log_cfg cfg;
	struct act_log_head head;
	struct act_log_block head_id;	/* of the last durable head */
	struct act_log_span spans[ACT_LOG_DISKS_MAX];
	uint32_t n_blocks;

	/* The I/O thread's, or of the lock around it. */
	uint32_t interval;
	uint32_t acked;
	uint32_t *last;			/* each extent: interval of its last write */
	uint32_t *next, *prev;		/* LRU list of marked extents, longest unused first */
	uint32_t lru_first, lru_last;
	uint32_t n_marked;

	pthread_mutex_t lock;		/* what follows; never held over I/O */
	pthread_cond_t work;
	uint64_t *wanted;		/* bits: what the next batch writes */
	_Atomic uint64_t *durable;	/* bits: on stable storage; read without the lock */
	bool *dirty;			/* blocks whose wanted bits differ from the file's */
	uint64_t *seq;			/* of each block's last durable copy */
	uint64_t floor;
	uint64_t retry_at_ms;		/* 0: the log can be written */
	bool kick, stop;
	struct act_log_stats stats;

	pthread_mutex_t io;		/* one user of cfg.ops at a time */
	pthread_t thread;
	bool has_thread;
};

/* Puts an extent that is not in the list at its end. */
void act_log_list_add(struct act_log *l, uint32_t x);

#endif

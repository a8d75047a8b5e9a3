/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the queue share: queue.c decides when a request may run
 * and what its end means; queue_io.c moves its bytes; queue_flush.c makes
 * them durable.
 */
#ifndef BLKD_QUEUE_PRIV_H
#define BLKD_QUEUE_PRIV_H

#include <liburing.h>

#include "blkd/queue.h"

enum {
	QUEUE_RING_ENTRIES = 512,
	QUEUE_FILES_MAX = 256,		/* registered files; what does not fit goes by descriptor */
};

/* How a blob of the chain is reached. */
struct slot {
	struct blob *blob;
	int fd;				/* -1: through blob.h on the metadata thread */
	int fixed;			/* index of the registered file, -1: none */
	uint32_t align;
	bool memory;			/* tmpfs: a transfer is a memcpy, done at once */
	bool no_punch, no_zero_range, no_advise;	/* the file system said so */
};

struct req_list {
	struct req *first, **last;
};

struct queue {
	struct loop *loop;
	struct loop_src *src;
	struct io_uring ring;
	bool ring_open, files_registered;
	unsigned unsubmitted;
	bool kick_again;
	uint64_t fixed_used[QUEUE_FILES_MAX / 64];
	struct meta *meta;
	struct bufpool pool;
	struct queue_hook *hooks;
	struct overlap *ready;		/* released by completions, not yet started */
	bool draining_ready;
};

struct qdisk {
	struct queue *q;
	struct disk *disk;
	struct qdisk_setup setup;
	const struct tap *tap;
	struct throttle throttle;
	bool limited, paused, throttle_waits;
	struct loop_timer *timer;	/* of the throttle */
	struct overlap_table overlaps;
	struct req_list waiting;	/* new ones, in order */
	struct req_list failed;		/* by QUEUE_PAUSE */
	struct req_list kept;		/* by the tap */
	unsigned in_flight;		/* admitted */
	unsigned active;		/* of them, started */
	uint32_t align;			/* of writes that run together, beside the image's */
	void (*drain_fn)(void *arg);
	void *drain_arg;
	bool draining, drained;
	struct req_list sync_now, sync_next;	/* flushes: of the sync that runs, and for the next one */
	bool sync_busy;
	int sync_error;			/* of the first that failed */
	struct meta_job sync_job;
	struct slot slots[DISK_CHAIN_MAX];
	unsigned n_slots;
	struct qdisk_stats stats;
};

static inline void req_list_init(struct req_list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static inline void req_list_put(struct req_list *l, struct req *r)
{
	r->next = NULL;
	*l->last = r;
	l->last = &r->next;
}

static inline struct req *req_list_take(struct req_list *l)
{
	struct req *r = l->first;

	if (r) {
		l->first = r->next;
		if (!l->first)
			l->last = &l->first;
	}
	return r;
}

/* ---- queue.c */
/* Bytes n > 0 more are done, or n < 0 is why not: goes on with r. */
void queue_progress(struct queue *q, struct req *r, int64_t n);
/* The end of r. */
void queue_complete(struct queue *q, struct req *r, int res);
/* Starts what completions have released, then tells the hooks. */
void queue_batch_end(struct queue *q);

/* ---- queue_io.c: the next transfer of r (r->at < r->len) */
/* Bytes done at once, -errno, or 0: it is under way and ends in queue_progress. */
int64_t queue_step(struct queue *q, struct req *r);
/* The completion of what queue_step began: res of io_uring.  Returns as queue_step. */
int64_t queue_stepped(struct queue *q, struct req *r, int res);
struct slot *qdisk_slot(struct qdisk *qd, struct blob *b);
void qdisk_forget_slots(struct qdisk *qd);
/* An SQE on the file of s: get, io_uring_prep_* with the fd, then mark. */
struct io_uring_sqe *queue_sqe(struct queue *q);	/* never NULL */
int queue_sqe_fd(const struct slot *s);
void queue_sqe_file(struct io_uring_sqe *sqe, const struct slot *s);

/* ---- queue_flush.c */
void queue_flush(struct queue *q, struct req *r);	/* r completes when all that is done now is durable */
void queue_flushed(struct qdisk *qd, int res);		/* the fsync by io_uring ended */

/* user_data of an SQE: a struct req, or a struct qdisk (its fsync) with this bit. */
enum { QUEUE_UD_SYNC = 1 };

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path of every request to a disk, whatever front-end it came from: range
 * check, limits, serialising of overlapping writes, the feed's tap, transfer
 * by io_uring, completion.  One queue per process, on the thread of its loop;
 * all functions belong to that thread and none blocks.
 *
 *	submit -> check -> limit -> overlap -> tap.before -> transfer(s) -> tap.after -> done
 *	                                         (park)      | map: data: io_uring
 *	                                                     |      zero: memset
 *	                                                     |      below: metadata thread, map again
 *	flush (or fua behind the transfer) -> disk dirty? metadata thread disk_sync : fsync by io_uring
 *
 * Nothing is promised durable but by a flush that came back with 0; all writes
 * whose done was called before the flush was submitted are then on stable storage.
 */
#ifndef BLKD_QUEUE_H
#define BLKD_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/loop.h"
#include "blkd/bufpool.h"
#include "blkd/meta.h"
#include "blkd/overlap.h"
#include "blkd/throttle.h"
#include "disk/disk.h"

struct queue;
struct qdisk;				/* a disk that a queue serves */

enum req_op {
	REQ_READ,
	REQ_WRITE,
	REQ_ZERO,			/* reads as zeroes afterwards */
	REQ_DISCARD,			/* content may go; a hint */
	REQ_CACHE,			/* will be read soon; a hint */
	REQ_FLUSH,
	REQ_OP_N
};

enum { REQ_IOV_MAX = 1024, REQ_SLICE_MAX = 8 };

struct req {
	/* The submitter's; unchanged until done. */
	enum req_op op;
	bool fua;			/* write, zero, discard: durable when done */
	bool no_hole;			/* zero: keep or make space for it */
	bool fast;			/* zero: -EOPNOTSUPP rather than writing zeroes out */
	bool internal;			/* not the guest's: no limits, not counted, its errors never pause the disk */
	struct qdisk *disk;
	uint64_t off, len;		/* bytes, multiples of the disk's sector; len 0 only for flush */
	const struct iovec *iov;	/* read and write: lengths add up to len */
	unsigned n_iov;			/* at most REQ_IOV_MAX */
	/* 0 or -errno, once, maybe inside queue_submit; r is the submitter's again. */
	void (*done)(struct req *r, int res);

	/* The queue's. */
	struct req *next;
	uint64_t at;			/* bytes done */
	bool touched;			/* a transfer to the disk was started */
	bool linked, tapped;		/* in the overlap table; tap.before said 0 */
	bool active;			/* started: a drain waits for it */
	unsigned phase;
	struct overlap overlap;
	struct disk_run run;
	struct iovec slice[REQ_SLICE_MAX];
	const struct iovec *x_iov;	/* the transfer in flight: this memory ... */
	unsigned x_n;
	uint64_t x_bytes;		/* ... this long */
	uint8_t *bounce;
	uint64_t bounce_off, bounce_bytes;
	struct meta_job job;
};

/* The feed's place in the path of writes, zeroes and discards; all members required. */
struct tap {
	void *arg;
	/* 0: go on, after() follows; 1: kept until queue_ask_again; -errno: the request fails with it. */
	int (*before)(void *arg, const struct req *r);
	/* Once for each 0 of before(), in the order in which overlapping writes reached the disk, and before the
	 * submitter hears of it.  r->touched: a transfer was started; with res < 0 the range is then old, new or
	 * mixed. */
	void (*after)(void *arg, const struct req *r, int res);
};

enum queue_on_error { QUEUE_REPORT, QUEUE_PAUSE };

struct qdisk_setup {
	/* Asked when a transfer fails with -ENOSPC or -EIO; NULL: always QUEUE_REPORT.  QUEUE_PAUSE keeps the request
	 * and holds all later ones until queue_resume, which tries again.  Flushes always report, and once one has
	 * failed all later ones do: the kernel forgets what it could not write, so the next would tell a wrong
	 * success. */
	enum queue_on_error (*on_error)(void *arg, const struct req *r, int res);
	void *arg;
};

MUSTUSE int queue_new(struct loop *l, struct queue **out, struct err *e);
void queue_free(struct queue *q);		/* NULL is fine; its disks must be gone */

/* d stays the caller's and must outlive the qdisk; setup is copied (NULL: defaults). */
struct qdisk *queue_add(struct queue *q, struct disk *d, const struct qdisk_setup *setup);
/* Nothing may be in flight. */
void queue_remove(struct qdisk *qd);
struct disk *qdisk_disk(const struct qdisk *qd);
unsigned qdisk_in_flight(const struct qdisk *qd);
void qdisk_set_limits(struct qdisk *qd, const struct throttle_limits *l);
/* tap stays the caller's; NULL: none.  Only while drained. */
void qdisk_set_tap(struct qdisk *qd, const struct tap *tap);
/* Only while drained: d, of the same size and sector, takes the place of the disk that is returned.  d holds all that
 * was written to that one, durably; set_align came with what d needs before the writes that wait now. */
struct disk *qdisk_swap(struct qdisk *qd, struct disk *d) MUSTUSE;
/* Writes that share a block of so many bytes never run together; at least what the image itself needs. */
void qdisk_set_align(struct qdisk *qd, uint32_t bytes);

/* Issues r or keeps it; what goes by io_uring starts with queue_kick. */
void queue_submit(struct queue *q, struct req *r);
void queue_kick(struct queue *q);
/* Asks tap.before again for all that it kept, in order. */
void queue_ask_again(struct qdisk *qd);

/* Holds new requests and those that the tap keeps; fn is called (maybe at once) when none is started and not ended.
 * Paused disks (on_error) drain only after queue_resume.  One drain at a time per disk. */
void queue_drain(struct qdisk *qd, void (*fn)(void *arg), void *arg);
/* Ends a drain; without one, a pause. */
void queue_resume(struct qdisk *qd);
bool qdisk_paused(const struct qdisk *qd);
/* Grows the disk on the metadata thread; fn: e is ERR_NONE or says why not. */
void queue_resize(struct qdisk *qd, uint64_t bytes, void (*fn)(void *arg, const struct err *e), void *arg);

/* fn is called whenever a batch of completions has been handed out: the place to send replies together. */
struct queue_hook {
	void (*fn)(void *arg);
	void *arg;
	struct queue_hook *next;
};
void queue_hook_add(struct queue *q, struct queue_hook *h);	/* h: the caller's memory */
void queue_hook_del(struct queue *q, struct queue_hook *h);
struct bufpool *queue_pool(struct queue *q);	/* shared with the front-ends */

struct qdisk_stats {
	uint64_t ops[REQ_OP_N], bytes[REQ_OP_N], errors;
	uint64_t serialised, throttled, allocs;	/* requests that waited for that */
};
void qdisk_stats(const struct qdisk *qd, struct qdisk_stats *out);

#endif

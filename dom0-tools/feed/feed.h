/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change feed of one VM, over all its disks: what was written since when,
 * for any number of consumers (up to FEED_CONSUMERS_MAX), without the guest
 * ever waiting for one of them.
 *
 * A position counts the writes that entered the feed; a barrier is a position
 * at which no write was in flight on any disk.  Each consumer has
 *
 *	cur    map of what changed since its last barrier
 *	old    map of what changed before it and is not acknowledged
 *	ring   the bytes written since its last barrier, while they fit
 *
 *	attach -> barrier -> read old's ranges from the disk, then the ring's records -> barrier ...
 *	                     what it has made durable up to a barrier: ack(position)
 *
 * The maps always hold everything, so a ring that overflowed costs nothing but
 * a read of the disk.  Who dies comes back with the last position he has made
 * durable and gets what changed since, or a bit more.
 *
 * Threads: before and after_* on the I/O thread; the rest on any other, one at
 * a time for each consumer (those of the server on its own), or also there.
 * One lock is taken by all for moments, never over I/O, allocation or a walk.
 */
#ifndef FEED_FEED_H
#define FEED_FEED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "feed/act_log.h"
#include "feed/dirty_map.h"
#include "feed/ring.h"

enum {
	FEED_CONSUMERS_MAX = ACT_LOG_CONSUMERS_MAX,
	FEED_DISKS_MAX = ACT_LOG_DISKS_MAX,
	FEED_NAME_BYTES = ACT_LOG_NAME_BYTES,
	FEED_KEY_BYTES = ACT_LOG_KEY_BYTES,
	FEED_SEQ_BITS = 44,		/* position = incarnation << FEED_SEQ_BITS | count: positions never fall */
	FEED_BARRIER_MS_MAX = 1000,	/* a write that hangs longer: the barrier is given up, not the guest */
};

struct feed;
struct feed_consumer;

struct feed_disk {
	char key[FEED_KEY_BYTES];	/* names the image; another key, another disk */
	uint64_t bytes;			/* size now */
	uint64_t bytes_max;		/* what it may grow to; 0: bytes */
};

struct feed_cfg {
	const struct feed_disk *disks;
	unsigned n_disks;
	unsigned grain_shift;		/* 0: 64 KiB */
	unsigned extent_shift;		/* of the activity log; 0: its default */
	/* The activity log (act_log.h); NULL: none, after a restart every consumer begins anew. */
	const struct blob_ops *log_ops;
	void *log_io;			/* stays the caller's */
	/* Requests that were told FEED_WAIT may be asked again, all of them.  From any thread, also from within
	 * feed_after_*: must only schedule. */
	void (*wake)(void *arg);
	void *arg;
};

/* Blocks (opens the log). */
MUSTUSE int feed_new(const struct feed_cfg *cfg, struct feed **out, struct err *e);
void feed_free(struct feed *f);		/* NULL is fine; nothing in flight, no server on it */

/* ---- the tap: I/O thread, never blocks ---- */

enum { FEED_GO = 0, FEED_WAIT = 1 };
/* Before a write, zero or discard touches the disk: FEED_GO, FEED_WAIT (keep it until cfg.wake, then ask again), or
 * -EIO (the log cannot be written: the request must fail).
 * Each FEED_GO is followed by exactly one feed_after_*, also when the request failed before any transfer. */
int feed_before(struct feed *f, unsigned disk, uint64_t off, uint64_t len);
/* It is complete and the guest has not heard of it.  res < 0: the range may be old, new or mixed.  iov: the data,
 * len bytes in all; not kept. */
void feed_after_write(struct feed *f, unsigned disk, uint64_t off, const struct iovec *iov, int n_iov, uint64_t len,
		      int res);
/* Reads as zeroes now.  For a discard that does not promise that: feed_after_unknown. */
void feed_after_zero(struct feed *f, unsigned disk, uint64_t off, uint64_t len, int res);
/* What it reads as now is not known: consumers look. */
void feed_after_unknown(struct feed *f, unsigned disk, uint64_t off, uint64_t len);
/* It failed before it touched the disk: nothing is marked. */
void feed_after_nothing(struct feed *f);
/* The disk has grown, at most to bytes_max; what is new counts as changed. */
void feed_set_bytes(struct feed *f, unsigned disk, uint64_t bytes);

/* ---- consumers: control thread ---- */

struct feed_attach {
	const char *name;		/* [a-z0-9._-], at most FEED_NAME_BYTES - 1 */
	bool has_position;
	uint64_t feed_id, position;	/* of the last barrier he has made durable */
	bool from_now;			/* a new consumer that needs nothing from before its first barrier */
	uint64_t ring_bytes;		/* 0: no ring, map only */
};

struct feed_attached {
	uint64_t feed_id;
	bool full;			/* everything may have changed: what he has counts for nothing */
	bool coarse;			/* the map is of extents that an earlier life marked: compare before sending */
	uint64_t dirty_bytes;
	int ring_fd;			/* -1: none; the consumer's property in the feed */
	int wake_fd;			/* the consumer's end, the caller's: readable when a reader should look */
	int alive_fd;			/* the feed's end, not to be closed: hang-up when no copy of wake_fd is left */
};

/* Blocks (a new name is made durable first).  ERR_BUSY: attached already; ERR_LIMIT: too many. */
MUSTUSE int feed_attach(struct feed *f, const struct feed_attach *a, struct feed_consumer **out,
			struct feed_attached *info, struct err *e);
/* The ring goes, the maps stay for when it comes back.  A pending barrier of it is cancelled. */
void feed_detach(struct feed_consumer *c);
/* The name and its maps go.  Blocks.  ERR_BUSY while attached. */
MUSTUSE int feed_forget(struct feed *f, const char *name, struct err *e);

struct feed_cut {
	uint64_t position;		/* every write with this position or a lower one is before the barrier */
	bool ring;			/* the ring holds all that comes after */
	bool complete;			/* the ring held all since the barrier before */
	uint64_t stall_ns;		/* how long writes were held for it */
};
/* Asks for a cut at one point of all disks.  done runs once, at the cut, while no write is in flight and none is let
 * through: maybe inside this call, maybe on the I/O thread; it must be short and not call the feed.
 * One barrier at a time for each consumer (ERR_BUSY); those of several are one cut. */
MUSTUSE int feed_barrier(struct feed_consumer *c, void (*done)(void *arg, const struct feed_cut *cut), void *arg,
			 struct err *e);
/* False: done has run (or runs now); true: it will not. */
bool feed_barrier_cancel(struct feed_consumer *c);
/* From now on the next cut keeps holding writes, until feed_release: for a switch-over. */
void feed_hold(struct feed *f);
void feed_release(struct feed *f);

/* Walks old: the next dirty run of the disk at or after `from`, at most max bytes, not beyond the disk's end. */
bool feed_map_next(struct feed_consumer *c, unsigned disk, uint64_t from, uint64_t max, struct dirty_run *out);
uint64_t feed_map_bytes(struct feed_consumer *c);	/* of old */
/* Has what is at off changed since the named consumer's last acknowledgement?  Shortens *len to where the answer
 * may change.  Any thread, never blocks: true for all of it when the consumer is not known (everything is new to
 * it), or while the control thread has the maps. */
bool feed_is_dirty(struct feed *f, const char *name, unsigned disk, uint64_t off, uint64_t *len);
/* He has made durable all up to the barrier at `position`.  ERR_USAGE for a position ahead of his last barrier. */
MUSTUSE int feed_ack(struct feed_consumer *c, uint64_t position, struct err *e);

/* ---- what is going on ---- */

struct feed_consumer_stats {
	char name[FEED_NAME_BYTES];
	bool attached;
	uint64_t acked;			/* position; 0: nothing yet */
	uint64_t dirty_bytes;		/* cur and old */
	struct ring_stats ring;
};
struct feed_stats {
	uint64_t feed_id, position;
	uint64_t writes_in_flight;
	uint64_t barriers, barriers_cancelled;
	uint64_t stall_ns_max;
	struct act_log_stats log;
	unsigned n_consumers;
	struct feed_consumer_stats consumers[FEED_CONSUMERS_MAX];
};
void feed_get_stats(struct feed *f, struct feed_stats *out);
uint64_t feed_position(struct feed *f);		/* any thread, never blocks */

unsigned feed_n_disks(const struct feed *f);
const char *feed_disk_key(const struct feed *f, unsigned disk);
uint64_t feed_disk_bytes(struct feed *f, unsigned disk);
uint64_t feed_grain(const struct feed *f);

#endif

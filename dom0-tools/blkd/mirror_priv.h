/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mirror, for its files: mirror.c decides what comes next, mirror_copy.c
 * moves bytes from source or ring to the target.
 */
#ifndef BLKD_MIRROR_PRIV_H
#define BLKD_MIRROR_PRIV_H

#include "blkd/meta.h"
#include "blkd/mirror.h"
#include "blkd/throttle.h"

enum {
	MIRROR_CHUNK_BYTES = 256 << 10,
	MIRROR_CHUNKS = 8,		/* in flight */
	MIRROR_TURN = 16,		/* chunks of one turn of the loop: the guest's requests come between */
	MIRROR_RUNS = 256,		/* of the map, asked for at once */
	MIRROR_RECORDS = 256,		/* of the ring, applied together; their bytes: */
	MIRROR_BATCH_BYTES = 4 << 20,
	MIRROR_HELD_BYTES_MAX = 64 << 20,	/* more to copy than that is not copied while the guest waits */
};

enum mirror_state {
	MIRROR_OPENING, MIRROR_COPYING, MIRROR_FOLLOWING, MIRROR_SWITCHING, MIRROR_SWITCHED, MIRROR_CANCELLED,
	MIRROR_FAILED, MIRROR_STATE_N
};

struct mirror_chunk {			/* a piece of the disk on its way */
	struct req r;
	struct mirror *m;
	struct iovec iov;
	uint8_t *buf;			/* MIRROR_CHUNK_BYTES, of the queue's pool; NULL: not in use yet */
	bool busy;
};

struct mirror_record {			/* a record of the ring on its way */
	struct req r;
	struct mirror *m;
	struct iovec iov;
};

struct mirror {
	struct vm *vm;
	struct vdisk *v;
	enum mirror_state state;
	struct err e;			/* why it ends before its time */
	struct image image;
	struct disk *target;
	struct qdisk *tq;
	int note_fd;
	void (*begun)(void *arg, const struct err *e);
	void *begun_arg;
	void (*cancelled)(void *arg, const struct err *e);
	void *cancelled_arg;
	struct loop_timer *every_s, *retry, *late;

	/* The next step, taken when nothing below is under way. */
	void (*next)(struct mirror *m);
	bool cancel;			/* or e is set: the next step is the end */
	bool opening, job_busy, cut_due, flushing, drain_due, drain_posted, retrying;
	unsigned transfers;
	struct meta *worker;
	struct meta_job job;
	void (*job_fn)(struct mirror *m);
	struct err job_e;

	/* The feed. */
	struct feed *feed;
	unsigned number;		/* of the disk in it */
	struct feed_consumer *c;
	struct ring_reader *ring;
	int wake_fd;
	struct feed_cut cut;
	bool has_cut;			/* the last barrier came, and its map is not copied */
	uint64_t copied_position;	/* the map of this barrier is copied: older records of the ring are stale */
	bool holding;			/* the guest's writes */
	bool drained;			/* and everything else on the disk */
	bool too_late;			/* the barrier or the switch is given up */
	bool committed;			/* the note is being written, or is */
	bool leaving;			/* it ends */
	bool flushed;			/* since the map was copied */
	bool ring_lost, ring_empty;	/* how the last batch ended */

	/* Copying. */
	struct throttle throttle;
	struct loop_timer *pace;
	bool paced, pump_posted, pumping;
	struct dirty_run runs[MIRROR_RUNS];
	unsigned n_runs, run;		/* runs[run .. n_runs) are to be copied, */
	uint64_t run_at;		/* the first from here */
	uint64_t map_from;		/* where the map goes on; UINT64_MAX: at its end */
	struct mirror_chunk chunks[MIRROR_CHUNKS];
	struct mirror_record records[MIRROR_RECORDS];

	unsigned round;
	uint64_t copied_bytes, round_bytes, round_done;
};

/* ---- mirror.c ---- */
void mirror_enter(struct mirror *m, enum mirror_state to);
void mirror_fail(struct mirror *m, const struct err *e);
bool mirror_stops(const struct mirror *m);
/* Something ended: goes on if it was the last. */
void mirror_advance(struct mirror *m);
/* fn on the worker, then next. */
void mirror_run_job(struct mirror *m, void (*fn)(struct mirror *m), void (*next)(struct mirror *m));
/* Whatever holds the guest ends. */
void mirror_let_go(struct mirror *m);
/* Whatever it waits for that may take long is given up; the next step follows.  Not once it is committed. */
void mirror_interrupt(struct mirror *m);
void mirror_end(struct mirror *m);

/* ---- mirror_round.c ---- */
/* Timers. */
void mirror_late(void *arg);
void mirror_retry_due(void *arg);
/* A barrier within ms, then next: has_cut, or too_late. */
void mirror_barrier(struct mirror *m, uint64_t ms, void (*next)(struct mirror *m));
void mirror_retry_later(struct mirror *m, void (*next)(struct mirror *m));
void mirror_round(struct mirror *m);
void mirror_follow(struct mirror *m);
void mirror_job_measure(struct mirror *m);	/* off-loop: how much the map names; before mirror_map_copy */
/* Copies what the map of the last barrier names, acknowledges it; then follows, or goes on with the switch. */
void mirror_map_copy(struct mirror *m);
/* After mirror_apply: copies what it left unknown. */
void mirror_copy_unknown(struct mirror *m, void (*next)(struct mirror *m));
void mirror_flush_target(struct mirror *m, void (*next)(struct mirror *m));

/* ---- mirror_switch.c ---- */
void mirror_switch(struct mirror *m);
void mirror_switch_apply(struct mirror *m);

/* ---- mirror_copy.c: begins, and ends in mirror_advance ---- */
void mirror_copy_runs(struct mirror *m);
/* A batch of records; sets ring_lost, ring_empty. */
void mirror_apply(struct mirror *m);
void mirror_copy_init(struct mirror *m);
void mirror_copy_fini(struct mirror *m);
/* Stops waiting for the rate limit. */
void mirror_copy_poke(struct mirror *m);

#endif

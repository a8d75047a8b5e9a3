/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a feed, shared by feed.c (tap and barrier) and consumer.c
 * (attach, maps, acknowledgement); nobody else's.
 *
 * Order of locks: control, then lock, then the log's own.  `lock` is what the
 * I/O thread takes: under it nothing blocks, allocates or walks.
 */
#ifndef FEED_FEED_PRIV_H
#define FEED_FEED_PRIV_H

#include <pthread.h>

#include "feed/feed.h"

struct feed_consumer {
	struct feed *f;
	char name[FEED_NAME_BYTES];
	bool attached;
	/* Under `lock`: the I/O thread sets cur, puts into the ring and exchanges cur with spare at a cut. */
	struct dirty_map *cur[FEED_DISKS_MAX];
	struct dirty_map *spare[FEED_DISKS_MAX];	/* clean, or with has_taken what the cut took away */
	bool has_taken;
	uint64_t taken_position;
	uint32_t taken_interval;
	struct ring *ring;		/* NULL: none */
	int wake_fd;
	bool wants_cut;
	void (*done)(void *arg, const struct feed_cut *cut);
	void *arg;
	/* Under `control`. */
	struct dirty_map *old[FEED_DISKS_MAX];
	uint64_t old_position;		/* of the last barrier; 0: none in this life */
	uint32_t old_interval;
	bool has_acked;
	uint64_t acked;
	uint32_t acked_interval;
	bool coarse;
};

struct feed {
	struct feed_cfg cfg;
	struct feed_disk disks[FEED_DISKS_MAX];
	unsigned n_disks;
	unsigned grain_shift;
	uint64_t feed_id;
	struct act_log *log;		/* NULL: none */

	pthread_mutex_t control;	/* one control call at a time; may be held over I/O */

	pthread_mutex_t lock;
	uint64_t position;
	uint64_t in_flight;
	uint32_t ended_interval;	/* of the last cut */
	bool cut_wanted;
	unsigned cutting;		/* cuts whose done functions run */
	bool hold, held;
	bool told_wait;			/* somebody waits for wake because of a barrier */
	uint64_t asked_ns;
	uint64_t barriers, barriers_cancelled, stall_ns_max;
	struct feed_consumer *consumers[FEED_CONSUMERS_MAX];	/* written under both locks */
	unsigned n_consumers;
};

/* With `lock`: no consumer waits for a cut any more?  Then writes go on; true: call wake without the lock. */
bool feed_recheck_wanted(struct feed *f);

/* A consumer that an earlier life of the feed knew: old is what the log marked. */
struct feed_consumer *feed_consumer_restore(struct feed *f, const char *name, uint64_t floor);
void feed_consumer_free(struct feed_consumer *c);	/* with its ring; NULL is fine */

#endif

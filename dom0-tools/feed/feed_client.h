/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer's end of the feed (feed_proto.h says in which order to call).
 * Blocking, one thread; the answers and the ring are checked as foreign bytes.
 */
#ifndef FEED_FEED_CLIENT_H
#define FEED_FEED_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "feed/dirty_map.h"
#include "feed/feed.h"
#include "feed/ring.h"

struct feed_client;

struct feed_client_disk {
	char key[FEED_KEY_BYTES];
	uint64_t bytes;
};

struct feed_client_info {
	uint64_t feed_id, position;
	uint64_t grain, dirty_bytes;
	bool full;			/* drop any stored position and all that came with it */
	bool coarse;			/* compare before sending */
	unsigned n_disks;
	struct feed_client_disk disks[FEED_DISKS_MAX];
};

struct feed_client_cut {
	uint64_t position;
	bool ring, complete;
	uint64_t stall_us, dirty_bytes;
};

/* Connects and attaches; a as in feed.h (feed_id and position of the last durable barrier, ring_bytes 0: no ring). */
MUSTUSE int feed_client_open(const char *path, const struct feed_attach *a, struct feed_client **out, struct err *e);
/* Leaves; the feed keeps the map.  NULL is fine. */
void feed_client_close(struct feed_client *c);
/* Leaves without a word, as if the process had died: never blocks. */
void feed_client_drop(struct feed_client *c);
/* Leaves for good.  c is gone, also on failure. */
MUSTUSE int feed_client_forget(struct feed_client *c, struct err *e);
const struct feed_client_info *feed_client_info(const struct feed_client *c);

/* ERR_TIMEOUT: a write of the guest hangs; try later. */
MUSTUSE int feed_client_barrier(struct feed_client *c, struct feed_client_cut *out, struct err *e);
/* Ranges of the disk that changed before the last barrier, from *from on; n: capacity in (FEED_PROTO_RUNS_MAX is used
 * at most), count out.  *from is where to go on, UINT64_MAX at the end. */
MUSTUSE int feed_client_map(struct feed_client *c, unsigned disk, uint64_t *from, struct dirty_run *runs, unsigned *n,
			    struct err *e);
MUSTUSE int feed_client_ack(struct feed_client *c, uint64_t position, struct err *e);

/* The ring; as ring_next and ring_release.  Without a ring: RING_LOST. */
enum ring_step feed_client_next(struct feed_client *c, struct ring_rec *rec, const uint8_t **data, struct err *e);
void feed_client_release(struct feed_client *c);
/* Sleeps until there is something to read (1) or the time is up (0); -1: the feed is gone. */
MUSTUSE int feed_client_wait(struct feed_client *c, int timeout_ms, struct err *e);

#endif

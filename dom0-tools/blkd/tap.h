/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change feed in the path of a queue's disks: each gets a tap that tells
 * the feed of its writes, zeroes and discards, and what the feed keeps waiting
 * is asked again on the loop.
 *
 *	taps_new (any thread, blocks) -> taps_put (disks drained) ... taps_pull (drained) -> taps_free
 */
#ifndef BLKD_TAP_H
#define BLKD_TAP_H

#include "base/err.h"
#include "base/loop.h"
#include "blkd/queue.h"
#include "feed/feed.h"

struct taps;

struct taps_disk {
	struct qdisk *qd;
	char key[FEED_KEY_BYTES];	/* as struct feed_disk's */
};

/* Makes the feed; nothing goes through it yet.  log_fd: the activity log, open for reading and writing, stays the
 * caller's and must outlive the taps; -1: none. */
MUSTUSE int taps_new(struct loop *l, const struct taps_disk *disks, unsigned n, int log_fd, struct taps **out,
		     struct err *e);
/* Ends the feed, on any thread, while all is pulled: what of taps_free may block.  Only taps_free is left then. */
void taps_stop(struct taps *t);
/* Loop thread.  No server or consumer on the feed any more, every tap pulled or its disk drained for good.  NULL is
 * fine. */
void taps_free(struct taps *t);

/* Loop thread, each disk drained or not in use yet. */
void taps_put(struct taps *t);
void taps_pull(struct taps *t);
/* The disk goes: nothing is in flight, and none of its writes is heard of any more. */
void taps_drop(struct taps *t, struct qdisk *qd);

struct feed *taps_feed(struct taps *t);
/* The number of the disk in the feed, -1: it has none. */
int taps_number(const struct taps *t, const struct qdisk *qd);
/* What the disk may grow to while this feed lasts. */
uint64_t taps_bytes_max(const struct taps *t, const struct qdisk *qd);

/* An export's context "hvapi:dirty": what a consumer has not acknowledged. */
struct taps_view {
	struct taps *t;
	unsigned disk;			/* its number */
	const char *consumer;
};
/* nbd_dirty_fn; arg: a struct taps_view. */
bool taps_dirty(void *arg, uint64_t off, uint64_t *len);

#endif

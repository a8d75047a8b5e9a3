/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of a move: frames of mig_wire.h on a descriptor.
 *
 * The loop's thread reads and writes, without blocking.  The encoder's thread
 * only appends to the queue, and waits there while the queue is full: so a
 * slow line slows the stream, and a cancel is never stuck behind it.
 */
#ifndef MIGRATE_MIG_LINK_H
#define MIGRATE_MIG_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "migrate/mig_wire.h"

enum {
	MIG_LINK_QUEUE_BYTES = 1 << 20,	/* more than this waiting: mig_link_push waits */
	MIG_LINK_BURST_MS = 100,
	MIG_LINK_FLUSH_MS = 2000,	/* how long a closing link may take to send what is queued */
};

struct mig_link;

struct mig_link_ops {
	/* Any message but DATA; borrowed for the call. */
	void (*msg)(void *arg, struct mig_link *l, const struct mig_msg *m);
	/* DATA: the batch belongs to the callee. */
	void (*data)(void *arg, struct mig_link *l, uint64_t seq, struct buf batch);
	/* Once; why is NULL for an orderly end by the other side.  The link stays the owner's to free. */
	void (*down)(void *arg, struct mig_link *l, const struct err *why);
};

/* Takes fd.  ops and arg must outlive the link. */
MUSTUSE int mig_link_new(struct loop *loop, int fd, const struct mig_link_ops *ops, void *arg,
			 struct mig_link **out, struct err *e);
/* Loop thread.  NULL is fine.  No callback comes afterwards. */
void mig_link_free(struct mig_link *l);

/* Loop thread: queues one message; never waits.  Nothing happens on a link that is down. */
void mig_link_send(struct mig_link *l, const struct mig_msg *m);
/* Any thread: queues DATA with this number around the batch (copied), waiting for room.  False: the link is down. */
bool mig_link_push(struct mig_link *l, uint64_t seq, struct span batch);
/* Before the first push: DATA goes out at this rate at the most, averaged over MIG_LINK_BURST_MS; 0: no limit. */
void mig_link_set_rate(struct mig_link *l, uint64_t bytes_s);
/* Loop thread: ends the waiting of mig_link_push, which answers false from now on. */
void mig_link_stop_pushing(struct mig_link *l);
/* Stops and goes on reading: back-pressure when DATA is not wanted. */
void mig_link_hold(struct mig_link *l, bool hold);
/* Bytes that the other side's kernel has not taken yet: queue and socket buffer. */
uint64_t mig_link_backlog(struct mig_link *l);
/* Loop thread: bytes written to the line so far. */
uint64_t mig_link_sent(const struct mig_link *l);
/* Loop thread: blocks up to MIG_LINK_FLUSH_MS until the queue is written. */
void mig_link_flush(struct mig_link *l);

#endif

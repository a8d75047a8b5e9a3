/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed's protocol, version 1: how a consumer of a VM's change feed talks
 * to the process that has the disks.  Control is base/ctl.h on the socket
 * RUN/feed/VM.sock; bytes come through the shared ring (feed/ring.h).
 *
 *	consumer                                feed
 *	attach {consumer, feed?, position?} ->  {session, full, disks ...} + fds: wake, ring
 *	barrier {session}                   ->  {position P}; the ring holds what comes after P
 *	map {session, disk, from}  (repeat) ->  ranges that changed before P: read them from the disk
 *	   ... apply the ring's records ...
 *	barrier                             ->  {position Q, complete}: what was read, and then the ring
 *	                                        up to the mark Q, is together the state at Q
 *	ack {session, position}             ->  made durable up to there; its map is forgotten
 *	detach, or just die
 *
 * - full: all that the consumer has counts for nothing, the map is all ones; it must drop its stored position.
 * - coarse: the map is of extents that the activity log knew before a crash: compare before sending.
 * - ring false in a barrier's answer: no room for its mark; read on, release, ask for another barrier.
 * - complete false: the ring lost records since the barrier before: what changed is in the map.
 * - A range that was read from the disk may be newer than P.  When all of the map was read before barrier Q is asked
 *   for, and Q answers complete, then the ring's records up to the mark Q on top of it are exactly the state at Q, and
 *   the map of Q need not be read: it names only what the ring brought.  Otherwise read that map too and go round.
 * - One session each name.  wake (a socket, always) hangs up when the feed goes; when the consumer's end is closed the
 *   feed detaches him: ring gone, map kept until he comes back or `forget` drops his name.
 *
 *	verb    arguments                                    answer
 *	attach  consumer, ring_bytes?, feed?, position?,     session, feed, position, full, coarse, dirty_bytes,
 *	        from_now?                                    grain, ring, disks [{disk, key, bytes}]
 *	barrier session                                      position, ring, complete, stall_us, dirty_bytes
 *	map     session, disk, from?, runs?                  runs [[off, bytes] ...], next?
 *	ack     session, position                            -
 *	detach  session, forget?                             -
 *	forget  consumer                                     -
 *	stats                                                position, barriers ..., consumers [...]
 */
#ifndef FEED_FEED_PROTO_H
#define FEED_FEED_PROTO_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "feed/feed.h"

enum {
	FEED_PROTO_RUNS_MAX = 4096,	/* of one answer to `map` */
	FEED_PROTO_BARRIER_MS = 2 * FEED_BARRIER_MS_MAX,	/* a client waits so long for the answer */
	FEED_PROTO_CALL_MS = 60000,	/* and for others: attach writes to a disk */
	FEED_PROTO_FD_WAKE = 0,		/* order of the descriptors of attach */
	FEED_PROTO_FD_RING = 1,
};

/* What the verbs take, checked.  Text is borrowed from the object. */
MUSTUSE int feed_proto_attach(const json_t *in, struct feed_attach *out, struct err *e);

struct feed_proto_call {
	uint64_t session;
	uint64_t disk, from, runs;	/* map */
	uint64_t position;		/* ack */
	bool forget;			/* detach */
};
MUSTUSE int feed_proto_session(const json_t *in, struct feed_proto_call *out, struct err *e);	/* barrier */
MUSTUSE int feed_proto_map(const json_t *in, unsigned n_disks, struct feed_proto_call *out, struct err *e);
MUSTUSE int feed_proto_ack(const json_t *in, struct feed_proto_call *out, struct err *e);
MUSTUSE int feed_proto_detach(const json_t *in, struct feed_proto_call *out, struct err *e);

/* Answers. */
json_t *feed_proto_stats(const struct feed_stats *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of one disk: operations and bytes per second, each a token bucket
 * that holds what `burst_ms` at the limit would let through.  Pure: the caller
 * brings the time (monotonic ns) and waits as long as he is told.
 */
#ifndef BLKD_THROTTLE_H
#define BLKD_THROTTLE_H

#include <stdint.h>

enum { THROTTLE_BURST_MS_DEFAULT = 100 };

struct throttle_limits {
	uint64_t iops;			/* 0: no limit */
	uint64_t bytes_s;		/* 0: no limit */
	uint64_t burst_ms;		/* 0: THROTTLE_BURST_MS_DEFAULT */
};

struct throttle {
	struct throttle_limits limits;
	/* When the bucket will be full again; a bucket is empty once that is burst_ms away. */
	uint64_t ops_full_ns, bytes_full_ns;
};

/* Both buckets start full. */
void throttle_init(struct throttle *t, const struct throttle_limits *l, uint64_t now_ns);
/* 0: go, the tokens are taken.  Else ns to wait before asking again; nothing is taken.  A request larger than the
 * bucket goes when that is full, and the next ones wait for it. */
uint64_t throttle_take(struct throttle *t, uint64_t bytes, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to stop the guest: after each round of pre-copy, go on, stop and send
 * the rest, slow the guest down, or give up.
 *
 * Pure: facts in, decision out.  predicted downtime = bytes left / measured
 * rate + fixed cost.  Rounds that do not bring the rest down by at least
 * POLICY_SHRINK_PERCENT are counted; after POLICY_STALL_ROUNDS in a row the
 * move does not converge and `on_stall` decides.
 *
 * Pages are counted by the caller from the stream itself: what Xen reports of
 * round 0 is p2m_size, special pages near 4 GiB included, not the guest's memory.
 */
#ifndef MIGRATE_MIG_POLICY_H
#define MIGRATE_MIG_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum policy_on_stall { POLICY_THROTTLE, POLICY_STOP, POLICY_ABORT, POLICY_ON_STALL_N };
enum policy_step { POLICY_GO_ON, POLICY_SUSPEND, POLICY_SLOW_DOWN, POLICY_GIVE_UP };

enum {
	POLICY_PAGE_BYTES = 4096,
	POLICY_SHRINK_PERCENT = 15,	/* a round that leaves more than 85 % of the round before did not help */
	POLICY_STALL_ROUNDS = 2,
	POLICY_CAP_STEPS = 4,
	POLICY_DOWNTIME_MS_DEFAULT = 300,
	POLICY_ROUNDS_DEFAULT = 30,
	POLICY_FIXED_MS_DEFAULT = 100,	/* suspend, state record, hand-over: until measured */
	POLICY_DOWNTIME_MS_MAX = 600000,
	POLICY_ROUNDS_LIMIT = 1000,
};

struct policy_opts {
	uint32_t max_downtime_ms;
	uint32_t max_rounds;		/* then as if it did not converge, without further throttling steps */
	uint32_t fixed_ms;
	enum policy_on_stall on_stall;
};

/* What one round did. */
struct policy_round {
	uint32_t number;		/* 0 is the first, full copy */
	uint64_t sent_pages;		/* in this round */
	uint64_t wire_bytes;		/* in this round, encoded */
	uint64_t duration_ms;
	uint64_t left_pages;		/* dirty now: the work of the next round */
};

struct policy {
	struct policy_opts opts;
	uint64_t prev_left_pages;
	uint32_t stalled_rounds;
	uint32_t cap_step;		/* 0: not throttled; else caps[cap_step - 1] is set */
	uint32_t cap_percent;		/* of one vCPU as credit2 counts it; 0 = none */
	bool seen;
	/* of the last round, for progress reports */
	uint64_t rate_bytes_s;		/* guest memory a second, not bytes on the wire */
	uint64_t dirty_bytes_s;
	uint64_t predicted_ms;
	uint64_t left_bytes;
};

struct policy_opts policy_defaults(void);
void policy_init(struct policy *p, const struct policy_opts *o);

/*
 * The decision after a round.  SLOW_DOWN: p->cap_percent is what to set now, and the next round follows.
 * why: one line for the log, at least POLICY_WHY_BYTES.
 */
enum { POLICY_WHY_BYTES = 128 };
enum policy_step policy_decide(struct policy *p, const struct policy_round *r, char why[POLICY_WHY_BYTES]);

/* "throttle", "stop", "abort" and back (-1, ERR_USAGE). */
const char *policy_on_stall_name(enum policy_on_stall v);
MUSTUSE int policy_on_stall_parse(const char *s, enum policy_on_stall *out, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a move tells: its progress while it runs, and one report at the end
 * (the JSON of both is in migrate_ctl.h).  Pure: times come in as arguments.
 */
#ifndef MIGRATE_REPORT_H
#define MIGRATE_REPORT_H

#include <jansson.h>

#include "base/err.h"
#include "migrate/mig_policy.h"
#include "migrate/session.h"
#include "migrate/stream/codec.h"

enum { REPORT_ROUNDS_MAX = 256 };

/* The moments of the outage, in the order they come. */
enum report_mark { MARK_SUSPENDING, MARK_SUSPENDED, MARK_SENT, MARK_READY, MARK_COMMITTED, MARK_TAKEN, MARK_N };

struct report {
	uint64_t started_ms;
	uint64_t mark_ms[MARK_N];	/* 0: did not come */
	struct codec_counts counts;
	uint32_t round;
	uint64_t first_pages;		/* of round 0, for the percentage */
	uint32_t lowest_cap;
	json_t *round_log;
	json_t *target;			/* what READY and TAKEN said */
	json_t *problems;
	const char *state;
};

void report_init(struct report *r, uint64_t now_ms);
void report_fini(struct report *r);
void report_mark(struct report *r, enum report_mark m, uint64_t now_ms);
void report_round(struct report *r, const struct policy_round *round);
/* Adds the members of the peer's JSON "ms". */
void report_target(struct report *r, const json_t *said);

json_t *report_progress(const struct report *r, const struct policy *p);
json_t *report_final(const struct report *r, const struct session *s, enum mig_done outcome, const struct err *why,
		     uint64_t now_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision after each round.  Order matters: what fits the allowed
 * downtime stops at once, even in the first round; then comes what cannot go
 * on (rounds used up), then what does not get better.
 */
#include "migrate/mig_policy.h"

#include <stdio.h>
#include <string.h>

static const char *const on_stall_names[POLICY_ON_STALL_N] = {
	[POLICY_THROTTLE] = "throttle",
	[POLICY_STOP] = "stop",
	[POLICY_ABORT] = "abort",
};

/* Percent of a vCPU's time that the guest keeps, step by step. */
static const uint8_t caps[POLICY_CAP_STEPS] = { 80, 60, 40, 20 };

const char *policy_on_stall_name(enum policy_on_stall v)
{
	return (unsigned)v < POLICY_ON_STALL_N ? on_stall_names[v] : "?";
}

int policy_on_stall_parse(const char *s, enum policy_on_stall *out, struct err *e)
{
	for (unsigned i = 0; i < POLICY_ON_STALL_N; i++) {
		if (!strcmp(s, on_stall_names[i])) {
			*out = (enum policy_on_stall)i;
			return 0;
		}
	}
	err_set(e, ERR_USAGE, "'%.40s' is no answer to a move that does not converge", s);
	return err_remedy(e, "say throttle, stop or abort");
}

struct policy_opts policy_defaults(void)
{
	return (struct policy_opts){
		.max_downtime_ms = POLICY_DOWNTIME_MS_DEFAULT,
		.max_rounds = POLICY_ROUNDS_DEFAULT,
		.fixed_ms = POLICY_FIXED_MS_DEFAULT,
		.on_stall = POLICY_THROTTLE,
	};
}

void policy_init(struct policy *p, const struct policy_opts *o)
{
	memset(p, 0, sizeof(*p));
	p->opts = *o;
}

/* x * 1000 / ms without overflow for any page count that memory can have (< 2^52 bytes). */
static uint64_t per_second(uint64_t bytes, uint64_t ms)
{
	return bytes * 1000 / (ms ? ms : 1);
}

/*
 * Rates of this round.  A round that sent nothing (or so little that its time
 * is noise) keeps the rate of the round before.
 */
static void measure(struct policy *p, const struct policy_round *r)
{
	uint64_t sent_bytes = r->sent_pages * POLICY_PAGE_BYTES;

	p->left_bytes = r->left_pages * POLICY_PAGE_BYTES;
	p->dirty_bytes_s = per_second(p->left_bytes, r->duration_ms);
	if (r->sent_pages && (r->duration_ms >= 10 || !p->rate_bytes_s))
		p->rate_bytes_s = per_second(sent_bytes, r->duration_ms);
	p->predicted_ms = p->opts.fixed_ms;
	if (p->left_bytes)
		p->predicted_ms += p->rate_bytes_s ? p->left_bytes * 1000 / p->rate_bytes_s : UINT32_MAX;
}

/* Counts rounds in a row that did not bring the rest down by POLICY_SHRINK_PERCENT. */
static bool stalls(struct policy *p, const struct policy_round *r)
{
	bool shrunk = !p->seen || r->left_pages * 100 <= p->prev_left_pages * (100 - POLICY_SHRINK_PERCENT);

	p->stalled_rounds = shrunk ? 0 : p->stalled_rounds + 1;
	p->prev_left_pages = r->left_pages;
	p->seen = true;
	return p->stalled_rounds >= POLICY_STALL_ROUNDS;
}

/* The next cap; false when the guest is as slow as it may be made. */
static bool slower(struct policy *p)
{
	if (p->cap_step >= POLICY_CAP_STEPS)
		return false;
	p->cap_percent = caps[p->cap_step++];
	p->stalled_rounds = 0;
	return true;
}

static enum policy_step stalled(struct policy *p, bool rounds_used_up, char why[POLICY_WHY_BYTES])
{
	const char *what = rounds_used_up ? "rounds used up" : "rest does not shrink";
	unsigned long long ms = p->predicted_ms;

	if (p->opts.on_stall == POLICY_ABORT) {
		snprintf(why, POLICY_WHY_BYTES, "%s, %llu ms predicted, %u allowed", what, ms, p->opts.max_downtime_ms);
		return POLICY_GIVE_UP;
	}
	if (p->opts.on_stall == POLICY_THROTTLE && !rounds_used_up && slower(p)) {
		snprintf(why, POLICY_WHY_BYTES, "%s, guest slowed down to %u %%", what, p->cap_percent);
		return POLICY_SLOW_DOWN;
	}
	snprintf(why, POLICY_WHY_BYTES, "%s, stopping with %llu ms predicted, %u allowed", what, ms,
		 p->opts.max_downtime_ms);
	return POLICY_SUSPEND;
}

enum policy_step policy_decide(struct policy *p, const struct policy_round *r, char why[POLICY_WHY_BYTES])
{
	bool stall = stalls(p, r);

	measure(p, r);
	if (p->predicted_ms <= p->opts.max_downtime_ms) {
		snprintf(why, POLICY_WHY_BYTES, "%llu ms predicted fit %u", (unsigned long long)p->predicted_ms,
			 p->opts.max_downtime_ms);
		return POLICY_SUSPEND;
	}
	if (r->number + 1 >= p->opts.max_rounds)
		return stalled(p, true, why);
	if (stall)
		return stalled(p, false, why);
	snprintf(why, POLICY_WHY_BYTES, "%llu ms predicted, going on", (unsigned long long)p->predicted_ms);
	return POLICY_GO_ON;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets kept as one time each (the "virtual scheduling" form): taking
 * n tokens moves the moment of being full by n times the price of a token.
 */
#include "blkd/throttle.h"

enum { NS_PER_MS = 1000000 };
#define NS_PER_S UINT64_C(1000000000)
#define COST_NS_MAX (3600 * NS_PER_S)	/* of one request; keeps the sums far from overflow */

void throttle_init(struct throttle *t, const struct throttle_limits *l, uint64_t now_ns)
{
	t->limits = *l;
	if (!t->limits.burst_ms)
		t->limits.burst_ms = THROTTLE_BURST_MS_DEFAULT;
	t->ops_full_ns = now_ns;
	t->bytes_full_ns = now_ns;
}

static uint64_t cost_ns(uint64_t n, uint64_t per_s)
{
	__uint128_t c = per_s ? (__uint128_t)n * NS_PER_S / per_s : 0;

	return c > COST_NS_MAX ? COST_NS_MAX : (uint64_t)c;
}

/* How long until one more token may go. */
static uint64_t wait_ns(uint64_t full_ns, uint64_t cost, uint64_t burst_ns, uint64_t now_ns)
{
	uint64_t owed = full_ns > now_ns ? full_ns - now_ns : 0;

	if (!owed || owed + cost <= burst_ns)
		return 0;
	return cost < burst_ns ? owed + cost - burst_ns : owed;
}

static void pay(uint64_t *full_ns, uint64_t cost, uint64_t now_ns)
{
	*full_ns = (*full_ns > now_ns ? *full_ns : now_ns) + cost;
}

uint64_t throttle_take(struct throttle *t, uint64_t bytes, uint64_t now_ns)
{
	uint64_t burst_ns = t->limits.burst_ms * NS_PER_MS;
	uint64_t op = cost_ns(1, t->limits.iops), data = cost_ns(bytes, t->limits.bytes_s);
	uint64_t a = op ? wait_ns(t->ops_full_ns, op, burst_ns, now_ns) : 0;
	uint64_t b = data ? wait_ns(t->bytes_full_ns, data, burst_ns, now_ns) : 0;

	if (a || b)
		return a > b ? a : b;
	pay(&t->ops_full_ns, op, now_ns);
	pay(&t->bytes_full_ns, data, now_ns);
	return 0;
}

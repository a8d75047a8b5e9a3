/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that computes restart delays; pure, so that its test needs no time. */
#include "init/backoff.h"

uint64_t backoff_after(struct backoff *b, uint64_t ran_ms)
{
	uint64_t wait = b->next_ms;

	if (ran_ms >= BACKOFF_HEALTHY_MS || wait < BACKOFF_FIRST_MS)
		wait = BACKOFF_FIRST_MS;
	b->next_ms = wait * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : wait * 2;
	return wait;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a unit that ended waits before it is started again: the wait
 * doubles with each quick end and starts over after a while of health.
 */
#ifndef INIT_BACKOFF_H
#define INIT_BACKOFF_H

#include <stdint.h>

enum {
	BACKOFF_FIRST_MS = 200,
	BACKOFF_MAX_MS = 30000,
	BACKOFF_HEALTHY_MS = 60000,	/* a run that lasted so long forgets the ends before it */
};

struct backoff {
	uint64_t next_ms;		/* 0: nothing ended yet */
};

/* The wait after a run of `ran_ms`. */
uint64_t backoff_after(struct backoff *b, uint64_t ran_ms);

#endif

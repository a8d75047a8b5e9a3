/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time.  Code that the simulator drives takes a `struct clock *`; everything
 * else calls the functions.  Spans are measured on the monotonic clock,
 * moments that people read on the real one.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock {
	uint64_t (*mono_ns)(void *arg);
	uint64_t (*real_ms)(void *arg);
	void *arg;
};

extern const struct clock clock_system;

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
uint64_t clock_real_ms(void);		/* since 1970-01-01T00:00:00Z */
/* "2026-11-24T11:05:58.123Z" */
enum { CLOCK_TEXT_BYTES = 32 };
void clock_text(uint64_t real_ms, char out[CLOCK_TEXT_BYTES]);

#endif

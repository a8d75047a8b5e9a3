/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time from the system's clocks.
 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);	/* cannot fail for these clocks */
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000u;
}

uint64_t clock_real_ms(void)
{
	return read_ns(CLOCK_REALTIME) / 1000000u;
}

static uint64_t system_mono_ns(void *arg)
{
	(void)arg;
	return clock_mono_ns();
}

static uint64_t system_real_ms(void *arg)
{
	(void)arg;
	return clock_real_ms();
}

const struct clock clock_system = { .mono_ns = system_mono_ns, .real_ms = system_real_ms };

void clock_text(uint64_t real_ms, char out[CLOCK_TEXT_BYTES])
{
	/* Four digits for the year end there; later moments show as the last one. */
	const uint64_t last_ms = UINT64_C(253402300799999);
	uint64_t ms = real_ms < last_ms ? real_ms : last_ms;
	time_t s = (time_t)(ms / 1000u);
	struct tm t;
	size_t n;

	gmtime_r(&s, &t);
	n = strftime(out, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &t);
	snprintf(out + n, CLOCK_TEXT_BYTES - n, ".%03uZ", (unsigned)(ms % 1000u));
}

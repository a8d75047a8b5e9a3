/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tick every few milliseconds.  CLOCK_MONOTONIC stands still while a guest
 * is suspended, so a stop is measured by CLOCK_BOOTTIME and CLOCK_REALTIME;
 * the larger counts.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/guest/guest.h"

enum { COUNT_EVERY_MS = 10000 };

struct gap {
	uint64_t at_ms;			/* real time of the last tick before it */
	uint64_t real_ms, boot_ms, mono_ms;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gap gaps[GAPS_MAX], longest;
static unsigned n_gaps;
static uint64_t ticks;
static unsigned tick_ms = TICK_MS;

static uint64_t gap_ms(const struct gap *g)
{
	return g->real_ms > g->boot_ms ? g->real_ms : g->boot_ms;
}

static void note(const struct gap *g)
{
	if (gap_ms(g) > gap_ms(&longest))
		longest = *g;
	if (n_gaps == GAPS_MAX)
		memmove(gaps, gaps + 1, --n_gaps * sizeof(gaps[0]));
	gaps[n_gaps++] = *g;
	say("guest: gap of %llu ms (real %llu, boot %llu, mono %llu)", (unsigned long long)gap_ms(g),
	    (unsigned long long)g->real_ms, (unsigned long long)g->boot_ms, (unsigned long long)g->mono_ms);
}

static void *ticker(void *arg)
{
	uint64_t real = now_ms(CLOCK_REALTIME), boot = now_ms(CLOCK_BOOTTIME), mono = now_ms(CLOCK_MONOTONIC);
	uint64_t counted = mono;

	(void)arg;
	for (;;) {
		wait_ms(tick_ms);
		uint64_t r = now_ms(CLOCK_REALTIME), b = now_ms(CLOCK_BOOTTIME), m = now_ms(CLOCK_MONOTONIC);
		struct gap g = { .at_ms = real, .real_ms = r > real ? r - real : 0, .boot_ms = b - boot,
				 .mono_ms = m - mono };

		pthread_mutex_lock(&lock);
		ticks++;
		if (gap_ms(&g) >= GAP_MS_MIN + tick_ms)
			note(&g);
		pthread_mutex_unlock(&lock);
		if (m - counted >= COUNT_EVERY_MS) {
			say("guest: tick %llu", (unsigned long long)ticks);
			counted = m;
		}
		real = r;
		boot = b;
		mono = m;
	}
	return NULL;
}

void ticks_start(void)
{
	char text[16];
	uint64_t ms;

	if (parse_u64(boot_arg("guest.tick_ms", "", text, sizeof(text)), 1000, &ms) && ms)
		tick_ms = (unsigned)ms;
	run_thread(ticker, NULL);
}

void ticks_stat(struct answer *a)
{
	pthread_mutex_lock(&lock);
	answer_add(a, "\"ticks\": %llu, \"longest_gap_ms\": %llu", (unsigned long long)ticks,
		   (unsigned long long)gap_ms(&longest));
	pthread_mutex_unlock(&lock);
}

static void add_gap(struct answer *a, const struct gap *g)
{
	answer_add(a, "{\"at_ms\": %llu, \"ms\": %llu, \"real_ms\": %llu, \"boot_ms\": %llu, \"mono_ms\": %llu}",
		   (unsigned long long)g->at_ms, (unsigned long long)gap_ms(g), (unsigned long long)g->real_ms,
		   (unsigned long long)g->boot_ms, (unsigned long long)g->mono_ms);
}

void ticks_gaps(struct answer *a, bool reset)
{
	pthread_mutex_lock(&lock);
	if (reset) {
		n_gaps = 0;
		memset(&longest, 0, sizeof(longest));
	}
	answer_add(a, "\"longest\": ");
	add_gap(a, &longest);
	answer_add(a, ", \"gaps\": [");
	for (unsigned i = n_gaps > 8 ? n_gaps - 8 : 0, first = i; i < n_gaps; i++) {
		answer_add(a, "%s", i > first ? ", " : "");
		add_gap(a, &gaps[i]);
	}
	answer_add(a, "]");
	pthread_mutex_unlock(&lock);
}

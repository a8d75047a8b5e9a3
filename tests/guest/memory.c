/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on memory, and proof that memory is what it was: `fill` writes a
 * pattern that a seed and the address give, `check` computes it again.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/guest/guest.h"

enum { PAGE_WORDS = 512, PAGES_A_MIB = 256, DIRTY_EVERY_MS = 5, SLIP_MS_MAX = 200 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint64_t *p;
	uint64_t pages, mib, rate, written_pages;
	unsigned run;			/* raised by each start and stop: an older writer sees it and ends */
} dirty;
static struct { uint64_t *p; uint64_t mib, seed; } filled;

static uint64_t *map_mib(uint64_t mib)
{
	void *p = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void dirty_some(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		dirty.written_pages++;
		dirty.p[dirty.written_pages % dirty.pages * PAGE_WORDS] = dirty.written_pages;
	}
}

/* Keeps the rate by the monotonic clock; what a long stop made it miss is not caught up. */
static void *dirtier(void *arg)
{
	unsigned run = (unsigned)(uintptr_t)arg;
	uint64_t start = now_ms(CLOCK_MONOTONIC), done = 0;

	for (;;) {
		wait_ms(DIRTY_EVERY_MS);
		pthread_mutex_lock(&lock);
		if (dirty.run != run)
			break;
		uint64_t want = (now_ms(CLOCK_MONOTONIC) - start) * dirty.rate * PAGES_A_MIB / 1000;
		uint64_t most = SLIP_MS_MAX * dirty.rate * PAGES_A_MIB / 1000 + 1;

		if (want - done > most)
			done = want - most;
		dirty_some(want - done);
		done = want;
		pthread_mutex_unlock(&lock);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void dirty_end(void)
{
	dirty.run++;
	if (dirty.p)
		munmap(dirty.p, dirty.mib << 20);
	dirty.p = NULL;
	dirty.mib = dirty.rate = 0;
}

void memory_dirty(struct answer *a, const char *mib_text, const char *rate_text)
{
	uint64_t mib, rate;

	if (!parse_u64(mib_text, DIRTY_MIB_MAX, &mib) || !parse_u64(rate_text, DIRTY_MIB_MAX, &rate) || !mib) {
		answer_error(a, "dirty MIB MIB_A_SECOND, not '%s %s'", mib_text, rate_text);
		return;
	}
	pthread_mutex_lock(&lock);
	dirty_end();
	dirty.p = map_mib(mib);
	if (dirty.p) {
		dirty.mib = mib;
		dirty.pages = mib * PAGES_A_MIB;
		dirty.rate = rate;
		dirty.written_pages = 0;
		run_thread(dirtier, (void *)(uintptr_t)dirty.run);
		answer_add(a, "\"dirty_mib\": %llu, \"rate_mib_s\": %llu", (unsigned long long)mib,
			   (unsigned long long)rate);
	} else {
		answer_error(a, "dirty %s: %s", mib_text, strerror(errno));
	}
	pthread_mutex_unlock(&lock);
}

void memory_dirty_off(struct answer *a)
{
	pthread_mutex_lock(&lock);
	answer_add(a, "\"written_pages\": %llu", (unsigned long long)dirty.written_pages);
	dirty_end();
	pthread_mutex_unlock(&lock);
}

static uint64_t pattern(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

void memory_fill(struct answer *a, const char *mib_text)
{
	uint64_t mib, x;

	if (!parse_u64(mib_text, DIRTY_MIB_MAX, &mib) || !mib) {
		answer_error(a, "fill MIB, not '%s'", mib_text);
		return;
	}
	if (filled.p)
		munmap(filled.p, filled.mib << 20);
	filled.mib = mib;
	filled.p = map_mib(mib);
	if (!filled.p) {
		answer_error(a, "fill %s: %s", mib_text, strerror(errno));
		return;
	}
	filled.seed = x = now_ms(CLOCK_REALTIME) | 1;
	for (uint64_t i = 0; i < mib << 17; i++)
		filled.p[i] = pattern(&x);
	answer_add(a, "\"filled_mib\": %llu, \"seed\": %llu", (unsigned long long)mib, (unsigned long long)filled.seed);
}

void memory_check(struct answer *a)
{
	uint64_t x = filled.seed, bad_words = 0, bad_pages = 0, last_bad = UINT64_MAX;

	if (!filled.p) {
		answer_error(a, "nothing was filled: `fill MIB` first");
		return;
	}
	for (uint64_t i = 0; i < filled.mib << 17; i++) {
		if (filled.p[i] == pattern(&x))
			continue;
		bad_words++;
		bad_pages += i / PAGE_WORDS != last_bad;
		last_bad = i / PAGE_WORDS;
	}
	answer_add(a, "\"checked_mib\": %llu, \"bad_pages\": %llu, \"bad_words\": %llu", (unsigned long long)filled.mib,
		   (unsigned long long)bad_pages, (unsigned long long)bad_words);
}

void memory_stat(struct answer *a)
{
	pthread_mutex_lock(&lock);
	answer_add(a, "\"dirty_mib\": %llu, \"dirty_rate_mib_s\": %llu, \"dirtied_pages\": %llu, \"filled_mib\": %llu",
		   (unsigned long long)dirty.mib, (unsigned long long)dirty.rate,
		   (unsigned long long)dirty.written_pages, (unsigned long long)filled.mib);
	pthread_mutex_unlock(&lock);
}

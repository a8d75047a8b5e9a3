/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dirty map against a plain array of bytes, at sizes around the words and
 * summaries, and with threads that set while one takes.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "feed/dirty_map.h"
#include "tests/unit/check.h"

enum { GRAIN_SHIFT = 12, GRAIN = 1 << GRAIN_SHIFT };

static struct dirty_map *make(uint64_t bytes, unsigned shift)
{
	struct dirty_map *m = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(dirty_map_new(bytes, shift, &m, &e), 0);
	return m;
}

static uint64_t random_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void refuses(void **state)
{
	static const struct { uint64_t bytes; unsigned shift; enum err_code want; } cases[] = {
		{ 0, 16, ERR_LIMIT }, { DIRTY_BYTES_MAX + 1, 16, ERR_LIMIT },
		{ 4096, DIRTY_GRAIN_SHIFT_MIN - 1, ERR_USAGE }, { 4096, DIRTY_GRAIN_SHIFT_MAX + 1, ERR_USAGE },
	};
	struct dirty_map *m = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(dirty_map_new(cases[i].bytes, cases[i].shift, &m, &e), -1);
		assert_int_equal(e.code, cases[i].want);
	}
	assert_null(m);
}

/* Every run of m is what the model says, and nothing is left out. */
static void compare(const struct dirty_map *m, const uint8_t *model, uint64_t grains)
{
	struct dirty_run run = { 0 };
	uint64_t at = 0, n = 0;

	while (dirty_map_next(m, at, UINT64_MAX, &run)) {
		for (uint64_t g = at >> GRAIN_SHIFT; g < run.off >> GRAIN_SHIFT; g++)
			assert_int_equal(model[g], 0);
		for (uint64_t g = run.off >> GRAIN_SHIFT; g < (run.off + run.bytes) >> GRAIN_SHIFT; g++)
			assert_int_equal(model[g], 1);
		at = run.off + run.bytes;
		n += run.bytes;
	}
	for (uint64_t g = at >> GRAIN_SHIFT; g < grains; g++)
		assert_int_equal(model[g], 0);
	assert_int_equal(dirty_map_bytes(m), n);
}

static void one_step(struct dirty_map *m, uint8_t *model, uint64_t grains, uint64_t *seed)
{
	uint64_t off = random_next(seed) % (grains * GRAIN), len = random_next(seed) % (GRAIN * 200ull) + 1;
	struct dirty_run run;

	if (random_next(seed) % 3) {
		dirty_map_set(m, off, len);
		for (uint64_t g = off >> GRAIN_SHIFT; g <= (off + len - 1) >> GRAIN_SHIFT && g < grains; g++)
			model[g] = 1;
	} else if (dirty_map_take(m, off, len, &run)) {
		assert_true(run.bytes <= len || run.bytes == GRAIN);
		memset(model + (run.off >> GRAIN_SHIFT), 0, run.bytes >> GRAIN_SHIFT);
	}
}

static void model(void **state)
{
	static const uint64_t sizes[] = { 1, 63, 64, 65, 4095, 4096, 4097, 10000, 300000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct dirty_map *m = make(sizes[i] * GRAIN, GRAIN_SHIFT), *other = make(sizes[i] * GRAIN, GRAIN_SHIFT);
		uint8_t *bytes = calloc(1, sizes[i]);
		uint64_t seed = 12345 + i;

		for (unsigned k = 0; k < 300; k++) {
			one_step(m, bytes, sizes[i], &seed);
			if (k % 20 == 0)
				compare(m, bytes, sizes[i]);
		}
		dirty_map_set(other, 0, GRAIN);
		bytes[0] = 1;
		dirty_map_merge(other, m);
		compare(other, bytes, sizes[i]);
		memset(bytes, 0, sizes[i]);
		compare(m, bytes, sizes[i]);
		dirty_map_set_all(m);
		assert_int_equal(dirty_map_bytes(m), sizes[i] * GRAIN);
		dirty_map_swap(&m, &other);
		dirty_map_clear(other);
		compare(other, bytes, sizes[i]);
		dirty_map_free(m);
		dirty_map_free(other);
		free(bytes);
	}
}

static void ends(void **state)
{
	struct dirty_map *m = make(GRAIN * 3ull + 1, GRAIN_SHIFT);
	struct dirty_run run;

	(void)state;
	dirty_map_set(m, GRAIN * 4ull, 10);		/* behind the last grain */
	dirty_map_set(m, 5, 0);
	assert_false(dirty_map_next(m, 0, UINT64_MAX, &run));
	dirty_map_set(m, GRAIN * 3ull, UINT64_MAX);	/* no wrap */
	assert_true(dirty_map_next(m, 0, UINT64_MAX, &run));
	assert_int_equal(run.off, GRAIN * 3ull);
	assert_int_equal(run.bytes, GRAIN);
	assert_false(dirty_map_next(m, UINT64_MAX, 1, &run));
	dirty_map_free(m);
}

/* A walk over a 64 TiB map with a few grains must not look at all of it: a hundred of them in well under a second. */
static void sparse_is_fast(void **state)
{
	struct dirty_map *m = make(DIRTY_BYTES_MAX, DIRTY_GRAIN_SHIFT);
	uint64_t start = clock_mono_ms(), grain = dirty_map_grain(m);
	struct dirty_run run;

	(void)state;
	for (uint64_t off = 0; off < DIRTY_BYTES_MAX; off += DIRTY_BYTES_MAX / 8)
		dirty_map_set(m, off + 7 * grain, 1);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t at = 0, n = 0;

		for (; dirty_map_next(m, at, UINT64_MAX, &run); at = run.off + run.bytes)
			n++;
		assert_int_equal(n, 8);
	}
	assert_true(clock_mono_ms() - start < 1000);
	dirty_map_free(m);
}

enum { THREAD_GRAINS = 5000, SETTERS = 2, ROUNDS = 1000000 };
struct shared {
	struct dirty_map *m;
	_Atomic uint64_t version[THREAD_GRAINS];	/* raised before the grain is set, as a write before its mark */
	uint64_t seen[THREAD_GRAINS];
	_Atomic unsigned running;
	_Atomic unsigned ids;
};

static void *setter(void *arg)
{
	struct shared *s = arg;
	uint64_t seed = 99 + atomic_fetch_add(&s->ids, 1);

	for (unsigned i = 0; i < ROUNDS; i++) {
		/* Mostly one grain of a few words, so that taking and setting meet, and a lost summary stays lost. */
		uint64_t g = i % 64 ? random_next(&seed) % 4 * 64 : 256 + random_next(&seed) % (THREAD_GRAINS - 256);

		atomic_fetch_add(&s->version[g], 1);
		dirty_map_set(s->m, g << GRAIN_SHIFT, 1);
	}
	atomic_fetch_sub(&s->running, 1);
	return NULL;
}

static void take_all(struct shared *s)
{
	struct dirty_run run;
	uint64_t at = 0;

	for (; dirty_map_take(s->m, at, GRAIN * 64, &run); at = run.off + run.bytes)
		for (uint64_t g = run.off >> GRAIN_SHIFT; g < (run.off + run.bytes) >> GRAIN_SHIFT; g++)
			s->seen[g] = atomic_load(&s->version[g]);
}

static void threads_lose_nothing(void **state)
{
	struct shared *s = calloc(1, sizeof(*s));
	pthread_t t[SETTERS];

	(void)state;
	s->m = make(THREAD_GRAINS * (uint64_t)GRAIN, GRAIN_SHIFT);
	atomic_store(&s->running, SETTERS);
	for (unsigned i = 0; i < SETTERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, setter, s), 0);
	while (atomic_load(&s->running))
		take_all(s);
	for (unsigned i = 0; i < SETTERS; i++)
		pthread_join(t[i], NULL);
	take_all(s);
	for (unsigned g = 0; g < THREAD_GRAINS; g++)
		assert_int_equal(s->seen[g], atomic_load(&s->version[g]));
	assert_int_equal(dirty_map_bytes(s->m), 0);
	dirty_map_free(s->m);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses), cmocka_unit_test(model), cmocka_unit_test(ends),
		cmocka_unit_test(sparse_is_fast), cmocka_unit_test(threads_lose_nothing),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bitmap with its summaries.  Setting goes from the bit up to the
 * summaries, taking clears the bit, then the summary, and looks at the bits
 * again: whichever way the two interleave, a set bit ends up announced.
 */
#include "feed/dirty_map.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/buf.h"

enum { LEVELS = 3, WORD_BITS = 64, PAGE_BYTES = 4096 };

struct dirty_map {
	uint64_t n_bits[LEVELS];
	_Atomic uint64_t *level[LEVELS];
	unsigned shift;
	_Atomic uint64_t n_dirty;	/* grains */
	void *memory;
	size_t memory_bytes;
};

static uint64_t words_of(uint64_t bits)
{
	return (bits + WORD_BITS - 1) / WORD_BITS;
}

static size_t level_bytes(const struct dirty_map *m, unsigned lv)
{
	size_t n = (size_t)words_of(m->n_bits[lv]) * sizeof(uint64_t);

	return (n + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

int dirty_map_new(uint64_t bytes, unsigned grain_shift, struct dirty_map **out, struct err *e)
{
	struct dirty_map *m;
	uint8_t *p;

	if (grain_shift < DIRTY_GRAIN_SHIFT_MIN || grain_shift > DIRTY_GRAIN_SHIFT_MAX)
		return err_set(e, ERR_USAGE, "grain of 2^%u bytes, allowed 2^%d to 2^%d", grain_shift,
			       DIRTY_GRAIN_SHIFT_MIN, DIRTY_GRAIN_SHIFT_MAX);
	if (bytes == 0 || bytes > DIRTY_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "map of a disk of %llu bytes, limit %llu", (unsigned long long)bytes,
			       (unsigned long long)DIRTY_BYTES_MAX);
	m = mem_alloc(sizeof(*m));
	m->shift = grain_shift;
	m->n_bits[0] = ((bytes - 1) >> grain_shift) + 1;
	m->n_bits[1] = words_of(m->n_bits[0]);
	m->n_bits[2] = words_of(m->n_bits[1]);
	for (unsigned lv = 0; lv < LEVELS; lv++)
		m->memory_bytes += level_bytes(m, lv);
	m->memory = mmap(NULL, m->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);
	if (m->memory == MAP_FAILED) {
		free(m);
		return err_sys(e, errno, "memory for the dirty map");
	}
	p = m->memory;
	for (unsigned lv = 0; lv < LEVELS; p += level_bytes(m, lv), lv++)
		m->level[lv] = (_Atomic uint64_t *)(void *)p;
	*out = m;
	return 0;
}

void dirty_map_free(struct dirty_map *m)
{
	if (!m)
		return;
	munmap(m->memory, m->memory_bytes);
	free(m);
}

/* Bits lo .. hi (hi included) of one word. */
static uint64_t mask_of(unsigned lo, unsigned hi)
{
	return (~0ull << lo) & (~0ull >> (WORD_BITS - 1 - hi));
}

static void announce(struct dirty_map *m, uint64_t word)
{
	for (unsigned lv = 1; lv < LEVELS; lv++, word /= WORD_BITS) {
		uint64_t bit = 1ull << word % WORD_BITS;
		_Atomic uint64_t *w = &m->level[lv][word / WORD_BITS];

		if (!(atomic_load(w) & bit))
			atomic_fetch_or(w, bit);
	}
}

static void set_word(struct dirty_map *m, uint64_t word, uint64_t mask)
{
	_Atomic uint64_t *w = &m->level[0][word];
	uint64_t fresh;

	if ((atomic_load(w) & mask) == mask)
		return;		/* whoever set it announces it */
	fresh = mask & ~atomic_fetch_or(w, mask);
	if (fresh)
		atomic_fetch_add_explicit(&m->n_dirty, (uint64_t)__builtin_popcountll(fresh), memory_order_relaxed);
	announce(m, word);
}

/* Grains first .. last. */
static void set_grains(struct dirty_map *m, uint64_t first, uint64_t last)
{
	for (uint64_t w = first / WORD_BITS; w <= last / WORD_BITS; w++) {
		unsigned lo = w == first / WORD_BITS ? (unsigned)(first % WORD_BITS) : 0;
		unsigned hi = w == last / WORD_BITS ? (unsigned)(last % WORD_BITS) : WORD_BITS - 1;

		set_word(m, w, mask_of(lo, hi));
	}
}

void dirty_map_set(struct dirty_map *m, uint64_t off, uint64_t len)
{
	uint64_t end = m->n_bits[0] << m->shift;

	if (len == 0 || off >= end)
		return;
	if (len > end - off)
		len = end - off;
	set_grains(m, off >> m->shift, (off + len - 1) >> m->shift);
}

void dirty_map_set_all(struct dirty_map *m)
{
	set_grains(m, 0, m->n_bits[0] - 1);
}

/* The first set bit of level lv at or after i. */
static bool next_bit(const struct dirty_map *m, unsigned lv, uint64_t i, uint64_t *out)
{
	while (i < m->n_bits[lv]) {
		uint64_t w = i / WORD_BITS, above;
		uint64_t v = atomic_load(&m->level[lv][w]) & (~0ull << i % WORD_BITS);

		if (v) {
			*out = w * WORD_BITS + (unsigned)__builtin_ctzll(v);
			return true;
		}
		above = w + 1;
		if (lv + 1 < LEVELS && !next_bit(m, lv + 1, w + 1, &above))
			return false;
		i = above * WORD_BITS;
	}
	return false;
}

/* Length of the run of dirty grains that starts at first, at most max. */
static uint64_t run_length(const struct dirty_map *m, uint64_t first, uint64_t max)
{
	uint64_t i = first, end = m->n_bits[0] - first < max ? m->n_bits[0] : first + max;

	while (i < end) {
		uint64_t clean = ~atomic_load(&m->level[0][i / WORD_BITS]) & (~0ull << i % WORD_BITS);

		if (clean) {
			i = i / WORD_BITS * WORD_BITS + (unsigned)__builtin_ctzll(clean);
			break;
		}
		i = (i / WORD_BITS + 1) * WORD_BITS;
	}
	return (i < end ? i : end) - first;
}

bool dirty_map_next(const struct dirty_map *m, uint64_t from, uint64_t max, struct dirty_run *out)
{
	uint64_t first, n;

	if (!next_bit(m, 0, from >> m->shift, &first))
		return false;
	n = run_length(m, first, max >> m->shift ? max >> m->shift : 1);
	*out = (struct dirty_run){ .off = first << m->shift, .bytes = n << m->shift };
	return true;
}

/* Word i of level 0 is empty: takes its summary bits away, unless something came meanwhile. */
static void retract(struct dirty_map *m, uint64_t i)
{
	for (unsigned lv = 1; lv < LEVELS; lv++, i /= WORD_BITS) {
		uint64_t bit = 1ull << i % WORD_BITS;
		_Atomic uint64_t *w = &m->level[lv][i / WORD_BITS];
		uint64_t left = atomic_fetch_and(w, ~bit) & ~bit;

		if (atomic_load(&m->level[lv - 1][i])) {
			atomic_fetch_or(w, bit);
			return;
		}
		if (left)
			return;
	}
}

static uint64_t take_word(struct dirty_map *m, uint64_t word, uint64_t mask)
{
	uint64_t was = atomic_fetch_and(&m->level[0][word], ~mask);

	atomic_fetch_sub_explicit(&m->n_dirty, (uint64_t)__builtin_popcountll(was & mask), memory_order_relaxed);
	if ((was & ~mask) == 0)
		retract(m, word);
	return was & mask;
}

static void take_grains(struct dirty_map *m, uint64_t first, uint64_t last)
{
	for (uint64_t w = first / WORD_BITS; w <= last / WORD_BITS; w++) {
		unsigned lo = w == first / WORD_BITS ? (unsigned)(first % WORD_BITS) : 0;
		unsigned hi = w == last / WORD_BITS ? (unsigned)(last % WORD_BITS) : WORD_BITS - 1;

		take_word(m, w, mask_of(lo, hi));
	}
}

bool dirty_map_take(struct dirty_map *m, uint64_t from, uint64_t max, struct dirty_run *out)
{
	if (!dirty_map_next(m, from, max, out))
		return false;
	take_grains(m, out->off >> m->shift, (out->off + out->bytes - 1) >> m->shift);
	return true;
}

void dirty_map_clear(struct dirty_map *m)
{
	for (uint64_t i = 0; next_bit(m, 0, i, &i); i = (i / WORD_BITS + 1) * WORD_BITS)
		take_word(m, i / WORD_BITS, ~0ull);
}

void dirty_map_merge(struct dirty_map *dst, struct dirty_map *src)
{
	assert(dst->shift == src->shift && dst->n_bits[0] == src->n_bits[0]);
	for (uint64_t i = 0; next_bit(src, 0, i, &i); i = (i / WORD_BITS + 1) * WORD_BITS)
		set_word(dst, i / WORD_BITS, take_word(src, i / WORD_BITS, ~0ull));
}

uint64_t dirty_map_bytes(const struct dirty_map *m)
{
	uint64_t n = atomic_load_explicit(&m->n_dirty, memory_order_relaxed);

	/* A bit may be taken before its setter has counted it: below zero for a moment. */
	return n > m->n_bits[0] ? 0 : n << m->shift;
}

uint64_t dirty_map_grain(const struct dirty_map *m)
{
	return 1ull << m->shift;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for whom; and a long random run against the obvious O(n^2) model. */
#include <string.h>

#include "base/buf.h"
#include "blkd/overlap.h"
#include "tests/unit/check.h"

#define KIB UINT64_C(1024)
#define GRAIN (UINT64_C(1) << OVERLAP_GRAIN_SHIFT)

static struct overlap_table *fresh(void)
{
	return mem_alloc(sizeof(struct overlap_table));
}

static void apart_goes_at_once(void **state)
{
	AUTO_FREE struct overlap_table *t = fresh();
	struct overlap a, b, c;

	(void)state;
	assert_true(overlap_add(t, &a, 0, 4 * KIB));
	assert_true(overlap_add(t, &b, 4 * KIB, 8 * KIB));		/* same grain, side by side */
	assert_true(overlap_add(t, &c, 100 * GRAIN, 400 * GRAIN));	/* wide */
	assert_null(overlap_del(t, &b));
	assert_null(overlap_del(t, &a));
	assert_null(overlap_del(t, &c));
	assert_null(t->all);
	assert_null(t->wide);
}

static void same_place_in_order(void **state)
{
	AUTO_FREE struct overlap_table *t = fresh();
	struct overlap a, b, c;

	(void)state;
	assert_true(overlap_add(t, &a, 0, 4 * KIB));
	assert_false(overlap_add(t, &b, 2 * KIB, 6 * KIB));
	assert_false(overlap_add(t, &c, 5 * KIB, 8 * KIB));	/* not with a, but after b */
	assert_ptr_equal(overlap_del(t, &a), &b);
	assert_null(b.next_ready);
	assert_ptr_equal(overlap_del(t, &b), &c);
	assert_null(overlap_del(t, &c));
}

static void across_grains_and_wide(void **state)
{
	AUTO_FREE struct overlap_table *t = fresh();
	struct overlap a, b, c, d;

	(void)state;
	assert_true(overlap_add(t, &a, GRAIN - 512, GRAIN + 512));
	assert_false(overlap_add(t, &b, GRAIN - 512, GRAIN + 512));	/* meets a in two grains */
	assert_false(overlap_add(t, &c, 0, 10 * GRAIN));
	assert_false(overlap_add(t, &d, 9 * GRAIN, 9 * GRAIN + 512));
	assert_ptr_equal(overlap_del(t, &a), &b);
	assert_ptr_equal(overlap_del(t, &b), &c);
	assert_ptr_equal(overlap_del(t, &c), &d);
	assert_null(overlap_del(t, &d));
}

static void one_releases_many_in_order(void **state)
{
	AUTO_FREE struct overlap_table *t = fresh();
	struct overlap a, w[40], *o;

	(void)state;
	assert_true(overlap_add(t, &a, 0, 40 * GRAIN));
	for (unsigned i = 0; i < 40; i++)
		assert_false(overlap_add(t, &w[i], i * 31 % 40 * GRAIN, i * 31 % 40 * GRAIN + 512));
	o = overlap_del(t, &a);
	for (unsigned i = 0; i < 40; i++, o = o->next_ready)
		assert_ptr_equal(o, &w[i]);
	assert_null(o);
}

enum { LIVE = 64, STEPS = 200000 };

struct model {
	struct overlap o;
	bool in, running;
};

static unsigned rnd(uint64_t *s)
{
	*s = *s * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(*s >> 33);
}

static bool model_may_run(const struct model *m, const struct model *x)
{
	for (unsigned i = 0; i < LIVE; i++)
		if (m[i].in && &m[i] != x && m[i].o.seq < x->o.seq && m[i].o.lo < x->o.hi && x->o.lo < m[i].o.hi)
			return false;
	return true;
}

static void step(struct overlap_table *t, struct model *m, uint64_t *seed)
{
	struct model *x = &m[rnd(seed) % LIVE];

	if (!x->in) {
		uint64_t lo = rnd(seed) % 4096 * 512;
		uint64_t len = (rnd(seed) % (rnd(seed) % 8 ? 32 : 2000) + 1) * 512ull;

		x->in = true;
		x->running = overlap_add(t, &x->o, lo, lo + len);
		assert_int_equal(x->running, model_may_run(m, x));
	} else if (x->running) {
		x->in = x->running = false;
		for (struct overlap *o = overlap_del(t, &x->o); o; o = o->next_ready) {
			struct model *y = (struct model *)(void *)o;

			assert_false(y->running);
			y->running = true;
		}
		for (unsigned i = 0; i < LIVE; i++)
			assert_true(!m[i].in || m[i].running == model_may_run(m, &m[i]));
	}
}

static void random_run_against_model(void **state)
{
	AUTO_FREE struct overlap_table *t = fresh();
	AUTO_FREE struct model *m = mem_alloc(LIVE * sizeof(*m));
	uint64_t seed = 7;

	(void)state;
	for (unsigned i = 0; i < STEPS; i++)
		step(t, m, &seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(apart_goes_at_once),
		cmocka_unit_test(same_place_in_order),
		cmocka_unit_test(across_grains_and_wide),
		cmocka_unit_test(one_releases_many_in_order),
		cmocka_unit_test(random_run_against_model),
	};

	return check_main(tests);
}

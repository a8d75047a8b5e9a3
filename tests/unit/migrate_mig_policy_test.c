/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of the decision after a round: what fits stops, what shrinks goes on,
 * what does not converge takes the way that was asked for.
 */
#include "tests/unit/check.h"

#include <string.h>

#include "migrate/mig_policy.h"

/* 1000 ms for 25,600 pages: 100 MiB/s, so 2,560 pages cost 100 ms. */
static struct policy_round round_of(uint32_t number, uint64_t left_pages)
{
	return (struct policy_round){ .number = number, .sent_pages = 25600, .wire_bytes = 50 << 20,
				      .duration_ms = 1000, .left_pages = left_pages };
}

static enum policy_step decide(struct policy *p, uint32_t number, uint64_t left_pages)
{
	struct policy_round r = round_of(number, left_pages);
	char why[POLICY_WHY_BYTES] = "";
	enum policy_step step = policy_decide(p, &r, why);

	assert_true(strlen(why) > 0);
	return step;
}

static struct policy with(enum policy_on_stall on_stall, uint32_t max_rounds)
{
	struct policy_opts o = policy_defaults();
	struct policy p;

	o.on_stall = on_stall;
	o.max_rounds = max_rounds;
	policy_init(&p, &o);
	return p;
}

static void prediction(void **state)
{
	struct policy p = with(POLICY_THROTTLE, 30);

	(void)state;
	assert_int_equal(decide(&p, 0, 5146), POLICY_GO_ON);	/* 5146 pages at 25,600 a second: 201 ms, and 100 */
	assert_int_equal(p.predicted_ms, 301);
}

static void fits_at_once(void **state)
{
	struct policy p = with(POLICY_THROTTLE, 30);

	(void)state;
	assert_int_equal(decide(&p, 0, 5000), POLICY_SUSPEND);
	assert_int_equal(p.predicted_ms, 295);
	assert_int_equal(p.rate_bytes_s, 25600ull * 4096);
	assert_int_equal(p.left_bytes, 5000ull * 4096);
}

static void shrinking_goes_on(void **state)
{
	struct policy p = with(POLICY_ABORT, 30);
	uint64_t left = 100000;

	(void)state;
	for (uint32_t i = 0; left > 5000; i++, left = left * 80 / 100)
		assert_int_equal(decide(&p, i, left), POLICY_GO_ON);
	assert_int_equal(decide(&p, 20, left), POLICY_SUSPEND);
}

static void throttles_in_steps_then_stops(void **state)
{
	static const uint32_t caps[] = { 80, 60, 40, 20 };
	struct policy p = with(POLICY_THROTTLE, 100);
	uint32_t n = 0;

	(void)state;
	assert_int_equal(decide(&p, n++, 20000), POLICY_GO_ON);
	for (size_t i = 0; i < ARRAY_LEN(caps); i++) {
		assert_int_equal(decide(&p, n++, 20000), POLICY_GO_ON);
		assert_int_equal(decide(&p, n++, 20000), POLICY_SLOW_DOWN);
		assert_int_equal(p.cap_percent, caps[i]);
	}
	assert_int_equal(decide(&p, n++, 20000), POLICY_GO_ON);
	assert_int_equal(decide(&p, n++, 20000), POLICY_SUSPEND);
}

static void one_good_round_forgives(void **state)
{
	struct policy p = with(POLICY_ABORT, 30);

	(void)state;
	assert_int_equal(decide(&p, 0, 20000), POLICY_GO_ON);
	assert_int_equal(decide(&p, 1, 20000), POLICY_GO_ON);
	assert_int_equal(decide(&p, 2, 15000), POLICY_GO_ON);
	assert_int_equal(decide(&p, 3, 15000), POLICY_GO_ON);
	assert_int_equal(decide(&p, 4, 15000), POLICY_GIVE_UP);
}

static void rounds_used_up(void **state)
{
	static const enum policy_step want[POLICY_ON_STALL_N] = {
		[POLICY_THROTTLE] = POLICY_SUSPEND, [POLICY_STOP] = POLICY_SUSPEND, [POLICY_ABORT] = POLICY_GIVE_UP,
	};

	(void)state;
	for (unsigned v = 0; v < POLICY_ON_STALL_N; v++) {
		struct policy p = with((enum policy_on_stall)v, 2);

		assert_int_equal(decide(&p, 0, 100000), POLICY_GO_ON);
		assert_int_equal(decide(&p, 1, 50000), want[v]);
	}
}

static void no_time_no_pages(void **state)
{
	struct policy p = with(POLICY_STOP, 30);
	struct policy_round r = { .number = 0, .left_pages = 10 };
	char why[POLICY_WHY_BYTES];

	(void)state;
	assert_int_equal(policy_decide(&p, &r, why), POLICY_GO_ON);	/* no rate yet: nothing can be promised */
	r = (struct policy_round){ .number = 1, .sent_pages = 10, .left_pages = 0 };
	assert_int_equal(policy_decide(&p, &r, why), POLICY_SUSPEND);
	assert_int_equal(p.predicted_ms, POLICY_FIXED_MS_DEFAULT);
}

static void names(void **state)
{
	struct err e = ERR_INIT;
	enum policy_on_stall v = POLICY_THROTTLE;

	(void)state;
	for (unsigned i = 0; i < POLICY_ON_STALL_N; i++) {
		assert_int_equal(policy_on_stall_parse(policy_on_stall_name((enum policy_on_stall)i), &v, &e), 0);
		assert_int_equal(v, i);
	}
	assert_int_equal(policy_on_stall_parse("hope", &v, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_non_null(strstr(e.detail, "hope"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(prediction),
		cmocka_unit_test(fits_at_once),
		cmocka_unit_test(shrinking_goes_on),
		cmocka_unit_test(throttles_in_steps_then_stops),
		cmocka_unit_test(one_good_round_forgives),
		cmocka_unit_test(rounds_used_up),
		cmocka_unit_test(no_time_no_pages),
		cmocka_unit_test(names),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Restart delays: double, are bounded, start over after a healthy run. */
#include "init/backoff.h"
#include "tests/unit/check.h"

static void doubles_to_the_limit(void **state)
{
	struct backoff b = { 0 };
	uint64_t last = backoff_after(&b, 0), wait = 0;

	(void)state;
	assert_int_equal(last, BACKOFF_FIRST_MS);
	for (int i = 0; i < 40; i++) {
		wait = backoff_after(&b, 10);
		assert_true(wait == last * 2 || wait == BACKOFF_MAX_MS);
		last = wait;
	}
	assert_int_equal(wait, BACKOFF_MAX_MS);
}

static void health_starts_over(void **state)
{
	struct backoff b = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++)
		backoff_after(&b, BACKOFF_HEALTHY_MS - 1);
	assert_true(backoff_after(&b, BACKOFF_HEALTHY_MS - 1) > BACKOFF_FIRST_MS);
	assert_int_equal(backoff_after(&b, BACKOFF_HEALTHY_MS), BACKOFF_FIRST_MS);
	assert_int_equal(backoff_after(&b, 0), BACKOFF_FIRST_MS * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(doubles_to_the_limit),
		cmocka_unit_test(health_starts_over),
	};

	return check_main(tests);
}

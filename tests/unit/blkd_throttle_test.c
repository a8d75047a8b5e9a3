/* SPDX-License-Identifier: Apache-2.0 */
/* Limits by a clock of our own: rates, bursts, large requests, no limit. */
#include "blkd/throttle.h"
#include "tests/unit/check.h"

#define SECOND UINT64_C(1000000000)
#define MS UINT64_C(1000000)

/* Requests of that size that go from `now` on, for `ns`, when each waits as told. */
static uint64_t run(struct throttle *t, uint64_t bytes, uint64_t now, uint64_t ns)
{
	uint64_t end = now + ns, n = 0;

	while (now < end) {
		uint64_t wait = throttle_take(t, bytes, now);

		n += wait == 0;
		now += wait;
	}
	return n;
}

static void iops(void **state)
{
	struct throttle t;

	(void)state;
	throttle_init(&t, &(struct throttle_limits){ .iops = 1000, .burst_ms = 100 }, 5 * SECOND);
	/* 100 at once, then 1000 a second. */
	assert_in_range(run(&t, 4096, 5 * SECOND, 10 * SECOND), 10 * 1000 + 99, 10 * 1000 + 101);
}

static void bytes(void **state)
{
	struct throttle t;

	(void)state;
	throttle_init(&t, &(struct throttle_limits){ .bytes_s = 10 << 20, .burst_ms = 1000 }, 0);
	assert_in_range(run(&t, 64 << 10, 0, 10 * SECOND), 160 * 11 - 1, 160 * 11 + 1);
}

static void the_tighter_one_counts(void **state)
{
	struct throttle t;

	(void)state;
	throttle_init(&t, &(struct throttle_limits){ .iops = 100, .bytes_s = 1 << 30, .burst_ms = 10 }, 0);
	assert_in_range(run(&t, 512, 0, 10 * SECOND), 999, 1003);
	throttle_init(&t, &(struct throttle_limits){ .iops = 1000000, .bytes_s = 1 << 20, .burst_ms = 10 }, 0);
	assert_in_range(run(&t, 1 << 16, 0, 10 * SECOND), 159, 163);
}

static void larger_than_the_bucket(void **state)
{
	struct throttle t;
	uint64_t wait;

	(void)state;
	throttle_init(&t, &(struct throttle_limits){ .bytes_s = 1 << 20, .burst_ms = 100 }, SECOND);
	assert_int_equal(throttle_take(&t, 4 << 20, SECOND), 0);	/* the bucket was full */
	wait = throttle_take(&t, 512, SECOND);
	assert_in_range(wait, 4 * SECOND - 100 * MS, 4 * SECOND);
	assert_int_equal(throttle_take(&t, 512, SECOND + wait), 0);
}

static void waiting_takes_nothing(void **state)
{
	struct throttle t;
	uint64_t wait;

	(void)state;
	throttle_init(&t, &(struct throttle_limits){ .iops = 10, .burst_ms = 100 }, 0);
	assert_int_equal(throttle_take(&t, 1, 0), 0);
	wait = throttle_take(&t, 1, 0);
	assert_int_equal(wait, 100 * MS);
	for (int i = 0; i < 100; i++)
		assert_int_equal(throttle_take(&t, 1, 0), wait);
	assert_int_equal(throttle_take(&t, 1, wait), 0);
}

static void no_limit(void **state)
{
	struct throttle t;

	(void)state;
	throttle_init(&t, &(struct throttle_limits){ .iops = 0 }, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(throttle_take(&t, UINT64_MAX, 0), 0);
}

static void idle_time_fills_no_more_than_the_bucket(void **state)
{
	struct throttle t;
	unsigned n = 0;

	(void)state;
	throttle_init(&t, &(struct throttle_limits){ .iops = 100, .burst_ms = 200 }, 0);
	while (!throttle_take(&t, 1, 3600 * SECOND))
		n++;
	assert_int_equal(n, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(iops),
		cmocka_unit_test(bytes),
		cmocka_unit_test(the_tighter_one_counts),
		cmocka_unit_test(larger_than_the_bucket),
		cmocka_unit_test(waiting_takes_nothing),
		cmocka_unit_test(no_limit),
		cmocka_unit_test(idle_time_fills_no_more_than_the_bucket),
	};

	return check_main(tests);
}

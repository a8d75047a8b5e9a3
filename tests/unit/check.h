/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every unit test's main needs on top of cmocka: one case by name
 * (TEST_FILTER, set by tests/run.py) and a failure that counts as a failure.
 */
#ifndef TESTS_UNIT_CHECK_H
#define TESTS_UNIT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static inline int check_run_(const struct CMUnitTest *tests, size_t n)
{
	const char *filter = getenv("TEST_FILTER");

	if (filter)
		cmocka_set_test_filter(filter);
	return _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
}

/* tests: an array, not a pointer. */
#define check_main(tests) check_run_(tests, sizeof(tests) / sizeof((tests)[0]))

#endif

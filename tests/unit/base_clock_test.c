/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time: known moments as text, and clocks that agree with each other.
 */
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "tests/unit/check.h"

static void text(void **state)
{
	static const struct { uint64_t ms; const char *want; } cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ 1, "1970-01-01T00:00:00.001Z" },
		{ 951782399999, "2000-02-28T23:59:59.999Z" },
		{ 1709210096007, "2024-02-29T12:34:56.007Z" },
		{ UINT64_C(253402300799999), "9999-12-31T23:59:59.999Z" },
		{ UINT64_MAX, "9999-12-31T23:59:59.999Z" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[CLOCK_TEXT_BYTES];

		clock_text(cases[i].ms, out);
		assert_string_equal(out, cases[i].want);
	}
}

static void clocks_agree(void **state)
{
	uint64_t ns = clock_mono_ns(), ms = clock_mono_ms(), later = clock_system.mono_ns(NULL);
	uint64_t s = (uint64_t)time(NULL), real = clock_real_ms(), real2 = clock_system.real_ms(NULL);

	(void)state;
	assert_true(ns > 0 && later >= ns);
	assert_true(ms >= ns / 1000000 && ms <= later / 1000000);
	assert_true(real / 1000 >= s && real / 1000 <= s + 2);
	assert_true(real2 >= real && real2 - real < 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(text), cmocka_unit_test(clocks_agree) };

	return check_main(tests);
}

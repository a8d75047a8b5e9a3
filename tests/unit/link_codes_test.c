/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes that wait: once, in time, and a few attempts; over restarts too.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "base/clock.h"
#include "link/codes.h"

static char dir[64], path[96];
static struct codes *codes;

static int up(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/codes-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/codes.json", dir);
	assert_int_equal(codes_open(path, &codes, &e), 0);
	return 0;
}

static int down(void **state)
{
	(void)state;
	codes_free(codes);
	(void)remove(path);
	(void)remove(dir);
	return 0;
}

static void reopen(void)
{
	struct err e = ERR_INIT;

	codes_free(codes);
	codes = NULL;
	assert_int_equal(codes_open(path, &codes, &e), 0);
}

static void add(uint8_t n, uint64_t expires_ms, uint8_t id[PAIR_ID_BYTES])
{
	struct pair_offer o = { .secret = { n }, .role = ROLE_ADMIN, .name = "eve" };
	struct err e = ERR_INIT;

	assert_int_equal(codes_add(codes, &o, expires_ms, &e), 0);
	pair_code_id(o.secret, id);
}

static void once_only(void **state)
{
	uint8_t id[PAIR_ID_BYTES];
	struct err e = ERR_INIT;

	(void)state;
	add(1, 0, id);
	reopen();
	assert_string_equal(codes_find(codes, id)->offer.name, "eve");
	assert_int_equal(codes_find(codes, id)->offer.role, ROLE_ADMIN);
	assert_int_equal(codes_spend(codes, id, &e), 0);
	assert_null(codes_find(codes, id));
	assert_int_equal(codes_spend(codes, id, &e), -1);
	reopen();
	assert_null(codes_find(codes, id));
}

static void in_time_only(void **state)
{
	uint8_t past[PAIR_ID_BYTES], future[PAIR_ID_BYTES];

	(void)state;
	add(1, clock_real_ms() - 1, past);
	add(2, clock_real_ms() + 60000, future);
	assert_null(codes_find(codes, past));
	assert_non_null(codes_find(codes, future));
	reopen();
	assert_null(codes_find(codes, past));
	assert_non_null(codes_find(codes, future));
	assert_null(codes_lasting(codes, ROLE_ADMIN));
}

static void few_attempts_also_over_restarts(void **state)
{
	uint8_t id[PAIR_ID_BYTES];

	(void)state;
	add(1, 0, id);
	for (int i = 1; i < CODE_ATTEMPTS_MAX; i++) {
		assert_false(codes_failed(codes, id));
		reopen();
	}
	assert_true(codes_failed(codes, id));
	assert_null(codes_find(codes, id));
	reopen();
	assert_null(codes_find(codes, id));
}

static void the_limit_is_named(void **state)
{
	struct pair_offer o = { .secret = { 200 }, .role = ROLE_PEER };
	uint8_t id[PAIR_ID_BYTES];
	struct err e = ERR_INIT;

	(void)state;
	for (uint8_t i = 0; i < CODES_MAX; i++)
		add(i, 0, id);
	assert_int_equal(codes_add(codes, &o, 0, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(codes_spend(codes, id, &e), 0);
	assert_int_equal(codes_add(codes, &o, 0, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(once_only, up, down),
		cmocka_unit_test_setup_teardown(in_time_only, up, down),
		cmocka_unit_test_setup_teardown(few_attempts_also_over_restarts, up, down),
		cmocka_unit_test_setup_teardown(the_limit_is_named, up, down),
	};

	return check_main(tests);
}

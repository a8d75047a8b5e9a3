/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: the table is complete and its columns are distinct; text that does
 * not fit is cut, never overflows.
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "tests/unit/check.h"

static void names_and_statuses(void **state)
{
	(void)state;
	for (int c = 0; c < ERR_CODE_N; c++) {
		int status = err_exit_status((enum err_code)c);

		assert_non_null(err_name((enum err_code)c));
		assert_int_equal(err_from_name(err_name((enum err_code)c)), c);
		assert_true(c == ERR_NONE ? status == 0 : status >= 2 && status <= 63);
		for (int d = 0; d < c; d++) {
			assert_string_not_equal(err_name((enum err_code)c), err_name((enum err_code)d));
			assert_int_not_equal(status, err_exit_status((enum err_code)d));
		}
	}
	/* An interface: scripts test these. */
	assert_int_equal(err_exit_status(ERR_USAGE), 2);
	assert_int_equal(err_exit_status(ERR_IN_DOUBT), 18);
	assert_int_equal(err_exit_status(ERR_INTERNAL), 20);
	assert_string_equal(err_name(ERR_NOT_FOUND), "not-found");
}

static void unknown_codes_are_internal(void **state)
{
	(void)state;
	assert_int_equal(err_from_name("of-a-later-version"), ERR_INTERNAL);
	assert_string_equal(err_name((enum err_code)999), "internal");
	assert_int_equal(err_exit_status((enum err_code)999), 20);
}

static void errno_picks_the_code(void **state)
{
	static const struct { int errnum; enum err_code want; } cases[] = {
		{ ENOENT, ERR_NOT_FOUND }, { EEXIST, ERR_EXISTS }, { EACCES, ERR_DENIED }, { EPERM, ERR_DENIED },
		{ ENOSPC, ERR_NO_SPACE }, { ENOMEM, ERR_NO_SPACE }, { ECONNREFUSED, ERR_NET },
		{ ECONNRESET, ERR_NET }, { EHOSTUNREACH, ERR_NET }, { ENETUNREACH, ERR_NET }, { EPIPE, ERR_NET },
		{ ETIMEDOUT, ERR_TIMEOUT }, { EBUSY, ERR_BUSY }, { EAGAIN, ERR_BUSY }, { EBADF, ERR_IO },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(err_sys(&e, cases[i].errnum, "open '%s'", "x"), -1);
		assert_int_equal(e.code, cases[i].want);
		assert_memory_equal(e.detail, "open 'x': ", 10);
		assert_non_null(strstr(e.detail, strerror(cases[i].errnum)));
	}
}

static void wrap_and_remedy(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, ERR_NET, "cut after %d bytes", 7);
	assert_int_equal(err_wrap(&e, "peer %s", "hv2"), -1);
	assert_int_equal(err_remedy(&e, "look at %s", "the cable"), -1);
	assert_int_equal(e.code, ERR_NET);
	assert_string_equal(e.detail, "peer hv2: cut after 7 bytes");
	assert_string_equal(e.remedy, "look at the cable");
	/* A new error has no old advice; its arguments may be the old text. */
	err_set(&e, ERR_IO, "again: %s", e.detail);
	assert_string_equal(e.detail, "again: peer hv2: cut after 7 bytes");
	assert_string_equal(e.remedy, "");
}

static void long_text_is_cut(void **state)
{
	char text[2000];
	struct err e = ERR_INIT;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&e, ERR_IO, "%s", text);
	assert_int_equal(strlen(e.detail), ERR_DETAIL_BYTES - 1);
	err_wrap(&e, "context");
	assert_int_equal(strlen(e.detail), ERR_DETAIL_BYTES - 1);
	assert_memory_equal(e.detail, "context: xxx", 12);
	err_remedy(&e, "%s", text);
	assert_int_equal(strlen(e.remedy), ERR_REMEDY_BYTES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_statuses), cmocka_unit_test(unknown_codes_are_internal),
		cmocka_unit_test(errno_picks_the_code), cmocka_unit_test(wrap_and_remedy),
		cmocka_unit_test(long_text_is_cut),
	};

	return check_main(tests);
}

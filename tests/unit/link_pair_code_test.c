/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes as text: both ways, as people type them, and every single mistake.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/check.h"
#include "link/pair_code.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static void fill(uint8_t secret[PAIR_SECRET_BYTES], unsigned seed)
{
	for (unsigned i = 0; i < PAIR_SECRET_BYTES; i++)
		secret[i] = (uint8_t)((seed * 2654435761u + i * 40503u) >> 7);
}

static void round_trip(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 500; seed++) {
		uint8_t in[PAIR_SECRET_BYTES], out[PAIR_SECRET_BYTES];
		char text[PAIR_CODE_TEXT_BYTES];
		struct err e = ERR_INIT;

		fill(in, seed);
		pair_code_text(in, text);
		assert_int_equal(strlen(text), PAIR_CODE_TEXT_BYTES - 1);
		assert_int_equal(pair_code_parse(text, out, &e), 0);
		assert_memory_equal(in, out, sizeof(in));
	}
}

static void as_people_type_it(void **state)
{
	uint8_t in[PAIR_SECRET_BYTES] = { 0 }, out[PAIR_SECRET_BYTES];
	char text[PAIR_CODE_TEXT_BYTES], typed[64];
	struct err e = ERR_INIT;

	(void)state;
	in[0] = 0x08;			/* 1, 0, 0 ... */
	pair_code_text(in, text);
	assert_int_equal(text[0], '1');
	snprintf(typed, sizeof(typed), " l%s", text + 1);
	for (char *p = typed; *p; p++)
		*p = *p == '0' ? 'o' : *p == '-' ? ' ' : *p;
	assert_int_equal(pair_code_parse(typed, out, &e), 0);
	assert_memory_equal(in, out, sizeof(in));
}

static void wrong_length_and_characters(void **state)
{
	static const char *const cases[] = {
		"", "-----", "ABCDE", "AAAAA-AAAAA-AAAAA-AAAAA-AAAA", "AAAAA-AAAAA-AAAAA-AAAAA-AAAAAA",
		"UUUUU-UUUUU-UUUUU-UUUUU-UUUUU", "AAAAA-AAAAA-AAAAA-AAAAA-AAAA\xff", "AAAAA.AAAAA.AAAAA.AAAAA.AAAAA",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t out[PAIR_SECRET_BYTES];
		struct err e = ERR_INIT;

		assert_int_equal(pair_code_parse(cases[i], out, &e), -1);
		assert_int_equal(e.code, ERR_USAGE);
	}
}

static int parses(const char *text)
{
	uint8_t out[PAIR_SECRET_BYTES];
	struct err e = ERR_INIT;

	return pair_code_parse(text, out, &e) == 0;
}

static void every_wrong_symbol_and_swap_is_found(void **state)
{
	uint8_t in[PAIR_SECRET_BYTES];
	char good[PAIR_CODE_TEXT_BYTES], bad[PAIR_CODE_TEXT_BYTES];

	(void)state;
	fill(in, 7);
	pair_code_text(in, good);
	for (size_t i = 0; good[i]; i++) {
		for (const char *p = alphabet; *p && good[i] != '-'; p++) {
			memcpy(bad, good, sizeof(bad));
			bad[i] = *p;
			assert_int_equal(parses(bad), *p == good[i]);
		}
		size_t j = good[i + 1] == '-' ? i + 2 : i + 1;

		if (good[i] == '-' || !good[j])
			continue;
		memcpy(bad, good, sizeof(bad));
		bad[i] = good[j];
		bad[j] = good[i];
		assert_int_equal(parses(bad), good[i] == good[j]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(as_people_type_it),
		cmocka_unit_test(wrong_length_and_characters),
		cmocka_unit_test(every_wrong_symbol_and_swap_is_found),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one-time code that a person carries from one host to another:
 *
 *    7K2QX-9MZ0T-4HJCE-W1R8B-P5VNA
 *
 * 24 symbols of Crockford's base32 (120 random bits) and one check symbol, in
 * groups of five.  Small letters, O for 0, I and L for 1, blanks and missing
 * hyphens are read as meant.  The check symbol is from the same alphabet
 * (nothing a shell would eat) and finds every single wrong symbol and every
 * swap of two neighbours.
 */
#ifndef LINK_PAIR_CODE_H
#define LINK_PAIR_CODE_H

#include <stdint.h>

#include "base/err.h"

enum {
	PAIR_SECRET_BYTES = 15,
	PAIR_CODE_SYMBOLS = 25,
	PAIR_CODE_TEXT_BYTES = 30,	/* 25 symbols, 4 hyphens, NUL */
	PAIR_ID_BYTES = 8,
};

void pair_code_text(const uint8_t secret[PAIR_SECRET_BYTES], char out[PAIR_CODE_TEXT_BYTES]);
/* ERR_USAGE that says what is wrong with the text. */
MUSTUSE int pair_code_parse(const char *text, uint8_t out[PAIR_SECRET_BYTES], struct err *e);
/* Tells codes apart on the wire and in logs; says nothing useful about the secret (a hash of 120 random bits). */
void pair_code_id(const uint8_t secret[PAIR_SECRET_BYTES], uint8_t out[PAIR_ID_BYTES]);

#endif

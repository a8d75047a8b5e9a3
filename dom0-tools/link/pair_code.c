/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-time codes as text.  The check symbol is the sum of a^i * d(i) over
 * GF(32), a a generator: one wrong symbol changes one term, and a swap of
 * neighbours changes the sum by (a^i + a^(i+1)) * (d + d'), which is not zero.
 */
#include "link/pair_code.h"

#include <stdbool.h>
#include <string.h>
#include <mbedtls/sha256.h>

enum { DATA_SYMBOLS = PAIR_CODE_SYMBOLS - 1, GROUP = 5, GF_POLY = 0x25 /* x^5 + x^2 + 1 */ };

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static unsigned gf_double(unsigned v)
{
	v <<= 1;
	return v & 32 ? v ^ GF_POLY : v;
}

static unsigned check_of(const uint8_t d[DATA_SYMBOLS])
{
	unsigned sum = 0;

	/* Horner: the first symbol gets the highest power; each at least a^1. */
	for (int i = 0; i < DATA_SYMBOLS; i++)
		sum = gf_double(sum ^ d[i]);
	return sum;
}

static void split(const uint8_t secret[PAIR_SECRET_BYTES], uint8_t d[DATA_SYMBOLS])
{
	memset(d, 0, DATA_SYMBOLS);
	for (unsigned bit = 0; bit < PAIR_SECRET_BYTES * 8; bit++)
		d[bit / 5] = (uint8_t)(d[bit / 5] << 1 | (secret[bit / 8] >> (7 - bit % 8) & 1));
}

static void join(const uint8_t d[DATA_SYMBOLS], uint8_t secret[PAIR_SECRET_BYTES])
{
	memset(secret, 0, PAIR_SECRET_BYTES);
	for (unsigned bit = 0; bit < PAIR_SECRET_BYTES * 8; bit++)
		secret[bit / 8] = (uint8_t)(secret[bit / 8] << 1 | (d[bit / 5] >> (4 - bit % 5) & 1));
}

void pair_code_text(const uint8_t secret[PAIR_SECRET_BYTES], char out[PAIR_CODE_TEXT_BYTES])
{
	uint8_t d[PAIR_CODE_SYMBOLS];
	char *at = out;

	split(secret, d);
	d[DATA_SYMBOLS] = (uint8_t)check_of(d);
	for (int i = 0; i < PAIR_CODE_SYMBOLS; i++) {
		if (i && i % GROUP == 0)
			*at++ = '-';
		*at++ = alphabet[d[i]];
	}
	*at = '\0';
}

static int symbol_of(char c)
{
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c == 'O')
		c = '0';
	if (c == 'I' || c == 'L')
		c = '1';
	at = c ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

int pair_code_parse(const char *text, uint8_t out[PAIR_SECRET_BYTES], struct err *e)
{
	uint8_t d[PAIR_CODE_SYMBOLS];
	int n = 0;

	for (const char *p = text; *p; p++) {
		int v = symbol_of(*p);

		if (*p == '-' || *p == ' ')
			continue;
		if (v < 0)
			return err_set(e, ERR_USAGE, "the code has a character that no code has, at position %d",
				       (int)(p - text) + 1);
		if (n == PAIR_CODE_SYMBOLS)
			return err_set(e, ERR_USAGE, "the code is longer than %d symbols", PAIR_CODE_SYMBOLS);
		d[n++] = (uint8_t)v;
	}
	if (n < PAIR_CODE_SYMBOLS)
		return err_set(e, ERR_USAGE, "the code has %d symbols, %d are due", n, PAIR_CODE_SYMBOLS);
	if (check_of(d) != d[DATA_SYMBOLS])
		return err_set(e, ERR_USAGE, "the code is mistyped: its last symbol does not fit the rest");
	join(d, out);
	return 0;
}

void pair_code_id(const uint8_t secret[PAIR_SECRET_BYTES], uint8_t out[PAIR_ID_BYTES])
{
	static const char label[] = "hv-pair/1 code id";
	uint8_t in[sizeof(label) + PAIR_SECRET_BYTES], hash[32];

	memcpy(in, label, sizeof(label));
	memcpy(in + sizeof(label), secret, PAIR_SECRET_BYTES);
	(void)mbedtls_sha256_ret(in, sizeof(in), hash, 0);	/* fails only in hardware variants */
	memcpy(out, hash, PAIR_ID_BYTES);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C by table, eight bytes a step.  It runs over metadata only (at most a
 * log at open), so the processor's own instruction is not worth a second way.
 */
#include "disk/crc32c.h"

#include <pthread.h>

enum { POLYNOMIAL = (int)0x82f63b78u, WAYS = 8 };

static uint32_t table[WAYS][256];

static void fill(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t v = i;

		for (int bit = 0; bit < 8; bit++)
			v = v >> 1 ^ (v & 1 ? (uint32_t)POLYNOMIAL : 0);
		table[0][i] = v;
	}
	for (int w = 1; w < WAYS; w++)
		for (uint32_t i = 0; i < 256; i++)
			table[w][i] = table[w - 1][i] >> 8 ^ table[0][table[w - 1][i] & 0xff];
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const uint8_t *b = p;

	pthread_once(&once, fill);
	crc = ~crc;
	for (; n >= WAYS; n -= WAYS, b += WAYS) {
		crc ^= (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
		crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^ table[5][crc >> 16 & 0xff] ^
		      table[4][crc >> 24] ^ table[3][b[4]] ^ table[2][b[5]] ^ table[1][b[6]] ^ table[0][b[7]];
	}
	for (; n; n--, b++)
		crc = crc >> 8 ^ table[0][(crc ^ *b) & 0xff];
	return ~crc;
}

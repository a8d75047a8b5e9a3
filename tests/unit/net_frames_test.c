/* SPDX-License-Identifier: Apache-2.0 */
/* The two announcements, byte by byte. */
#include <arpa/inet.h>
#include <string.h>

#include "net/frames.h"
#include "tests/unit/check.h"

static const uint8_t mac[6] = { 0, 0x16, 0x3e, 0, 0, 0x10 };

static void rarp(void **state)
{
	static const uint8_t want[FRAME_BYTES] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x16, 0x3e, 0, 0, 0x10, 0x80, 0x35,
		0, 1, 8, 0, 6, 4, 0, 3, 0, 0x16, 0x3e, 0, 0, 0x10, 0, 0, 0, 0, 0, 0x16, 0x3e, 0, 0, 0x10,
	};
	uint8_t got[FRAME_BYTES];

	(void)state;
	memset(got, 0xaa, sizeof(got));
	frame_rarp(mac, got);
	assert_memory_equal(got, want, sizeof(want));
}

static void gratuitous_arp(void **state)
{
	static const uint8_t want[FRAME_BYTES] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x16, 0x3e, 0, 0, 0x10, 0x08, 0x06,
		0, 1, 8, 0, 6, 4, 0, 1, 0, 0x16, 0x3e, 0, 0, 0x10, 10, 77, 0, 9, 0, 0, 0, 0, 0, 0, 10, 77, 0, 9,
	};
	uint8_t got[FRAME_BYTES];

	(void)state;
	memset(got, 0xaa, sizeof(got));
	frame_garp(mac, inet_addr("10.77.0.9"), got);
	assert_memory_equal(got, want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rarp),
		cmocka_unit_test(gratuitous_arp),
	};

	return check_main(tests);
}

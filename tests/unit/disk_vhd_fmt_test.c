/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed structures of a VHD: geometry as the specification computes it, sizes of other makers' images, names. */
#include "tests/unit/check.h"

#include <string.h>

#include "disk/vhd_fmt.h"

static void test_geometry(void **state)
{
	static const struct { uint64_t bytes; unsigned cylinders, heads, spt; } cases[] = {
		{ 512, 0, 4, 17 },
		{ 10 << 20, 301, 4, 17 },
		{ 127ull << 20, 1019, 15, 17 },
		{ 1ull << 30, 2080, 16, 63 },
		{ 504ull << 20, 1024, 16, 63 },
		{ 30ull << 30, 62415, 16, 63 },
		{ 127ull << 30, 65278, 16, 255 },
		{ VHD_BYTES_MAX, 65535, 16, 255 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct vhd_footer f = { 0 };

		vhd_set_size(&f, cases[i].bytes);
		if (f.cylinders != cases[i].cylinders || f.heads != cases[i].heads || f.spt != cases[i].spt)
			fail_msg("%llu bytes: %u/%u/%u", (unsigned long long)cases[i].bytes, f.cylinders, f.heads,
				 f.spt);
		assert_int_equal(f.current_bytes, cases[i].bytes);
	}
}

static void test_guest_bytes(void **state)
{
	static const struct { uint32_t app; uint16_t cylinders; uint64_t current, want; } cases[] = {
		{ VHD_APP_WIN, 301, 10 << 20, 10 << 20 },
		{ VHD_CODE('t', 'a', 'p', 0), 301, 10 << 20, 10 << 20 },
		{ VHD_CODE('q', 'e', 'm', '2'), 301, 10 << 20, 10 << 20 },
		{ VHD_APP_VPC, 301, 10 << 20, 301 * 4 * 17 * 512 },
		{ VHD_APP_QEMU, 301, 10 << 20, 301 * 4 * 17 * 512 },
		{ VHD_APP_VPC, 0, 10 << 20, 10 << 20 },
		{ VHD_APP_VPC, 400, 10 << 20, 10 << 20 },	/* more than there is */
	};
	struct vhd_footer large = { .app = VHD_APP_VPC };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct vhd_footer f = { .app = cases[i].app, .cylinders = cases[i].cylinders, .heads = 4, .spt = 17,
					.current_bytes = cases[i].current };

		assert_int_equal(vhd_guest_bytes(&f), cases[i].want);
	}
	vhd_set_size(&large, 1ull << 40);
	assert_int_equal(vhd_guest_bytes(&large), 1ull << 40);
}

static void test_names(void **state)
{
	static const char *const names[] = { "base.vhd", "/srv/gr\xc3\xb6\xc3\x9f" "e.vhd", "\xe2\x82\xac.vhd",
					     "\xf0\x9f\x92\xbe.vhd", "" };
	uint8_t raw[64];
	char back[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		for (int big = 0; big < 2; big++) {
			int n = vhd_name_encode(names[i], big, raw, sizeof(raw));

			assert_true(n >= 0);
			vhd_name_decode(raw, (size_t)n, big, back, sizeof(back));
			assert_string_equal(back, names[i]);
		}
	assert_int_equal(vhd_name_encode("ab", true, raw, 4), 4);
	assert_memory_equal(raw, "\0a\0b", 4);
	assert_int_equal(vhd_name_encode("abc", true, raw, 4), -1);
	assert_int_equal(vhd_name_encode("a\xff", true, raw, sizeof(raw)), -1);
	assert_int_equal(vhd_name_encode("\xed\xa0\x80", true, raw, sizeof(raw)), -1);
	/* Half a surrogate pair; and a cut between characters, not inside one. */
	vhd_name_decode((const uint8_t *)"\xd8\x3d\0a", 4, true, back, sizeof(back));
	assert_string_equal(back, "\xef\xbf\xbd" "a");
	vhd_name_decode((const uint8_t *)"\0a\x20\xac", 4, true, back, 4);
	assert_string_equal(back, "a");
}

static void test_round_trip(void **state)
{
	struct vhd_footer f = { .features = 2, .header_off = 512, .time_s = 7, .app = VHD_APP_WIN, .app_version = 1,
				.host = VHD_HOST_WINDOWS, .original_bytes = 1 << 20, .type = VHD_DYNAMIC, .id = "abc",
				.grown_from = 5 }, f2;
	struct vhd_header h = { .table_off = 4096, .entries = 9, .block_bytes = VHD_BLOCK_BYTES, .parent_id = "def",
				.parent_time_s = 3, .parent_name = "xyz",
				.locators = { [7] = { VHD_LOC_RELATIVE, 512, 20, 1536 } } }, h2;
	uint8_t raw[VHD_HEADER_BYTES];
	struct err e = ERR_INIT;

	(void)state;
	vhd_set_size(&f, 1 << 20);
	memset(raw, 0x5a, sizeof(raw));
	vhd_footer_encode(&f, raw);
	assert_int_equal(raw[100], 0x5a);	/* reserved: kept */
	assert_int_equal(vhd_footer_decode(raw, 0, &f2, &e), 0);
	assert_memory_equal(&f, &f2, sizeof(f));
	memset(raw, 0x5a, sizeof(raw));
	vhd_header_encode(&h, raw);
	assert_int_equal(raw[1000], 0x5a);
	assert_int_equal(vhd_header_decode(raw, 0, &h2, &e), 0);
	assert_memory_equal(&h, &h2, sizeof(h));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_geometry),
		cmocka_unit_test(test_guest_bytes),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_round_trip),
	};

	return check_main(tests);
}

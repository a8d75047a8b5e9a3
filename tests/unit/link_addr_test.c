/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as text, and what counts as one source.
 */
#include <stdbool.h>
#include <string.h>

#include "tests/unit/check.h"
#include "link/addr.h"

static void parse(void **state)
{
	static const struct { const char *text, *host; uint16_t port; } good[] = {
		{ "h", "h", 8443 }, { "h:1", "h", 1 }, { "10.0.0.1:65535", "10.0.0.1", 65535 },
		{ "[2001:db8::1]:22", "2001:db8::1", 22 }, { "[::1]", "::1", 8443 },
		{ "2001:db8::1", "2001:db8::1", 8443 },
	};
	static const char *const bad[] = { "", ":1", "h:", "h:0", "h:65536", "h:1x", "h:-1", "[::1", "[::1]x", "[]:1" };
	struct addr a;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(addr_parse(good[i].text, 8443, &a, &e), 0);
		assert_string_equal(a.host, good[i].host);
		assert_int_equal(a.port, good[i].port);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(addr_parse(bad[i], 8443, &a, &e), -1);
		assert_int_equal(e.code, ERR_USAGE);
	}
}

static struct sockaddr_storage resolve(const char *text)
{
	struct sockaddr_storage sa = { 0 };
	struct addrinfo *list;
	struct addr a;
	struct err e = ERR_INIT;

	assert_int_equal(addr_parse(text, 8443, &a, &e), 0);
	assert_int_equal(addr_resolve(&a, 1, &list, &e), 0);
	memcpy(&sa, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	return sa;
}

static bool same_group(const char *a, const char *b)
{
	struct sockaddr_storage sa = resolve(a), sb = resolve(b);
	uint8_t ga[16], gb[16];

	addr_group(&sa, ga);
	addr_group(&sb, gb);
	return memcmp(ga, gb, sizeof(ga)) == 0;
}

static void groups(void **state)
{
	(void)state;
	assert_true(same_group("10.0.0.1:1", "10.0.0.1:2"));
	assert_false(same_group("10.0.0.1:1", "10.0.0.2:1"));
	assert_true(same_group("[2001:db8::1]:1", "[2001:db8::ffff:2]:1"));
	assert_false(same_group("[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1"));
	assert_true(same_group("[::ffff:10.0.0.1]:1", "10.0.0.1:1"));
}

static void text(void **state)
{
	struct sockaddr_storage sa = resolve("[::ffff:10.0.0.1]:7");
	char out[ADDR_TEXT_BYTES];

	(void)state;
	addr_text(&sa, 0, out);
	assert_string_equal(out, "10.0.0.1:7");
	addr_text(&sa, 9, out);
	assert_string_equal(out, "10.0.0.1:9");
	sa = resolve("[2001:db8::1]:7");
	addr_text(&sa, 0, out);
	assert_string_equal(out, "[2001:db8::1]:7");
}

static void a_name_is_not_numeric(void **state)
{
	struct addrinfo *list;
	struct addr a = { .host = "localhost", .port = 1 };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(addr_resolve(&a, 1, &list, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse),
		cmocka_unit_test(groups),
		cmocka_unit_test(text),
		cmocka_unit_test(a_name_is_not_numeric),
	};

	return check_main(tests);
}

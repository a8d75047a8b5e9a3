/* SPDX-License-Identifier: Apache-2.0 */
/* host.json and the command line: what is taken, what is refused and by which name. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "init/host_cfg.h"
#include "tests/unit/check.h"

static const char lab_json[] =
	"{\"hostname\":\"hv1\",\"network\":{\"bridge\":\"xenbr1\",\"uplink_mac\":\"52:54:00:77:00:AB\","
	"\"address\":\"10.77.0.1/24\",\"gateway\":\"10.77.0.254\",\"dns\":[\"10.77.0.2\",\"10.77.0.3\"]},"
	"\"management\":{\"mac\":\"52:54:00:78:00:01\",\"dhcp\":true},"
	"\"data\":{\"disk\":\"hvdata-hv1\",\"format_if_empty\":true}}";

static void whole_file(void **state)
{
	struct host_cfg c;
	struct err e = ERR_INIT;

	(void)state;
	host_cfg_init(&c);
	assert_int_equal(host_cfg_read(&c, lab_json, strlen(lab_json), &e), 0);
	assert_string_equal(c.hostname, "hv1");
	assert_string_equal(c.bridge, "xenbr1");
	assert_string_equal(c.uplink.match, "52:54:00:77:00:ab");
	assert_false(c.uplink.dhcp);
	assert_int_equal(c.uplink.ip, inet_addr("10.77.0.1"));
	assert_int_equal(c.uplink.prefix, 24);
	assert_int_equal(c.uplink.gateway, inet_addr("10.77.0.254"));
	assert_int_equal(c.n_dns, 2);
	assert_int_equal(c.dns[1], inet_addr("10.77.0.3"));
	assert_true(c.management.wanted && c.management.dhcp);
	assert_string_equal(c.data_disk, "hvdata-hv1");
	assert_true(c.data_format && c.from_file && !c.from_cmdline);
}

static void defaults(void **state)
{
	struct host_cfg c;
	struct err e = ERR_INIT;

	(void)state;
	host_cfg_init(&c);
	assert_int_equal(host_cfg_read(&c, "{}", 2, &e), 0);
	assert_true(c.uplink.wanted && c.uplink.dhcp && !c.management.wanted && !c.data_format);
	assert_string_equal(c.bridge, "xenbr0");
	assert_string_equal(c.uplink.match, "");
}

/* Each refusal names the member, and leaves the configuration as it was. */
static void refusals(void **state)
{
	static const struct { const char *json, *names; } cases[] = {
		{ "{", "" },
		{ "[]", "" },
		{ "{\"hostnam\":\"x\"}", "hostnam" },
		{ "{\"hostname\":\"a b\"}", "hostname" },
		{ "{\"hostname\":\"-a\"}", "hostname" },
		{ "{\"hostname\":7}", "hostname" },
		{ "{\"network\":[]}", "network" },
		{ "{\"network\":{\"adress\":\"10.0.0.1/8\"}}", "adress" },
		{ "{\"network\":{\"address\":\"10.0.0.1\"}}", "address" },
		{ "{\"network\":{\"address\":\"10.0.0.1/33\"}}", "address" },
		{ "{\"network\":{\"address\":\"10.0.0.1/0\"}}", "address" },
		{ "{\"network\":{\"address\":\"10.0.0.1/24x\"}}", "address" },
		{ "{\"network\":{\"address\":\"10.0.0.1/ 24\"}}", "address" },
		{ "{\"network\":{\"address\":\"10.0.0.256/24\"}}", "address" },
		{ "{\"network\":{\"address\":\"10.0.0.1/24\",\"dhcp\":true}}", "dhcp" },
		{ "{\"network\":{\"gateway\":\"10.0.0.1\"}}", "gateway" },
		{ "{\"network\":{\"bridge\":\"0123456789abcdef\"}}", "bridge" },
		{ "{\"network\":{\"bridge\":\"../x\"}}", "bridge" },
		{ "{\"network\":{\"uplink_mac\":\"52:54:00:77:00\"}}", "uplink_mac" },
		{ "{\"network\":{\"uplink_mac\":\"52:54:00:77:00:0g\"}}", "uplink_mac" },
		{ "{\"network\":{\"dns\":[\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\"]}}", "dns" },
		{ "{\"network\":{\"dns\":[7]}}", "dns" },
		{ "{\"management\":{\"dhcp\":true}}", "mac" },
		{ "{\"data\":{\"format_if_empty\":\"yes\"}}", "format_if_empty" },
		{ "{\"data\":{\"disk\":\"\"}}", "disk" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct host_cfg c, before;
		struct err e = ERR_INIT;

		memset(&c, 0, sizeof(c));
		host_cfg_init(&c);
		before = c;
		if (host_cfg_read(&c, cases[i].json, strlen(cases[i].json), &e) == 0)
			fail_msg("taken: %s", cases[i].json);
		if (!strstr(e.detail, cases[i].names))
			fail_msg("%s: '%s' does not name '%s'", cases[i].json, e.detail, cases[i].names);
		assert_memory_equal(&c, &before, sizeof(c));
	}
}

static void command_line_wins(void **state)
{
	struct host_cfg c;
	struct err e = ERR_INIT;

	(void)state;
	host_cfg_init(&c);
	assert_int_equal(host_cfg_read(&c, lab_json, strlen(lab_json), &e), 0);
	assert_int_equal(host_cfg_cmdline(&c, "console=hvc0 hvapi.hostname=hv9 hvapi.address=10.1.0.9/16 "
					  "hvapi.gateway=10.1.0.1  hvapi.uplink=eth3 hvapi.data=format hvapi.debug\n",
					  &e), 0);
	assert_string_equal(c.hostname, "hv9");
	assert_int_equal(c.uplink.ip, inet_addr("10.1.0.9"));
	assert_int_equal(c.uplink.prefix, 16);
	assert_int_equal(c.uplink.gateway, inet_addr("10.1.0.1"));
	assert_string_equal(c.uplink.match, "eth3");
	assert_true(c.debug && c.data_format && c.from_cmdline);
}

/* One bad key does not cut the host off: the others count. */
static void bad_keys_are_named(void **state)
{
	static const char *const bad[] = { "hvapi.adress=1.2.3.4/8", "hvapi.data=wipe", "hvapi.debugx",
					   "hvapi.hostname=", "hvapi.uplink=a/b", "hvapi.address=1.2.3.4" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct host_cfg c;
		struct err e = ERR_INIT;
		char line[128];

		host_cfg_init(&c);
		snprintf(line, sizeof(line), "%s hvapi.debug hvapi.hostname=ok", bad[i]);
		assert_int_equal(host_cfg_cmdline(&c, line, &e), -1);
		assert_int_equal(e.code, ERR_USAGE);
		assert_string_equal(c.hostname, "ok");
		assert_true(c.debug && !c.data_format && !c.uplink.ip);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_file),
		cmocka_unit_test(defaults),
		cmocka_unit_test(refusals),
		cmocka_unit_test(command_line_wins),
		cmocka_unit_test(bad_keys_are_named),
	};

	return check_main(tests);
}

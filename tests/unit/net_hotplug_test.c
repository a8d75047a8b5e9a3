/* SPDX-License-Identifier: Apache-2.0 */
/* What libxl calls, and what is refused before anything is touched. */
#include <string.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "net/hotplug.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

#define VIF "/local/domain/0/backend/vif/3/0"
#define VBD "/local/domain/0/backend/vbd/3/51712"

static void as_libxl_calls_it(void **state)
{
	struct hotplug h;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(hotplug_parse("/etc/xen/scripts/vif-bridge", "online", VIF, "vif3.0", &h, &e), 0);
	assert_true(h.kind == HOTPLUG_VIF && h.add);
	assert_int_equal(hotplug_parse("vif-bridge", "offline", VIF, "vif3.0", &h, &e), 0);
	assert_true(h.kind == HOTPLUG_VIF && !h.add);
	assert_int_equal(hotplug_parse("/etc/xen/scripts/block", "add", VBD, NULL, &h, &e), 0);
	assert_true(h.kind == HOTPLUG_BLOCK && h.add);
	assert_string_equal(h.path, VBD);
	assert_int_equal(hotplug_parse("block", "remove", VBD, NULL, &h, &e), 0);
	assert_false(h.add);
}

static void refusals(void **state)
{
	static const struct { const char *argv0, *action, *path, *vif, *names; } cases[] = {
		{ "hvhotplug", "online", VIF, "vif3.0", "hvhotplug" },
		{ "block", NULL, VBD, NULL, "action" },
		{ "block", "format", VBD, NULL, "format" },
		{ "block", "add", NULL, NULL, "XENBUS_PATH" },
		{ "block", "add", VIF, NULL, "backend/vbd/" },
		{ "vif-bridge", "online", VIF, NULL, "vif" },
		{ "vif-bridge", "online", VIF, "eth0", "eth0" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct hotplug h;
		struct err e = ERR_INIT;

		if (hotplug_parse(cases[i].argv0, cases[i].action, cases[i].path, cases[i].vif, &h, &e) == 0)
			fail_msg("taken: %zu", i);
		if (!strstr(e.detail, cases[i].names))
			fail_msg("'%s' does not name '%s'", e.detail, cases[i].names);
	}
}

static void only_block_devices(void **state)
{
	struct tmp t;
	struct err e = ERR_INIT;
	dev_t dev;

	(void)state;
	tmp_init(&t);
	assert_int_equal(fd_write_file(tmp_path(&t, "img"), "x", 1, 0600, &e), 0);
	assert_int_equal(hotplug_check_disk(t.path, "w", &dev, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);
	assert_int_equal(hotplug_check_disk("/dev/null", "w", &dev, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);
	assert_int_equal(hotplug_check_disk(tmp_path(&t, "none"), "r", &dev, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	tmp_fini(&t);
}

static void device_numbers(void **state)
{
	char text[HOTPLUG_DEV_BYTES];

	(void)state;
	hotplug_dev_text(makedev(253, 26), text);
	assert_string_equal(text, "fd:1a");
	hotplug_dev_text(makedev(0xfff, 0xfffff), text);
	assert_string_equal(text, "fff:fffff");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_libxl_calls_it),
		cmocka_unit_test(refusals),
		cmocka_unit_test(only_block_devices),
		cmocka_unit_test(device_numbers),
	};

	return check_main(tests);
}

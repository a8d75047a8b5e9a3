/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Definitions of VMs: what is completed, what is refused and by which word.
 */
#include "tests/unit/check.h"

#include <string.h>

#include "base/js.h"
#include "hvapi/vm/vm_check.h"

static void test_completed(void **state)
{
	AUTO_JSON json_t *in =
		json_pack("{ss si ss s[{ss}] s[{ssss}]}", "name", "web1", "memory_mib", 64, "kernel", "k", "vifs",
			  "bridge", "xenbr0", "disks", "vdev", "xvda", "target", "/dev/vdb");
	AUTO_JSON json_t *out = NULL, *again = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(vm_check(in, &out, &e), 0);
	assert_string_equal(json_string_value(json_object_get(out, "type")), "pvh");
	assert_int_equal(json_integer_value(json_object_get(out, "vcpus")), 1);
	assert_int_equal(strlen(json_string_value(json_object_get(out, "uuid"))), 36);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(json_object_get(out, "disks"), 0), "mode")), "rw");
	assert_int_equal(
		strlen(json_string_value(json_object_get(json_array_get(json_object_get(out, "vifs"), 0), "mac"))),
		17);
	/* What is complete stays as it is. */
	assert_int_equal(vm_check(out, &again, &e), 0);
	assert_true(json_equal(out, again));
}

static void test_refused(void **state)
{
	static const struct { const char *label, *json, *word;
	} cases[] = {
		{ "no_object", "[1]", "object" },
		{ "no_memory", "{\"name\":\"a\",\"kernel\":\"k\"}", "memory_mib" },
		{ "negative", "{\"name\":\"a\",\"kernel\":\"k\",\"memory_mib\":-1}", "memory_mib" },
		{ "huge", "{\"name\":\"a\",\"kernel\":\"k\",\"memory_mib\":99999999999}", "memory_mib" },
		{ "path_as_kernel", "{\"name\":\"a\",\"memory_mib\":64,\"kernel\":\"../x\"}", "kernel" },
		{ "kernel_null", "{\"name\":\"a\",\"memory_mib\":64,\"kernel\":null}", "kernel" },
		{ "unknown_key", "{\"name\":\"a\",\"memory_mib\":64,\"kernel\":\"k\",\"pci\":[]}", "pci" },
		{ "disk_file",
		  "{\"name\":\"a\",\"memory_mib\":64,\"kernel\":\"k\",\"disks\":[{\"vdev\":\"xvda\",\"target\":\"/"
		  "etc\"}]}",
		  "/etc" },
		{ "disk_format",
		  "{\"name\":\"a\",\"memory_mib\":64,\"kernel\":\"k\",\"disks\":[{\"vdev\":\"xvda\",\"target\":\"/"
		  "dev/x\",\"format\":\"qcow2\"}]}",
		  "qcow2" },
		{ "disk_number", "{\"name\":\"a\",\"memory_mib\":64,\"kernel\":\"k\",\"disks\":[3]}", "disks[0]" },
		{ "vifs_text", "{\"name\":\"a\",\"memory_mib\":64,\"kernel\":\"k\",\"vifs\":\"b\"}", "vifs" },
		{ "mac_text",
		  "{\"name\":\"a\",\"memory_mib\":64,\"kernel\":\"k\",\"vifs\":[{\"bridge\":\"b\",\"mac\":\"x\"}]}",
		  "mac" },
		{ "disk_boot_without", "{\"name\":\"a\",\"memory_mib\":64,\"boot\":\"disk\"}", "disk" },
		{ "crash_word", "{\"name\":\"a\",\"memory_mib\":64,\"kernel\":\"k\",\"on_crash\":\"cry\"}", "cry" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_JSON json_t *in = json_loads(cases[i].json, 0, NULL);
		json_t *out = NULL;
		struct err e = ERR_INIT;

		assert_non_null(in);
		if (vm_check(in, &out, &e) == 0)
			fail_msg("%s: taken", cases[i].label);
		assert_null(out);
		if (e.code != ERR_USAGE || !strstr(e.detail, cases[i].word))
			fail_msg("%s: '%s'", cases[i].label, e.detail);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_completed),
		cmocka_unit_test(test_refused),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Device events: fields are found, odd messages do no harm. */
#include <string.h>

#include "init/uevent.h"
#include "tests/unit/check.h"

#define MSG(s) s, sizeof(s) - 1

static void fields(void **state)
{
	struct uevent u;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(uevent_parse(MSG("add@/devices/pci0/virtio1/block/vda\0ACTION=add\0SUBSYSTEM=block\0"
					  "DEVNAME=vda\0MODALIAS=virtio:d00000002v00001AF4\0INTERFACE=\0SEQNUM=9"),
				      &u, &e), 0);
	assert_string_equal(u.action, "add");
	assert_string_equal(u.subsystem, "block");
	assert_string_equal(u.devname, "vda");
	assert_string_equal(u.modalias, "virtio:d00000002v00001AF4");
	assert_string_equal(u.interface, "");
}

static void absent_is_empty(void **state)
{
	struct uevent u;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(uevent_parse(MSG("change@/x"), &u, &e), 0);
	assert_string_equal(u.action, "");
	assert_string_equal(u.devname, "");
}

static void not_a_kernel_event(void **state)
{
	struct uevent u;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(uevent_parse(MSG(""), &u, &e), -1);
	/* udev's own messages on the same socket family. */
	assert_int_equal(uevent_parse(MSG("libudev\0\xfe\xed\xca\xfe@"), &u, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_string_equal(u.action, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),
		cmocka_unit_test(absent_is_empty),
		cmocka_unit_test(not_a_kernel_event),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A vif (here an Ethernet pair's end that is called so) onto its bridge and off again. */
#include <string.h>
#include <unistd.h>

#include "net/netif.h"
#include "net/vif.h"
#include "tests/unit/check.h"
#include "tests/unit/netns.h"

static void names(void **state)
{
	static const char *const bad[] = { "", "vif", "vif1", "vif1.", "vif.0", "vif1.0x", "eth0", "vif1.0/..",
					   "vif1234567890.0", "vif1.0 " };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(vif_check_name("vif3.0", &e), 0);
	assert_int_equal(vif_check_name("vif32752.12", &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (vif_check_name(bad[i], &e) == 0)
			fail_msg("taken: '%s'", bad[i]);
}

static void online_and_offline(void **state)
{
	static const uint8_t mac[6] = { 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct netif *n = NULL;
	struct netif_info i;
	struct err e = ERR_INIT;

	(void)state;
	if (!netns_enter() || !netns_veth("vif1.0", "guest"))
		skip();
	assert_int_equal(netif_open(&n, &e), 0);
	assert_int_equal(vif_online("vif1.0", "xenbr0", &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_non_null(strstr(e.detail, "xenbr0"));
	assert_non_null(strstr(e.remedy, "xenbr0"));
	assert_int_equal(netif_bridge_make(n, "xenbr0", NULL, &e), 0);
	assert_int_equal(netif_set_mtu(n, "xenbr0", 1400, &e), 0);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(vif_online("vif1.0", "xenbr0", &e), 0);
		assert_int_equal(netif_find(n, "vif1.0", &i, &e), 0);
		assert_string_equal(i.master, "xenbr0");
		assert_memory_equal(i.mac, mac, 6);
		assert_int_equal(i.mtu, 1400);
		assert_true(i.up);
	}
	assert_int_equal(vif_offline("vif1.0", &e), 0);
	assert_int_equal(netif_find(n, "vif1.0", &i, &e), 0);
	assert_true(!i.up && !i.master[0]);
	assert_int_equal(vif_offline("vif7.0", &e), 0);		/* gone is fine */
	assert_int_equal(vif_online("vif7.0", "xenbr0", &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	netif_close(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(online_and_offline),
	};

	return check_main(tests);
}

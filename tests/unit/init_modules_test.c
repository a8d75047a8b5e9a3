/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices a boot waits for. */
#include "init/modules.h"
#include "tests/unit/check.h"

static void kinds(void **state)
{
	static const struct { const char *alias; enum modules_kind want; } cases[] = {
		{ "virtio:d00000001v00001AF4", MODULES_FIRST },
		{ "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00", MODULES_FIRST },
		{ "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00", MODULES_FIRST },
		{ "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02", MODULES_FIRST },
		{ "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", MODULES_DEVICES },
		{ "acpi:PNP0C0C:", MODULES_DEVICES },
		{ "cpu:type:x86,ven0002fam0017mod0001:feature:,0000", MODULES_ALL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(modules_kind_of(cases[i].alias), cases[i].want);
}

static void seen_once(void **state)
{
	struct modules *m = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(modules_new(&m, &e), 0);
	assert_false(modules_seen(m, "virtio:d1"));
	assert_true(modules_seen(m, "virtio:d1"));
	assert_false(modules_seen(m, "virtio:d2"));
	assert_int_equal(modules_load(m, "hvapi-no-such-module", &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	modules_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(seen_once),
	};

	return check_main(tests);
}

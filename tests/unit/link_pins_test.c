/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable list of who is trusted.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "base/fd.h"
#include "link/pins.h"

static char dir[64], path[96];
static struct pins *pins;

static int up(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/pins-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/pins.json", dir);
	assert_int_equal(pins_open(path, &pins, &e), 0);
	return 0;
}

static int down(void **state)
{
	(void)state;
	pins_free(pins);
	(void)remove(path);
	(void)remove(dir);
	return 0;
}

static struct pin pin_of(const char *name, unsigned key, enum role role)
{
	struct pin p = { .role = role, .not_after_ms = 77 };

	snprintf(p.name, sizeof(p.name), "%s", name);
	memcpy(p.fingerprint, &key, sizeof(key));
	return p;
}

static int put(const char *name, unsigned key, enum role role, struct err *e)
{
	struct pin p = pin_of(name, key, role);

	return pins_put(pins, &p, e);
}

static void reopen(void)
{
	struct err e = ERR_INIT;

	pins_free(pins);
	pins = NULL;
	assert_int_equal(pins_open(path, &pins, &e), 0);
}

static void kept_over_a_restart(void **state)
{
	struct err e = ERR_INIT;
	struct pin p = pin_of("hv2", 5, ROLE_PEER);

	(void)state;
	snprintf(p.address, sizeof(p.address), "10.0.0.2:8443");
	assert_int_equal(pins_put(pins, &p, &e), 0);
	assert_int_equal(put("eve", 6, ROLE_ADMIN, &e), 0);
	reopen();
	assert_string_equal(pins_by_name(pins, "hv2")->address, "10.0.0.2:8443");
	assert_int_equal(pins_by_name(pins, "hv2")->not_after_ms, 77);
	assert_string_equal(pins_by_fingerprint(pins, pins_by_name(pins, "eve")->fingerprint)->name, "eve");
	assert_int_equal(pins_count(pins, ROLE_ADMIN), 1);
	assert_int_equal(pins_remove(pins, "hv2", &e), 0);
	reopen();
	assert_null(pins_by_name(pins, "hv2"));
	assert_non_null(pins_by_name(pins, "eve"));
}

static void one_name_one_key(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(put("hv2", 1, ROLE_PEER, &e), 0);
	assert_int_equal(put("hv2", 2, ROLE_PEER, &e), -1);
	assert_int_equal(e.code, ERR_EXISTS);
	/* The same key again: the entry is replaced, with a new name and role. */
	assert_int_equal(put("boss", 1, ROLE_ADMIN, &e), 0);
	assert_null(pins_by_name(pins, "hv2"));
	assert_null(pins_at(pins, 1));
	assert_int_equal(pins_by_name(pins, "boss")->role, ROLE_ADMIN);
}

static void the_limit_is_named(void **state)
{
	struct err e = ERR_INIT;
	char name[16];

	(void)state;
	for (unsigned i = 0; i < PINS_MAX; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		assert_int_equal(put(name, i + 1, ROLE_VIEWER, &e), 0);
	}
	assert_int_equal(put("more", 9999, ROLE_VIEWER, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(put("p3", 4, ROLE_ADMIN, &e), 0);	/* who is there may change */
}

static void a_write_that_fails_changes_nothing(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(put("hv2", 1, ROLE_PEER, &e), 0);
	assert_int_equal(remove(path), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(put("hv3", 2, ROLE_PEER, &e), -1);
	assert_null(pins_by_name(pins, "hv3"));
	assert_int_equal(pins_remove(pins, "hv2", &e), -1);
	assert_non_null(pins_by_name(pins, "hv2"));
}

static void a_damaged_file_is_an_error(void **state)
{
	struct pins *p = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(put("hv2", 1, ROLE_PEER, &e), 0);
	assert_int_equal(fd_write_file(path, "{\"pins\":[]}", 11, 0600, &e), 0);
	assert_int_equal(pins_open(path, &p, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kept_over_a_restart, up, down),
		cmocka_unit_test_setup_teardown(one_name_one_key, up, down),
		cmocka_unit_test_setup_teardown(the_limit_is_named, up, down),
		cmocka_unit_test_setup_teardown(a_write_that_fails_changes_nothing, up, down),
		cmocka_unit_test_setup_teardown(a_damaged_file_is_an_error, up, down),
	};

	return check_main(tests);
}

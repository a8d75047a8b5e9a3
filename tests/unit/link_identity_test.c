/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key and certificate on disk: made once, kept, renewed, and never silently
 * replaced.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "base/clock.h"
#include "base/fd.h"
#include "link/identity.h"

static char dir[64], key[96], cert[96];

static int up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/identity-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(key, sizeof(key), "%s/key.der", dir);
	snprintf(cert, sizeof(cert), "%s/cert.der", dir);
	return 0;
}

static int down(void **state)
{
	(void)state;
	(void)remove(key);
	(void)remove(cert);
	(void)remove(dir);
	return 0;
}

static struct identity *open_it(const char *name)
{
	struct identity *id;
	struct err e = ERR_INIT;

	if (identity_open(dir, name, &id, &e) < 0)
		fail_msg("%s", e.detail);
	return id;
}

static void made_once_and_kept(void **state)
{
	struct identity *a = open_it("hv1"), *b = open_it("hv1");
	struct stat st;

	(void)state;
	assert_string_equal(a->name, "hv1");
	assert_memory_equal(a->fingerprint, b->fingerprint, FINGERPRINT_BYTES);
	assert_true(a->not_after_ms > clock_real_ms() + UINT64_C(9) * 365 * 86400000);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	identity_put(a);
	identity_put(b);
}

static void renewed_keeps_the_fingerprint(void **state)
{
	struct identity *a = open_it("hv1"), *b;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(identity_write_cert(dir, "hv1", 1000, 2000, &e), 0);
	assert_int_equal(identity_renew(dir, "hv9", &b, &e), 0);
	assert_string_equal(b->name, "hv9");
	assert_memory_equal(a->fingerprint, b->fingerprint, FINGERPRINT_BYTES);
	assert_true(a->cert.raw.len != b->cert.raw.len || memcmp(a->cert.raw.p, b->cert.raw.p, a->cert.raw.len));
	identity_put(a);
	identity_put(b);
}

static void a_lost_certificate_is_made_again(void **state)
{
	struct identity *a = open_it("hv1"), *b;

	(void)state;
	assert_int_equal(unlink(cert), 0);
	b = open_it("hv1");
	assert_memory_equal(a->fingerprint, b->fingerprint, FINGERPRINT_BYTES);
	identity_put(a);
	identity_put(b);
}

static void damage_is_an_error_and_stays(void **state)
{
	struct err e = ERR_INIT;
	struct identity *id = open_it("hv1");

	(void)state;
	identity_put(id);
	assert_int_equal(fd_write_file(key, "rubbish", 7, 0600, &e), 0);
	assert_int_equal(identity_open(dir, "hv1", &id, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_int_equal(identity_open(dir, "hv1", &id, &e), -1);
}

static void a_certificate_of_another_key_is_an_error(void **state)
{
	struct err e = ERR_INIT;
	struct identity *id = open_it("hv1");

	(void)state;
	identity_put(id);
	assert_int_equal(unlink(key), 0);
	assert_int_equal(identity_open(dir, "hv1", &id, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
}

static void nothing_there_is_not_found(void **state)
{
	struct err e = ERR_INIT;
	struct identity *id;

	(void)state;
	assert_int_equal(identity_load(dir, &id, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void names_and_fingerprints_as_text(void **state)
{
	static const struct { const char *name; bool good; } names[] = {
		{ "hv1", true }, { "a.b-c_d", true }, { "", false }, { "-x", false }, { "a b", false },
		{ "a/b", false },
		{ "123456789012345678901234567890123456789012345678901234567890123", true },
		{ "1234567890123456789012345678901234567890123456789012345678901234", false },
	};
	uint8_t fp[FINGERPRINT_BYTES] = { 0xab, 1 }, back[FINGERPRINT_BYTES];
	char text[FINGERPRINT_TEXT_BYTES];
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(name_is_valid(names[i].name), names[i].good);
	fingerprint_text(fp, text);
	assert_int_equal(fingerprint_parse(text, back, &e), 0);
	assert_memory_equal(fp, back, sizeof(fp));
	text[0] = 'A';
	text[1] = 'B';
	assert_int_equal(fingerprint_parse(text, back, &e), 0);
	assert_memory_equal(fp, back, sizeof(fp));
	text[9] = 'g';
	assert_int_equal(fingerprint_parse(text, back, &e), -1);
	assert_int_equal(fingerprint_parse("ab", back, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(made_once_and_kept, up, down),
		cmocka_unit_test_setup_teardown(renewed_keeps_the_fingerprint, up, down),
		cmocka_unit_test_setup_teardown(a_lost_certificate_is_made_again, up, down),
		cmocka_unit_test_setup_teardown(damage_is_an_error_and_stays, up, down),
		cmocka_unit_test_setup_teardown(a_certificate_of_another_key_is_an_error, up, down),
		cmocka_unit_test_setup_teardown(nothing_there_is_not_found, up, down),
		cmocka_unit_test(names_and_fingerprints_as_text),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles: where they are, the default, and files that somebody else wrote.
 */
#include "tests/unit/check.h"

#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/js.h"
#include "hvapi/cli/profile.h"
#include "tests/unit/tmp.h"

static int setup(void **state)
{
	struct tmp *t = mem_alloc(sizeof(*t));

	tmp_init(t);
	setenv("HVAPI_CONFIG_DIR", tmp_path(t, "own"), 1);
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("HOME");
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	tmp_fini(*state);
	free(*state);
	return 0;
}

static void put(const char *name, const char *address, bool make_default)
{
	struct profile_host h = { .fingerprint = "ab" };
	struct err e = ERR_INIT;

	snprintf(h.name, sizeof(h.name), "%s", name);
	snprintf(h.address, sizeof(h.address), "%s", address);
	if (profile_put(&h, make_default, &e) < 0)
		fail_msg("%s", e.detail);
}

/* The address under a name (NULL: the default), or the error's code as text. */
static const char *find(const char *name)
{
	static struct profile_host h;
	struct err e = ERR_INIT;

	return profile_find(name, &h, &e) < 0 ? err_name(e.code) : h.address;
}

static void test_folder(void **state)
{
	struct tmp *t = *state;
	char dir[PROFILE_TEXT_BYTES], want[TMP_PATH_BYTES + 32];
	struct err e = ERR_INIT;
	struct stat st;

	assert_int_equal(profile_dir(dir, &e), 0);
	assert_string_equal(dir, tmp_path(t, "own"));
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	setenv("HVAPI_CONFIG_DIR", "", 1);
	assert_int_equal(profile_dir(dir, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	setenv("HOME", tmp_path(t, "home"), 1);
	assert_int_equal(profile_dir(dir, &e), 0);
	snprintf(want, sizeof(want), "%s/.config/hvapi", tmp_path(t, "home"));
	assert_string_equal(dir, want);
	setenv("XDG_CONFIG_HOME", tmp_path(t, "xdg"), 1);
	assert_int_equal(profile_dir(dir, &e), 0);
	snprintf(want, sizeof(want), "%s/hvapi", tmp_path(t, "xdg"));
	assert_string_equal(dir, want);
}

static void test_folder_too_long(void **state)
{
	char dir[PROFILE_TEXT_BYTES], name[PROFILE_TEXT_BYTES + 1];
	struct err e = ERR_INIT;

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	setenv("HVAPI_CONFIG_DIR", name, 1);
	assert_int_equal(profile_dir(dir, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

static void test_default(void **state)
{
	(void)state;
	assert_string_equal(find(NULL), "not-found");
	put("a", "1.1.1.1:8443", false);
	assert_string_equal(find(NULL), "1.1.1.1:8443");
	put("b", "2.2.2.2:8443", false);
	assert_string_equal(find(NULL), "1.1.1.1:8443");
	assert_string_equal(find("b"), "2.2.2.2:8443");
	assert_string_equal(find("c"), "not-found");
	put("b", "3.3.3.3:8443", true);
	assert_string_equal(find(NULL), "3.3.3.3:8443");
	assert_string_equal(find("a"), "1.1.1.1:8443");
}

static void test_remove(void **state)
{
	struct profile_host h;
	struct err e = ERR_INIT;

	(void)state;
	put("a", "1.1.1.1:8443", false);
	put("b", "2.2.2.2:8443", true);
	assert_int_equal(profile_remove("c", &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(profile_remove("b", &e), 0);
	assert_string_equal(find("b"), "not-found");
	/* No other host becomes the default by itself, and the error says what to do. */
	assert_int_equal(profile_find(NULL, &h, &e), -1);
	assert_non_null(strstr(e.remedy, "host use"));
	assert_string_equal(find("a"), "1.1.1.1:8443");
	put("c", "4.4.4.4:8443", false);
	assert_string_equal(find(NULL), "4.4.4.4:8443");
}

static void test_list(void **state)
{
	AUTO_JSON json_t *none = NULL;
	AUTO_JSON json_t *list = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(profile_list(&none, &e), 0);
	assert_int_equal(json_array_size(none), 0);
	put("a", "1.1.1.1:8443", false);
	put("b", "2.2.2.2:8443", true);
	assert_int_equal(profile_list(&list, &e), 0);
	assert_int_equal(json_array_size(list), 2);
	for (size_t i = 0; i < 2; i++) {
		const json_t *row = json_array_get(list, i);
		bool b = !strcmp(js_get_text(row, "name"), "b");

		assert_string_equal(js_get_text(row, "address"), b ? "2.2.2.2:8443" : "1.1.1.1:8443");
		assert_string_equal(js_get_text(row, "fingerprint"), "ab");
		assert_int_equal(json_is_true(json_object_get(row, "default")), b);
	}
}

static void test_files_of_others(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "{}", "{\"hosts\": []}",
		"{\"hosts\": {\"a\": {\"address\": 1, \"fingerprint\": \"x\"}}}",
		"{\"hosts\": {\"a\": {\"address\": \"x\"}}}",
	};
	struct profile_host h;

	(void)state;
	put("a", "1.1.1.1:8443", false);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char path[PROFILE_TEXT_BYTES + 16], dir[PROFILE_TEXT_BYTES];
		struct err e = ERR_INIT;

		assert_int_equal(profile_dir(dir, &e), 0);
		snprintf(path, sizeof(path), "%s/hosts.json", dir);
		assert_int_equal(fd_write_file(path, bad[i], strlen(bad[i]), 0600, &e), 0);
		if (profile_find("a", &h, &e) == 0)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(e.code, ERR_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folder_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_default, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files_of_others, setup, teardown),
	};

	return check_main(tests);
}

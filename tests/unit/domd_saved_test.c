/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A saved guest is in its file or in its domain, never in both.
 */
#include "tests/unit/domd_say.h"

static json_t *path_args(struct box *b, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/save/%s", b->t.dir, name);
	return json_pack("{s:s}", "path", path);
}

static json_t *restore_args(struct box *b, const char *name)
{
	json_t *args = create_args(FAKE_UUID, 3);
	AUTO_JSON json_t *path = path_args(b, name);

	json_object_update(args, path);
	return args;
}

static bool has_file(struct box *b, const char *name)
{
	return access(tmp_path(&b->t, name), F_OK) == 0;
}

static void saved(struct box *b)
{
	created(b);
	assert_int_equal(box_ask(b, DOMD_SAVE, path_args(b, "g1")), ERR_NONE);
	said_is(b, "save:here destroy:here");
	assert_true(has_file(b, "save/g1"));
	assert_false(has_file(b, "save/g1.part"));
	wait_end(b);
	box_crash(b);
}

static void test_save_restore(void **state)
{
	struct box *b = *state;

	saved(b);
	assert_int_equal(box_ask(b, DOMD_RESTORE, restore_args(b, "g1")), ERR_NONE);
	said_is(b, "restore+devices:here unpause:here");
	state_is(b, "running");
	assert_false(has_file(b, "save/g1"));
	assert_false(has_file(b, "vm/g1/note.json"));
}

static void test_save_fails(void **state)
{
	struct box *b = *state;

	created(b);
	b->x.fails_save = true;
	assert_int_equal(box_ask(b, DOMD_SAVE, path_args(b, "g1")), ERR_XEN);
	said_is(b, "save:here resume:here");
	state_is(b, "running");
	assert_false(has_file(b, "save/g1"));
	assert_false(has_file(b, "save/g1.part"));
}

static void test_restore_fails(void **state)
{
	struct box *b = *state;
	struct err e = ERR_INIT;

	saved(b);
	assert_int_equal(fd_write_file(tmp_path(&b->t, "save/g1"), "who", 3, 0600, &e), 0);
	assert_int_equal(box_ask(b, DOMD_RESTORE, restore_args(b, "g1")), ERR_XEN);
	assert_true(has_file(b, "save/g1"));
	wait_end(b);
	box_crash(b);
	assert_int_equal(box_ask(b, DOMD_RESTORE, restore_args(b, "g2")), ERR_NOT_FOUND);
}

static void test_paths(void **state)
{
	static const char *const names[] = { "", ".", "..", "../vm/g1/owner.json", "a/b", ".hidden" };
	struct box *b = *state;

	created(b);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(box_ask(b, DOMD_SAVE, path_args(b, names[i])), ERR_USAGE);
	assert_int_equal(box_ask(b, DOMD_SAVE, json_pack("{s:s}", "path", "/etc/passwd")), ERR_USAGE);
	assert_int_equal(box_ask(b, DOMD_SAVE, NULL), ERR_USAGE);
	said_is(b, "");
	state_is(b, "running");
}

/* A link in the folder leads nowhere. */
static void test_link(void **state)
{
	struct box *b = *state;
	char to[256];

	created(b);
	snprintf(to, sizeof(to), "%s/target", b->t.dir);
	assert_int_equal(symlink(to, tmp_path(&b->t, "save/g1.part")), 0);
	assert_int_not_equal(box_ask(b, DOMD_SAVE, path_args(b, "g1")), ERR_NONE);
	assert_false(has_file(b, "target"));
	state_is(b, "running");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_save_restore), BOX_TEST(test_save_fails), BOX_TEST(test_restore_fails),
		BOX_TEST(test_paths), BOX_TEST(test_link),
	};

	return check_main(tests);
}

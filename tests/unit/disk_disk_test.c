/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains of images: which are refused, what is read through them, the order of
 * a sync, and probing.  The format is VHD, the first that has parents.
 */
#include "tests/unit/check.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "disk/disk.h"
#include "disk/vhd_fmt.h"
#include "tests/cuts/cut_blob.h"

enum { BLOCK = VHD_BLOCK_BYTES_MIN, BASE = 3 * BLOCK, DISK = 4 * BLOCK, N = 3 };

/* Three files: base, child of base, child of that. */
struct chain {
	struct cut_blob *file[N];
	uint8_t id[N][DISK_ID_BYTES];
};

static void create(struct chain *k, unsigned i, const char *format, uint64_t bytes, const uint8_t *parent_id)
{
	struct layer_create how = { .bytes = bytes };
	struct disk_part part = { .format = disk_format(format) };
	struct layer_info info;
	struct layer l;
	struct err e = ERR_INIT;

	if (strcmp(format, "raw")) {
		how.kind = parent_id ? "differencing" : "dynamic";
		how.block_bytes = BLOCK;
		how.parent_id = parent_id;
		how.parent_name = "below";
	}
	cut_blob_reset(k->file[i]);
	part.blob = cut_blob_open(k->file[i], false);
	if (part.format->create(part.blob, &how, &e) < 0 || part.format->open(part.blob, &l, &e) < 0)
		fail_msg("create: %s", e.detail);
	l.ops->info(l.l, &info);
	memcpy(k->id[i], info.id, sizeof(info.id));
	l.ops->close(l.l);
	blob_close(part.blob);
}

static int put_up(void **state)
{
	struct chain *k = mem_alloc(sizeof(*k));

	for (unsigned i = 0; i < N; i++)
		k->file[i] = cut_blob_new();
	create(k, 0, "vhd", BASE, NULL);
	create(k, 1, "vhd", DISK, k->id[0]);
	create(k, 2, "vhd", DISK, k->id[1]);
	*state = k;
	return 0;
}

static int tear_down(void **state)
{
	struct chain *k = *state;

	for (unsigned i = 0; i < N; i++)
		cut_blob_free(k->file[i]);
	free(k);
	return 0;
}

/* leaf: its number; the parents are those below it, `depth` images in all. */
static int try_open(struct chain *k, unsigned leaf, unsigned depth, bool read_only, struct disk **out, struct err *e)
{
	struct disk_part parts[N];

	for (unsigned i = 0; i < depth; i++) {
		parts[i].format = disk_format("vhd");
		parts[i].blob = cut_blob_open(k->file[leaf - i], i || read_only);
	}
	if (disk_open(parts, depth, read_only, out, e) == 0)
		return 0;
	for (unsigned i = 0; i < depth; i++)
		blob_close(parts[i].blob);
	return -1;
}

static struct disk *must_open(struct chain *k, unsigned leaf, bool read_only)
{
	struct disk *d = NULL;
	struct err e = ERR_INIT;

	if (try_open(k, leaf, leaf + 1, read_only, &d, &e) < 0)
		fail_msg("open: %s", e.detail);
	return d;
}

static void put(struct chain *k, unsigned image, uint64_t off, int value, size_t n)
{
	struct disk *d = must_open(k, image, false);
	AUTO_FREE uint8_t *p = mem_alloc(n);

	memset(p, value, n);
	assert_int_equal(disk_write(d, off, p, n), 0);
	assert_int_equal(disk_sync(d), 0);
	assert_false(disk_dirty(d));
	disk_close(d);
}

static void must_hold(struct disk *d, uint64_t off, int value, size_t n)
{
	AUTO_FREE uint8_t *p = mem_alloc(n), *want = mem_alloc(n);

	memset(want, value, n);
	assert_int_equal(disk_read(d, off, p, n), 0);
	assert_memory_equal(p, want, n);
}

static void must_refuse(struct chain *k, unsigned leaf, unsigned depth, enum err_code code, const char *says)
{
	struct disk *d = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(try_open(k, leaf, depth, false, &d, &e), -1);
	assert_null(d);
	if (e.code != code || !strstr(e.detail, says))
		fail_msg("%s '%s', wanted %s '%s'", err_name(e.code), e.detail, err_name(code), says);
}

static void test_refused(void **state)
{
	static const uint8_t other[DISK_ID_BYTES] = "somebody else's";
	struct chain *k = *state;
	struct disk *d = NULL;
	struct disk_part parts[2] = { { disk_format("vhd"), cut_blob_open(k->file[1], false) },
				      { disk_format("vhd"), cut_blob_open(k->file[0], false) } };
	struct err e = ERR_INIT;

	must_refuse(k, 1, 1, ERR_NOT_FOUND, "needs its parent 'below'");
	assert_int_equal(disk_open(parts, 0, false, &d, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(disk_open(parts, 2, false, &d, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_non_null(strstr(e.detail, "open for writing"));
	blob_close(parts[0].blob);
	blob_close(parts[1].blob);
	parts[0].blob = cut_blob_open(k->file[0], true);
	assert_int_equal(disk_open(parts, 1, false, &d, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);
	blob_close(parts[0].blob);
	create(k, 1, "vhd", DISK, other);
	must_refuse(k, 1, 2, ERR_REFUSED, "is not the parent");
	create(k, 1, "vhd", DISK, NULL);
	must_refuse(k, 1, 2, ERR_REFUSED, "has no parent");
	create(k, 1, "vhd", BASE - BLOCK, k->id[0]);
	must_refuse(k, 1, 2, ERR_REFUSED, "more than the");
}

/* A raw file has no id, and zeroes name nothing. */
static void test_raw_parent(void **state)
{
	static const uint8_t none[DISK_ID_BYTES];
	struct chain *k = *state;
	struct disk_part parts[2] = { { .format = disk_format("vhd") }, { .format = disk_format("raw") } };
	struct disk *d = NULL;
	struct err e = ERR_INIT;

	create(k, 0, "raw", BASE, NULL);
	create(k, 1, "vhd", DISK, none);
	parts[0].blob = cut_blob_open(k->file[1], false);
	parts[1].blob = cut_blob_open(k->file[0], true);
	assert_int_equal(disk_open(parts, 2, false, &d, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);
	assert_non_null(strstr(e.detail, "has no id (raw)"));
	blob_close(parts[0].blob);
	blob_close(parts[1].blob);
}

static void test_read_through(void **state)
{
	struct chain *k = *state;
	struct disk *d;
	struct disk_run run;

	put(k, 0, 0, 1, 2 * BLOCK);
	put(k, 1, BLOCK - 512, 2, 1024);
	put(k, 2, BLOCK, 3, 512);
	d = must_open(k, 2, false);
	assert_int_equal(disk_bytes(d), DISK);
	must_hold(d, 0, 1, BLOCK - 512);
	must_hold(d, BLOCK - 512, 2, 512);
	must_hold(d, BLOCK, 3, 512);
	must_hold(d, BLOCK + 512, 1, BLOCK - 512);
	must_hold(d, 2 * BLOCK, 0, 2 * BLOCK);
	disk_map(d, BASE - 512, BLOCK, false, &run);
	assert_int_equal(run.where, LAYER_ZERO);
	disk_map(d, BLOCK, BLOCK, false, &run);
	assert_int_equal(run.where, LAYER_DATA);
	assert_ptr_equal(run.blob, disk_leaf(d));
	assert_int_equal(run.bytes, 512);
	disk_map(d, BLOCK - 512, BLOCK, false, &run);
	assert_ptr_not_equal(run.blob, disk_leaf(d));
	assert_int_equal(run.bytes, 512);
	disk_map(d, 0, 512, true, &run);
	assert_int_equal(run.where, LAYER_BELOW);
	disk_close(d);
}

/* Zeroes hide what a parent has, take no room where nothing is, and the parent stays as it was. */
static void test_zero(void **state)
{
	struct chain *k = *state;
	struct layer_info info;
	struct disk *d;

	put(k, 0, 0, 1, BLOCK);
	d = must_open(k, 1, false);
	assert_int_equal(disk_zero(d, BLOCK, 3 * BLOCK), 0);
	disk_info(d, &info);
	assert_int_equal(info.used_bytes, 0);
	assert_int_equal(disk_zero(d, 512, 1024), 0);
	assert_int_equal(disk_sync(d), 0);
	disk_close(d);
	d = must_open(k, 1, false);
	must_hold(d, 0, 1, 512);
	must_hold(d, 512, 0, 1024);
	must_hold(d, 1536, 1, BLOCK - 1536);
	disk_close(d);
	d = must_open(k, 0, true);
	must_hold(d, 0, 1, BLOCK);
	disk_close(d);
}

static void test_requests_checked(void **state)
{
	struct disk *d = must_open(*state, 0, false);
	uint8_t p[1024] = { 0 };

	assert_int_equal(disk_read(d, 1, p, 512), -EINVAL);
	assert_int_equal(disk_read(d, 0, p, 100), -EINVAL);
	assert_int_equal(disk_write(d, BASE - 512, p, 1024), -EINVAL);
	assert_int_equal(disk_zero(d, BASE, 512), -EINVAL);
	assert_int_equal(disk_read(d, UINT64_MAX - 511, p, 512), -EINVAL);
	assert_int_equal(disk_read(d, BASE - 512, p, 512), 0);
	disk_close(d);
}

static void test_read_only(void **state)
{
	struct disk *d = must_open(*state, 0, true);
	struct err e = ERR_INIT;
	uint8_t p[512] = { 1 };

	assert_true(disk_read_only(d));
	assert_int_equal(disk_write(d, 0, p, 512), -EROFS);
	assert_int_equal(disk_zero(d, 0, 512), -EROFS);
	assert_int_equal(disk_alloc(d, 0, 512), -EROFS);
	assert_int_equal(disk_sync(d), 0);
	assert_int_equal(disk_resize(d, DISK, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);
	disk_close(d);
}

/* A child that grows past its parent reads zeroes there. */
static void test_resize(void **state)
{
	struct chain *k = *state;
	struct err e = ERR_INIT;
	struct disk *d;

	put(k, 0, BASE - 512, 1, 512);
	d = must_open(k, 1, false);
	assert_int_equal(disk_resize(d, DISK - 512, &e), -1);
	assert_int_equal(disk_resize(d, DISK_BYTES_MAX + 512, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(disk_resize(d, DISK + BLOCK, &e), 0);
	assert_int_equal(disk_bytes(d), DISK + BLOCK);
	must_hold(d, BASE - 512, 1, 512);
	must_hold(d, BASE, 0, 2 * BLOCK);
	assert_int_equal(disk_check(d, false, NULL, NULL, &e), 0);
	disk_close(d);
}

/* ---- a layer that notes who calls ------------------------------------------------------------------- */

static char calls[64];
static bool dirty;
static int sync_rc;

static void note(const char *what)
{
	strncat(calls, what, sizeof(calls) - strlen(calls) - 1);
}

static int noted_flush(void *arg)
{
	(void)arg;
	note("f");
	return 0;
}

static int noted_sync(void *l)
{
	(void)l;
	note("s");
	dirty = false;
	return sync_rc;
}

static bool is_dirty(const void *l)
{
	(void)l;
	return dirty;
}

static void noted_info(const void *l, struct layer_info *out)
{
	(void)l;
	*out = (struct layer_info){ .format = "noted", .kind = "dynamic", .bytes = 4096, .sector_bytes = 512 };
}

static void nothing(void *arg)
{
	(void)arg;
}

static int noted_open(struct blob *b, struct layer *out, struct err *e)
{
	static const struct layer_ops ops = {
		.info = noted_info, .dirty = is_dirty, .sync = noted_sync, .close = nothing,
	};

	(void)b, (void)e;
	*out = (struct layer){ .ops = &ops, .l = NULL };
	return 0;
}

static void test_sync_order(void **state)
{
	static const struct blob_ops ops = { .flush = noted_flush, .close = nothing };
	static const struct layer_format noted = { .name = "noted", .open = noted_open };
	struct disk_part part = { &noted, blob_new(&ops, NULL, "noted", 4096, -1, 1, false) };
	struct err e = ERR_INIT;
	struct disk *d;

	(void)state;
	assert_int_equal(disk_open(&part, 1, false, &d, &e), 0);
	calls[0] = '\0';
	assert_int_equal(disk_sync(d), 0);
	assert_string_equal(calls, "f");
	dirty = true;
	calls[0] = '\0';
	assert_int_equal(disk_sync(d), 0);
	assert_string_equal(calls, "fsf");
	dirty = true;
	sync_rc = -EIO;
	calls[0] = '\0';
	assert_int_equal(disk_sync(d), -EIO);
	assert_string_equal(calls, "fs");
	disk_close(d);
}

static void test_formats(void **state)
{
	struct chain *k = *state;
	struct blob *b = cut_blob_open(k->file[0], true);

	assert_string_equal(disk_format("raw")->name, "raw");
	assert_string_equal(disk_format("vhd")->name, "vhd");
	assert_string_equal(disk_format("vhdx")->name, "vhdx");
	assert_null(disk_format("qcow2"));
	assert_ptr_equal(disk_probe(b), disk_format("vhd"));
	blob_close(b);
	cut_blob_reset(k->file[0]);
	b = cut_blob_open(k->file[0], true);
	assert_ptr_equal(disk_probe(b), disk_format("raw"));
	blob_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refused, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_raw_parent, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_read_through, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_zero, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_requests_checked, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_read_only, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_resize, put_up, tear_down),
		cmocka_unit_test(test_sync_order),
		cmocka_unit_test_setup_teardown(test_formats, put_up, tear_down),
	};

	return check_main(tests);
}

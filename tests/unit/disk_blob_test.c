/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blobs over files, buffered and direct: ranges, modes, sizes, zeroes, and what
 * is not aligned to the blocks of a direct file.
 */
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "disk/blob.h"
#include "tests/unit/tmp.h"

enum { BYTES = 1 << 20 };

static int put_up(void **state)
{
	*state = mem_alloc(sizeof(struct tmp));
	tmp_init(*state);
	return 0;
}

static int tear_down(void **state)
{
	tmp_fini(*state);
	free(*state);
	return 0;
}

static int file_of(struct tmp *t, const char *name, uint64_t bytes)
{
	int fd = open(tmp_path(t, name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static struct blob *blob_of(struct tmp *t, const char *name, uint64_t bytes, bool direct)
{
	struct blob *b = NULL;
	struct err e = ERR_INIT;

	if (blob_from_fd(file_of(t, name, bytes), name, direct, false, &b, &e) < 0)
		fail_msg("%s", e.detail);
	return b;
}

static void test_ranges(void **state)
{
	struct blob *b = blob_of(*state, "a", BYTES, false);
	uint8_t p[16] = { 1 };

	assert_int_equal(blob_bytes(b), BYTES);
	assert_int_equal(blob_align(b), 1);
	assert_true(blob_fd(b) >= 0);
	assert_string_equal(blob_name(b), "a");
	assert_int_equal(blob_read(b, BYTES - 8, p, 16), -EINVAL);
	assert_int_equal(blob_write(b, BYTES, p, 1), -EINVAL);
	assert_int_equal(blob_write(b, UINT64_MAX - 4, p, 16), -EINVAL);
	assert_int_equal(blob_zero(b, 8, UINT64_MAX), -EINVAL);
	assert_int_equal(blob_read(b, BYTES, p, 0), 0);
	assert_int_equal(blob_write(b, BYTES - 16, p, 16), 0);
	blob_close(b);
	blob_close(NULL);
}

static void test_read_only(void **state)
{
	struct blob *b;
	struct err e = ERR_INIT;
	uint8_t p[4];

	assert_int_equal(blob_from_fd(file_of(*state, "a", 4096), "a", false, true, &b, &e), 0);
	assert_true(blob_read_only(b));
	assert_int_equal(blob_write(b, 0, "abc", 3), -EROFS);
	assert_int_equal(blob_zero(b, 0, 512), -EROFS);
	assert_int_equal(blob_set_bytes(b, 0), -EROFS);
	assert_int_equal(blob_read(b, 0, p, 4), 0);
	assert_int_equal(blob_flush(b), 0);
	blob_close(b);
}

/* What is refused is closed all the same. */
static void test_refused(void **state)
{
	struct tmp *t = *state;
	unsigned before = tmp_open_fds();
	struct err e = ERR_INIT;
	struct blob *b;

	assert_int_equal(blob_from_fd(open(t->dir, O_RDONLY | O_CLOEXEC), "folder", false, true, &b, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);
	assert_non_null(strstr(e.detail, "'folder' is neither"));
	close(file_of(t, "a", 4096));
	assert_int_equal(blob_from_fd(open(t->path, O_RDONLY | O_CLOEXEC), "a", false, false, &b, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);
	assert_non_null(strstr(e.detail, "'a' is not open for reading and writing"));
	assert_int_equal(tmp_open_fds(), before);
}

static void test_size(void **state)
{
	struct blob *b = blob_of(*state, "a", 1000, false);
	uint8_t p[1000], zeroes[1000] = { 0 };
	struct stat st;

	memset(p, 7, sizeof(p));
	assert_int_equal(blob_write(b, 0, p, sizeof(p)), 0);
	assert_int_equal(blob_set_bytes(b, 500), 0);
	assert_int_equal(blob_set_bytes(b, 3000), 0);
	assert_int_equal(blob_bytes(b), 3000);
	assert_int_equal(fstat(blob_fd(b), &st), 0);
	assert_int_equal(st.st_size, 3000);
	assert_int_equal(blob_read(b, 500, p, sizeof(p)), 0);
	assert_memory_equal(p, zeroes, sizeof(p));
	assert_int_equal(blob_set_bytes(b, UINT64_MAX), -EFBIG);
	blob_close(b);
}

/* Seeded writes, zeroes and sizes at odd places, against a copy in memory. */
static void run_against_copy(struct blob *b, uint64_t seed)
{
	AUTO_FREE uint8_t *want = mem_alloc(BYTES), *has = mem_alloc(BYTES + 1);
	uint64_t rng = seed;

	for (unsigned i = 0; i < 120; i++) {
		uint64_t off, n;

		rng = rng * 6364136223846793005ull + 1442695040888963407ull;
		off = (rng >> 20) % BYTES;
		n = (rng >> 40) % (i % 8 ? 3000 : 400000);
		if (i % 3 == 0) {
			off &= ~511ull;
			n &= ~511ull;
		}
		n = n < BYTES - off ? n : BYTES - off;
		if (i % 5 == 4) {
			assert_int_equal(blob_zero(b, off, n), 0);
			memset(want + off, 0, n);
			continue;
		}
		/* From an address of every kind. */
		memset(has + i % 2, (int)(i + 1), n);
		assert_int_equal(blob_write(b, off, has + i % 2, n), 0);
		memset(want + off, (int)(i + 1), n);
		assert_int_equal(blob_read(b, off / 3, has + 1, n), 0);
		assert_memory_equal(has + 1, want + off / 3, n);
	}
	assert_int_equal(blob_flush(b), 0);
	assert_int_equal(blob_read(b, 0, has, BYTES), 0);
	assert_memory_equal(has, want, BYTES);
}

static void test_buffered(void **state)
{
	struct blob *b = blob_of(*state, "a", BYTES, false);

	run_against_copy(b, 1);
	blob_close(b);
}

static void test_direct(void **state)
{
	struct blob *b = blob_of(*state, "a", BYTES, true);

	if (!(fcntl(blob_fd(b), F_GETFL) & O_DIRECT)) {
		blob_close(b);
		print_message("no O_DIRECT in this folder; set TMPDIR to one that has it\n");
		skip();
	}
	assert_true(blob_align(b) == 512 || blob_align(b) == 4096);
	run_against_copy(b, 2);
	blob_close(b);
}

/* A direct file that gets an end inside a block: writes to it leave it as long as it is. */
static void test_direct_tail(void **state)
{
	struct blob *b = blob_of(*state, "a", 8192, true);
	uint8_t p[100], back[100];
	struct stat st;

	memset(p, 9, sizeof(p));
	assert_int_equal(blob_set_bytes(b, 8192 + 100), 0);
	assert_int_equal(blob_write(b, 8192, p, 100), 0);
	assert_int_equal(fstat(blob_fd(b), &st), 0);
	assert_int_equal(st.st_size, 8192 + 100);
	assert_int_equal(blob_read(b, 8192, back, 100), 0);
	assert_memory_equal(back, p, 100);
	blob_close(b);
	b = blob_of(*state, "odd", 1000, true);
	assert_int_equal(blob_align(b), 1);
	assert_false(fcntl(blob_fd(b), F_GETFL) & O_DIRECT);
	blob_close(b);
}

static void test_zero_gives_space_back(void **state)
{
	struct blob *b = blob_of(*state, "a", BYTES, false);
	AUTO_FREE uint8_t *p = mem_alloc(BYTES);
	struct stat full, st;

	memset(p, 5, BYTES);
	assert_int_equal(blob_write(b, 0, p, BYTES), 0);
	assert_int_equal(blob_flush(b), 0);
	assert_int_equal(fstat(blob_fd(b), &full), 0);
	assert_int_equal(blob_zero(b, 0, BYTES / 2), 0);
	assert_int_equal(fstat(blob_fd(b), &st), 0);
	assert_int_equal(st.st_size, BYTES);
	if (fallocate(blob_fd(b), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0)
		assert_true(st.st_blocks < full.st_blocks);
	blob_close(b);
}

static int flush_calls;
static int failing_flush(void *arg)
{
	(void)arg;
	flush_calls++;
	return -EIO;
}

static void no_close(void *arg)
{
	(void)arg;
}

static void test_ops_errors_pass(void **state)
{
	static const struct blob_ops ops = { .flush = failing_flush, .close = no_close };
	struct blob *b = blob_new(&ops, NULL, "bad", 4096, -1, 1, false);

	(void)state;
	flush_calls = 0;
	assert_int_equal(blob_flush(b), -EIO);
	assert_int_equal(flush_calls, 1);
	assert_int_equal(blob_fd(b), -1);
	blob_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ranges, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_read_only, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_size, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_buffered, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_direct, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_direct_tail, put_up, tear_down),
		cmocka_unit_test_setup_teardown(test_zero_gives_space_back, put_up, tear_down),
		cmocka_unit_test(test_ops_errors_pass),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX files and QEMU: what we make qemu-img reads (check, compare, and opens
 * read-only without a word about the log), what it makes we read and write.
 * QEMU knows no differencing VHDX.  Skipped where there is no qemu-img.
 */
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "disk/blob.h"
#include "disk/vhdx.h"
#include "tests/unit/tmp.h"

enum { DISK = 24 << 20, ROUNDS = 60 };

extern char **environ;

struct place {
	struct tmp tmp;
	char raw[TMP_PATH_BYTES], ours[TMP_PATH_BYTES], theirs[TMP_PATH_BYTES];
	uint8_t *want;
};

static int run(char *const argv[])
{
	posix_spawn_file_actions_t quiet;
	pid_t pid;
	int status = -1, rc;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	rc = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (rc || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* argv as mutable strings, for exec's sake. */
#define RUN(...) run((char *[]){ __VA_ARGS__, NULL })
#define S(text) ((char[]){ text })

static int up(void **state)
{
	struct place *p = mem_alloc(sizeof(*p));

	tmp_init(&p->tmp);
	snprintf(p->raw, sizeof(p->raw), "%s", tmp_path(&p->tmp, "raw"));
	snprintf(p->ours, sizeof(p->ours), "%s", tmp_path(&p->tmp, "ours.vhdx"));
	snprintf(p->theirs, sizeof(p->theirs), "%s", tmp_path(&p->tmp, "theirs.vhdx"));
	p->want = mem_alloc(DISK);
	*state = p;
	return 0;
}

static int down(void **state)
{
	struct place *p = *state;

	tmp_fini(&p->tmp);
	free(p->want);
	free(p);
	return 0;
}

static void need_qemu(void)
{
	if (RUN(S("qemu-img"), S("--version")) != 0) {
		print_message("qemu-img is not installed (package qemu-utils)\n");
		skip();
	}
}

static struct blob *open_blob(const char *path, bool create)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0600);
	struct err e = ERR_INIT;
	struct blob *b;

	assert_true(fd >= 0);
	if (blob_from_fd(fd, path, false, false, &b, &e) < 0)
		fail_msg("%s", e.detail);
	return b;
}

static struct layer open_layer(struct blob *b)
{
	struct err e = ERR_INIT;
	struct layer l;

	if (vhdx_format.open(b, &l, &e) < 0)
		fail_msg("open: %s", e.detail);
	return l;
}

static void put(struct blob *b, const struct layer *l, uint64_t off, const uint8_t *p, uint64_t n)
{
	struct layer_run run;

	for (; n; off += run.bytes, p += run.bytes, n -= run.bytes) {
		assert_int_equal(l->ops->alloc(l->l, off, n), 0);
		l->ops->map(l->l, off, n, true, &run);
		assert_int_equal(run.where, LAYER_DATA);
		assert_int_equal(blob_write(b, run.off, p, run.bytes), 0);
		l->ops->written(l->l, off, run.bytes);
	}
}

/* Random writes through us, which p->want follows; left behind clean. */
static void scribble(struct place *p, const char *path, uint32_t sector)
{
	struct blob *b = open_blob(path, false);
	struct layer l = open_layer(b);

	for (int i = 0; i < ROUNDS; i++) {
		/* Not every block: some stay unallocated. */
		uint64_t half = (uint64_t)(random() % 2) * (DISK / 2);
		uint64_t off = half + (uint64_t)random() % (DISK / 4 / sector) * sector;
		uint64_t n = (1 + (uint64_t)random() % 40) * sector;

		memset(p->want + off, i + 1, n);
		put(b, &l, off, p->want + off, n);
	}
	assert_int_equal(l.ops->sync(l.l), 0);
	assert_int_equal(blob_flush(b), 0);
	l.ops->close(l.l);
	blob_close(b);
}

static void same_as_ours(struct place *p, const char *path)
{
	struct blob *b = open_blob(path, false);
	struct layer l = open_layer(b);
	struct layer_run run;
	struct err e = ERR_INIT;
	AUTO_FREE uint8_t *got = mem_alloc(DISK);

	for (uint64_t off = 0; off < DISK; off += run.bytes) {
		l.ops->map(l.l, off, DISK - off, false, &run);
		if (run.where == LAYER_DATA)
			assert_int_equal(blob_read(b, run.off, got + off, run.bytes), 0);
	}
	assert_memory_equal(got, p->want, DISK);
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
	l.ops->close(l.l);
	blob_close(b);
}

static void write_raw(struct place *p)
{
	FILE *f = fopen(p->raw, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(p->want, 1, DISK, f), DISK);
	fclose(f);
}

/* QEMU finds no fault in the file (it opens it read-only, which it refuses while a log is open), and the same bytes. */
static void same_to_qemu(struct place *p, char *path)
{
	write_raw(p);
	assert_int_equal(RUN(S("qemu-img"), S("check"), S("-f"), S("vhdx"), path), 0);
	assert_int_equal(RUN(S("qemu-img"), S("compare"), S("-f"), S("raw"), S("-F"), S("vhdx"), p->raw, path), 0);
}

static void ours_read_by_qemu(void **state)
{
	static const struct { const char *kind; uint32_t block; } cases[] = {
		{ "dynamic", 1 << 20 }, { "dynamic", 0 }, { "dynamic", 8 << 20 }, { "fixed", 0 }, { "fixed", 1 << 20 },
	};
	struct place *p = *state;

	need_qemu();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct layer_create c = { .bytes = DISK, .kind = cases[i].kind, .block_bytes = cases[i].block };
		struct blob *b = open_blob(p->ours, true);
		struct err e = ERR_INIT;

		memset(p->want, 0, DISK);
		assert_int_equal(vhdx_format.create(b, &c, &e), 0);
		blob_close(b);
		same_to_qemu(p, p->ours);
		for (int session = 0; session < 3; session++) {
			scribble(p, p->ours, 512);
			same_to_qemu(p, p->ours);
		}
		same_as_ours(p, p->ours);
	}
}

static void theirs_read_and_written_by_us(void **state)
{
	static const char *const how[] = {
		"subformat=dynamic,block_size=1M", "subformat=dynamic", "subformat=fixed",
		"subformat=dynamic,block_size=8M",
	};
	struct place *p = *state;

	need_qemu();
	for (size_t i = 0; i < ARRAY_LEN(how); i++) {
		char options[64];

		snprintf(options, sizeof(options), "%s", how[i]);
		memset(p->want, 0, DISK);
		for (int k = 0; k < 40; k++)
			memset(p->want + (size_t)(random() % (DISK / 4096)) * 4096, k + 1, 4096);
		write_raw(p);
		assert_int_equal(RUN(S("qemu-img"), S("convert"), S("-f"), S("raw"), S("-O"), S("vhdx"), S("-o"),
				     options, p->raw, p->theirs), 0);
		same_as_ours(p, p->theirs);
		scribble(p, p->theirs, 512);
		same_to_qemu(p, p->theirs);
		same_as_ours(p, p->theirs);
	}
}

/* QEMU writes into what we made, then we read it. */
static void ours_written_by_qemu(void **state)
{
	struct place *p = *state;
	struct layer_create c = { .bytes = DISK, .kind = "dynamic", .block_bytes = 1 << 20 };
	struct blob *b;
	struct err e = ERR_INIT;

	need_qemu();
	b = open_blob(p->ours, true);
	assert_int_equal(vhdx_format.create(b, &c, &e), 0);
	blob_close(b);
	scribble(p, p->ours, 512);
	assert_int_equal(RUN(S("qemu-io"), S("-f"), S("vhdx"), S("-c"), S("write -P 0x5a 3M 9M"), S("-c"),
			     S("write -P 0x77 20M 64k"), p->ours), 0);
	memset(p->want + (3 << 20), 0x5a, 9 << 20);
	memset(p->want + (20 << 20), 0x77, 64 << 10);
	same_as_ours(p, p->ours);
	scribble(p, p->ours, 512);
	same_to_qemu(p, p->ours);
}

/* A grown image: QEMU sees the new size. */
static void grown_read_by_qemu(void **state)
{
	struct place *p = *state;
	struct layer_create c = { .bytes = DISK / 2, .kind = "fixed", .block_bytes = 1 << 20 };
	struct blob *b;
	struct layer l;
	struct err e = ERR_INIT;

	need_qemu();
	b = open_blob(p->ours, true);
	assert_int_equal(vhdx_format.create(b, &c, &e), 0);
	l = open_layer(b);
	assert_int_equal(l.ops->resize(l.l, DISK, &e), 0);
	l.ops->close(l.l);
	blob_close(b);
	scribble(p, p->ours, 512);
	same_to_qemu(p, p->ours);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ours_read_by_qemu, up, down),
		cmocka_unit_test_setup_teardown(theirs_read_and_written_by_us, up, down),
		cmocka_unit_test_setup_teardown(ours_written_by_qemu, up, down),
		cmocka_unit_test_setup_teardown(grown_read_by_qemu, up, down),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New VHDs: what is refused, parents' names, and other programs' view of them:
 * QEMU must read what we write, we what it writes, and both in turn.
 */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/unit/tmp.h"
#include "tests/unit/vhd_rig.h"

enum { DISK = (10 << 20) + 3 * VHD_SECTOR, OUTPUT_MAX = 64 << 10 };

extern char **environ;

/* ---- without other programs ------------------------------------------------------------------------ */

static void test_refusals(void **state)
{
	static const uint8_t id[DISK_ID_BYTES] = { 1 };
	static const struct { struct layer_create c; enum err_code code; const char *says; } cases[] = {
		{ { .kind = "sparse", .bytes = 512 }, ERR_USAGE, "not 'sparse'" },
		{ { .bytes = 512 }, ERR_USAGE, "not ''" },
		{ { .kind = "fixed" }, ERR_USAGE, "size 0" },
		{ { .kind = "fixed", .bytes = 100 }, ERR_USAGE, "size 100" },
		{ { .kind = "dynamic", .bytes = VHD_BYTES_MAX + 512 }, ERR_LIMIT, "holds 2190433320960 at most" },
		{ { .kind = "dynamic", .bytes = 4096, .sector_bytes = 4096 }, ERR_USAGE, "sectors of 4096 bytes" },
		{ { .kind = "fixed", .bytes = 512, .block_bytes = 1 << 20 }, ERR_USAGE, "a fixed VHD has none" },
		{ { .kind = "dynamic", .bytes = 512, .block_bytes = 3 << 20 }, ERR_USAGE, "block size 3145728" },
		{ { .kind = "dynamic", .bytes = 512, .block_bytes = 4096 }, ERR_USAGE, "block size 4096" },
		{ { .kind = "differencing", .bytes = 512 }, ERR_USAGE, "needs its parent's id" },
		{ { .kind = "differencing", .bytes = 512, .parent_id = id, .parent_name = "a\xff" }, ERR_LIMIT,
		  "no UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		struct rig k;

		rig_init(&k);
		assert_int_equal(vhd_format.create(k.b, &cases[i].c, &e), -1);
		if (e.code != cases[i].code || !strstr(e.detail, cases[i].says))
			fail_msg("%s '%s', wanted %s '%s'", err_name(e.code), e.detail, err_name(cases[i].code),
				 cases[i].says);
		assert_int_equal(k.bytes, 0);
		rig_fini(&k);
	}
}

/* The name is in the header and in the locators; where the header has none they count. */
static void test_parent(void **state)
{
	static const struct { const char *name, *relative; } cases[] = {
		{ "base.vhd", "./base.vhd" },
		{ "../old/b\xc3\xa4se.vhd", "./../old/b\xc3\xa4se.vhd" },
		{ "/srv/pool/base.vhd", "./base.vhd" },
	};
	static const uint8_t id[DISK_ID_BYTES] = "0123456789abcde";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct layer_create c = { .kind = "differencing", .bytes = DISK, .parent_id = id,
					  .parent_name = cases[i].name,
					  .parent_time_ms = 1000ull * (VHD_EPOCH_S + 77) };
		struct err e = ERR_INIT;
		struct layer_info info;
		struct vhd_header h;
		struct layer l;
		struct rig k;

		rig_init(&k);
		assert_int_equal(vhd_format.create(k.b, &c, &e), 0);
		l = rig_open(&k);
		l.ops->info(l.l, &info);
		assert_string_equal(info.parent_name, cases[i].name);
		assert_memory_equal(info.parent_id, id, sizeof(id));
		assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
		l.ops->close(l.l);
		assert_int_equal(vhd_header_decode(k.now + 512, 512, &h, &e), 0);
		assert_int_equal(h.parent_time_s, 77);
		assert_int_equal(h.locators[0].code, VHD_LOC_RELATIVE);
		assert_int_equal(h.locators[1].code, i == 2 ? VHD_LOC_ABSOLUTE : 0);
		memset(h.parent_name, 0, sizeof(h.parent_name));
		vhd_header_encode(&h, k.now + 512);
		l = rig_open(&k);
		l.ops->info(l.l, &info);
		assert_string_equal(info.parent_name, cases[i].relative);
		l.ops->close(l.l);
		rig_fini(&k);
	}
}

/* ---- with QEMU --------------------------------------------------------------------------------------- */

struct files {
	struct tmp t;
	char vhd[TMP_PATH_BYTES], raw[TMP_PATH_BYTES], out[TMP_PATH_BYTES];
	uint8_t *want;			/* the guest's disk, of `bytes` */
	uint64_t bytes;
};

static int put_up(void **state)
{
	struct files *f = mem_alloc(sizeof(*f));

	*state = f;
	tmp_init(&f->t);
	snprintf(f->vhd, sizeof(f->vhd), "%s", tmp_path(&f->t, "disk.vhd"));
	snprintf(f->raw, sizeof(f->raw), "%s", tmp_path(&f->t, "disk.raw"));
	snprintf(f->out, sizeof(f->out), "%s", tmp_path(&f->t, "out"));
	f->bytes = DISK;
	f->want = mem_alloc(2 * DISK);
	return 0;
}

static int tear_down(void **state)
{
	struct files *f = *state;

	tmp_fini(&f->t);
	free(f->want);
	free(f);
	return 0;
}

/* The exit status; what it says goes to f->out. */
static int run(struct files *f, char *const argv[])
{
	posix_spawn_file_actions_t how;
	int status = -1, rc;
	pid_t pid;

	posix_spawn_file_actions_init(&how);
	posix_spawn_file_actions_addopen(&how, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&how, 1, f->out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&how, 1, 2);
	rc = posix_spawnp(&pid, argv[0], &how, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&how);
	if (rc)
		return -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

#define ARGV(...) ((char *[]){ __VA_ARGS__, NULL })

static void need_qemu(struct files *f)
{
	if (run(f, ARGV("qemu-img", "--version")) || run(f, ARGV("qemu-io", "--version"))) {
		print_message("qemu-img or qemu-io is not installed\n");
		skip();
	}
}

static void must_run(struct files *f, char *const argv[])
{
	AUTO_BUF struct buf said = { 0 };
	struct err e = ERR_INIT;
	int rc = run(f, argv);

	if (!rc)
		return;
	if (fd_read_file(f->out, OUTPUT_MAX, &said, &e) < 0)
		fail_msg("%s: exit %d", argv[0], rc);
	fail_msg("%s %s: exit %d: %s", argv[0], argv[1], rc, (const char *)said.p);
}

static struct blob *open_blob(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct err e = ERR_INIT;
	struct blob *b = NULL;

	if (fd < 0 || blob_from_fd(fd, path, false, false, &b, &e) < 0)
		fail_msg("%s: %s", path, e.detail);
	return b;
}

/* Some of the disk anew, through our code and in `want`. */
static void write_some(struct files *f, unsigned salt)
{
	static const struct { uint64_t off, n; } places[] = {
		{ 0, 512 }, { (2 << 20) - 1024, 4096 }, { (5 << 20) + 512, 70000 / 512 * 512 }, { DISK - 512, 512 },
	};
	struct rig k = { .b = open_blob(f->vhd) };
	struct layer l = rig_open(&k);

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		uint64_t off = salt ? (places[i].off + salt * 8192) % (DISK - 70000) / 512 * 512 : places[i].off;

		for (uint64_t j = 0; j < places[i].n; j++)
			f->want[off + j] = (uint8_t)(j / 512 + i * 50 + salt + 1);
		assert_int_equal(rig_put(&k, &l, off, f->want + off, places[i].n), 0);
	}
	assert_int_equal(rig_sync(&k, &l), 0);
	l.ops->close(l.l);
	blob_close(k.b);
}

static void check_ours(struct files *f)
{
	AUTO_FREE uint8_t *have = mem_alloc(f->bytes);
	struct rig k = { .b = open_blob(f->vhd) };
	struct layer l = rig_open(&k);
	struct err e = ERR_INIT;
	struct layer_info info;

	l.ops->info(l.l, &info);
	assert_int_equal(info.bytes, f->bytes);
	assert_int_equal(rig_get(&k, &l, 0, have, f->bytes, 0), 0);
	assert_memory_equal(have, f->want, f->bytes);
	assert_int_equal(l.ops->check(l.l, false, NULL, NULL, &e), 0);
	l.ops->close(l.l);
	blob_close(k.b);
}

static void check_qemus(struct files *f)
{
	AUTO_BUF struct buf said = { 0 };
	struct err e = ERR_INIT;
	char size[64];

	snprintf(size, sizeof(size), "\"virtual-size\": %llu,", (unsigned long long)f->bytes);
	must_run(f, ARGV("qemu-img", "info", "--output=json", "-f", "vpc", f->vhd));
	assert_int_equal(fd_read_file(f->out, OUTPUT_MAX, &said, &e), 0);
	if (!strstr((const char *)said.p, size))
		fail_msg("no %s in: %s", size, (const char *)said.p);
	assert_int_equal(fd_write_file(f->raw, f->want, f->bytes, 0600, &e), 0);
	must_run(f, ARGV("qemu-img", "compare", "-f", "raw", "-F", "vpc", f->raw, f->vhd));
}

static void create(struct files *f, const char *kind)
{
	struct layer_create c = { .kind = kind, .bytes = f->bytes };
	struct blob *b = open_blob(f->vhd);
	struct err e = ERR_INIT;

	if (vhd_format.create(b, &c, &e) < 0)
		fail_msg("create: %s", e.detail);
	blob_close(b);
}

static void ours_to_qemu(struct files *f, const char *kind)
{
	need_qemu(f);
	create(f, kind);
	check_qemus(f);
	write_some(f, 0);
	check_qemus(f);
	/* QEMU writes where we have no block, then we, then QEMU looks again. */
	must_run(f, ARGV("qemu-io", "-f", "vpc", "-c", "write -P 0x5a 8388608 66048", f->vhd));
	memset(f->want + (8 << 20), 0x5a, 66048);
	check_ours(f);
	write_some(f, 7);
	check_ours(f);
	check_qemus(f);
}

static void test_fixed_to_qemu(void **state)
{
	ours_to_qemu(*state, "fixed");
}

static void test_dynamic_to_qemu(void **state)
{
	ours_to_qemu(*state, "dynamic");
}

static void test_grown_to_qemu(void **state)
{
	static const char *const kinds[] = { "fixed", "dynamic" };
	struct files *f = *state;

	need_qemu(f);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct err e = ERR_INIT;
		struct layer l;
		struct rig k;

		unlink(f->vhd);
		memset(f->want, 0, 2 * DISK);
		f->bytes = DISK;
		create(f, kinds[i]);
		write_some(f, 0);
		k.b = open_blob(f->vhd);
		l = rig_open(&k);
		f->bytes = 2 * DISK;
		if (l.ops->resize(l.l, f->bytes, &e) < 0)
			fail_msg("%s", e.detail);
		l.ops->close(l.l);
		blob_close(k.b);
		check_ours(f);
		check_qemus(f);
	}
}

/* Without force_size QEMU rounds the disk up to a geometry; the geometry is the size then. */
static void test_from_qemu(void **state)
{
	static char *const options[] = { "subformat=dynamic,force_size=on", "subformat=fixed,force_size=on",
					 "subformat=dynamic", "subformat=fixed" };
	struct files *f = *state;

	need_qemu(f);
	for (uint64_t i = 0; i < 5 * DISK / 8; i++)
		f->want[i] = (uint8_t)(i / 512 % 251);
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		struct vhd_footer ours = { 0 };
		struct err e = ERR_INIT;
		struct layer_info info;
		struct blob *b;
		uint8_t geometry[4];
		struct layer l;

		assert_int_equal(fd_write_file(f->raw, f->want, DISK, 0600, &e), 0);
		must_run(f, ARGV("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", options[i], f->raw, f->vhd));
		b = open_blob(f->vhd);
		assert_true(vhd_format.probe(b) >= 60);
		assert_int_equal(vhd_format.open(b, &l, &e), 0);
		l.ops->info(l.l, &info);
		assert_string_equal(info.kind, i % 2 ? "fixed" : "dynamic");
		assert_true(i < 2 ? info.bytes == DISK : info.bytes >= DISK);
		f->bytes = info.bytes;
		/* Of disks whose geometry is their size QEMU computes it by the same appendix. */
		vhd_set_size(&ours, f->bytes);
		assert_int_equal(blob_read(b, blob_bytes(b) - 512 + 56, geometry, 4), 0);
		if (i >= 2) {
			assert_int_equal(geometry[0] << 8 | geometry[1], ours.cylinders);
			assert_int_equal(geometry[2], ours.heads);
			assert_int_equal(geometry[3], ours.spt);
		}
		l.ops->close(l.l);
		blob_close(b);
		check_ours(f);
		write_some(f, (unsigned)i + 1);
		check_ours(f);
		check_qemus(f);
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, put_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_parent),
		CASE(test_fixed_to_qemu),
		CASE(test_dynamic_to_qemu),
		CASE(test_grown_to_qemu),
		CASE(test_from_qemu),
	};

	return check_main(tests);
}

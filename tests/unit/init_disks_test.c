/* SPDX-License-Identifier: Apache-2.0 */
/* A sysfs of files: names, links, and the question whether a disk is empty. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/disks.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

struct rig {
	struct tmp t;
	char sys[160], dev[160];
	struct disks ds;
};

static void attr(struct rig *r, const char *name, const char *text)
{
	char path[400];
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), "%s/class/block/%s", r->sys, name);
	*strrchr(path, '/') = '\0';
	assert_int_equal(fd_make_dirs(path, 0755, &e), 0);
	path[strlen(path)] = '/';
	assert_int_equal(fd_write_file(path, text, strlen(text), 0644, &e), 0);
}

static void device(struct rig *r, const char *name, uint64_t mib, const char *head)
{
	char path[400], size[32];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", r->dev, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(mib << 20)), 0);
	assert_true(pwrite(fd, head, strlen(head), 0) >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/size", name);
	snprintf(size, sizeof(size), "%llu\n", (unsigned long long)(mib << 11));
	attr(r, path, size);
}

static int start(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;

	if (!r)
		return -1;
	tmp_init(&r->t);
	snprintf(r->sys, sizeof(r->sys), "%s/sys", r->t.dir);
	snprintf(r->dev, sizeof(r->dev), "%s/dev", r->t.dir);
	if (fd_make_dirs(r->dev, 0755, &e) < 0)
		return -1;
	device(r, "vda", 4, "XFSB");
	attr(r, "vda/serial", "hvdata hv1 ");
	device(r, "sdb", 4, "");
	attr(r, "sdb/device/vendor", "ATA     \n");
	attr(r, "sdb/device/model", "QEMU  HARDDISK  \n");
	attr(r, "sdb/device/wwid", "naa.5000c500a1b2c3d4\n");
	device(r, "nvme0n1", 4, "");
	attr(r, "nvme0n1/device/model", "Fast Disk   \n");
	attr(r, "nvme0n1/device/serial", "../S1\n");
	attr(r, "nvme0n1/wwid", "eui.0025385b71b00001\n");
	device(r, "loop0", 4, "");
	device(r, "sr0", 0, "");
	*state = r;
	return 0;
}

static int end(void **state)
{
	struct rig *r = *state;

	tmp_fini(&r->t);
	free(r);
	return 0;
}

static const struct disk *find(const struct disks *ds, const char *name)
{
	for (unsigned i = 0; i < ds->n; i++)
		if (strcmp(ds->v[i].name, name) == 0)
			return &ds->v[i];
	return NULL;
}

static void names(void **state)
{
	struct rig *r = *state;

	disks_scan(&r->ds, r->sys, r->dev);
	assert_int_equal(r->ds.n, 3);		/* no loop, no empty drive */
	assert_string_equal(find(&r->ds, "vda")->ids[0], "virtio-hvdata_hv1");
	assert_string_equal(find(&r->ds, "vda")->label.fs, "xfs");
	assert_int_equal(find(&r->ds, "vda")->bytes, 4 << 20);
	assert_string_equal(find(&r->ds, "sdb")->ids[1], "wwn-0x5000c500a1b2c3d4");
	assert_string_equal(find(&r->ds, "nvme0n1")->ids[0], "nvme-Fast_Disk_.._S1");
	assert_string_equal(find(&r->ds, "nvme0n1")->ids[1], "nvme-eui.0025385b71b00001");
}

static void partitions(void **state)
{
	struct rig *r = *state;

	attr(r, "vda/vda1/partition", "1\n");
	disks_scan(&r->ds, r->sys, r->dev);
	assert_true(find(&r->ds, "vda")->in_use);
	assert_false(find(&r->ds, "sdb")->in_use);
	attr(r, "sdb/holders/dm-0/x", "");
	disks_scan(&r->ds, r->sys, r->dev);
	assert_true(find(&r->ds, "sdb")->in_use);
}

static void links(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	char path[300], to[64] = "";

	disks_scan(&r->ds, r->sys, r->dev);
	snprintf(r->ds.v[0].label.text, LABEL_BYTES, "DATA");
	assert_int_equal(disks_link(&r->ds, r->dev, &e), 0);
	assert_int_equal(disks_link(&r->ds, r->dev, &e), 0);
	snprintf(path, sizeof(path), "%s/disk/by-id/virtio-hvdata_hv1", r->dev);
	assert_int_equal(readlink(path, to, sizeof(to) - 1), strlen("../../vda"));
	assert_string_equal(to, "../../vda");
	assert_int_equal(access(path, F_OK), 0);
	snprintf(path, sizeof(path), "%s/disk/by-label", r->dev);
	assert_int_equal(tmp_count(path), 1);
	/* The device goes, its links go. */
	snprintf(path, sizeof(path), "%s/vda", r->dev);
	unlink(path);
	r->ds.n = 0;
	assert_int_equal(disks_link(&r->ds, r->dev, &e), 0);
	snprintf(path, sizeof(path), "%s/disk/by-id/virtio-hvdata_hv1", r->dev);
	assert_int_equal(readlink(path, to, sizeof(to)), -1);
}

/* One byte anywhere in the first or last MiB, and the disk is somebody's. */
static void emptiness(void **state)
{
	struct rig *r = *state;
	static const off_t at[] = { 0, 511, 1 << 16, (1 << 20) - 1, 3 << 20, (4 << 20) - 1 };
	struct disk d = { .name = "disk", .bytes = 4 << 20 };
	struct err e = ERR_INIT;
	bool empty = false;
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/disk", r->dev);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	assert_int_equal(disks_is_empty(r->dev, &d, &empty, &e), 0);
	assert_true(empty);
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		assert_int_equal(pwrite(fd, "x", 1, at[i]), 1);
		assert_int_equal(disks_is_empty(r->dev, &d, &empty, &e), 0);
		assert_false(empty);
		assert_int_equal(pwrite(fd, "", 1, at[i]), 1);
	}
	/* Shorter than it says: an error, not "empty". */
	assert_int_equal(ftruncate(fd, 3 << 20), 0);
	assert_int_equal(disks_is_empty(r->dev, &d, &empty, &e), -1);
	d.bytes = 1 << 20;
	assert_int_equal(disks_is_empty(r->dev, &d, &empty, &e), -1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names, start, end),
		cmocka_unit_test_setup_teardown(partitions, start, end),
		cmocka_unit_test_setup_teardown(links, start, end),
		cmocka_unit_test_setup_teardown(emptiness, start, end),
	};

	return check_main(tests);
}

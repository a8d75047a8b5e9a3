/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysfs attributes to names.  Serial numbers come from hardware (or from a
 * configuration of the hypervisor below us): they are cleaned before they
 * become file names.
 */
#include "init/disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

enum { EMPTY_BYTES = 1 << 20, BLOCK_BYTES = 64 << 10 };

/* The attribute without the blanks around it; "" if there is none. */
static void attr(const char *dir, const char *name, char *out, size_t size)
{
	char path[512];
	AUTO_FD int fd = -1;
	ssize_t n;
	size_t a = 0;

	out[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (n = read(fd, out, size - 1)) <= 0)
		return;
	out[n] = '\0';
	n = (ssize_t)strcspn(out, "\n");
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
	a = strspn(out, " ");
	memmove(out, out + a, (size_t)n - a + 1);
}

static uint64_t attr_u64(const char *dir, const char *name)
{
	char text[32];

	attr(dir, name, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

/* As udev names them: runs of blanks become one '_', anything odd becomes '_'. */
static void clean(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == ' ' && (s[1] == ' ' || s[1] == '\0'))
			continue;
		*to++ = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#+-.:=@_", *s) ? *s : '_';
	}
	*to = '\0';
}

/* Page 0x80 of a SCSI disk: 4 bytes of head, the last of them the length of the serial behind. */
static void scsi_serial(const char *dir, char *out, size_t size)
{
	char path[512];
	unsigned char page[256];
	AUTO_FD int fd = -1;
	ssize_t n;
	size_t len;

	snprintf(path, sizeof(path), "%s/device/vpd_pg80", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (n = read(fd, page, sizeof(page))) < 4)
		return;
	len = page[3] < n - 4 ? page[3] : (size_t)n - 4;
	snprintf(out, size, "%.*s", (int)len, (const char *)page + 4 + strspn((const char *)page + 4, " "));
	clean(out);
}

static void name_virtio(const char *dir, struct disk *d)
{
	attr(dir, "serial", d->serial, sizeof(d->serial));
	clean(d->serial);
	if (d->serial[0])
		snprintf(d->ids[0], DISK_ID_BYTES, "virtio-%s", d->serial);
}

static void name_nvme(const char *dir, struct disk *d)
{
	char model[64], wwid[100];

	attr(dir, "device/model", model, sizeof(model));
	attr(dir, "device/serial", d->serial, sizeof(d->serial));
	attr(dir, "wwid", wwid, sizeof(wwid));
	clean(model);
	clean(d->serial);
	clean(wwid);
	if (d->serial[0])
		snprintf(d->ids[0], DISK_ID_BYTES, "nvme-%.40s_%.60s", model, d->serial);
	if (strncmp(wwid, "eui.", 4) == 0)
		snprintf(d->ids[1], DISK_ID_BYTES, "nvme-%.100s", wwid);
}

static void name_scsi(const char *dir, struct disk *d)
{
	char vendor[16], model[64], wwid[100];

	attr(dir, "device/vendor", vendor, sizeof(vendor));
	attr(dir, "device/model", model, sizeof(model));
	attr(dir, "device/wwid", wwid, sizeof(wwid));
	scsi_serial(dir, d->serial, sizeof(d->serial));
	clean(model);
	clean(vendor);
	clean(wwid);
	if (d->serial[0] && strcmp(vendor, "ATA") == 0)
		snprintf(d->ids[0], DISK_ID_BYTES, "ata-%.40s_%.60s", model, d->serial);
	else if (d->serial[0])
		snprintf(d->ids[0], DISK_ID_BYTES, "scsi-S%.15s_%.40s_%.60s", vendor, model, d->serial);
	if (strncmp(wwid, "naa.", 4) == 0)
		snprintf(d->ids[1], DISK_ID_BYTES, "wwn-0x%.90s", wwid + 4);
}

static void name_disk(const char *dir, struct disk *d)
{
	static const struct { const char *prefix; void (*fn)(const char *dir, struct disk *d); } kinds[] = {
		{ "vd", name_virtio }, { "nvme", name_nvme }, { "sd", name_scsi }, { "sr", name_scsi },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strncmp(d->name, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
			kinds[i].fn(dir, d);
}

static bool folder_has_entry(const char *dir, const char *sub, const char *prefix)
{
	char path[512];
	struct dirent *ent;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, sub);
	d = opendir(path);
	while (d && !found && (ent = readdir(d)))
		found = ent->d_name[0] != '.' && strncmp(ent->d_name, prefix, strlen(prefix)) == 0;
	if (d)
		closedir(d);
	return found;
}

static void probe(const char *dev, struct disk *d)
{
	static uint8_t head[LABEL_PROBE_BYTES];
	char path[256];
	AUTO_FD int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dev, d->name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;		/* a drive without a medium */
	n = pread(fd, head, sizeof(head), 0);
	if (n > 0)
		label_probe(head, (size_t)n, &d->label);
}

/* Swap devices, loops and RAM disks are ours or nobody's. */
static bool skipped(const char *name)
{
	static const char *const no[] = { ".", "loop", "ram", "zram", "fd", "dm-", "md", "nbd" };

	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		if (strncmp(name, no[i], strlen(no[i])) == 0)
			return true;
	return false;
}

static void scan_one(struct disks *ds, const char *sys, const char *dev, const char *name)
{
	struct disk *d = &ds->v[ds->n];
	char dir[400], up[404];

	*d = (struct disk){ .label = { .fs = "" } };
	if (snprintf(d->name, sizeof(d->name), "%s", name) >= (int)sizeof(d->name))
		return;
	snprintf(dir, sizeof(dir), "%s/class/block/%s", sys, name);
	d->bytes = attr_u64(dir, "size") * 512;
	if (d->bytes == 0)
		return;
	d->read_only = attr_u64(dir, "ro") != 0;
	d->part = (unsigned)attr_u64(dir, "partition");
	/* sysfs has a partition inside its disk, and the disk's partitions inside the disk. */
	snprintf(up, sizeof(up), "%s/..", dir);
	name_disk(d->part ? up : dir, d);
	d->in_use = folder_has_entry(dir, "holders", "") || (!d->part && folder_has_entry(dir, "", d->name));
	probe(dev, d);
	ds->n++;
}

void disks_scan(struct disks *ds, const char *sys, const char *dev)
{
	char path[256];
	struct dirent *ent;
	DIR *dir;

	ds->n = 0;
	snprintf(path, sizeof(path), "%s/class/block", sys);
	dir = opendir(path);
	while (dir && ds->n < DISKS_MAX && (ent = readdir(dir)))
		if (!skipped(ent->d_name))
			scan_one(ds, sys, dev, ent->d_name);
	if (dir)
		closedir(dir);
	snprintf(path, sizeof(path), "%s/class", sys);
	ds->scsi = folder_has_entry(path, "scsi_host", "host");
}

/* Removes links whose device is gone. */
static void sweep(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *ent;

	while (d && (ent = readdir(d)))
		if (ent->d_type == DT_LNK && faccessat(dirfd(d), ent->d_name, F_OK, 0) < 0)
			unlinkat(dirfd(d), ent->d_name, 0);
	if (d)
		closedir(d);
}

static int link_to(const char *folder, const char *name, const char *disk, struct err *e)
{
	char at[512], to[64], was[64];
	ssize_t n;

	snprintf(at, sizeof(at), "%s/%s", folder, name);
	snprintf(to, sizeof(to), "../../%s", disk);
	n = readlink(at, was, sizeof(was) - 1);
	if (n == (ssize_t)strlen(to) && memcmp(was, to, (size_t)n) == 0)
		return 0;
	unlink(at);
	if (symlink(to, at) < 0)
		return err_sys(e, errno, "link '%s'", at);
	return 0;
}

static int link_disk(const struct disk *d, const char *by_id, const char *by_label, struct err *e)
{
	char name[DISK_ID_BYTES + 16];

	for (size_t i = 0; i < DISK_IDS_MAX; i++) {
		if (!d->ids[i][0])
			continue;
		if (d->part)
			snprintf(name, sizeof(name), "%s-part%u", d->ids[i], d->part);
		else
			snprintf(name, sizeof(name), "%s", d->ids[i]);
		if (link_to(by_id, name, d->name, e) < 0)
			return -1;
	}
	return d->label.text[0] ? link_to(by_label, d->label.text, d->name, e) : 0;
}

int disks_link(const struct disks *ds, const char *dev, struct err *e)
{
	char by_id[256], by_label[256];

	snprintf(by_id, sizeof(by_id), "%s/disk/by-id", dev);
	snprintf(by_label, sizeof(by_label), "%s/disk/by-label", dev);
	if (fd_make_dirs(by_id, 0755, e) < 0 || fd_make_dirs(by_label, 0755, e) < 0)
		return -1;
	sweep(by_id);
	sweep(by_label);
	for (unsigned i = 0; i < ds->n; i++)
		if (link_disk(&ds->v[i], by_id, by_label, e) < 0)
			return -1;
	return 0;
}

static int range_is_zero(int fd, uint64_t from, uint64_t bytes, bool *out)
{
	static const uint8_t zero[BLOCK_BYTES];
	static uint8_t got[BLOCK_BYTES];

	*out = true;
	for (uint64_t at = from; *out && at < from + bytes; at += sizeof(got)) {
		if (pread(fd, got, sizeof(got), (off_t)at) != (ssize_t)sizeof(got))
			return -1;
		*out = memcmp(got, zero, sizeof(got)) == 0;
	}
	return 0;
}

int disks_is_empty(const char *dev, const struct disk *d, bool *out, struct err *e)
{
	char path[256];
	bool head = false, tail = false;
	AUTO_FD int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dev, d->name);
	if (d->bytes < 2 * EMPTY_BYTES)
		return err_set(e, ERR_REFUSED, "'%s' is smaller than 2 MiB", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	if (range_is_zero(fd, 0, EMPTY_BYTES, &head) < 0 ||
	    range_is_zero(fd, d->bytes - EMPTY_BYTES, EMPTY_BYTES, &tail) < 0)
		return err_set(e, ERR_IO, "'%s' cannot be read whole", path);
	*out = head && tail;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing is pure and strict: a disk that is formatted by mistake is a guest lost. */
#include "init/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

static int read_whole(const char *path, char *out, size_t size, size_t *out_n, struct err *e)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t got;

	if (fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	while (n < size && (got = read(fd, out + n, size - n)) != 0) {
		if (got < 0)
			return err_sys(e, errno, "read '%s'", path);
		n += (size_t)got;
	}
	*out_n = n;
	return 0;
}

static int read_from(const struct disk *d, const char *at, struct host_cfg *c, struct err *e)
{
	static char text[HOST_JSON_BYTES_MAX + 1];
	char dev[64], path[512];
	size_t n = 0;
	int rc;

	snprintf(dev, sizeof(dev), "/dev/%s", d->name);
	snprintf(path, sizeof(path), "%s/host.json", at);
	if (mount(dev, at, d->label.fs, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_sys(e, errno, "mount '%s'", dev);
	rc = read_whole(path, text, sizeof(text), &n, e);
	umount2(at, MNT_DETACH);
	if (rc < 0)
		return -1;
	return host_cfg_read(c, text, n, e) < 0 ? err_wrap(e, "host.json on '%s'", dev) : 0;
}

int volume_read_config(const struct disks *ds, const char *run_dir, struct host_cfg *c, struct err *e)
{
	char at[256];
	struct err last = ERR_INIT;

	snprintf(at, sizeof(at), "%s/config", run_dir);
	if (fd_make_dirs(at, 0700, e) < 0)
		return -1;
	err_set(&last, ERR_NOT_FOUND, "no volume labelled %s", VOLUME_CONFIG_LABEL);
	for (unsigned i = 0; i < ds->n; i++) {
		if (strcmp(ds->v[i].label.text, VOLUME_CONFIG_LABEL) != 0)
			continue;
		if (read_from(&ds->v[i], at, c, &last) == 0)
			return 0;
	}
	*e = last;
	return -1;
}

/* Is it the disk that "data": {"disk": ...} names? */
static bool is_named(const struct disk *d, const char *want)
{
	if (strncmp(want, "/dev/disk/by-id/", 16) == 0) {
		for (size_t i = 0; i < DISK_IDS_MAX; i++)
			if (d->ids[i][0] && strcmp(d->ids[i], want + 16) == 0)
				return true;
		return false;
	}
	if (strncmp(want, "/dev/", 5) == 0)
		return strcmp(d->name, want + 5) == 0;
	return d->serial[0] && strcmp(d->serial, want) == 0;
}

static bool is_data(const struct disk *d, const struct host_cfg *c)
{
	return strcmp(d->label.fs, "xfs") == 0 && strcmp(d->label.text, VOLUME_DATA_LABEL) == 0 &&
	       (!c->data_disk[0] || is_named(d, c->data_disk));
}

static bool is_candidate(const struct disk *d, const struct host_cfg *c)
{
	if (d->part)
		return false;
	if (c->data_disk[0])
		return is_named(d, c->data_disk);
	return strncmp(d->serial, VOLUME_DATA_SERIAL, strlen(VOLUME_DATA_SERIAL)) == 0;
}

/* The only disk that `is` accepts. */
static int only_one(const struct disks *ds, const struct host_cfg *c, const char *what,
		    bool (*is)(const struct disk *d, const struct host_cfg *c), const struct disk **out,
		    struct err *e)
{
	const struct disk *found = NULL;

	for (unsigned i = 0; i < ds->n; i++) {
		if (!is(&ds->v[i], c))
			continue;
		if (found) {
			err_set(e, ERR_REFUSED, "both %s and %s are %s", found->name, ds->v[i].name, what);
			return err_remedy(e, "name one in host.json: \"data\": {\"disk\": \"SERIAL\"}, or unplug one");
		}
		found = &ds->v[i];
	}
	if (!found)
		return err_set(e, ERR_NOT_FOUND, "no disk is %s", what);
	*out = found;
	return 0;
}

static int check_makeable(const struct disk *d, const struct host_cfg *c, struct err *e)
{
	if (d->label.fs[0]) {
		err_set(e, ERR_REFUSED, "disk %s has a %s file system labelled '%s'", d->name, d->label.fs,
			d->label.text);
		return err_remedy(e, "give the host an empty disk");
	}
	if (d->read_only || d->in_use) {
		err_set(e, ERR_REFUSED, "disk %s is %s", d->name, d->read_only ? "read-only" :
			"in use or has partitions");
		return err_remedy(e, "give the host an empty disk");
	}
	if (d->bytes < VOLUME_DATA_BYTES_MIN)
		return err_set(e, ERR_REFUSED, "disk %s has %llu MiB, at least %d are needed", d->name,
			       (unsigned long long)(d->bytes >> 20), VOLUME_DATA_BYTES_MIN >> 20);
	if (!c->data_format) {
		err_set(e, ERR_REFUSED, "disk %s has no data volume yet", d->name);
		return err_remedy(e, "allow it to be made: host.json \"data\": {\"format_if_empty\": true}, or "
				  "hvapi.data=format on the kernel's command line");
	}
	return 0;
}

int volume_choose_data(const struct disks *ds, const struct host_cfg *c, enum volume_plan *out_plan,
		       const struct disk **out_disk, struct err *e)
{
	const struct disk *d = NULL;

	if (only_one(ds, c, "labelled " VOLUME_DATA_LABEL, is_data, &d, e) == 0) {
		*out_plan = VOLUME_MOUNT;
		*out_disk = d;
		return 0;
	}
	if (e->code != ERR_NOT_FOUND)
		return -1;
	if (only_one(ds, c, c->data_disk[0] ? "the one that host.json names for data" :
		     "named " VOLUME_DATA_SERIAL "... by its serial number", is_candidate, &d, e) < 0) {
		if (e->code == ERR_NOT_FOUND)
			err_remedy(e, "attach the disk, or name the right one in host.json: \"data\": {\"disk\": "
				   "\"SERIAL\"}");
		return -1;
	}
	if (check_makeable(d, c, e) < 0)
		return -1;
	*out_plan = VOLUME_MAKE;
	*out_disk = d;
	return 0;
}

int volume_mount_data(const char *dev_name, const char *data_dir, struct err *e)
{
	char dev[64] = "data";
	struct stat a, b;

	if (fd_make_dirs(data_dir, 0755, e) < 0)
		return -1;
	if (stat(data_dir, &a) == 0 && stat("/", &b) == 0 && a.st_dev != b.st_dev)
		return 0;
	if (dev_name)
		snprintf(dev, sizeof(dev), "/dev/%s", dev_name);
	if (mount(dev, data_dir, dev_name ? "xfs" : "tmpfs", MS_NOATIME | MS_NOSUID | MS_NODEV,
		  dev_name ? NULL : "mode=0755,size=25%") < 0)
		return err_sys(e, errno, "mount '%s' on '%s'", dev, data_dir);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of mounts, links and folders.  The root is the initramfs: writable
 * memory, so folders are made as needed.
 */
#include "init/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/unit_table.h"

struct mnt {
	const char *what;
	const char *where;
	const char *type;
	unsigned long flags;
	const char *data;
};

static const struct mnt table[] = {
	{ "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "dev", "/dev", "devtmpfs", MS_NOSUID, "mode=0755" },
	{ "run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m" },
	{ "pts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0600,ptmxmode=0666" },
	{ "shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=16m" },
};

/* libxl, xenstored and xenconsoled expect these. */
static const char *const folders[] = {
	"/run/lock", "/run/xen", "/run/xenstored", "/var/lib/xen", "/var/lib/xenstored", "/var/log/xen/console",
	"/var/lib/xen/dump", "/etc", "/tmp", "/sbin",
};

static const struct { const char *to, *at; } links[] = {
	{ "/run", "/var/run" },
	{ "/run/lock", "/var/lock" },
	{ "/proc/self/fd", "/dev/fd" },
	{ "/proc/self/mounts", "/etc/mtab" },
	{ "/run/resolv.conf", "/etc/resolv.conf" },
	/* The kernel runs this when it wants a module (file systems, crypto, kernel TLS): modules_main. */
	{ "/init", "/sbin/modprobe" },
};

struct folder {
	const char *name;		/* below the run or data folder */
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/* Set-group-id: sockets made inside get the group, so that hvtls and hvapid reach each other's and those of
 * root's daemons at mode 0660.  Sticky: none of them can remove another's. */
static const struct folder run_folders[] = {
	{ "", USER_ROOT, GROUP_HV, 03770 },
	{ "/domd", USER_ROOT, GROUP_HV, 02750 },
	{ "/migrate", USER_ROOT, GROUP_HV, 02750 },
};

static const struct folder data_folders[] = {
	{ "", USER_ROOT, USER_ROOT, 0755 },
	{ "/host", USER_HVTLS, USER_HVTLS, 0700 },
	{ "/hvapid", USER_HVAPID, USER_HVAPID, 0700 },
	{ "/boot", USER_HVAPID, USER_HVAPID, 0755 },
	{ "/vm", USER_ROOT, GROUP_HV, 02750 },
	{ "/save", USER_ROOT, GROUP_HV, 02750 },
	/* hvmigrate (root) writes reports, hvapid removes those that it has read. */
	{ "/migrate", USER_ROOT, GROUP_HV, 02770 },
	{ "/log", USER_ROOT, GROUP_HV, 0750 },
};

static void keep_first(struct err *first, const struct err *e)
{
	if (first->code == ERR_NONE)
		*first = *e;
}

static int mount_one(const struct mnt *m, struct err *e)
{
	if (fd_make_dirs(m->where, 0755, e) < 0)
		return -1;
	if (mount(m->what, m->where, m->type, m->flags, m->data) < 0 && errno != EBUSY)
		return err_sys(e, errno, "mount %s on %s", m->type, m->where);
	return 0;
}

/* A tmpfs could be stacked on itself, so "is it there" is asked first. */
static int is_mounted(const char *where, const char *parent)
{
	struct stat a, b;

	return stat(where, &a) == 0 && stat(parent, &b) == 0 && a.st_dev != b.st_dev;
}

static int link_one(const char *to, const char *at, struct err *e)
{
	char was[64];
	ssize_t n = readlink(at, was, sizeof(was) - 1);

	if (n > 0) {
		was[n] = '\0';
		if (strcmp(was, to) == 0)
			return 0;
	}
	if (unlink(at) < 0 && errno == EISDIR && rmdir(at) < 0)
		return err_sys(e, errno, "'%s' is in the way of a link to %s", at, to);
	if (symlink(to, at) < 0)
		return err_sys(e, errno, "link '%s' to %s", at, to);
	return 0;
}

int mounts_all(struct err *e)
{
	struct err first = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const char *parent = strncmp(table[i].where, "/dev/", 5) == 0 ? "/dev" : "/";

		if (!is_mounted(table[i].where, parent) && mount_one(&table[i], e) < 0)
			keep_first(&first, e);
	}
	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		if (fd_make_dirs(folders[i], 0755, e) < 0)
			keep_first(&first, e);
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (link_one(links[i].to, links[i].at, e) < 0)
			keep_first(&first, e);
	if (first.code == ERR_NONE)
		return 0;
	*e = first;
	return -1;
}

int mounts_xenfs(struct err *e)
{
	static const struct mnt xenfs = { "xenfs", "/proc/xen", "xenfs", 0, NULL };

	return is_mounted("/proc/xen", "/proc") ? 0 : mount_one(&xenfs, e);
}

static int make_folders(const char *top, const struct folder *f, size_t n, struct err *e)
{
	char path[512];

	for (; n > 0; n--, f++) {
		snprintf(path, sizeof(path), "%s%s", top, f->name);
		if (fd_make_dirs(path, 0755, e) < 0)
			return -1;
		if (chown(path, f->uid, f->gid) < 0 || chmod(path, f->mode) < 0)
			return err_sys(e, errno, "owner and mode of '%s'", path);
	}
	return 0;
}

int mounts_run_folders(const char *run_dir, struct err *e)
{
	return make_folders(run_dir, run_folders, ARRAY_LEN(run_folders), e);
}

int mounts_data_folders(const char *data_dir, struct err *e)
{
	return make_folders(data_dir, data_folders, ARRAY_LEN(data_folders), e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each step of the boot does.  A step that fails says so and the boot
 * goes on: a host that answers with less is better than one that is silent.
 */
#include "init/boot_priv.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "init/mounts.h"
#include "init/netconf.h"
#include "init/power.h"
#include "init/volume.h"
#include "init/wait_socket.h"

static void load(struct boot *b, const char *const *names)
{
	struct err e = ERR_INIT;

	for (; *names; names++)
		if (modules_load(b->modules, *names, &e) < 0)
			log_fail(&e, "module %s", *names);
}

static void start_unit(struct boot *b, const char *name, const char *const *args, size_t n_args)
{
	struct unit_start s = { .name = name, .args = args, .n_args = n_args, .restart = -1 };
	struct err e = ERR_INIT;

	/* After a restart of the manager it may run already. */
	if (units_start(b->m->units, &s, NULL, &e) < 0 && e.code != ERR_EXISTS)
		log_fail(&e, "%s", name);
}

static enum step_result xen_modules(struct boot *b)
{
	static const char *const names[] = { "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs", NULL };
	struct err e = ERR_INIT;

	if (!b->xen)
		return STEP_DONE;
	load(b, names);
	if (mounts_xenfs(&e) < 0)
		log_fail(&e, "/proc/xen");
	return STEP_DONE;
}

static void on_xenstored(void *arg)
{
	boot_step_done(arg, BOOT_XENSTORED);
}

static enum step_result xenstored(struct boot *b)
{
	struct err e = ERR_INIT;

	if (!b->xen)
		return STEP_DONE;
	start_unit(b, "xenstored", NULL, 0);
	if (wait_socket_start(b->m->loop, "/run/xenstored/socket", on_xenstored, b, &b->wait_xenstored, &e) < 0) {
		log_fail(&e, "xenstored");
		return STEP_DONE;
	}
	return STEP_LATER;
}

static enum step_result dom0(struct boot *b)
{
	if (!b->xen)
		return STEP_DONE;
	start_unit(b, "xen-init-dom0", NULL, 0);
	start_unit(b, "xenconsoled", NULL, 0);
	if (units_running(b->m->units, "xen-init-dom0") == 0)
		return STEP_DONE;
	return STEP_LATER;
}

static enum step_result drivers(struct boot *b)
{
	static const char *const always[] = { "bridge", NULL };
	static const char *const backends[] = { "xen-blkback", "xen-netback", NULL };

	boot_load_drivers(b, MODULES_FIRST);
	load(b, always);
	if (b->xen)
		load(b, backends);
	boot_disks_changed(b);
	return STEP_DONE;
}

/* What can wait until the API answers. */
static enum step_result late(struct boot *b)
{
	b->kind = MODULES_ALL;
	start_unit(b, "drivers", NULL, 0);
	return units_running(b->m->units, "drivers") > 0 ? STEP_LATER : STEP_DONE;
}

/* True if the disk that was not found may still appear. */
static bool may_appear(struct boot *b)
{
	if (b->kind < MODULES_DEVICES)
		boot_load_drivers(b, MODULES_DEVICES);
	return !b->settled;
}

/* The file systems of HVAPI volumes, before the kernel asks for them one by one. */
static void load_config_fs(struct boot *b)
{
	static const char *const vfat[] = { "vfat", "nls_cp437", "nls_ascii", NULL };
	static const char *const iso[] = { "isofs", NULL };

	for (unsigned i = 0; i < b->disks.n; i++)
		if (strcmp(b->disks.v[i].label.text, VOLUME_CONFIG_LABEL) == 0)
			load(b, strcmp(b->disks.v[i].label.fs, "vfat") == 0 ? vfat : iso);
}

/* Done when a host.json was read, or when there is none and waiting is of no use. */
static enum step_result config(struct boot *b)
{
	struct err e = ERR_INIT;

	load_config_fs(b);
	if (volume_read_config(&b->disks, b->m->conf.run_dir, &b->cfg, &e) < 0) {
		bool absent = e.code == ERR_NOT_FOUND;

		if (absent && !b->cfg.from_cmdline && may_appear(b))
			return STEP_LATER;
		if (absent)
			log_info("no volume %s: command line and defaults", VOLUME_CONFIG_LABEL);
		else
			log_fail(&e, "host.json is not used; command line and defaults");
	}
	/* The command line wins; what was wrong with it was said at the start. */
	if (host_cfg_cmdline(&b->cfg, b->cmdline, &e) < 0)
		log_debug("%s", e.detail);
	if (sethostname(b->cfg.hostname, strlen(b->cfg.hostname)) < 0)
		log_warn("the kernel does not take the host name '%s'", b->cfg.hostname);
	if (b->cfg.debug && access("/bin/busybox", X_OK) == 0)
		start_unit(b, "shell", NULL, 0);
	return STEP_DONE;
}

static enum step_result network(struct boot *b)
{
	struct err e = ERR_INIT;

	if (netconf_start(b->m->loop, &b->cfg, &b->net, &e) < 0)
		log_fail(&e, "network");
	return STEP_DONE;
}

/* The data folder is mounted, however: owners, logs. */
static enum step_result data_ready(struct boot *b, const char *source, const char *device)
{
	char dir[512];
	struct err e = ERR_INIT;

	b->data_source = source;
	snprintf(b->data_device, sizeof(b->data_device), "%s", device);
	if (mounts_data_folders(b->m->conf.data_dir, &e) < 0)
		log_fail(&e, "data folders");
	snprintf(dir, sizeof(dir), "%s/log", b->m->conf.data_dir);
	log_sink_open(&b->m->sink, dir);
	log_info("data: %s %s", source, device);
	return STEP_DONE;
}

static enum step_result data_in_memory(struct boot *b, const struct err *why)
{
	struct err e = ERR_INIT;

	log_fail(why, "no data volume");
	log_warn("data: in memory; VMs, keys and logs of this boot are LOST at power off");
	if (volume_mount_data(NULL, b->m->conf.data_dir, &e) < 0)
		log_fail(&e, "data in memory");
	return data_ready(b, "tmpfs", "");
}

static enum step_result make_data(struct boot *b, const struct disk *d, struct err *e)
{
	char dev[64];
	const char *args[] = { dev };
	bool empty = false;

	snprintf(dev, sizeof(dev), "/dev/%s", d->name);
	if (b->data_refused)
		err_set(e, ERR_IO, "a file system could not be made on '%s'", dev);
	else if (disks_is_empty("/dev", d, &empty, e) == 0 && !empty) {
		err_set(e, ERR_REFUSED, "disk %s is not empty: there is data in its first or last MiB", d->name);
		(void)err_remedy(e, "give the host an empty disk, or wipe this one if you are sure");
	}
	if (!empty)
		return data_in_memory(b, e);
	log_info("data: making a file system on %s (serial %s)", dev, d->serial);
	b->data_made = true;
	start_unit(b, "mkfs", args, 1);
	if (units_running(b->m->units, "mkfs") > 0)
		return STEP_LATER;
	b->data_refused = true;
	err_set(e, ERR_IO, "mkfs.xfs could not be started");
	return data_in_memory(b, e);
}

static enum step_result data(struct boot *b)
{
	static const char *const xfs[] = { "xfs", NULL };
	const struct disk *d = NULL;
	enum volume_plan plan = VOLUME_MOUNT;
	struct err e = ERR_INIT;

	if (units_running(b->m->units, "mkfs") > 0)
		return STEP_LATER;
	if (volume_choose_data(&b->disks, &b->cfg, &plan, &d, &e) < 0) {
		if (e.code == ERR_NOT_FOUND && may_appear(b))
			return STEP_LATER;
		return data_in_memory(b, &e);
	}
	if (plan == VOLUME_MAKE)
		return make_data(b, d, &e);
	load(b, xfs);
	if (volume_mount_data(d->name, b->m->conf.data_dir, &e) < 0)
		return data_in_memory(b, &e);
	return data_ready(b, b->data_made ? "made" : "found", d->name);
}

static enum step_result hvtls(struct boot *b)
{
	start_unit(b, "hvtls", NULL, 0);
	return STEP_DONE;
}

static enum step_result hvapid(struct boot *b)
{
	start_unit(b, "hvapid", NULL, 0);
	return STEP_DONE;
}

static void on_api(void *arg)
{
	struct boot *b = arg;
	struct timespec t = { 0 };
	char line[64];

	boot_step_done(b, BOOT_API);
	clock_gettime(CLOCK_BOOTTIME, &t);
	snprintf(line, sizeof(line), "hvapi: ready %lld.%02ld s", (long long)t.tv_sec, t.tv_nsec / 10000000);
	log_sink_line(&b->m->sink, "hvinit", "", line, true);
}

static enum step_result api(struct boot *b)
{
	char path[512];
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), "%s/api.sock", b->m->conf.run_dir);
	loop_timer_set(b->late, BOOT_LATE_MS, 0);
	if (wait_socket_start(b->m->loop, path, on_api, b, &b->wait_api, &e) < 0) {
		log_fail(&e, "api");
		return STEP_DONE;
	}
	return STEP_LATER;
}

void boot_on_unit(struct boot *b, const char *unit, const char *state, int status)
{
	bool ended = strcmp(state, "started") != 0;

	if (ended && strcmp(unit, "xen-init-dom0") == 0) {
		if (status != 0)
			log_err("xen-init-dom0 failed (%d): guests cannot be started", status);
		if (b->begun & BIT(BOOT_DOM0))
			boot_step_done(b, BOOT_DOM0);
	} else if (ended && strcmp(unit, "mkfs") == 0) {
		b->data_refused = status != 0;
		boot_disks_changed(b);
	} else if (ended && strcmp(unit, "drivers") == 0) {
		if (b->power)
			power_look(b->power);
		if (b->begun & BIT(BOOT_LATE))
			boot_step_done(b, BOOT_LATE);
	} else if (ended && strcmp(unit, "xenstored") == 0) {
		log_err("xenstored ended (%d): guests run on, but none can be started, stopped or moved; "
			"reboot this host", status);
	}
}

const struct boot_step_def boot_steps[BOOT_STEP_N] = {
	[BOOT_XEN_MODULES] = { "xen-modules", 0, xen_modules, false },
	[BOOT_XENSTORED] = { "xenstored", BIT(BOOT_XEN_MODULES), xenstored, false },
	[BOOT_DOM0] = { "dom0", BIT(BOOT_XENSTORED), dom0, false },
	[BOOT_DRIVERS] = { "drivers", BIT(BOOT_XEN_MODULES), drivers, false },
	[BOOT_CONFIG] = { "config", BIT(BOOT_DRIVERS), config, true },
	[BOOT_NETWORK] = { "network", BIT(BOOT_CONFIG), network, false },
	[BOOT_DATA] = { "data", BIT(BOOT_CONFIG), data, true },
	[BOOT_HVTLS] = { "hvtls", BIT(BOOT_DATA), hvtls, false },
	[BOOT_HVAPID] = { "hvapid", BIT(BOOT_DATA) | BIT(BOOT_DOM0), hvapid, false },
	[BOOT_API] = { "api", BIT(BOOT_HVAPID), api, false },
	[BOOT_LATE] = { "late", BIT(BOOT_API), late, false },
};

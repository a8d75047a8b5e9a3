/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order and time of the boot's steps, device events, and what `info` tells.
 * One step is begun per turn of the loop, so that what units do meanwhile
 * (xenstored coming up) is seen between two of them.
 */
#include "init/boot.h"
#include "init/boot_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "init/netconf.h"
#include "init/power.h"
#include "init/stopping.h"
#include "init/uevent.h"
#include "init/volume.h"
#include "init/wait_socket.h"

static uint64_t boot_ms(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void boot_step_done(struct boot *b, enum boot_step s)
{
	if (b->done & BIT(s))
		return;
	b->done |= BIT(s);
	b->phases[s].ms = boot_ms() - b->phases[s].start_ms;
	log_info("phase %s %llu ms", boot_steps[s].name, (unsigned long long)b->phases[s].ms);
	loop_timer_set(b->next, 1, 0);
}

/* Begins the first step that can be; comes again if there may be more. */
static void begin_next(void *arg)
{
	struct boot *b = arg;

	for (int s = 0; s < BOOT_STEP_N; s++) {
		if (b->begun & BIT(s) || (boot_steps[s].needs & b->done) != boot_steps[s].needs)
			continue;
		b->begun |= BIT(s);
		b->phases[s].start_ms = boot_ms();
		loop_timer_set(b->next, 1, 0);
		if (boot_steps[s].run(b) == STEP_DONE)
			boot_step_done(b, (enum boot_step)s);
		return;
	}
}

void boot_disks_changed(struct boot *b)
{
	struct err e = ERR_INIT;

	disks_scan(&b->disks, "/sys", "/dev");
	if (disks_link(&b->disks, "/dev", &e) < 0)
		log_fail(&e, "/dev/disk");
	for (int s = 0; s < BOOT_STEP_N; s++)
		if (boot_steps[s].again && b->begun & BIT(s) && !(b->done & BIT(s)) &&
		    boot_steps[s].run(b) == STEP_DONE)
			boot_step_done(b, (enum boot_step)s);
}

bool boot_take_uevents(struct boot *b)
{
	static char buf[UEVENT_BYTES_MAX];
	struct uevent u;
	struct err e = ERR_INIT;
	bool disks = false;

	while (uevent_next(b->uevent_fd, buf, &u)) {
		if (strcmp(u.action, "add") == 0 && u.modalias[0] && modules_kind_of(u.modalias) <= b->kind &&
		    !modules_seen(b->modules, u.modalias) &&
		    modules_load(b->modules, u.modalias, &e) < 0 && e.code != ERR_NOT_FOUND)
			log_fail(&e, "driver for %s", u.modalias);
		if (strcmp(u.subsystem, "input") == 0 && b->power)
			power_look(b->power);
		if (strcmp(u.subsystem, "block") == 0 && strncmp(u.devname, "loop", 4) != 0)
			disks = true;
	}
	return disks;
}

void boot_load_drivers(struct boot *b, enum modules_kind kind)
{
	unsigned n;

	b->kind = kind;
	n = modules_load_devices(b->modules, kind);
	/* Drivers find more devices (virtio behind PCI), which come as events. */
	boot_take_uevents(b);
	log_debug("%u kinds of devices got a driver", n);
	if (kind >= MODULES_DEVICES && !b->settled)
		loop_timer_set(b->settle, BOOT_SETTLE_MS, 0);
	loop_timer_set(b->rescan, 1, 0);
}

static void on_rescan(void *arg)
{
	boot_disks_changed(arg);
}

static void on_uevent(void *arg, unsigned events)
{
	struct boot *b = arg;

	(void)events;
	if (!boot_take_uevents(b))
		return;
	if (!b->settled && b->kind >= MODULES_DEVICES)
		loop_timer_set(b->settle, BOOT_SETTLE_MS, 0);
	boot_disks_changed(b);
}

static void on_settled(void *arg)
{
	struct boot *b = arg;

	b->settled = true;
	boot_disks_changed(b);
}

static void on_late(void *arg)
{
	struct boot *b = arg;

	if (b->done & BIT(BOOT_API))
		return;
	log_warn("the API does not answer after %d ms", BOOT_LATE_MS);
	boot_step_done(b, BOOT_API);
}

static void on_power_button(void *arg)
{
	struct boot *b = arg;
	struct err e = ERR_INIT;

	log_info("power button");
	if (stopping_start(b->m, false, true, &e) < 0)
		log_fail(&e, "shutdown");
}

static void read_line(const char *path, char *out, size_t size)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, size - 1);

	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static bool runs_on_xen(void)
{
	char type[16];

	read_line("/sys/hypervisor/type", type, sizeof(type));
	return strcmp(type, "xen") == 0;
}

int boot_start(struct manager *m, struct boot **out, struct err *e)
{
	struct boot *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(e, ERR_NO_SPACE, "no memory for the boot");
	b->m = m;
	b->uevent_fd = -1;
	*out = b;
	host_cfg_init(&b->cfg);
	read_line("/proc/cmdline", b->cmdline, sizeof(b->cmdline));
	read_line("/proc/sys/kernel/random/boot_id", b->boot_id, sizeof(b->boot_id));
	if (host_cfg_cmdline(&b->cfg, b->cmdline, e) < 0)
		log_fail(e, "kernel command line");
	if (b->cfg.debug)
		log_init("hvinit", LOG_DEBUG);
	b->xen = runs_on_xen();
	b->settle = loop_timer_new(m->loop, on_settled, b);
	b->next = loop_timer_new(m->loop, begin_next, b);
	b->rescan = loop_timer_new(m->loop, on_rescan, b);
	b->late = loop_timer_new(m->loop, on_late, b);
	if (modules_new(&b->modules, e) < 0 || uevent_open(&b->uevent_fd, e) < 0 ||
	    loop_watch(m->loop, b->uevent_fd, LOOP_READ, on_uevent, b, &b->uevent, e) < 0)
		return -1;
	if (power_new(m->loop, on_power_button, b, &b->power, e) < 0)
		log_fail(e, "power button");
	log_info("%s, %s", m->restarted ? "manager started again" : "up", b->xen ? "on Xen" :
		 "not on Xen: guests cannot run");
	loop_timer_set(b->next, 1, 0);
	return 0;
}

void boot_free(struct boot *b)
{
	if (!b)
		return;
	wait_socket_free(b->wait_xenstored);
	wait_socket_free(b->wait_api);
	netconf_free(b->net);
	power_free(b->power);
	loop_unwatch(&b->uevent);
	loop_timer_free(&b->settle);
	loop_timer_free(&b->next);
	loop_timer_free(&b->late);
	loop_timer_free(&b->rescan);
	modules_free(b->modules);
	fd_close(&b->uevent_fd);
	free(b);
}

static json_t *phases_json(const struct boot *b)
{
	json_t *a = json_array();

	for (int s = 0; s < BOOT_STEP_N; s++)
		if (b->done & BIT(s))
			json_array_append_new(a, json_pack("{s:s, s:I, s:I}", "name", boot_steps[s].name, "start_ms",
							   (json_int_t)b->phases[s].start_ms, "ms",
							   (json_int_t)b->phases[s].ms));
	return a;
}

json_t *boot_info(const struct boot *b)
{
	char hostname[HOST_NAME_BYTES + 1] = "";
	json_t *o;

	if (gethostname(hostname, sizeof(hostname) - 1) < 0)
		hostname[0] = '\0';
	o = json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "hostname", hostname, "cmdline", b ? b->cmdline : "",
		      "boot_id", b ? b->boot_id : "", "uptime_ms", (json_int_t)boot_ms(),
		      "network", netconf_info(b ? b->net : NULL), "phases", b ? phases_json(b) : json_array());
	if (b && b->data_source)
		json_object_set_new(o, "data", json_pack("{s:s, s:s, s:s}", "device", b->data_device, "label",
							 b->data_device[0] ? VOLUME_DATA_LABEL : "", "source",
							 b->data_source));
	return o;
}

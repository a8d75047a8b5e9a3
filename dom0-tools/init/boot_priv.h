/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of boot.c (order, timing) and boot_steps.c (what each step does).
 * Nobody else includes this.
 */
#ifndef INIT_BOOT_PRIV_H
#define INIT_BOOT_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "init/boot.h"
#include "init/disks.h"
#include "init/host_cfg.h"
#include "init/manager.h"
#include "init/modules.h"

struct netconf;
struct power;
struct wait_socket;

/* In the order in which steps that could run at the same time are begun. */
enum boot_step {
	BOOT_XEN_MODULES, BOOT_XENSTORED, BOOT_DOM0, BOOT_DRIVERS, BOOT_CONFIG, BOOT_NETWORK, BOOT_DATA, BOOT_HVTLS,
	BOOT_HVAPID, BOOT_API, BOOT_LATE, BOOT_STEP_N
};

enum step_result { STEP_DONE, STEP_LATER };

struct boot_phase {
	uint64_t start_ms;		/* since the kernel started */
	uint64_t ms;
};

struct boot {
	struct manager *m;
	struct host_cfg cfg;
	char cmdline[2048];
	char boot_id[40];
	bool xen;
	enum modules_kind kind;		/* devices of this kind get their driver as they appear */
	bool settled;			/* all drivers are loaded, and no disk appeared for BOOT_SETTLE_MS */
	unsigned begun, done;		/* BIT(step) */
	struct boot_phase phases[BOOT_STEP_N];
	struct modules *modules;
	int uevent_fd;
	struct loop_src *uevent;
	struct loop_timer *settle;
	struct loop_timer *rescan;	/* disks may have changed: look soon */
	struct loop_timer *next;	/* begins the next step */
	struct loop_timer *late;	/* BOOT_LATE does not wait for the API longer than this */
	struct disks disks;
	struct netconf *net;
	struct power *power;
	struct wait_socket *wait_xenstored, *wait_api;
	const char *data_source;	/* "found", "made", "tmpfs"; NULL: none yet */
	char data_device[40];
	bool data_made;
	bool data_refused;		/* mkfs failed: do not try again */
};

struct boot_step_def {
	const char *name;
	unsigned needs;
	enum step_result (*run)(struct boot *b);
	bool again;			/* run again when disks change, until it is done */
};

extern const struct boot_step_def boot_steps[BOOT_STEP_N];

/* A step that returned STEP_LATER is through. */
void boot_step_done(struct boot *b, enum boot_step s);
/* Reads block devices anew and runs the steps that wait for them. */
void boot_disks_changed(struct boot *b);
/* Loads the drivers of devices up to `kind`, now and for those that appear later, and looks at the disks. */
void boot_load_drivers(struct boot *b, enum modules_kind kind);
/* Loads drivers for the events that are there; true if block devices changed. */
bool boot_take_uevents(struct boot *b);

#endif

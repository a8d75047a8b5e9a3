/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libxl's hot-plug scripts do, as functions: a vif onto its bridge, a
 * disk's device number into xenstore.  The back-end's folder in xenstore is
 * where libxl tells what it wants and reads how it went:
 *
 *	vif    reads bridge         writes hotplug-status = connected, or hotplug-error
 *	block  reads params, mode   writes physical-device (hex major:minor), physical-device-path, hotplug-status
 */
#ifndef NET_HOTPLUG_H
#define NET_HOTPLUG_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct xs;

enum hotplug_kind { HOTPLUG_VIF, HOTPLUG_BLOCK };

struct hotplug {
	enum hotplug_kind kind;
	bool add;			/* online, add; else offline, remove */
	const char *path;		/* XENBUS_PATH */
	const char *vif;		/* name of the interface; kind vif only */
};

/* From the script's name, its argument and libxl's environment variables (NULL: unset); pure. */
MUSTUSE int hotplug_parse(const char *argv0, const char *action, const char *xenbus_path, const char *vif,
			  struct hotplug *out, struct err *e);
/* Does it and tells xenstore, also when it fails. */
MUSTUSE int hotplug_run(struct xs *x, const struct hotplug *h, struct err *e);

/* Checks that `path` is a block device that may be used so ("r" or "w"); blocks while it is opened. */
MUSTUSE int hotplug_check_disk(const char *path, const char *mode, dev_t *out_dev, struct err *e);
enum { HOTPLUG_DEV_BYTES = 20 };
/* "fd:2": as xen-blkback reads it. */
void hotplug_dev_text(dev_t dev, char out[HOTPLUG_DEV_BYTES]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel modules, by name or by the modalias of a device.  Loading blocks;
 * under emulation it is what a boot spends most of its time on, so only what
 * matches a device of this machine is loaded.
 */
#ifndef INIT_MODULES_H
#define INIT_MODULES_H

#include <stdbool.h>

#include "base/err.h"

struct modules;

MUSTUSE int modules_new(struct modules **out, struct err *e);
void modules_free(struct modules *m);
/* Loads what `alias` (a name or a modalias) stands for, with what it depends on.  ERR_NOT_FOUND if this kernel
 * has nothing for it. */
MUSTUSE int modules_load(struct modules *m, const char *alias, struct err *e);
/* Which devices: those that a boot waits for (network, virtio, NVMe), all but processors, or processors too.
 * Their modules (AES, GHASH) test themselves for more than a second under emulation, and nothing at boot needs
 * them. */
enum modules_kind { MODULES_FIRST, MODULES_DEVICES, MODULES_ALL };

/* The kind that a modalias belongs to: the first of the three that takes it. */
enum modules_kind modules_kind_of(const char *alias);
/* As modules_load for each device below /sys/devices up to that kind; failures are logged.  Returns how many
 * aliases found a driver. */
unsigned modules_load_devices(struct modules *m, enum modules_kind most);
/* True if this alias was asked for before (and remembers it). */
bool modules_seen(struct modules *m, const char *alias);

/* Serves the kernel's own requests: called as `modprobe -q -- NAME`.  Returns the exit status. */
int modules_main(int argc, char **argv);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of a domain that libxl still builds, set up by hand while its memory
 * streams: libxl would do it only after the stream, in the outage.
 *
 * Written are the nodes that libxl's own libxl__device_generic_add writes
 * (Xen 4.17), with the same owners, under /local/domain/D/device,
 * /local/domain/0/backend and /libxl/D/device; so libxl knows the devices and
 * removes them with the domain.
 */
#ifndef XEN_XDEV_H
#define XEN_XDEV_H

#include <stdbool.h>
#include <jansson.h>

#include "base/err.h"

enum { XDEV_WAIT_MS = 30000 };

/* Finds the domain by its UUID as soon as libxl has made it, writes disks and vifs of the VM, and waits until each
 * back-end is ready.  online puts a vif on its bridge.  cancelled is polled while it waits.  Blocks. */
MUSTUSE int xdev_prepare(const json_t *vm, int (*online)(const char *vif, const char *bridge, struct err *e),
			 bool (*cancelled)(void *arg), void *arg, struct err *e);

#endif

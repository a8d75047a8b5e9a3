/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vifs of a domain, set up by hand, also while libxl still builds it and its
 * memory streams: libxl would do it only after the stream, in the outage.
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

enum { XDEV_WAIT_MS = 30000, XDEV_VIFS_MAX = 32 };

/* Finds the domain by its UUID as soon as libxl has made it, writes the vifs of the VM, and waits until each
 * back-end is ready.  online puts a vif on its bridge.  cancelled is polled while it waits.
 * *out_domid: the domain.  Blocks. */
MUSTUSE int xdev_prepare(const json_t *vm, int (*online)(const char *vif, const char *bridge, struct err *e),
			 bool (*cancelled)(void *arg), void *arg, unsigned *out_domid, struct err *e);

#endif

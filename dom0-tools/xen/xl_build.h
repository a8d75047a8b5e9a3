/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM definition as libxl wants it, but for its devices, which are not
 * libxl's work (xdev.h, hvblkd).  Private to xen/.
 */
#ifndef XEN_XL_BUILD_H
#define XEN_XL_BUILD_H

#include <stdbool.h>
#include <jansson.h>
#include <libxl.h>

#include "base/err.h"

#define XL_GRUB_PVH "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"
#define XL_GRUB_PV "/usr/lib/grub-xen/grub-x86_64-xen.bin"

/* out is initialised here; libxl_domain_config_dispose it, also after a failure. */
MUSTUSE int xl_build(libxl_ctx *ctx, const json_t *vm, const char *boot_dir, libxl_domain_config *out, struct err *e);

#endif

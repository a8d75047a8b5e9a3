/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The definition of a VM as it comes from a client, a peer or a file:
 * checked against docs/interfaces.md and completed with defaults, so that
 * everything behind it may rely on its shape.
 */
#ifndef HVAPI_VM_VM_CHECK_H
#define HVAPI_VM_VM_CHECK_H

#include <jansson.h>

#include "base/err.h"

enum {
	VM_MEMORY_MIB_MIN = 16,
	VM_MEMORY_MIB_MAX = 1 << 20,
	VM_VCPUS_MAX = 128,
	VM_DISKS_MAX = 16,
	VM_VIFS_MAX = 8,
	VM_TEXT_BYTES_MAX = 1024,
};

/* *out: a new object with every member there (uuid and MACs made up if absent).  ERR_USAGE names the field. */
MUSTUSE int vm_check(const json_t *vm, json_t **out, struct err *e);

#endif

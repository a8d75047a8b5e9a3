/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two hosts of a move must agree on: the source's facts in the OFFER,
 * and the target's checks of them, each problem with a stable code and a
 * remedy:
 *
 *   memory-short, xen-version, cpu-incompatible, bridge-missing, disk-missing, disk-other, disk-file, pv-guest
 */
#ifndef MIGRATE_FACTS_H
#define MIGRATE_FACTS_H

#include <stdint.h>
#include <jansson.h>

#include "base/err.h"

/* "host", "memory_kib", "disks" and "bridges" of the OFFER (mig_wire.h); NULL on failure. */
json_t *facts_offer(const json_t *vm, uint32_t domid, struct err *e);
/* Appends a PROBLEM for each thing that this host lacks. */
void facts_check(const json_t *offer, json_t *problems);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host's hypervisor says of itself and of its domains.  Calls block
 * for some hypercalls.
 */
#ifndef XEN_XHOST_H
#define XEN_XHOST_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

enum { XHOST_POLICY_BYTES_MAX = 64 << 10, XHOST_VERSION_BYTES = 64 };

struct xhost_info {
	char xen_version[XHOST_VERSION_BYTES];	/* "4.17.7" */
	uint64_t total_kib, free_kib;		/* of the hypervisor */
	uint32_t cpus;
};

MUSTUSE int xhost_info(struct xhost_info *out, struct err *e);

/* The CPU policy (CPUID leaves and MSRs) of a running domain, as bytes to send. */
MUSTUSE int xhost_policy_of(uint32_t domid, struct buf *out, struct err *e);
/* ERR_INCOMPATIBLE with the leaf or MSR if a guest with this policy cannot run here. */
MUSTUSE int xhost_policy_fits(struct span policy, bool hvm, struct err *e);

/* Cap of the credit2 scheduler, in percent of one CPU; 0: none. */
MUSTUSE int xhost_cap_get(uint32_t domid, uint16_t *out, struct err *e);
MUSTUSE int xhost_cap_set(uint32_t domid, uint16_t cap, struct err *e);

/* Pages the domain holds, with what Xen keeps for it, in KiB. */
MUSTUSE int xhost_domain_kib(uint32_t domid, uint64_t *out, struct err *e);

#endif

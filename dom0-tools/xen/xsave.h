/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xc_domain_save in our own process, with our decisions: when to stop is the
 * caller's.  Facts in docs: xenguest.h (struct save_callbacks), Xen 4.17.
 */
#ifndef XEN_XSAVE_H
#define XEN_XSAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum xsave_step { XSAVE_CONTINUE, XSAVE_STOP, XSAVE_ABORT };

enum { XSAVE_SUSPEND_MS = 20000 };	/* a guest that has not suspended by then does not answer */

struct xsave_hooks {
	/* After each round; number counts from 0.  May block. */
	enum xsave_step (*round)(void *arg, uint32_t number, uint64_t dirty_pages);
	void (*suspending)(void *arg);
	void (*suspended)(void *arg);
	/* Polled every XSAVE_POLL_MS while the suspend is waited for. */
	bool (*cancelled)(void *arg);
	void *arg;
};

struct xsave;

MUSTUSE int xsave_new(uint32_t domid, struct xsave **out, struct err *e);
void xsave_free(struct xsave *s);

/* Blocks until the guest's memory and state are written to fd and it is suspended.  On failure the guest runs, or is
 * suspended if the failure came after that; log-dirty is off either way.  hooks come on this thread. */
MUSTUSE int xsave_run(struct xsave *s, int fd, const struct xsave_hooks *hooks, struct err *e);

#endif

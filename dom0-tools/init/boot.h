/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From mounted file systems to an API that answers: steps with what each
 * needs, run on the loop as soon as that is done.
 *
 *	xen-modules ─► xenstored ─► dom0 ──────────────┬─► hvapid ─► api (ready) ─► late
 *	     └─► drivers ─► config ─┬─► network        │
 *	                            └─► data ─► hvtls ─┘
 *
 * "drivers" loads those of MODULES_FIRST; config or data load the rest when
 * they do not find what they look for, else "late" does.
 *
 * Every step may run again in a manager that was restarted.
 */
#ifndef INIT_BOOT_H
#define INIT_BOOT_H

#include <jansson.h>

#include "base/err.h"

struct boot;
struct manager;

enum {
	BOOT_LATE_MS = 15000,		/* drivers that can wait do not wait longer for the API */
	BOOT_SETTLE_MS = 1000,		/* without a new disk for so long, what is missing is not there */
};

MUSTUSE int boot_start(struct manager *m, struct boot **out, struct err *e);
void boot_free(struct boot *b);
/* A unit changed its state. */
void boot_on_unit(struct boot *b, const char *unit, const char *state, int status);
/* The reply of the verb info; b may be NULL (not PID 1's child). */
json_t *boot_info(const struct boot *b);

#endif

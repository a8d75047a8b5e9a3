/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains through libxl.  Every call blocks until it is done, so callers run
 * them off their loop; calls on one handle may come from several threads.
 * VM: the JSON of docs/interfaces.md, checked before.
 */
#ifndef XEN_XL_DOM_H
#define XEN_XL_DOM_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "base/err.h"

enum { XL_NO_DOMAIN = -1, XL_PATH_BYTES = 256 };

/* What Xen says of a domain. */
enum xl_life { XL_GONE, XL_RUNNING, XL_PAUSED, XL_POWEROFF, XL_REBOOT, XL_SUSPENDED, XL_CRASHED, XL_LIFE_N };

struct xl;

MUSTUSE int xl_open(struct xl **out, struct err *e);
void xl_close(struct xl *x);

/* Builds the domain, without disks and vifs (xdev.h), and leaves it paused.  boot_dir: where kernel and ramdisk are. */
MUSTUSE int xl_create(struct xl *x, const json_t *vm, const char *boot_dir, int *out_domid, struct err *e);
/* As xl_create, from a libxl stream.  On failure nothing is left of it. */
MUSTUSE int xl_restore(struct xl *x, const json_t *vm, const char *boot_dir, int fd, int *out_domid, struct err *e);
/* Suspends the domain into fd; the domain stays, suspended. */
MUSTUSE int xl_save(struct xl *x, int domid, int fd, struct err *e);
MUSTUSE int xl_unpause(struct xl *x, int domid, struct err *e);
MUSTUSE int xl_pause(struct xl *x, int domid, struct err *e);
/* Only asks the guest. */
MUSTUSE int xl_shutdown(struct xl *x, int domid, struct err *e);
MUSTUSE int xl_reboot(struct xl *x, int domid, struct err *e);
MUSTUSE int xl_destroy(struct xl *x, int domid, struct err *e);
/* A suspended domain goes on as if it had not been asked (suspend_cancel). */
MUSTUSE int xl_resume(struct xl *x, int domid, struct err *e);

/* XL_NO_DOMAIN if there is none. */
int xl_find(struct xl *x, const char *uuid);
enum xl_life xl_look(struct xl *x, int domid);
/* The pty of the guest's console. */
MUSTUSE int xl_console(struct xl *x, int domid, char out[XL_PATH_BYTES], struct err *e);

#endif

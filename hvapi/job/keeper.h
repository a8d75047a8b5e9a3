/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes sure that a VM's hvdomd runs before somebody needs it: after a reboot
 * there is none, and one that is about to end (its guest has gone) is no help.
 */
#ifndef HVAPI_JOB_KEEPER_H
#define HVAPI_JOB_KEEPER_H

#include "base/err.h"

struct hvapid;

enum { KEEPER_UP_MS = 30000 };		/* then the waiter hears ERR_TIMEOUT */

/* fn(arg, NULL) runs once when it answers, perhaps at once; or with the error. */
void keeper_need(struct hvapid *h, const char *vm, void (*fn)(void *arg, const struct err *e), void *arg);
/* It is of no use any more; stopped unless it holds a guest. */
void keeper_dismiss(struct hvapid *h, const char *vm);

/* News: the VM's hvdomd changed; hvinit is back. */
void keeper_domd_changed(struct hvapid *h, const char *vm);
void keeper_hvinit_up(struct hvapid *h);
/* End of the process: all waiters hear ERR_CANCELLED. */
void keeper_stop(struct hvapid *h);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's hvblkd as hvdomd uses it: started and stopped through hvinit, given
 * the open images, told which domain they are for, and stilled while another
 * host is to have them.  It lives as long as the domain, longer than hvdomd.
 *
 * All calls block (BLK_CALL_MS at most each step) and may come from any thread.
 * A VM without disks has no hvblkd: they do nothing then.
 */
#ifndef DOMD_BLK_H
#define DOMD_BLK_H

#include <jansson.h>

#include "base/err.h"

enum { BLK_CALL_MS = 10000, BLK_STILL_MS = 3000, BLK_STOP_MS = 10000 };

struct blk {
	const char *run_dir;		/* of the caller, for the life of this */
	const char *vm;
};

/* Starts a hvblkd (one that was left by another domain is stopped first), opens and attaches each disk of the VM's
 * configuration, and offers it to the domain, whose front-ends find their back-ends waiting.  On failure the domain
 * must not run. */
MUSTUSE int blk_up(const struct blk *b, const json_t *vm, unsigned domid, struct err *e);
/* The same for a domain that runs, whose hvblkd crashed: hvinit starts it again, and it gets what it had.  What it
 * still has it keeps. */
MUSTUSE int blk_again(const struct blk *b, const json_t *vm, unsigned domid, struct err *e);
/* Everything that is in flight is done and on stable storage, nothing more is taken from the guest, hvblkd is gone.
 * Fine if there is none. */
MUSTUSE int blk_down(const struct blk *b, struct err *e);
/* As blk_down, but hvblkd stays and blk_go_on undoes it: for a guest that stands still and may go on here. */
MUSTUSE int blk_still(const struct blk *b, const json_t *vm, struct err *e);
/* Also fine if it was not still, or if there is no hvblkd. */
MUSTUSE int blk_go_on(const struct blk *b, struct err *e);

#endif

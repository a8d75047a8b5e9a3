/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tending the VM's hvblkd while a domain runs on it: its events are passed on,
 * and when it dies it gets its disks again.
 */
#ifndef DOMD_TEND_H
#define DOMD_TEND_H

#include "domd/blk.h"
#include "domd/domd.h"

enum { TEND_RETRY_MS = 1000 };		/* hvdomd was busy with something else, or it failed */

struct tend {
	struct domd *d;
	const struct blk *blk;
	struct ctl_client *client;	/* NULL: not connected */
	struct loop_timer *retry;
	bool seen;			/* a domain has been found or made by this process */
	bool lost;			/* hvblkd is to get its disks again */
};

/* d and blk must outlive t.  fini is for the end of the process. */
void tend_init(struct tend *t, struct domd *d, const struct blk *blk, struct loop *l);
/* The state of the VM may have changed.  Never blocks. */
void tend_look(struct tend *t);
void tend_fini(struct tend *t);

#endif

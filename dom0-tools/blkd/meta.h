/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata thread: what blocks (disk_alloc, disk_sync, disk_resize) runs
 * here, one job at a time in order, and its end comes back to the loop.
 */
#ifndef BLKD_META_H
#define BLKD_META_H

#include "base/err.h"
#include "base/loop.h"

struct meta;

struct meta_job {			/* the caller's memory, in place until done is called */
	void (*fn)(struct meta_job *j);		/* metadata thread */
	void (*done)(struct meta_job *j);	/* loop thread, never inside meta_put */
	void *arg;
	int res;			/* for fn and done to use */
	struct meta *m;
	struct meta_job *next;
};

MUSTUSE int meta_new(struct loop *l, struct meta **out, struct err *e);
/* Loop thread. */
void meta_put(struct meta *m, struct meta_job *j);
/* Waits for the thread; every job must be done.  NULL is fine. */
void meta_free(struct meta *m);

#endif

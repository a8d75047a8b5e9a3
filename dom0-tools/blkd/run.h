/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvblkd of a VM, as hvinit starts it: nothing attached yet, controlled at
 * RUN/blkd/VM.sock (hvblkd_ctl.h).
 */
#ifndef BLKD_RUN_H
#define BLKD_RUN_H

#include "base/err.h"
#include "base/loop.h"

struct run_setup {
	const char *vm;
	const char *run, *data;		/* folders */
};

/* Blocks until SIGTERM or SIGINT: every disk is detached as by its verb.  0, or -1 with the reason; a failed last
 * flush is one. */
MUSTUSE int run_run(struct loop *l, const struct run_setup *set, struct err *e);

#endif

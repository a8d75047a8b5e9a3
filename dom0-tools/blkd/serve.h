/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvblkd by hand: images given by path, served over NBD until SIGTERM.  Needs
 * no other part of the product.
 */
#ifndef BLKD_SERVE_H
#define BLKD_SERVE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/loop.h"
#include "blkd/throttle.h"

enum { SERVE_DISKS_MAX = 32 };

struct serve_setup {
	const char *nbd_path;
	const char *format;		/* of all images, "raw", "vhd", "vhdx" */
	bool read_only;
	bool direct;			/* past the page cache, where the file system can */
	struct throttle_limits limits;	/* of each disk; zeroes: none */
	const char *feed_path;		/* socket of the change feed (feed/feed_proto.h); NULL: no feed */
	const char *log_path;		/* its activity log, made if it is not there; NULL: none */
	const char *dirty;		/* consumer whose changes NBD's context hvapi:dirty shows; NULL: not offered */
	/* "[NAME=]LEAF[,PARENT...]" each; without NAME the export is called by its position, from "0". */
	const char *const *disks;
	unsigned n_disks;
};

/* Blocks until SIGTERM or SIGINT: then nothing new is taken, what is in flight ends, every disk is flushed.
 * 0, or -1 with the reason; a failed last flush is one. */
MUSTUSE int serve_run(struct loop *l, const struct serve_setup *set, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's memory stream: batches from the link through the decoder to
 * the descriptor that hvdomd restores from.
 *
 *    line ──► mig_link ──► queue ──► decode thread ──socket──► hvdomd, libxl
 *
 * Callbacks come on the loop's thread.
 */
#ifndef MIGRATE_LOADER_H
#define MIGRATE_LOADER_H

#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "migrate/mig_link.h"
#include "migrate/stream/codec.h"

enum { LOADER_QUEUE_BYTES = 8 << 20 };	/* more waiting than this: the link is held */

struct loader_ops {
	void (*progress)(void *arg, const struct codec_counts *c);
	/* Every batch came and together they are what loader_end said. */
	void (*done)(void *arg);
	void (*failed)(void *arg, const struct err *why);
};

struct loader;

/* Takes out_fd, a stream socket whose other end hvdomd reads. */
MUSTUSE int loader_new(struct loop *loop, struct mig_link *link, int out_fd, uint32_t cache_pages,
		       const struct loader_ops *ops, void *arg, struct loader **out, struct err *e);
/* Takes the batch. */
void loader_data(struct loader *l, uint64_t seq, struct buf batch);
void loader_end(struct loader *l, uint64_t batches, uint64_t raw_bytes, uint64_t sum);
/* The link is gone; it is not touched any more. */
void loader_forget_link(struct loader *l);
/* Ends the thread, whatever it waits for; no callback comes afterwards.  NULL is fine. */
void loader_free(struct loader *l);

#endif

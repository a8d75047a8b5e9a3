/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies an open disk to another image while it is written, and goes over to
 * that one; the contract is hvblkd_ctl.h's `mirror`.  A consumer of the feed
 * in this process, on the loop's thread, with a worker thread for the calls of
 * the feed that may block.
 *
 *	open target, attach to the feed
 *	round:	barrier -> copy what the map names -> ack
 *	follow:	apply the ring's records; lost -> round; none left -> flush the target, follow on; none left -> switch
 *	switch:	hold writes at a barrier -> rest of the ring -> flush -> drain -> note, durable -> swap -> release
 *
 * Until the note is written anything that goes wrong ends with the source in
 * place; a switch that takes too long is given up and tried again.
 */
#ifndef BLKD_MIRROR_H
#define BLKD_MIRROR_H

#include <jansson.h>
#include <stdbool.h>

#include "blkd/vm.h"

#define MIRROR_CONSUMER "mirror"	/* its name in the feed */

/* m (taken, also on failure) is the target, note_fd (taken too) the note, bytes_s the rate limit of copying, 0: none.
 * begun comes later, once: NULL: it runs, and its end is an event; or why it does not. */
MUSTUSE int mirror_start(struct vdisk *v, struct image *m, int note_fd, uint64_t bytes_s,
			 void (*begun)(void *arg, const struct err *e), void *arg, struct err *e);
struct vdisk *mirror_disk(const struct mirror *m);
/* The guest's writes stand still for it, or are about to. */
bool mirror_switching(const struct mirror *m);
/* It has, or will soon have, a consumer on the feed. */
bool mirror_on_feed(const struct mirror *m);
/* Ends it; fn (may be NULL) on the loop when it is over: NULL, or why it could not be cancelled. */
void mirror_cancel(struct mirror *m, void (*fn)(void *arg, const struct err *e), void *arg);
json_t *mirror_json(const struct mirror *m);	/* MIRROR */

#endif

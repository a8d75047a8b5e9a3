/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk shown to a guest by Xen's block interface: negotiation over xenstore,
 * and the way of each request from the shared ring into the queue and back.
 *
 *	front-end  /local/domain/DOMID/device/vbd/DEVID		(written by guest and toolstack)
 *	back-end   /local/domain/0/backend/hvblk/DOMID/DEVID	(ours: the kernel's blkback looks at .../vbd only)
 *
 *	front-end        we
 *	                 InitWait      features are there (blkif_new)
 *	Initialised      Connected     ring mapped, bell bound, size is there
 *	Connected        .             requests flow; blkif_resized: size again, then Connected again
 *	Closing          Closing       requests still flow: it has some to finish
 *	Closed           Closed        what is in flight ends first, then the ring is unmapped
 *	Initialising     InitWait      it comes back (driver loaded again, kexec)
 *	Initialised      Connected     and was Connected before: a new ring (resume of the same domain)
 *
 * A front-end that breaks the protocol (more requests than slots, nodes that
 * are no numbers, pages that it did not grant) is disconnected: Closing, then
 * Closed, the reason in /local/domain/0/error/backend/hvblk/DOMID/DEVID/error
 * and in setup.broke.  It is let in again from Initialising on, at most
 * BLKIF_BREAKS_MAX times.  A request that asks for what may not be is answered
 * with an error, and so is one whose data pages were not granted.
 *
 * Threads: one.  All of this runs on the thread of the queue's loop, and
 * nothing blocks but xenstore, on changes of state.  Nothing is watched here:
 * the owner (blkif_xen.h) calls blkif_rang and blkif_look.
 *
 * Another process takes over from here with blkif_stop(keep_state): blkif_new
 * there finds both ends Connected and goes on in the ring behind the last
 * response.  If this one dies instead, what it had taken and not answered is
 * not known to the next: responses lie where requests lay.
 */
#ifndef BLKD_BLKIF_H
#define BLKD_BLKIF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "blkd/queue.h"
#include "xen/gnt.h"

struct blkif;

enum {
	BLKIF_BYTES_MAX = 32 << 20,	/* of data of one disk in flight; more waits in the ring */
	BLKIF_BREAKS_MAX = 8,		/* breaches of the protocol; then it stays Closed */
	BLKIF_TEXT_BYTES = 128,		/* a value of xenstore that we take from a guest */
	BLKIF_DOMID_MAX = 0x7fef,	/* Xen's DOMID_FIRST_RESERVED - 1 */
	BLKIF_DISCARD_BYTES = 4096,	/* discard-granularity */
};

/* All that is Xen, so that tests bring their own.  All members required. */
struct blkif_xen_ops {
	int (*map)(void *x, unsigned domid, const uint32_t *refs, unsigned n, void **out, struct err *e);
	void (*unmap)(void *x, void *p, unsigned n);
	int (*copy)(void *x, unsigned domid, struct gnt_copy *c, unsigned n);	/* as gnt_copy_all */
	int (*bind)(void *x, unsigned domid, uint32_t remote_port, int *out_port, struct err *e);
	void (*unbind)(void *x, int port);
	void (*notify)(void *x, int port);
	void (*unmask)(void *x, int port);
	/* xenstore.  get: ERR_NOT_FOUND if there is none; fails also for values that do not fit. */
	int (*get)(void *x, const char *path, char out[BLKIF_TEXT_BYTES], struct err *e);
	int (*put)(void *x, const char *path, const char *value, struct err *e);
	void (*remove)(void *x, const char *path);
};

struct blkif_setup {
	unsigned domid, devid;
	struct loop *loop;
	struct queue *queue;
	struct qdisk *disk;		/* must outlive the blkif */
	bool read_only;			/* or the disk is */
	bool discard;			/* offer it */
	const struct blkif_xen_ops *xen;
	void *x;
	/* The front-end is gone for good: its node vanished, or the toolstack put `online` to 0 and it is not
	 * connected.  The ring is unmapped, the state Closed; the place to blkif_stop and to remove the nodes.  May
	 * come again.  NULL: nobody asks. */
	void (*gone)(void *arg);
	/* It broke the protocol and is being disconnected; why may hold text of the guest.  For an event.  May be
	 * NULL. */
	void (*broke)(void *arg, const char *why);
	void *arg;
};

/* Offers the disk: writes features and enters InitWait; looks at the front-end in the loop's next turn.  The back-end's
 * node `frontend` must be there (blkif_xen_create or the toolstack).  setup is copied. */
MUSTUSE int blkif_new(const struct blkif_setup *setup, struct blkif **out, struct err *e);

/* The nodes of the front-end, or our own `online`, may have changed. */
void blkif_look(struct blkif *b);
/* Our port rang; unmasks it. */
void blkif_rang(struct blkif *b);
int blkif_port(const struct blkif *b);		/* -1: not connected */
/* The disk has another size: tells the guest, now or when it connects. */
MUSTUSE int blkif_resized(struct blkif *b, struct err *e);

/* Takes no more requests; those in flight are finished and answered, the ring is unmapped, the state is Closed; then
 * fn, never inside this call.  keep_state: leaves the state as it is, for a process that takes over, or for a guest
 * that is suspended and may come back.  A disk that is paused must be resumed for this to end.  Once. */
void blkif_stop(struct blkif *b, bool keep_state, void (*fn)(void *arg), void *arg);
/* In blkif_stop's fn or later.  NULL is fine. */
void blkif_free(struct blkif *b);

struct blkif_stats {
	uint64_t requests, failed;	/* answered; of them with an error */
	uint64_t dropped;		/* finished for a front-end that had gone */
	uint64_t bells_in, bells_out;
	uint64_t copy_calls, copy_segs;
	uint64_t stalls;		/* BLKIF_BYTES_MAX was reached */
	unsigned in_flight;		/* now */
	uint64_t bytes;			/* of their data, as counted against BLKIF_BYTES_MAX */
};
void blkif_stats(const struct blkif *b, struct blkif_stats *out);
const char *blkif_state(const struct blkif *b);	/* of ours: "connected" etc. */

#endif

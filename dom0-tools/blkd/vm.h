/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks of one VM in a process that runs for it: attached, shown by
 * front-ends, cut at one point, fed to consumers, detached.  ctl.c puts words
 * to this, run.c the process around it.  All of it on the loop's thread.
 *
 *	FREE -> OPENING -> OPEN -> CLOSING -> FREE
 */
#ifndef BLKD_VM_H
#define BLKD_VM_H

#include <jansson.h>

#include "base/ctl.h"
#include "blkd/hvblkd_ctl.h"
#include "blkd/image.h"
#include "blkd/queue.h"
#include "blkd/tap.h"
#include "feed/feed_server.h"

struct vm;
struct vdisk;
struct mirror;
struct blkif_xen;

/* A way in to a disk. */
struct front {
	struct front *next;
	const char *kind;
	/* Nothing comes in any more, what is in flight ends; then fn, never inside the call.  Once. */
	void (*stop)(struct front *f, void (*fn)(void *arg), void *arg);
	void (*free)(struct front *f);		/* after stop's fn */
	void (*resized)(struct front *f);	/* NULL: clients ask by themselves */
	/* A guest's: nothing is taken from it any more, what was taken ends; then fn, never inside the call.  Not while
	 * it stops.  go_on undoes it; fine without one.  Both NULL: no guest's. */
	void (*still)(struct front *f, void (*fn)(void *arg), void *arg);
	int (*go_on)(struct front *f, struct err *e);
};

enum vdisk_state { VDISK_FREE, VDISK_OPENING, VDISK_OPEN, VDISK_CLOSING };

struct vdisk {
	struct vm *vm;
	enum vdisk_state state;
	char name[BLKD_NAME_BYTES];
	char key[FEED_KEY_BYTES];
	struct disk *disk;
	struct qdisk *qd;
	enum queue_on_error on_error;
	struct throttle_limits limits;
	struct front *fronts;
	bool resizing;
	bool in_cut;
	uint64_t said_ns, suppressed;	/* of io-error events */
	/* CLOSING. */
	unsigned stopping;		/* front-ends that have not ended */
	bool flushed;
	int flush_res;
	struct req flush;
	void (*closed)(void *arg, int res);
	void *closed_arg;
};

typedef void vm_cut_fn(void *arg, const struct err *e);

struct vm_cut {
	bool active;
	unsigned waiting;		/* disks that are not drained */
	uint64_t asked_ns;
	struct loop_timer *timer;
	vm_cut_fn *fn;
	void *arg;
};

struct vm {
	const char *name;
	struct loop *loop;
	struct queue *q;
	struct ctl_server *ctl;
	int log_fd;			/* of the feed's activity log */
	int feed_fd;			/* listens for the feed's consumers */
	struct taps *taps;		/* NULL: no feed yet */
	struct feed_server *feed;
	struct vm_cut cut;
	struct mirror *mirror;		/* the one that runs, or NULL */
	struct blkif_xen *xen;		/* NULL: no Xen below */
	bool stilling;
	void (*ended)(void *arg, int res);
	void *ended_arg;
	int end_res;
	struct vdisk disks[BLKD_DISKS_MAX];
};

/* ---- vm.c: the life of a disk ---- */

struct vm_attach {
	const char *name, *key;		/* copied */
	bool read_only;
	enum queue_on_error on_error;
	struct throttle_limits limits;
};
/* A free place of that name, in OPENING; NULL: e says why not. */
struct vdisk *vm_reserve(struct vm *vm, const struct vm_attach *a, struct err *e);
/* d is owned from now on; NULL: the place is free again. */
void vm_opened(struct vdisk *v, struct disk *d);
/* The open disk of that name; NULL: ERR_NOT_FOUND, or ERR_BUSY while it opens or closes. */
struct vdisk *vm_find(struct vm *vm, const char *name, struct err *e);
void vm_add_front(struct vdisk *v, struct front *f);
/* An open disk: front-ends end, flush, close; fn on the loop, never inside this call, res: of the flush. */
void vm_close(struct vdisk *v, void (*fn)(void *arg, int res), void *arg);
/* Something that closing disks may wait for is over. */
void vm_look(struct vm *vm);
/* Closes all; then fn, with the first error of their flushes.  Nothing new is attached. */
void vm_end(struct vm *vm, void (*fn)(void *arg, int res), void *arg);
void vm_event(struct vm *vm, json_t *event);	/* takes the reference */

/* ---- vm_cut.c: one point of all disks, and the feed ---- */

/* Holds new requests on all disks; when none is at work, fn(arg, NULL); until vm_cut_end nothing goes on.  Or after
 * BLKD_CUT_MS_MAX fn(arg, e), all goes on already.  Never calls fn inside. */
MUSTUSE int vm_cut(struct vm *vm, vm_cut_fn *fn, void *arg, struct err *e);
void vm_cut_end(struct vm *vm);
/* A feed over all open disks, unless there is one; then fn(arg, NULL or why not), never inside this call. */
MUSTUSE int vm_feed(struct vm *vm, void (*fn)(void *arg, const struct err *e), void *arg, struct err *e);
void vm_feed_free(struct vm *vm);

/* ---- vm_still.c ---- */

/* All guests' front-ends stilled, then all flushed; then fn, never inside this call. */
MUSTUSE int vm_still(struct vm *vm, void (*fn)(void *arg, const struct err *e), void *arg, struct err *e);
/* Fine if nothing is still. */
MUSTUSE int vm_go_on(struct vm *vm, struct err *e);

/* ---- ctl.c ---- */
extern const struct ctl_verb blkd_verbs[];	/* arg: struct vm */

/* ---- front_xen.c ---- */
/* Writes the device's nodes unless they are there, and offers the disk. */
MUSTUSE int front_xen_add(struct vdisk *v, unsigned domid, struct err *e);

/* ---- front_nbd.c ---- */
/* listen_fd: owned, also on failure.  dirty: consumer of hvapi:dirty, "": not offered. */
MUSTUSE int front_nbd_add(struct vdisk *v, int listen_fd, bool read_only, const char *dirty, struct err *e);

#endif

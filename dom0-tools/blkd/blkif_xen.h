/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real Xen under blkifs: one handle per process for grants, event channels
 * and xenstore, watched by the process's loop.  Which ring rang and whose
 * nodes changed is sorted out here.
 *
 * After the sandbox: the descriptors are open, so only ioctls, mmap and munmap
 * on /dev/xen/gntdev (IOCTL_GNTDEV_MAP_GRANT_REF, _UNMAP_GRANT_REF,
 * _GET_OFFSET_FOR_VADDR, _GRANT_COPY), ioctls, read, write and poll on
 * /dev/xen/evtchn (IOCTL_EVTCHN_BIND_INTERDOMAIN, _UNBIND, _NOTIFY), and read,
 * write and poll on xenstore's socket and on a pipe of its library are called.
 */
#ifndef BLKD_BLKIF_XEN_H
#define BLKD_BLKIF_XEN_H

#include <stdbool.h>

#include "base/err.h"
#include "base/loop.h"
#include "blkd/blkif.h"

struct blkif_xen;

/* Opens all three; before the sandbox.  Starts libxenstore's thread, which blocks all signals. */
MUSTUSE int blkif_xen_open(struct loop *l, struct blkif_xen **out, struct err *e);
/* Every blkif on it must have been removed.  NULL is fine. */
void blkif_xen_close(struct blkif_xen *x);

/* As blkif_new, with setup->xen and x filled in here, and its nodes watched from now on. */
MUSTUSE int blkif_xen_add(struct blkif_xen *x, const struct blkif_setup *setup, struct blkif **out, struct err *e);
/* Ends the watching of b and frees it: in blkif_stop's fn or later. */
void blkif_xen_remove(struct blkif_xen *x, struct blkif *b);

/* Our back-end's nodes are there: a disk that is served already, e.g. by a process that died.  Then no
 * blkif_xen_create. */
bool blkif_xen_has(struct blkif_xen *x, unsigned domid, unsigned devid);
/* The nodes of a new disk of a domain, both ends in state Initialising, in one transaction; vdev: "xvda".  For whoever
 * plays toolstack.  What was there before is replaced.  ERR_NOT_FOUND: no such domain. */
MUSTUSE int blkif_xen_create(struct blkif_xen *x, unsigned domid, unsigned devid, const char *vdev, struct err *e);
/* Removes both ends' nodes and the error. */
void blkif_xen_destroy(struct blkif_xen *x, unsigned domid, unsigned devid);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NBD server on a unix socket, in front of a queue.  Any number of exports and
 * connections (multi-conn: a flush on one covers all).  A client that breaks
 * the protocol loses its connection, nothing else; one that does not read its
 * replies is not read from either.
 */
#ifndef BLKD_NBD_H
#define BLKD_NBD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"
#include "blkd/queue.h"

enum {
	NBD_CONNS_MAX = 64,
	NBD_REQUESTS_MAX = 256,		/* of one connection, until their replies are sent */
	NBD_CONN_BYTES_MAX = 40 << 20,	/* of data of one connection, likewise */
	NBD_STATUS_EXTENTS_MAX = 500,	/* in one block status reply and context */
};

struct nbd;

/* Is [off, off + *len) dirty?  Shortens *len to where the answer changes (at least one sector). */
typedef bool nbd_dirty_fn(void *arg, uint64_t off, uint64_t *len);

struct nbd_export {			/* memory of the caller, in place until nbd_free */
	const char *name, *description;
	struct qdisk *disk;
	bool read_only;			/* or the disk is */
	nbd_dirty_fn *dirty;		/* context "hvapi:dirty"; NULL: not offered */
	void *dirty_arg;
};

/* Listens on listen_fd (owned from now on, also on failure). */
MUSTUSE int nbd_new(struct loop *l, struct queue *q, int listen_fd, const struct nbd_export *exports, unsigned n,
		    struct nbd **out, struct err *e);
/* Ends the service: no new connection or request; those in flight are finished and, where the client takes them,
 * answered; then fn, never inside this call. */
void nbd_stop(struct nbd *s, void (*fn)(void *arg), void *arg);
unsigned nbd_conns(const struct nbd *s);
/* After nbd_stop's fn, or before any client came.  NULL is fine. */
void nbd_free(struct nbd *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake of one NBD connection, as a pure function of the bytes that
 * came: no socket, no disk.
 */
#ifndef BLKD_NBD_OPT_H
#define BLKD_NBD_OPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "blkd/nbd_proto.h"

struct nbd_facts {			/* of an export at this moment */
	uint64_t bytes;
	uint32_t block_min_bytes, block_preferred_bytes;
	bool read_only, has_dirty;
};

struct nbd_exports {			/* what the handshake may offer; the server's */
	unsigned n;
	const char *(*name)(void *arg, unsigned i);
	const char *(*description)(void *arg, unsigned i);
	void (*facts)(void *arg, unsigned i, struct nbd_facts *out);
	void *arg;
};

struct nbd_nego {
	const struct nbd_exports *exports;
	bool flags_seen, no_zeroes;
	/* The outcome, valid after NBD_NEGO_GO. */
	bool structured;
	unsigned export;
	unsigned contexts;		/* BIT(enum nbd_context) */
	unsigned contexts_export;	/* that SET_META_CONTEXT was for */
};

enum nbd_nego_step {
	NBD_NEGO_MORE,			/* go on: *used may be 0, then more bytes are needed */
	NBD_NEGO_GO,			/* requests follow */
	NBD_NEGO_END,			/* send `out`, then close; e is set unless the client asked for it */
};

void nbd_nego_init(struct nbd_nego *g, const struct nbd_exports *x);
/* What the server says first. */
void nbd_nego_hello(struct buf *out);
/* Looks at the first message in p; answers are appended to out, at most NBD_OPT_BYTES_MAX a call and export. */
enum nbd_nego_step nbd_nego_step(struct nbd_nego *g, const uint8_t *p, size_t n, size_t *used,
				 struct buf *out, struct err *e);

#endif

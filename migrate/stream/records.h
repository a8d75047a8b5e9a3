/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the libxc stream that xc_domain_save writes apart at its record
 * borders (stream_fmt.h, 1), so that the encoder sees whole PAGE_DATA records.
 * Concatenating all pieces gives the stream again.
 */
#ifndef MIGRATE_RECORDS_H
#define MIGRATE_RECORDS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum rec_kind {
	REC_PIECE_BYTES,	/* headers or another record, whole */
	REC_PIECE_PAGES,	/* body of a PAGE_DATA record */
	REC_PIECE_END,		/* the END record, whole: nothing comes behind it */
};

struct rec_reader {
	int fd;			/* borrowed, blocking */
	bool started;		/* headers are read */
	struct buf piece;
};

static inline void rec_reader_init(struct rec_reader *r, int fd) { *r = (struct rec_reader){ .fd = fd }; }
void rec_reader_fini(struct rec_reader *r);

/* Blocks for the next piece.  *out borrows from r until the next call.  ERR_CORRUPT for bytes that are no
 * libxc stream of version 3, ERR_NET when the writer ended before END. */
MUSTUSE int rec_next(struct rec_reader *r, enum rec_kind *out_kind, struct span *out, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer is Xen's library in our own process, so this checks only what it
 * needs to find the borders; the receiving Xen checks the rest.
 */
#include "migrate/stream/records.h"

#include <errno.h>

#include "base/fd.h"
#include "base/rd.h"
#include "migrate/stream/stream_fmt.h"

enum { LIBXC_VERSION = 3 };

void rec_reader_fini(struct rec_reader *r)
{
	buf_fini(&r->piece);
}

/* Appends n bytes of the stream to the piece. */
static int more(struct rec_reader *r, size_t n, struct err *e)
{
	buf_reserve(&r->piece, n);
	int rc = fd_read_full(r->fd, r->piece.p + r->piece.len, n);

	if (rc == -EPIPE)
		return err_set(e, ERR_NET, "the memory stream ended before its END record");
	if (rc < 0)
		return err_sys(e, -rc, "read the memory stream");
	r->piece.len += n;
	return 0;
}

static int read_headers(struct rec_reader *r, struct err *e)
{
	if (more(r, LIBXC_IHDR_BYTES + LIBXC_DHDR_BYTES, e) < 0)
		return -1;
	struct rd h = rd_of(r->piece.p, r->piece.len);
	uint64_t marker = rd_be64(&h);
	uint32_t id = rd_be32(&h), version = rd_be32(&h);

	if (marker != LIBXC_MARKER || id != LIBXC_ID)
		return err_set(e, ERR_CORRUPT, "the memory stream does not start with libxc's marker");
	if (version != LIBXC_VERSION)
		return err_set(e, ERR_INCOMPATIBLE, "libxc stream of version %u, we know %d", version, LIBXC_VERSION);
	r->started = true;
	return 0;
}

int rec_next(struct rec_reader *r, enum rec_kind *out_kind, struct span *out, struct err *e)
{
	r->piece.len = 0;
	if (!r->started) {
		if (read_headers(r, e) < 0)
			return -1;
		*out_kind = REC_PIECE_BYTES;
		*out = (struct span){ .p = r->piece.p, .len = r->piece.len };
		return 0;
	}
	if (more(r, REC_HDR_BYTES, e) < 0)
		return -1;
	struct rd h = rd_of(r->piece.p, REC_HDR_BYTES);
	uint32_t type = rd_le32(&h), len = rd_le32(&h);

	if (len > REC_BODY_BYTES_MAX)
		return err_set(e, ERR_CORRUPT, "record of type %u has %u bytes, limit %d", type, len,
			       REC_BODY_BYTES_MAX);
	if (more(r, len + (-len & 7), e) < 0)
		return -1;
	*out = (struct span){ .p = r->piece.p, .len = r->piece.len };
	*out_kind = type == LIBXC_REC_END ? REC_PIECE_END : REC_PIECE_BYTES;
	if (type == LIBXC_REC_PAGE_DATA && !(len & 7)) {
		*out_kind = REC_PIECE_PAGES;
		*out = (struct span){ .p = r->piece.p + REC_HDR_BYTES, .len = len };
	}
	return 0;
}

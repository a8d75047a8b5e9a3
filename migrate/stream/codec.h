/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of stream_fmt.h (2) from pieces of the stream (1), and back.
 *
 * Lossless: what decoder_batch appends is, byte for byte, what was given to
 * the encoder.  An encoder and its decoder see every batch, in order; they
 * share the size of the page cache.  Not thread-safe; no I/O.
 */
#ifndef MIGRATE_CODEC_H
#define MIGRATE_CODEC_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "migrate/stream/stream_fmt.h"

struct encoder;
struct decoder;

struct codec_counts {
	uint64_t raw_bytes;		/* of the stream */
	uint64_t wire_bytes;		/* of the batches, headers included */
	uint64_t pages[PAGE_CLASS_N];
};

MUSTUSE int encoder_new(enum stream_codec codec, uint32_t cache_pages, struct encoder **out, struct err *e);
void encoder_free(struct encoder *x);
/* Appends batches for stream bytes that are no PAGE_DATA record. */
void encoder_bytes(struct encoder *x, const void *p, size_t n, struct buf *out);
/* Appends one batch for a PAGE_DATA record; body without header.  A body that breaks the record's rules goes as BYTES:
 * judging it is the receiving Xen's business. */
void encoder_pages(struct encoder *x, const void *body, size_t n, struct buf *out);
const struct codec_counts *encoder_counts(const struct encoder *x);

MUSTUSE int decoder_new(uint32_t cache_pages, struct decoder **out, struct err *e);
void decoder_free(struct decoder *x);
/* One whole batch; appends stream bytes to out. */
MUSTUSE int decoder_batch(struct decoder *x, struct span batch, struct buf *out, struct err *e);
const struct codec_counts *decoder_counts(const struct decoder *x);

#endif

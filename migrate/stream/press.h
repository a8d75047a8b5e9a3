/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The general compressors behind one face: zlib, which every version has, and
 * zstd, which is faster.  One object per thread and direction.
 */
#ifndef MIGRATE_PRESS_H
#define MIGRATE_PRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "migrate/stream/stream_fmt.h"

struct press;

struct press *press_new(enum stream_codec codec);
void press_free(struct press *p);
const char *press_name(enum stream_codec codec);

/* Appends the compressed form to out; false (out as before) if it would not be smaller than n - n / 16. */
bool press_pack(struct press *p, const void *in, size_t n, struct buf *out);
/* Appends exactly raw bytes, or fails with ERR_CORRUPT.  The caller has checked raw against its limit. */
MUSTUSE int press_unpack(struct press *p, enum stream_codec codec, struct span in, size_t raw,
			 struct buf *out, struct err *e);

#endif

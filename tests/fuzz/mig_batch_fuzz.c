/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches from the line into the decoder: several in a row, so that deltas
 * find a filled page cache.
 * sources: migrate/stream/decoder.c migrate/stream/delta.c migrate/stream/page_cache.c migrate/stream/press.c
 * sources: dom0-tools/base/buf.c dom0-tools/base/err.c dom0-tools/base/rd.c
 */
#include "base/rd.h"
#include "migrate/stream/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rd r = rd_of(p, n);
	struct decoder *d;
	struct err e = ERR_INIT;
	AUTO_BUF struct buf out = { 0 };

	if (decoder_new(64, &d, &e) < 0)
		return 0;
	while (rd_left(&r) && !r.bad) {
		size_t len = rd_le16(&r);
		const uint8_t *batch = rd_bytes(&r, len);

		if (!batch || decoder_batch(d, (struct span){ batch, len }, &out, &e) < 0)
			break;
	}
	decoder_free(d);
	return 0;
}

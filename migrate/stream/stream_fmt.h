/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two formats of a guest's memory on its way, and their numbers.
 *
 * 1. What Xen makes and takes (docs/specs/libxl-migration-stream and
 * libxc-migration-stream of Xen 4.17): a libxl stream with the libxc stream
 * inside.  Headers are big-endian, records little-endian.
 *
 *    libxl header 16 | record LIBXC_CONTEXT | libxc stream | record END
 *    libxc stream:  image header 24 | domain header 16 | records ... END
 *    record:        | type 4 | length 4 | body, padded to 8 |
 *    PAGE_DATA:     | count 4 | 0 4 | pfn+type 8 x count | page 4096 x (those with data) |
 *
 * 2. What goes over the line: batches, one for each record or run of bytes of
 * (1), so that (1) comes out at the other end bit for bit.
 *
 *    batch:  | kind 1 | codec 1 | 0 2 | raw length 4 | body |       integers little-endian
 *    BYTES:  the body, decoded, is stream bytes as they are
 *    PAGES:  the body, decoded, is | count 4 | word 4 | pfn 8 x count | class 1 x count | data |
 *            and stands for one PAGE_DATA record; data follows page by page:
 *            NONE 0 bytes, ZERO 0 bytes, FULL 4096, DELTA | length 2 | runs |
 *    runs:   | skip 2 | count 2 | 8 x count | ...    in 8-byte words of the page, new content of
 *            each word; applied to what the page held when it last went over this line
 *
 * Both ends keep the same cache of pages sent (page_cache.h), so DELTA needs
 * no other agreement than the size of the cache.
 */
#ifndef MIGRATE_STREAM_FMT_H
#define MIGRATE_STREAM_FMT_H

#include <stdint.h>

enum {
	PAGE_BYTES = 4096,
	PAGE_WORDS = PAGE_BYTES / 8,

	LIBXL_HDR_BYTES = 16,
	LIBXL_VERSION_WANT = 2,
	LIBXL_REC_END = 0,
	LIBXL_REC_LIBXC_CONTEXT = 1,

	LIBXC_IHDR_BYTES = 24,
	LIBXC_DHDR_BYTES = 16,
	LIBXC_REC_END = 0,
	LIBXC_REC_PAGE_DATA = 1,
	LIBXC_REC_MANDATORY_MAX = 0x12,	/* types that Xen 4.17 knows end below */

	REC_HDR_BYTES = 8,
	REC_BODY_BYTES_MAX = 128 << 20,	/* Xen's own limit: REC_LENGTH_MAX */
	REC_PAGES_MAX = 1024,		/* pfns of one PAGE_DATA record: MAX_BATCH_SIZE */
	PAGES_HDR_BYTES = 8,
	PAGES_BODY_BYTES_MAX = PAGES_HDR_BYTES + REC_PAGES_MAX * (8 + PAGE_BYTES),

	BATCH_HDR_BYTES = 8,
	BATCH_RAW_BYTES_MAX = PAGES_HDR_BYTES + REC_PAGES_MAX * (8 + 1 + 2 + PAGE_BYTES + 4),
	BATCH_BYTES_PART = 1 << 20,	/* BYTES are cut into pieces of this size */

	CACHE_PAGES_MAX = 1 << 20,	/* 4 GiB of pages */
};

#define LIBXL_STREAM_ID UINT64_C(0x4c6962786c466d74)
#define LIBXC_MARKER UINT64_C(0xffffffffffffffff)
#define LIBXC_ID 0x58454e46u

/* The top four bits of a pfn in PAGE_DATA are its type; from this one on no page follows. */
#define PFN_TYPE_SHIFT 60
#define PFN_TYPE_NO_DATA 0xdu
#define PFN_MASK ((UINT64_C(1) << 52) - 1)

enum batch_kind { BATCH_BYTES = 1, BATCH_PAGES, BATCH_KIND_END };
enum page_class { PAGE_NONE, PAGE_ZERO, PAGE_FULL, PAGE_DELTA, PAGE_CLASS_N };
enum stream_codec { CODEC_NONE, CODEC_ZLIB, CODEC_ZSTD, CODEC_N };

#endif

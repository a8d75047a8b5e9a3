/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending half of codec.h: sorts the pages of a record into classes, then
 * gives what is left to the compressor in one piece.
 */
#include "migrate/stream/codec.h"

#include <string.h>

#include "base/rd.h"
#include "migrate/stream/delta.h"
#include "migrate/stream/page_cache.h"
#include "migrate/stream/press.h"

struct encoder {
	struct press *press;
	struct page_cache *cache;
	struct codec_counts counts;
	struct buf scratch;
	enum stream_codec codec;
};

int encoder_new(enum stream_codec codec, uint32_t cache_pages, struct encoder **out, struct err *e)
{
	struct page_cache *cache;

	if (page_cache_new(cache_pages, &cache, e) < 0)
		return -1;
	struct encoder *x = mem_alloc(sizeof(*x));

	x->cache = cache;
	x->codec = codec;
	x->press = press_new(codec);
	*out = x;
	return 0;
}

void encoder_free(struct encoder *x)
{
	if (!x)
		return;
	press_free(x->press);
	page_cache_free(x->cache);
	buf_fini(&x->scratch);
	free(x);
}

const struct codec_counts *encoder_counts(const struct encoder *x)
{
	return &x->counts;
}

/* One batch around `body`, compressed if that pays. */
static void put_batch(struct encoder *x, enum batch_kind kind, const void *body, size_t n, struct buf *out)
{
	size_t start = out->len;

	buf_put_u8(out, (uint8_t)kind);
	buf_put_u8(out, (uint8_t)x->codec);
	buf_put_le16(out, 0);
	buf_put_le32(out, (uint32_t)n);
	if (!press_pack(x->press, body, n, out)) {
		out->p[start + 1] = CODEC_NONE;
		buf_put(out, body, n);
	}
	x->counts.wire_bytes += out->len - start;
}

void encoder_bytes(struct encoder *x, const void *p, size_t n, struct buf *out)
{
	const uint8_t *at = p;

	x->counts.raw_bytes += n;
	for (size_t part; n; at += part, n -= part) {
		part = n < BATCH_BYTES_PART ? n : BATCH_BYTES_PART;
		put_batch(x, BATCH_BYTES, at, part, out);
	}
}

/* Appends the page's data to s and returns its class. */
static enum page_class put_page(struct encoder *x, uint64_t pfn, const uint64_t *page, struct buf *s)
{
	const uint64_t *old = page_cache_get(x->cache, pfn);
	enum page_class cls = PAGE_FULL;

	if (page_is_zero(page)) {
		page_cache_put(x->cache, pfn, NULL);
		return PAGE_ZERO;
	}
	if (old) {
		uint8_t runs[DELTA_BYTES_MAX];
		int len = delta_encode(old, page, runs);

		if (len >= 0) {
			buf_put_le16(s, (uint16_t)len);
			buf_put(s, runs, (size_t)len);
			cls = PAGE_DELTA;
		}
	}
	if (cls == PAGE_FULL)
		buf_put(s, page, PAGE_BYTES);
	page_cache_put(x->cache, pfn, page);
	return cls;
}

static bool has_data(uint64_t pfn)
{
	return pfn >> PFN_TYPE_SHIFT < PFN_TYPE_NO_DATA;
}

/* True if the body is what the drawing says: as many pages as pfns with data. */
static bool pages_body_ok(const void *body, size_t n, uint32_t *out_count)
{
	struct rd r = rd_of(body, n);
	uint32_t count = rd_le32(&r);
	size_t with_data = 0;

	rd_skip(&r, 4);
	if (r.bad || !count || count > REC_PAGES_MAX || rd_left(&r) < (size_t)count * 8)
		return false;
	for (uint32_t i = 0; i < count; i++)
		with_data += has_data(rd_le64(&r));
	*out_count = count;
	return rd_left(&r) == with_data * PAGE_BYTES;
}

static void put_record_as_bytes(struct encoder *x, const void *body, size_t n, struct buf *out)
{
	struct buf *s = &x->scratch;
	static const uint8_t pad[8];

	s->len = 0;
	buf_put_le32(s, LIBXC_REC_PAGE_DATA);
	buf_put_le32(s, (uint32_t)n);
	buf_put(s, body, n);
	buf_put(s, pad, -n & 7);
	encoder_bytes(x, s->p, s->len, out);
}

void encoder_pages(struct encoder *x, const void *body, size_t n, struct buf *out)
{
	struct buf *s = &x->scratch;
	uint32_t count;

	if (!pages_body_ok(body, n, &count)) {
		put_record_as_bytes(x, body, n, out);
		return;
	}
	const uint8_t *pfns = (const uint8_t *)body + PAGES_HDR_BYTES;
	const uint8_t *page = pfns + count * 8ul;
	size_t classes_at = PAGES_HDR_BYTES + count * 8ul;

	s->len = 0;
	buf_reserve(s, BATCH_RAW_BYTES_MAX);
	buf_put(s, body, classes_at);
	memset(s->p + s->len, PAGE_NONE, count);
	s->len += count;
	for (uint32_t i = 0; i < count; i++) {
		struct rd r = rd_of(pfns + i * 8ul, 8);
		uint64_t pfn = rd_le64(&r);
		uint64_t words[PAGE_WORDS];
		enum page_class cls = PAGE_NONE;

		if (has_data(pfn)) {
			memcpy(words, page, PAGE_BYTES);
			cls = put_page(x, pfn & PFN_MASK, words, s);
			page += PAGE_BYTES;
		}
		s->p[classes_at + i] = (uint8_t)cls;
		x->counts.pages[cls]++;
	}
	x->counts.raw_bytes += REC_HDR_BYTES + n;
	put_batch(x, BATCH_PAGES, s->p, s->len, out);
}

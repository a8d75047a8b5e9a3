/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving half of codec.h.  Everything in a batch comes from the peer:
 * each number is checked before it is used.
 */
#include "migrate/stream/codec.h"

#include <string.h>

#include "base/rd.h"
#include "migrate/stream/delta.h"
#include "migrate/stream/page_cache.h"
#include "migrate/stream/press.h"

struct decoder {
	struct press *press;
	struct page_cache *cache;
	struct codec_counts counts;
	struct buf raw;
};

int decoder_new(uint32_t cache_pages, struct decoder **out, struct err *e)
{
	struct page_cache *cache;

	if (page_cache_new(cache_pages, &cache, e) < 0)
		return -1;
	struct decoder *x = mem_alloc(sizeof(*x));

	x->cache = cache;
	x->press = press_new(CODEC_NONE);
	*out = x;
	return 0;
}

void decoder_free(struct decoder *x)
{
	if (!x)
		return;
	press_free(x->press);
	page_cache_free(x->cache);
	buf_fini(&x->raw);
	free(x);
}

const struct codec_counts *decoder_counts(const struct decoder *x)
{
	return &x->counts;
}

static int get_delta(struct decoder *x, uint64_t pfn, struct rd *r, uint64_t *page, struct err *e)
{
	const uint64_t *old = page_cache_get(x->cache, pfn);
	size_t len = rd_le16(r);

	if (!old)
		return err_set(e, ERR_CORRUPT, "delta of page 0x%llx, which was never sent",
			       (unsigned long long)pfn);
	memcpy(page, old, PAGE_BYTES);
	return delta_apply(r, len, page, e);
}

/* Appends the page to out, if the class has one. */
static int get_page(struct decoder *x, uint64_t pfn, unsigned cls, struct rd *r, struct buf *out, struct err *e)
{
	uint64_t page[PAGE_WORDS] = { 0 };
	bool wants_data = pfn >> PFN_TYPE_SHIFT < PFN_TYPE_NO_DATA;

	if (cls >= PAGE_CLASS_N || wants_data != (cls != PAGE_NONE))
		return err_set(e, ERR_CORRUPT, "page 0x%llx has class %u, which its type excludes",
			       (unsigned long long)pfn, cls);
	x->counts.pages[cls]++;
	pfn &= PFN_MASK;
	if (cls == PAGE_NONE)
		return 0;
	if (cls == PAGE_DELTA && get_delta(x, pfn, r, page, e) < 0)
		return -1;
	if (cls == PAGE_FULL)
		rd_copy(r, page, PAGE_BYTES);
	if (r->bad)
		return err_set(e, ERR_CORRUPT, "page 0x%llx cut short", (unsigned long long)pfn);
	page_cache_put(x->cache, pfn, cls == PAGE_ZERO ? NULL : page);
	buf_put(out, page, PAGE_BYTES);
	return 0;
}

static void set_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static int get_pages(struct decoder *x, struct span raw, struct buf *out, struct err *e)
{
	struct rd r = rd_of(raw.p, raw.len);
	size_t start = out->len;
	uint32_t count = rd_le32(&r);

	rd_skip(&r, 4);
	if (r.bad || !count || count > REC_PAGES_MAX)
		return err_set(e, ERR_CORRUPT, "record of %u pages, limit %d", count, REC_PAGES_MAX);
	const uint8_t *pfns = rd_bytes(&r, count * 8ul);
	const uint8_t *classes = rd_bytes(&r, count);

	if (!pfns || !classes)
		return err_set(e, ERR_CORRUPT, "record of %u pages cut short", count);
	buf_put_le32(out, LIBXC_REC_PAGE_DATA);
	buf_put_le32(out, 0);
	buf_put(out, raw.p, PAGES_HDR_BYTES + count * 8ul);
	for (uint32_t i = 0; i < count; i++) {
		struct rd p = rd_of(pfns + i * 8ul, 8);

		if (get_page(x, rd_le64(&p), classes[i], &r, out, e) < 0)
			return -1;
	}
	if (rd_left(&r))
		return err_set(e, ERR_CORRUPT, "%zu bytes behind the last page", rd_left(&r));
	set_le32(out->p + start + 4, (uint32_t)(out->len - start - REC_HDR_BYTES));
	return 0;
}

int decoder_batch(struct decoder *x, struct span batch, struct buf *out, struct err *e)
{
	struct rd r = rd_of(batch.p, batch.len);
	unsigned kind = rd_u8(&r), codec = rd_u8(&r);
	size_t before = out->len;

	rd_skip(&r, 2);
	uint32_t raw_len = rd_le32(&r);

	if (r.bad || kind < BATCH_BYTES || kind >= BATCH_KIND_END || codec >= CODEC_N)
		return err_set(e, ERR_CORRUPT, "batch of kind %u, codec %u", kind, codec);
	if (raw_len > (kind == BATCH_PAGES ? BATCH_RAW_BYTES_MAX : BATCH_BYTES_PART))
		return err_set(e, ERR_LIMIT, "batch of %u bytes, limit %d", raw_len, BATCH_RAW_BYTES_MAX);
	struct span raw = { .p = r.p, .len = rd_left(&r) };

	if (codec != CODEC_NONE) {
		x->raw.len = 0;
		if (press_unpack(x->press, (enum stream_codec)codec, raw, raw_len, &x->raw, e) < 0)
			return -1;
		raw = (struct span){ .p = x->raw.p, .len = x->raw.len };
	}
	if (raw.len != raw_len)
		return err_set(e, ERR_CORRUPT, "batch says %u bytes and has %zu", raw_len, raw.len);
	if (kind == BATCH_BYTES)
		buf_put(out, raw.p, raw.len);
	else if (get_pages(x, raw, out, e) < 0)
		return -1;
	x->counts.raw_bytes += out->len - before;
	x->counts.wire_bytes += batch.len;
	return 0;
}

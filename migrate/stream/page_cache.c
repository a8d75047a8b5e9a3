/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A direct-mapped table.  A guest no larger than the cache never collides,
 * since its pfns are dense.
 */
#include "migrate/stream/page_cache.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/buf.h"
#include "migrate/stream/stream_fmt.h"

enum { TAG_EMPTY = 0, TAG_ZERO = 1, TAG_PAGE = 2 };

struct page_cache {
	uint32_t slots;
	uint64_t *tags;			/* pfn << 2 | TAG_* */
	uint64_t *pages;		/* mapped, touched as it fills */
};

static const uint64_t zero_page[PAGE_WORDS];

int page_cache_new(uint32_t slots, struct page_cache **out, struct err *e)
{
	if (slots > CACHE_PAGES_MAX || (slots & (slots - 1)))
		return err_set(e, ERR_LIMIT, "page cache of %u slots: not a power of two up to %d",
			       slots, CACHE_PAGES_MAX);
	struct page_cache *c = mem_alloc(sizeof(*c));

	c->slots = slots;
	if (slots) {
		void *m = mmap(NULL, (size_t)slots * PAGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (m == MAP_FAILED) {
			free(c);
			return err_sys(e, errno, "map a page cache of %u pages", slots);
		}
		c->pages = m;
		c->tags = mem_alloc((size_t)slots * sizeof(*c->tags));
	}
	*out = c;
	return 0;
}

void page_cache_free(struct page_cache *c)
{
	if (!c)
		return;
	if (c->pages)
		munmap(c->pages, (size_t)c->slots * PAGE_BYTES);
	free(c->tags);
	free(c);
}

const uint64_t *page_cache_get(const struct page_cache *c, uint64_t pfn)
{
	if (!c->slots)
		return NULL;
	size_t slot = pfn & (c->slots - 1);
	uint64_t tag = c->tags[slot];

	if (tag == (pfn << 2 | TAG_ZERO))
		return zero_page;
	return tag == (pfn << 2 | TAG_PAGE) ? c->pages + slot * PAGE_WORDS : NULL;
}

void page_cache_put(struct page_cache *c, uint64_t pfn, const void *page)
{
	if (!c->slots)
		return;
	size_t slot = pfn & (c->slots - 1);

	c->tags[slot] = pfn << 2 | (page ? TAG_PAGE : TAG_ZERO);
	if (page)
		memcpy(c->pages + slot * PAGE_WORDS, page, PAGE_BYTES);
}

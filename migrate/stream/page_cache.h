/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages that went over the line, as they were when they last did.  Both
 * ends apply the same updates in the same order, so their contents agree
 * without a word about it: slot = pfn mod slots, the last page wins.
 */
#ifndef MIGRATE_PAGE_CACHE_H
#define MIGRATE_PAGE_CACHE_H

#include <stdint.h>

#include "base/err.h"

struct page_cache;

/* slots: a power of two up to CACHE_PAGES_MAX, or 0 for a cache that holds nothing.  Memory is used as it fills. */
MUSTUSE int page_cache_new(uint32_t slots, struct page_cache **out, struct err *e);
void page_cache_free(struct page_cache *c);

/* The content the page had, borrowed until the next put; NULL if it is not known. */
const uint64_t *page_cache_get(const struct page_cache *c, uint64_t pfn);
/* page NULL: all zero. */
void page_cache_put(struct page_cache *c, uint64_t pfn, const void *page);

#endif

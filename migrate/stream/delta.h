/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The difference of two contents of one page: runs of changed 8-byte words
 * (drawing in stream_fmt.h).  Most pages that a guest dirties again differ in
 * a few words: a lock, a counter, a list head.
 */
#ifndef MIGRATE_DELTA_H
#define MIGRATE_DELTA_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rd.h"

enum { DELTA_BYTES_MAX = 2048 };	/* a longer one is not worth it: the page goes full */

/* True if the page is zero throughout. */
int page_is_zero(const uint64_t *page);
/* Writes the runs that turn old into now; returns their length in bytes, or -1 if that would be over
 * DELTA_BYTES_MAX. */
int delta_encode(const uint64_t *old, const uint64_t *now, uint8_t out[DELTA_BYTES_MAX]);
/* Applies `bytes` bytes of runs to page.  ERR_CORRUPT if they leave the page or are cut short. */
MUSTUSE int delta_apply(struct rd *r, size_t bytes, uint64_t *page, struct err *e);

#endif

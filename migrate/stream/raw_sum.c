/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xxhash behind our own face; compiled in, so the image needs no library for it.
 */
#include "migrate/stream/raw_sum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/buf.h"

struct raw_sum {
	XXH64_state_t state;
};

struct raw_sum *raw_sum_new(void)
{
	struct raw_sum *s = mem_alloc(sizeof(*s));

	XXH64_reset(&s->state, 0);
	return s;
}

void raw_sum_free(struct raw_sum *s)
{
	free(s);
}

void raw_sum_add(struct raw_sum *s, const void *p, size_t n)
{
	XXH64_update(&s->state, p, n);
}

uint64_t raw_sum_value(const struct raw_sum *s)
{
	return XXH64_digest(&s->state);
}

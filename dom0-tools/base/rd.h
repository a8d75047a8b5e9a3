/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one bounded reader for foreign bytes.  It never reads past `end`; the
 * first attempt to do so sets `bad`, and from then on every read gives zeros,
 * so a decoder reads all its fields and tests `bad` once.
 */
#ifndef BASE_RD_H
#define BASE_RD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rd {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct rd rd_of(const void *p, size_t n)
{
	return (struct rd){ .p = p, .end = (const uint8_t *)p + n };
}

static inline size_t rd_left(const struct rd *r) { return (size_t)(r->end - r->p); }

uint8_t rd_u8(struct rd *r);
uint16_t rd_le16(struct rd *r);
uint32_t rd_le32(struct rd *r);
uint64_t rd_le64(struct rd *r);
uint16_t rd_be16(struct rd *r);
uint32_t rd_be32(struct rd *r);
uint64_t rd_be64(struct rd *r);
/* Borrows n bytes in place; NULL (and bad) if fewer are left. */
const uint8_t *rd_bytes(struct rd *r, size_t n);
/* Copies n bytes, or zeros them out if fewer are left. */
void rd_copy(struct rd *r, void *out, size_t n);
void rd_skip(struct rd *r, size_t n);

#endif

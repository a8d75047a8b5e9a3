/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded reader.  All reads go through rd_bytes, which holds the only
 * test of the bound; a bad reader is also an empty one.
 */
#include "base/rd.h"

#include <string.h>

const uint8_t *rd_bytes(struct rd *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || n > rd_left(r)) {
		r->bad = true;
		r->p = r->end;
		return NULL;
	}
	r->p += n;
	return p;
}

static uint64_t read_le(struct rd *r, unsigned bytes)
{
	const uint8_t *p = rd_bytes(r, bytes);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static uint64_t read_be(struct rd *r, unsigned bytes)
{
	const uint8_t *p = rd_bytes(r, bytes);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

uint8_t rd_u8(struct rd *r)
{
	return (uint8_t)read_le(r, 1);
}

uint16_t rd_le16(struct rd *r)
{
	return (uint16_t)read_le(r, 2);
}

uint32_t rd_le32(struct rd *r)
{
	return (uint32_t)read_le(r, 4);
}

uint64_t rd_le64(struct rd *r)
{
	return read_le(r, 8);
}

uint16_t rd_be16(struct rd *r)
{
	return (uint16_t)read_be(r, 2);
}

uint32_t rd_be32(struct rd *r)
{
	return (uint32_t)read_be(r, 4);
}

uint64_t rd_be64(struct rd *r)
{
	return read_be(r, 8);
}

void rd_copy(struct rd *r, void *out, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);

	if (!n)
		return;
	if (p)
		memcpy(out, p, n);
	else
		memset(out, 0, n);
}

void rd_skip(struct rd *r, size_t n)
{
	(void)rd_bytes(r, n);
}

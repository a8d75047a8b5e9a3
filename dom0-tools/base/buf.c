/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owned bytes.  Growth doubles, so appending is linear in total; a size that
 * does not fit size_t counts as a host without memory.
 */
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

enum { CAP_BYTES_MIN = 64 };

static void *must_have(void *p, size_t bytes)
{
	if (p)
		return p;
	fprintf(stderr, "out of memory: %zu bytes\n", bytes);
	abort();
}

void *mem_alloc(size_t bytes)
{
	return must_have(calloc(1, bytes ? bytes : 1), bytes);
}

void *mem_realloc(void *p, size_t bytes)
{
	return must_have(realloc(p, bytes ? bytes : 1), bytes);
}

char *mem_strdup(const char *s)
{
	return must_have(strdup(s), strlen(s) + 1);
}

char *mem_printf(const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return (char *)buf_take(&b);
}

void buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

void buf_reserve(struct buf *b, size_t more)
{
	size_t need, cap = b->cap ? b->cap : CAP_BYTES_MIN;

	if (__builtin_add_overflow(b->len, more, &need))
		must_have(NULL, more);
	if (need <= b->cap)
		return;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	b->p = mem_realloc(b->p, cap);
	b->cap = cap;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
	if (!n)
		return;
	buf_reserve(b, n);
	memcpy(b->p + b->len, p, n);
	b->len += n;
}

void buf_put_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, 1);
}

static void put_le(struct buf *b, uint64_t v, unsigned bytes)
{
	buf_reserve(b, bytes);
	for (unsigned i = 0; i < bytes; i++)
		b->p[b->len++] = (uint8_t)(v >> (8 * i));
}

static void put_be(struct buf *b, uint64_t v, unsigned bytes)
{
	buf_reserve(b, bytes);
	for (unsigned i = bytes; i-- > 0;)
		b->p[b->len++] = (uint8_t)(v >> (8 * i));
}

void buf_put_le16(struct buf *b, uint16_t v)
{
	put_le(b, v, 2);
}

void buf_put_le32(struct buf *b, uint32_t v)
{
	put_le(b, v, 4);
}

void buf_put_le64(struct buf *b, uint64_t v)
{
	put_le(b, v, 8);
}

void buf_put_be32(struct buf *b, uint32_t v)
{
	put_be(b, v, 4);
}

void buf_put_be64(struct buf *b, uint64_t v)
{
	put_be(b, v, 8);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	if (!fmt)
		abort();	/* said so that the compiler need not guess; no caller does it */
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n < 0)
		abort();	/* a format of ours that libc cannot print */
	buf_reserve(b, (size_t)n + 1);
	vsnprintf((char *)b->p + b->len, (size_t)n + 1, fmt, again);
	va_end(again);
	b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n > b->len)
		abort();
	if (n && n < b->len)
		memmove(b->p, b->p + n, b->len - n);
	b->len -= n;
}

uint8_t *buf_take(struct buf *b)
{
	uint8_t *p = b->p ? b->p : mem_alloc(1);

	*b = (struct buf){ 0 };
	return p;
}

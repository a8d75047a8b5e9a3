/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that are owned (`struct buf`) and bytes that are borrowed
 * (`struct span`), and the allocation rules of the project: sizes that come
 * from outside are checked against a named limit first, so an allocation that
 * still fails is a host without memory, and the process aborts.  PID 1 does
 * not use this file.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"

struct buf {
	uint8_t *p;
	size_t len;
	size_t cap;
};

struct span {
	const uint8_t *p;
	size_t len;
};

static inline void buf_auto_free_(void *p) { free(*(void **)p); }
#define AUTO_FREE __attribute__((cleanup(buf_auto_free_)))

/* Never return NULL; abort when the host has no memory. */
void *mem_alloc(size_t bytes) MUSTUSE;		/* zeroed */
void *mem_realloc(void *p, size_t bytes) MUSTUSE;
char *mem_strdup(const char *s) MUSTUSE;
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2) MUSTUSE;

void buf_fini(struct buf *b);		/* idempotent */
#define AUTO_BUF __attribute__((cleanup(buf_fini)))

void buf_reserve(struct buf *b, size_t more);	/* room for `more` bytes behind len */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_le16(struct buf *b, uint16_t v);
void buf_put_le32(struct buf *b, uint32_t v);
void buf_put_le64(struct buf *b, uint64_t v);
void buf_put_be32(struct buf *b, uint32_t v);
void buf_put_be64(struct buf *b, uint64_t v);
/* Appends text; a NUL stands behind b->len and is not counted. */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Drops the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);
/* Hands the memory to the caller, who frees it; b is empty afterwards. */
uint8_t *buf_take(struct buf *b) MUSTUSE;

#endif

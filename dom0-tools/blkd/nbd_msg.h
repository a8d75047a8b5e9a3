/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and replies of the transmission phase: bytes to numbers, the rules
 * which request is allowed, numbers to bytes.  Pure.
 */
#ifndef BLKD_NBD_MSG_H
#define BLKD_NBD_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "blkd/nbd_proto.h"

struct nbd_request {
	uint16_t flags, type;
	uint64_t cookie, off;
	uint32_t len;
};

/* What a connection agreed on. */
struct nbd_terms {
	bool structured, read_only;
	unsigned contexts;		/* BIT(enum nbd_context) */
};

/* Errors end the connection: after them nothing in the stream can be trusted. */
MUSTUSE int nbd_request_decode(const uint8_t p[NBD_REQUEST_BYTES], struct nbd_request *out, struct err *e);
/* 0, or -errno to answer with: unknown command, flags it does not have, too long, read-only. */
int nbd_request_check(const struct nbd_request *q, const struct nbd_terms *t) MUSTUSE;
/* Bytes that follow the request. */
uint32_t nbd_request_payload(const struct nbd_request *q);
/* The protocol's number for -errno (0 for 0). */
uint32_t nbd_error(int res);

/* Write a header at p and return its length. */
enum { NBD_HEAD_BYTES_MAX = NBD_CHUNK_BYTES + 8 };
size_t nbd_put_simple(uint8_t *p, uint64_t cookie, uint32_t error);
size_t nbd_put_chunk(uint8_t *p, uint64_t cookie, enum nbd_chunk type, unsigned flags, uint32_t len);
/* OFFSET_DATA in front of len bytes, as the only chunk. */
size_t nbd_put_data(uint8_t *p, uint64_t cookie, uint64_t off, uint32_t len);
/* ERROR without text, as the only chunk. */
size_t nbd_put_error(uint8_t *p, uint64_t cookie, uint32_t error);

#endif

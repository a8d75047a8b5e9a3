/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table says which flags each command may carry.
 */
#include "blkd/nbd_msg.h"

#include <errno.h>
#include <string.h>

#include "base/rd.h"

static const struct {
	uint16_t flags;
	bool writes, limited, structured_only;	/* limited: by NBD_PAYLOAD_BYTES_MAX */
} rules[NBD_CMD_N] = {
	/* FUA without meaning is allowed on all, says the protocol. */
	[NBD_CMD_READ] = { NBD_CMD_FUA | NBD_CMD_DF, false, true, false },
	[NBD_CMD_WRITE] = { NBD_CMD_FUA, true, true, false },
	[NBD_CMD_DISC] = { NBD_CMD_FUA, false, false, false },
	[NBD_CMD_FLUSH] = { NBD_CMD_FUA, false, false, false },
	[NBD_CMD_TRIM] = { NBD_CMD_FUA, true, false, false },
	[NBD_CMD_CACHE] = { NBD_CMD_FUA, false, false, false },
	[NBD_CMD_WRITE_ZEROES] = { NBD_CMD_FUA | NBD_CMD_NO_HOLE | NBD_CMD_FAST_ZERO, true, false, false },
	[NBD_CMD_BLOCK_STATUS] = { NBD_CMD_FUA | NBD_CMD_REQ_ONE, false, false, true },
};

int nbd_request_decode(const uint8_t p[NBD_REQUEST_BYTES], struct nbd_request *out, struct err *e)
{
	struct rd r = rd_of(p, NBD_REQUEST_BYTES);
	uint32_t magic = rd_be32(&r);

	if (magic != NBD_REQUEST_MAGIC)
		return err_set(e, ERR_CORRUPT, "request with magic 0x%08x", magic);
	out->flags = rd_be16(&r);
	out->type = rd_be16(&r);
	out->cookie = rd_be64(&r);
	out->off = rd_be64(&r);
	out->len = rd_be32(&r);
	if (out->type == NBD_CMD_WRITE && out->len > NBD_PAYLOAD_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "write of %u bytes, limit %d", out->len, NBD_PAYLOAD_BYTES_MAX);
	return 0;
}

int nbd_request_check(const struct nbd_request *q, const struct nbd_terms *t)
{
	if (q->type >= NBD_CMD_N || q->flags & ~rules[q->type].flags)
		return -EINVAL;
	if (rules[q->type].writes && t->read_only)
		return -EPERM;
	if (rules[q->type].limited && q->len > NBD_PAYLOAD_BYTES_MAX)
		return -EOVERFLOW;
	if (rules[q->type].structured_only && !(t->structured && t->contexts))
		return -EINVAL;
	return q->flags & NBD_CMD_DF && !t->structured ? -EINVAL : 0;
}

uint32_t nbd_request_payload(const struct nbd_request *q)
{
	return q->type == NBD_CMD_WRITE ? q->len : 0;
}

uint32_t nbd_error(int res)
{
	static const struct { int errnum; enum nbd_error error; } map[] = {
		{ 0, 0 }, { EPERM, NBD_EPERM }, { EROFS, NBD_EPERM }, { ENOMEM, NBD_ENOMEM }, { EINVAL, NBD_EINVAL },
		{ ENOSPC, NBD_ENOSPC }, { EDQUOT, NBD_ENOSPC }, { EFBIG, NBD_ENOSPC }, { EOVERFLOW, NBD_EOVERFLOW },
		{ EOPNOTSUPP, NBD_ENOTSUP }, { ESHUTDOWN, NBD_ESHUTDOWN },
	};

	for (size_t i = 0; i < ARRAY_LEN(map); i++)
		if (map[i].errnum == -res)
			return map[i].error;
	return NBD_EIO;
}

static void put(uint8_t *p, uint64_t v, unsigned bytes)
{
	v = __builtin_bswap64(v << (64 - 8 * bytes));
	memcpy(p, &v, bytes);
}

size_t nbd_put_simple(uint8_t *p, uint64_t cookie, uint32_t error)
{
	put(p, NBD_SIMPLE_MAGIC, 4);
	put(p + 4, error, 4);
	put(p + 8, cookie, 8);
	return NBD_SIMPLE_BYTES;
}

size_t nbd_put_chunk(uint8_t *p, uint64_t cookie, enum nbd_chunk type, unsigned flags, uint32_t len)
{
	put(p, NBD_STRUCTURED_MAGIC, 4);
	put(p + 4, flags, 2);
	put(p + 6, type, 2);
	put(p + 8, cookie, 8);
	put(p + 16, len, 4);
	return NBD_CHUNK_BYTES;
}

size_t nbd_put_data(uint8_t *p, uint64_t cookie, uint64_t off, uint32_t len)
{
	size_t n = nbd_put_chunk(p, cookie, NBD_CHUNK_OFFSET_DATA, NBD_CHUNK_DONE, len + 8);

	put(p + n, off, 8);
	return n + 8;
}

size_t nbd_put_error(uint8_t *p, uint64_t cookie, uint32_t error)
{
	size_t n = nbd_put_chunk(p, cookie, NBD_CHUNK_ERROR, NBD_CHUNK_DONE, 6);

	put(p + n, error, 4);
	put(p + n + 4, 0, 2);
	return n + 6;
}

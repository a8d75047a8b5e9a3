/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NBD protocol as far as hvblkd speaks it (fixed newstyle, no TLS: the
 * socket is local).  All integers big-endian.
 *
 *   server -> "NBDMAGIC" "IHAVEOPT" flags:16
 *   client -> flags:32
 *
 *   client -> option, any number:        server -> replies to it, the last one ACK or an error:
 *    0          8      12    16           0         8      12     16    20
 *    +----------+------+-----+------+     +---------+------+------+-----+------+
 *    | IHAVEOPT | opt  | len | data |     | REPLY   | opt  | type | len | data |
 *    +----------+------+-----+------+     +---------+------+------+-----+------+
 *
 *   EXPORT_NAME is answered by size:64 flags:16 [124 zeroes] alone; it or GO starts the transmission:
 *
 *   client -> request                                  server -> reply, in any order
 *    0       4       6      8        16    24    28     0       4       8        16
 *    +-------+-------+------+--------+-----+-----+      +-------+-------+--------+------+
 *    | magic | flags | type | cookie | off | len |...   | magic | error | cookie | data |  simple
 *    +-------+-------+------+--------+-----+-----+      +-------+-------+--------+------+
 *                                 ... write: len bytes  0       4       6      8        16    20
 *                                                       +-------+-------+------+--------+-----+------+
 *                                                       | magic | flags | type | cookie | len | data |  structured
 *                                                       +-------+-------+------+--------+-----+------+
 */
#ifndef BLKD_NBD_PROTO_H
#define BLKD_NBD_PROTO_H

#include <stdint.h>

#define NBD_MAGIC UINT64_C(0x4e42444d41474943)
#define NBD_IHAVEOPT UINT64_C(0x49484156454f5054)
#define NBD_OPT_REPLY_MAGIC UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC UINT32_C(0x25609513)
#define NBD_SIMPLE_MAGIC UINT32_C(0x67446698)
#define NBD_STRUCTURED_MAGIC UINT32_C(0x668e33ef)

enum {
	NBD_HELLO_BYTES = 18,
	NBD_CLIENT_FLAGS_BYTES = 4,
	NBD_OPT_HEAD_BYTES = 16,
	NBD_REQUEST_BYTES = 28,
	NBD_SIMPLE_BYTES = 16,
	NBD_CHUNK_BYTES = 20,
	NBD_EXPORT_NAME_PAD_BYTES = 124,

	NBD_NAME_BYTES_MAX = 4096,
	NBD_OPT_BYTES_MAX = 32 << 10,		/* longer ones end the connection */
	NBD_QUERIES_MAX = 64,			/* meta context queries in one option */
	NBD_PAYLOAD_BYTES_MAX = 32 << 20,	/* read and write; what block size info says */
};

enum { NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2 };	/* server's and client's */

enum nbd_opt {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ERR(n) (UINT32_C(0x80000000) | (n))
#define NBD_REP_ACK 1u
#define NBD_REP_SERVER 2u
#define NBD_REP_INFO 3u
#define NBD_REP_META_CONTEXT 4u
#define NBD_REP_ERR_UNSUP NBD_REP_ERR(1)
#define NBD_REP_ERR_INVALID NBD_REP_ERR(3)
#define NBD_REP_ERR_UNKNOWN NBD_REP_ERR(6)
#define NBD_REP_ERR_TOO_BIG NBD_REP_ERR(9)

enum nbd_info { NBD_INFO_EXPORT, NBD_INFO_NAME, NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE };

enum {					/* of an export */
	NBD_HAS_FLAGS = 1 << 0,
	NBD_READ_ONLY = 1 << 1,
	NBD_SEND_FLUSH = 1 << 2,
	NBD_SEND_FUA = 1 << 3,
	NBD_SEND_TRIM = 1 << 5,
	NBD_SEND_WRITE_ZEROES = 1 << 6,
	NBD_SEND_DF = 1 << 7,
	NBD_CAN_MULTI_CONN = 1 << 8,
	NBD_SEND_CACHE = 1 << 10,
	NBD_SEND_FAST_ZERO = 1 << 11,
};

enum nbd_cmd {
	NBD_CMD_READ,
	NBD_CMD_WRITE,
	NBD_CMD_DISC,
	NBD_CMD_FLUSH,
	NBD_CMD_TRIM,
	NBD_CMD_CACHE,
	NBD_CMD_WRITE_ZEROES,
	NBD_CMD_BLOCK_STATUS,
	NBD_CMD_N
};

enum {					/* of a request */
	NBD_CMD_FUA = 1 << 0,
	NBD_CMD_NO_HOLE = 1 << 1,
	NBD_CMD_DF = 1 << 2,
	NBD_CMD_REQ_ONE = 1 << 3,
	NBD_CMD_FAST_ZERO = 1 << 4,
};

enum { NBD_CHUNK_DONE = 1 };		/* of a structured reply */
enum nbd_chunk {
	NBD_CHUNK_NONE = 0,
	NBD_CHUNK_OFFSET_DATA = 1,
	NBD_CHUNK_BLOCK_STATUS = 5,
	NBD_CHUNK_ERROR = 0x8001,
};

enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 };	/* base:allocation */
enum { NBD_STATE_DIRTY = 1 };		/* our dirty context */

enum nbd_error {
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};

/* Meta contexts: the ids we give them (index + 1) and their names. */
enum nbd_context { NBD_CONTEXT_ALLOCATION, NBD_CONTEXT_DIRTY, NBD_CONTEXT_N };
#define NBD_CONTEXT_ALLOCATION_NAME "base:allocation"
#define NBD_CONTEXT_DIRTY_NAME "hvapi:dirty"

#endif

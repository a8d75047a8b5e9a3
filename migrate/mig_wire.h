/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hv-migrate/1: what two hvmigrates say to each other.  Every number of the
 * protocol is here and nowhere else; integers are little-endian.
 *
 *   source                                  target
 *     HELLO  ------------------------------->        session, what it can do
 *            <------------------------------- HELLO  the same session
 *     OFFER  ------------------------------->        JSON; the target checks everything
 *            <------------------------------- ACCEPT (codec, connections) or REFUSE (all problems)
 *     JOIN   ==== more connections ==========>       first frame of each, if ACCEPT gave more than 1
 *     DATA   ------ on all of them ---------->       batches of the stream, numbered from 0
 *     STREAM_END --------------------------->        after the last DATA was written; on the first connection
 *            <------------------------------- READY  the paused guest is complete
 *     COMMIT ------------------------------->        the source's give-commit is durable
 *            <------------------------------- TAKEN  the target's take is durable
 *
 *   On any connection, both ways, at any time: PING, answered by PONG with the same seq.
 *   Until COMMIT: ABORT by either side ends the move; the guest runs on at the source.
 *   After COMMIT: only TAKEN or ANSWER tells the source what became of it.  Line lost: a new
 *   connection whose first frame is QUERY, answered by ANSWER.
 *
 *    0    1     2   4       8               16
 *    +----+-----+---+-------+---------------+
 *    |type|flags| 0 | len   | seq           |   then `len` bytes of body; flags is 0 in version 1
 *    +----+-----+---+-------+---------------+
 *
 *   seq: DATA the batch's number, STREAM_END how many batches there were, PING any, PONG the PING's, else 0.
 *
 *   Bodies.  text: | n 1 | n bytes |.  long: | n 2 | n bytes |.
 *    HELLO       version 2 | codecs 2 (bit n: codec n) | streams 2 (most it can use) | 0 2 | text session
 *    JOIN        index 2 (1 ..) | text session
 *    OFFER       JSON object OFFER, below
 *    REFUSE      JSON {"problems": [PROBLEM, ...]} (docs/interfaces.md)
 *    ACCEPT      codec 1 | 0 1 | streams 2
 *    DATA        one batch of stream/stream_fmt.h, its header included
 *    STREAM_END  raw bytes 8 | sum 8 (stream/raw_sum.h over the whole raw stream)
 *    READY       JSON {"ms": {step: ms, ...}}
 *    COMMIT      generation 8 | text session
 *    TAKEN       JSON {"ms": {step: ms, ...}, "real_ms": clock of the target at unpause}
 *    ABORT       text code (err_name) | long detail | long remedy
 *    QUERY       generation 8 (before the move) | text session | text vm | text uuid
 *    ANSWER      outcome 1 | text session
 *    PING, PONG  nothing
 *
 *   OFFER: {"check_only": bool, "vm": VM, "uuid", "generation": n, "cache_pages": n (page cache of the codec),
 *           "memory_kib": n (with overhead), "host": {"xen": "4.17.7", "cpu_policy": base64, "name"},
 *           "disks": [{"vdev", "id": {"size": n, "serial", "wwn", "mark": hex}}], "bridges": ["xenbr0"]}
 */
#ifndef MIGRATE_MIG_WIRE_H
#define MIGRATE_MIG_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rd.h"
#include "migrate/stream/stream_fmt.h"

#define MIG_ALPN "hv-migrate/1"

enum mig_type {
	MIG_HELLO = 1, MIG_JOIN, MIG_OFFER, MIG_REFUSE, MIG_ACCEPT, MIG_DATA, MIG_STREAM_END, MIG_READY, MIG_COMMIT,
	MIG_TAKEN, MIG_ABORT, MIG_QUERY, MIG_ANSWER, MIG_PING, MIG_PONG, MIG_TYPE_END
};

/* UNKNOWN: no trace of the session, or it was not with this peer: the source stays in doubt. */
enum mig_outcome { MIG_OUTCOME_UNKNOWN = 1, MIG_OUTCOME_TAKEN, MIG_OUTCOME_REFUSED, MIG_OUTCOME_END };

enum {
	MIG_VERSION = 1,
	MIG_HDR_BYTES = 16,
	MIG_SESSION_BYTES_MAX = 40,	/* of [A-Za-z0-9-]: it names files */
	MIG_VM_BYTES_MAX = 63,		/* of [A-Za-z0-9._-], not starting with '.' or '-' */
	MIG_UUID_BYTES = 36,		/* lower or upper hex, 8-4-4-4-12 */
	MIG_STREAMS_MAX = 8,		/* connections of one move, the first included */
	MIG_JSON_BYTES_MAX = 1 << 20,
	MIG_DATA_BYTES_MAX = BATCH_HDR_BYTES + BATCH_RAW_BYTES_MAX,
	MIG_SMALL_BYTES_MAX = 1024,	/* body of every other type */
};

struct mig_hdr {
	enum mig_type type;
	uint32_t len_bytes;
	uint64_t seq;
};

/* One message, decoded.  Fields that the type does not have are zero. */
struct mig_msg {
	enum mig_type type;
	uint64_t seq;
	char session[MIG_SESSION_BYTES_MAX + 1];	/* HELLO JOIN COMMIT QUERY ANSWER */
	char vm[MIG_VM_BYTES_MAX + 1];			/* QUERY */
	char uuid[MIG_UUID_BYTES + 1];			/* QUERY */
	uint16_t version;				/* HELLO */
	uint16_t codecs;				/* HELLO: BIT(enum stream_codec) */
	uint16_t streams;				/* HELLO ACCEPT */
	uint16_t index;					/* JOIN */
	enum stream_codec codec;			/* ACCEPT */
	enum mig_outcome outcome;			/* ANSWER */
	uint64_t generation;				/* COMMIT QUERY */
	uint64_t raw_bytes;				/* STREAM_END */
	uint64_t sum;					/* STREAM_END */
	struct err err;					/* ABORT: control characters of the peer's text are '?' */
	struct span body;				/* DATA, and the JSON of OFFER REFUSE READY TAKEN; borrowed */
};

/* "offer"; "?" for numbers that are no type. */
const char *mig_type_name(enum mig_type t);
/* "refused"; "?" likewise. */
const char *mig_outcome_name(enum mig_outcome o);

/* Text that may become part of a path or of a command: only what the rules above allow. */
bool mig_session_ok(const char *s);
bool mig_vm_ok(const char *s);
bool mig_uuid_ok(const char *s);

/*
 * Reads the 16 bytes of a header; the length is already within the limit of
 * its type, so the caller may reserve len_bytes.  ERR_CORRUPT, ERR_LIMIT.
 */
MUSTUSE int mig_hdr_decode(struct rd *r, struct mig_hdr *out, struct err *e);

/*
 * The body that belongs to h: exactly h->len_bytes bytes at p, which out->body
 * borrows.  JSON is not parsed here (js_parse; it is within its limit).
 * ERR_CORRUPT; ERR_INCOMPATIBLE for a HELLO of another version.
 */
MUSTUSE int mig_body_decode(const struct mig_hdr *h, const uint8_t *p, struct mig_msg *out, struct err *e);

/*
 * Appends header and body.  A message that the peer's decoder would refuse is
 * a bug of the caller (assert), except a body over its limit: ERR_LIMIT, and
 * out is as before.
 */
MUSTUSE int mig_encode(const struct mig_msg *m, struct buf *out, struct err *e);

/* Appends the header alone, for DATA whose batch the caller writes from where it lies. */
void mig_hdr_encode(const struct mig_hdr *h, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The written bytes of all disks, in order, for one consumer: a ring in
 * shared memory (memfd, sealed against shrinking) with one writer, the I/O
 * thread, and one reader, as a rule another process.
 *
 *	0           4096         8192                    8192 + data_bytes
 *	+-----------+------------+-----------------------+
 *	| head page | tail page  | data                  |   both sides map the data twice in
 *	+-----------+------------+-----------------------+   a row: records never wrap
 *	  writer's    reader's
 *
 *	record, at a multiple of 8:
 *	0     4     6     8          16        24        32
 *	+-----+-----+-----+----------+---------+---------+------+-----+
 *	|total|disk |flags| position | off     | len     | data | pad |   native byte order
 *	+-----+-----+-----+----------+---------+---------+------+-----+
 *
 * head and tail count bytes since the beginning.  Neither side believes the
 * other: the writer never reads the data or the head back and checks each
 * tail; the reader checks head and every record.  A tail that cannot be shuts
 * the ring for good.
 *
 * When a record does not fit it and all after it are left out until the next
 * mark (ring_mark at a barrier): `lost` names the position of the first one.
 * The writer never waits.
 */
#ifndef FEED_RING_H
#define FEED_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

enum {
	RING_MAGIC = 0x66727631,	/* "1vrf" */
	RING_PAGE_BYTES = 4096,
	RING_BYTES_MIN = 64 << 10,
	RING_BYTES = 16 << 20,		/* the default: what one consumer costs in memory, beside its maps */
	RING_BYTES_MAX = 1 << 30,
	RING_REC_BYTES = 32,
	RING_ALIGN = 8,
};

enum ring_flag {
	RING_ZERO = 1,		/* no data: the range reads as zeroes now */
	RING_UNKNOWN = 2,	/* no data: a write failed half-way; read the disk */
	RING_MARK = 4,		/* no data, no range: a barrier at this position; everything after it follows */
	RING_FLAGS = 7,
};

struct ring_rec {
	uint64_t position;
	uint64_t off;
	uint64_t len;
	uint16_t disk;
	uint16_t flags;			/* at most one of enum ring_flag; 0: len bytes of data */
};

/* ---- the writer's side: one thread at a time, never blocks ---- */
struct ring;

struct ring_stats {
	uint64_t records, bytes;	/* put since the beginning */
	uint64_t losses;		/* times it went from live to lost */
	uint64_t lost;			/* position, 0: live */
	uint64_t fill_bytes;
	bool bad_tail;
};

/* data_bytes: a power of two, RING_BYTES_MIN to RING_BYTES_MAX.  Starts lost (at position 0) until the first mark. */
MUSTUSE int ring_new(uint64_t data_bytes, struct ring **out, struct err *e);
void ring_free(struct ring *r);		/* NULL is fine */
int ring_fd(const struct ring *r);	/* stays the ring's */

/* False: the record is not in the ring.  iov holds rec->len bytes in all, or is not looked at for flags != 0. */
bool ring_put(struct ring *r, const struct ring_rec *rec, const struct iovec *iov, int n_iov);
/* A barrier: live from here on if the mark fits, which is the answer. */
bool ring_mark(struct ring *r, uint64_t position);
bool ring_live(const struct ring *r);
/* Is the reader asleep?  Answers true once for each time it armed. */
bool ring_wants_wake(struct ring *r);
void ring_get_stats(const struct ring *r, struct ring_stats *out);

/* ---- the reader's side (ring_read.c): one thread ---- */
struct ring_reader;

enum ring_step {
	RING_REC,			/* *rec and *data are the next record; data lives until ring_release */
	RING_EMPTY,			/* no more now */
	RING_LOST,			/* no more; those from rec->position on are only in the map: barrier, map */
	RING_BAD,			/* the writer broke the form: detach; e says how */
};

/* fd stays the caller's and may be closed afterwards. */
MUSTUSE int ring_reader_new(int fd, struct ring_reader **out, struct err *e);
void ring_reader_free(struct ring_reader *r);	/* NULL is fine */
enum ring_step ring_next(struct ring_reader *r, struct ring_rec *rec, const uint8_t **data, struct err *e);
/* Gives the room of all records read so far back to the writer. */
void ring_release(struct ring_reader *r);
/* Before sleeping on the wake descriptor: true when there is nothing to read and nothing was lost; the writer will
 * wake us for either. */
bool ring_arm(struct ring_reader *r);

/* ---- what both map; here and nowhere else ---- */
struct ring_head_page {
	uint32_t magic;
	uint32_t page_bytes;
	uint64_t data_bytes;
	_Atomic uint64_t head;
	_Atomic uint64_t lost;		/* position; 0: none */
	_Atomic uint32_t is_lost;
};

struct ring_tail_page {
	_Atomic uint64_t tail;
	_Atomic uint32_t armed;
};

/* Maps the data of a ring twice in a row behind its two pages; MAP_FAILED with errno. */
void *ring_map(int fd, uint64_t data_bytes, bool reader);
void ring_unmap(void *p, uint64_t data_bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image under a VHDX test: sparse, in memory, failing or losing power when
 * told to.  A power cut keeps what was flushed; of the rest, in order, each
 * sector of 512 bytes may be there or not.
 */
#ifndef TESTS_UNIT_VHDX_RIG_BLOB_H
#define TESTS_UNIT_VHDX_RIG_BLOB_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "disk/blob.h"
#include "disk/layer.h"
#include "disk/vhdx.h"
#include "disk/vhdx_fmt.h"

enum { RIG_PAGE = 16 << 10, RIG_PAGES = 64 << 10, RIG_BELOW = 0xee, RIG_BLOCK = VHDX_BLOCK_BYTES_MIN };
#define RIG_BAT_AT (3ull << 20)		/* where create() puts them */
#define RIG_META_AT (2ull << 20)
#define RIG_LOG_AT (1ull << 20)

struct rig_file {
	uint8_t *page[RIG_PAGES];	/* NULL: zeroes */
	uint64_t bytes;
};

struct rig_op {
	uint64_t off, n;
	uint8_t *p;			/* NULL: zeroes */
	bool size;			/* the new size is off */
};

struct rig {
	struct rig_file now, kept;	/* as the writer sees it; as power loss would leave it at least */
	struct rig_op *log;
	size_t log_n;
	size_t settling;		/* which op want() is asked about */
	uint64_t bytes_max;
	unsigned writes, flushes;
	int fail_in;			/* calls until every one fails; -1: never */
	struct blob *b;
};

static inline void rig_file_put(struct rig_file *f, uint64_t off, const uint8_t *p, uint64_t n)
{
	while (n) {
		uint64_t in = off % RIG_PAGE, k = n < RIG_PAGE - in ? n : RIG_PAGE - in;
		uint8_t **page = &f->page[off / RIG_PAGE];

		if (!*page && p)
			*page = mem_alloc(RIG_PAGE);
		if (*page && p)
			memcpy(*page + in, p, k);
		else if (*page)
			memset(*page + in, 0, k);
		off += k;
		p = p ? p + k : NULL;
		n -= k;
	}
}

static inline void rig_file_get(const struct rig_file *f, uint64_t off, uint8_t *p, uint64_t n)
{
	while (n) {
		uint64_t in = off % RIG_PAGE, k = n < RIG_PAGE - in ? n : RIG_PAGE - in;
		const uint8_t *page = f->page[off / RIG_PAGE];

		if (page)
			memcpy(p, page + in, k);
		else
			memset(p, 0, k);
		off += k;
		p += k;
		n -= k;
	}
}

static inline void rig_file_size(struct rig_file *f, uint64_t bytes)
{
	if (bytes < f->bytes)
		rig_file_put(f, bytes, NULL, f->bytes - bytes);
	f->bytes = bytes;
}

static inline void rig_file_copy(struct rig_file *to, const struct rig_file *from)
{
	for (size_t i = 0; i < RIG_PAGES; i++) {
		if (from->page[i] && !to->page[i])
			to->page[i] = mem_alloc(RIG_PAGE);
		if (from->page[i])
			memcpy(to->page[i], from->page[i], RIG_PAGE);
		else if (to->page[i])
			memset(to->page[i], 0, RIG_PAGE);
	}
	to->bytes = from->bytes;
}

static inline bool rig_fails(struct rig *k)
{
	if (k->fail_in > 0)
		k->fail_in--;
	return k->fail_in == 0;
}

static inline void rig_log(struct rig *k, struct rig_op op, const void *p)
{
	if (k->log_n % 64 == 0)
		k->log = mem_realloc(k->log, (k->log_n + 64) * sizeof(*k->log));
	if (p) {
		op.p = mem_alloc(op.n);
		memcpy(op.p, p, op.n);
	}
	k->log[k->log_n++] = op;
}

static inline int rig_read(void *arg, uint64_t off, void *p, size_t n)
{
	struct rig *k = arg;

	rig_file_get(&k->now, off, p, n);
	return 0;
}

/* A write that fails may have arrived in part. */
static inline int rig_change(struct rig *k, uint64_t off, const void *p, uint64_t n)
{
	bool fails = rig_fails(k);

	rig_log(k, (struct rig_op){ .off = off, .n = n }, p);
	if (fails)
		return -EIO;
	k->writes++;
	rig_file_put(&k->now, off, p, n);
	return 0;
}

static inline int rig_write(void *arg, uint64_t off, const void *p, size_t n)
{
	return rig_change(arg, off, p, n);
}

static inline int rig_zero(void *arg, uint64_t off, uint64_t n)
{
	return rig_change(arg, off, NULL, n);
}

static inline int rig_set_bytes(void *arg, uint64_t bytes)
{
	struct rig *k = arg;

	if (rig_fails(k))
		return -EIO;
	if (bytes > k->bytes_max)
		return -ENOSPC;
	rig_file_size(&k->now, bytes);
	rig_log(k, (struct rig_op){ .off = bytes, .size = true }, NULL);
	return 0;
}

static inline void rig_apply(struct rig *k, const struct rig_op *op, bool (*want)(void *arg), void *arg)
{
	if (op->size) {
		if (!want || want(arg))
			rig_file_size(&k->kept, op->off);
		return;
	}
	for (uint64_t at = 0; at < op->n; at += DISK_SECTOR) {
		uint64_t n = op->n - at < DISK_SECTOR ? op->n - at : DISK_SECTOR;

		if ((!want || want(arg)) && op->off + at + n <= k->kept.bytes)
			rig_file_put(&k->kept, op->off + at, op->p ? op->p + at : NULL, n);
	}
}

static inline void rig_settle(struct rig *k, bool (*want)(void *arg), void *arg)
{
	for (size_t i = 0; i < k->log_n; i++) {
		k->settling = i;
		rig_apply(k, &k->log[i], want, arg);
		free(k->log[i].p);
	}
	k->log_n = 0;
}

static inline int rig_flush(void *arg)
{
	struct rig *k = arg;

	if (rig_fails(k))
		return -EIO;
	k->flushes++;
	rig_settle(k, NULL, NULL);
	return 0;
}

#endif

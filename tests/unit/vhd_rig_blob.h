/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the VHD tests: an image in memory that fails or loses power when told to.
 * A power cut keeps what was flushed; of the rest, in order, each sector may
 * be there or not.
 */
#ifndef TESTS_UNIT_VHD_RIG_BLOB_H
#define TESTS_UNIT_VHD_RIG_BLOB_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "disk/blob.h"
#include "disk/vhd_fmt.h"

enum { RIG_BLOCK = VHD_BLOCK_BYTES_MIN, RIG_MAX = 64 << 20 };

struct rig_op {
	uint64_t off;
	size_t n;
	uint8_t *p;			/* NULL: the new size is off */
};

struct rig {
	uint8_t *now, *kept;		/* as the writer sees it; as power loss would leave it at least */
	uint64_t bytes, kept_bytes, bytes_max;
	struct rig_op *log;
	size_t log_n;
	unsigned flushes, writes;
	int fail_in;			/* calls until every one fails; -1: never */
	uint64_t fail_write_at;		/* a write to this offset fails; 0: none */
	struct blob *b;
};

static inline int rig_fails(struct rig *k)
{
	if (k->fail_in > 0)
		k->fail_in--;
	return k->fail_in == 0;
}

static inline void rig_log(struct rig *k, uint64_t off, const void *p, size_t n)
{
	if (k->log_n % 64 == 0)
		k->log = mem_realloc(k->log, (k->log_n + 64) * sizeof(*k->log));
	k->log[k->log_n] = (struct rig_op){ .off = off, .n = n };
	if (p) {
		k->log[k->log_n].p = mem_alloc(n);
		memcpy(k->log[k->log_n].p, p, n);
	}
	k->log_n++;
}

static inline int rig_read(void *arg, uint64_t off, void *p, size_t n)
{
	struct rig *k = arg;

	memcpy(p, k->now + off, n);
	return 0;
}

static inline int rig_write(void *arg, uint64_t off, const void *p, size_t n)
{
	struct rig *k = arg;

	if (rig_fails(k) || (k->fail_write_at && k->fail_write_at == off))
		return -EIO;
	k->writes++;
	memcpy(k->now + off, p, n);
	rig_log(k, off, p, n);
	return 0;
}

static inline int rig_zero(void *arg, uint64_t off, uint64_t n)
{
	AUTO_FREE uint8_t *p = mem_alloc(n);

	return rig_write(arg, off, p, n);
}

static inline int rig_set_bytes(void *arg, uint64_t bytes)
{
	struct rig *k = arg;

	if (rig_fails(k))
		return -EIO;
	if (bytes > k->bytes_max)
		return -ENOSPC;
	if (bytes < k->bytes)
		memset(k->now + bytes, 0, k->bytes - bytes);
	k->bytes = bytes;
	rig_log(k, bytes, NULL, 0);
	return 0;
}

static inline void rig_apply(struct rig *k, const struct rig_op *op, bool (*want)(void *arg), void *arg)
{
	if (!op->p) {
		if (want && !want(arg))
			return;
		if (op->off < k->kept_bytes)
			memset(k->kept + op->off, 0, k->kept_bytes - op->off);
		k->kept_bytes = op->off;
		return;
	}
	for (uint64_t at = 0; at < op->n; at += VHD_SECTOR) {
		size_t n = op->n - at < VHD_SECTOR ? op->n - at : VHD_SECTOR;

		if ((!want || want(arg)) && op->off + at + n <= k->kept_bytes)
			memcpy(k->kept + op->off + at, op->p + at, n);
	}
}

static inline void rig_settle(struct rig *k, bool (*want)(void *arg), void *arg)
{
	for (size_t i = 0; i < k->log_n; i++) {
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

static inline void rig_nop(void *arg)
{
	(void)arg;
}

static inline void rig_blob(struct rig *k, bool read_only)
{
	static const struct blob_ops ops = {
		.read = rig_read, .write = rig_write, .flush = rig_flush, .set_bytes = rig_set_bytes, .zero = rig_zero,
		.close = rig_nop,
	};

	blob_close(k->b);
	k->b = blob_new(&ops, k, "disk.vhd", k->bytes, -1, 1, read_only);
}

static inline void rig_init(struct rig *k)
{
	*k = (struct rig){ .bytes_max = RIG_MAX, .fail_in = -1 };
	k->now = mem_alloc(RIG_MAX);
	k->kept = mem_alloc(RIG_MAX);
	rig_blob(k, false);
}

static inline void rig_fini(struct rig *k)
{
	rig_settle(k, NULL, NULL);
	blob_close(k->b);
	free(k->log);
	free(k->now);
	free(k->kept);
}

/* Power is gone and back: want(arg) says of each sector that was not flushed whether it is there. */
static inline void rig_cut(struct rig *k, bool (*want)(void *arg), void *arg)
{
	rig_settle(k, want, arg);
	memset(k->now, 0, k->bytes > k->kept_bytes ? k->bytes : k->kept_bytes);
	k->bytes = k->kept_bytes;
	memcpy(k->now, k->kept, k->bytes);
	k->fail_in = -1;
	rig_blob(k, false);
}

/* Bytes of the image changed behind the layer's back, durable. */
static inline void rig_poke(struct rig *k, uint64_t off, const void *p, size_t n)
{
	memcpy(k->now + off, p, n);
	memcpy(k->kept + off, p, n);
}

#endif

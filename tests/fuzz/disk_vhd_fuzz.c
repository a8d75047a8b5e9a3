/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole VHD files: what opens can be mapped from end to end, allocated, synced,
 * grown, checked, repaired and opened again without leaving its file.
 * Checksums are put right first, so that the fields behind them are reached.
 * sources: dom0-tools/disk/vhd.c dom0-tools/disk/vhd_alloc.c dom0-tools/disk/vhd_check.c
 * sources: dom0-tools/disk/vhd_create.c dom0-tools/disk/vhd_find.c dom0-tools/disk/vhd_fmt.c
 * sources: dom0-tools/disk/vhd_load.c dom0-tools/disk/vhd_map.c dom0-tools/disk/vhd_resize.c
 * sources: dom0-tools/disk/blob.c dom0-tools/base/buf.c dom0-tools/base/clock.c dom0-tools/base/err.c
 * sources: dom0-tools/base/fd.c dom0-tools/base/rd.c
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "disk/blob.h"
#include "disk/vhd.h"
#include "disk/vhd_fmt.h"

/* The input is the first KEPT bytes of the file and the last 512; all between reads as zeroes and forgets writes. */
enum { KEPT = 16 << 10, RUNS_MAX = 2000 };
static const uint64_t file_max = 64ull << 20;

struct fuzz {
	uint8_t head[KEPT], tail[VHD_FOOTER_BYTES];
	uint64_t bytes, tail_at;
};

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static uint8_t *place(struct fuzz *f, uint64_t at)
{
	if (at < KEPT)
		return &f->head[at];
	return at >= f->tail_at && at - f->tail_at < sizeof(f->tail) ? &f->tail[at - f->tail_at] : NULL;
}

static int on_read(void *arg, uint64_t off, void *out, size_t n)
{
	uint8_t *p = out;

	memset(p, 0, n);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *from = place(arg, off + i);

		if (from)
			p[i] = *from;
		else if (off + i >= KEPT && off + n <= ((struct fuzz *)arg)->tail_at)
			break;
	}
	return 0;
}

static int on_write(void *arg, uint64_t off, const void *in, size_t n)
{
	const uint8_t *p = in;
	struct fuzz *f = arg;

	/* The footer moves with the end of the file. */
	if (n == VHD_FOOTER_BYTES && off + n == f->bytes)
		f->tail_at = off;
	for (size_t i = 0; i < n; i++) {
		uint8_t *to = place(f, off + i);

		if (to)
			*to = p[i];
	}
	return 0;
}

static int on_zero(void *arg, uint64_t off, uint64_t n)
{
	for (uint64_t i = 0; i < n && i < 2 * KEPT; i++) {
		uint8_t *to = place(arg, off + i);

		if (to)
			*to = 0;
	}
	return 0;
}

static int on_set_bytes(void *arg, uint64_t bytes)
{
	struct fuzz *f = arg;

	if (bytes > 2 * file_max)
		return -ENOSPC;
	f->bytes = bytes;
	return 0;
}

static int on_flush(void *arg)
{
	(void)arg;
	return 0;
}

static void on_close(void *arg)
{
	(void)arg;
}

static void put_sum(uint8_t *p, size_t n, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i < at || i >= at + 4 ? p[i] : 0;
	sum = htobe32(~sum);
	memcpy(p + at, &sum, 4);
}

/* Every structure the input has, made to pass its checksum. */
static void right_sums(struct fuzz *f)
{
	if (!memcmp(f->tail, "conectix", 8))
		put_sum(f->tail, sizeof(f->tail), 64);
	if (!memcmp(f->head, "conectix", 8))
		put_sum(f->head, VHD_FOOTER_BYTES, 64);
	for (size_t at = 512; at + VHD_HEADER_BYTES <= KEPT; at += 512)
		if (!memcmp(f->head + at, "cxsparse", 8))
			put_sum(f->head + at, VHD_HEADER_BYTES, 36);
}

static void walk(struct blob *b, struct layer *l, uint64_t disk, bool for_write)
{
	struct layer_run run;
	int runs = 0;

	for (uint64_t off = 0; off < disk && runs++ < RUNS_MAX; off += run.bytes) {
		l->ops->map(l->l, off, disk - off, for_write, &run);
		if (!run.bytes || run.bytes > disk - off || run.bytes % VHD_SECTOR)
			abort();
		if (run.where == LAYER_DATA && (run.off > blob_bytes(b) || run.bytes > blob_bytes(b) - run.off))
			abort();
		if (for_write && run.where == LAYER_ZERO)
			abort();
	}
}

static void use(struct blob *b, struct layer *l)
{
	struct err e = ERR_INIT;
	struct layer_info info;
	uint64_t last;

	l->ops->info(l->l, &info);
	if (!info.bytes || info.bytes % VHD_SECTOR || info.bytes > VHD_BYTES_MAX)
		abort();
	if (!memchr(info.parent_name, 0, sizeof(info.parent_name)))
		abort();
	walk(b, l, info.bytes, false);
	walk(b, l, info.bytes, true);
	(void)!l->ops->check(l->l, false, NULL, NULL, &e);
	last = info.bytes - VHD_SECTOR;
	if (l->ops->alloc(l->l, 0, VHD_SECTOR) == 0 && l->ops->alloc(l->l, last, VHD_SECTOR) == 0) {
		l->ops->written(l->l, 0, VHD_SECTOR);
		l->ops->written(l->l, last, VHD_SECTOR);
		(void)!l->ops->sync(l->l);
	}
	if (info.bytes <= file_max)
		(void)!l->ops->resize(l->l, info.bytes + (3 << 20), &e);
	l->ops->info(l->l, &info);
	walk(b, l, info.bytes, false);
	(void)!l->ops->check(l->l, true, NULL, NULL, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct blob_ops ops = {
		.read = on_read, .write = on_write, .flush = on_flush, .set_bytes = on_set_bytes, .zero = on_zero,
		.close = on_close,
	};
	struct fuzz *f = mem_alloc(sizeof(*f));
	struct err e = ERR_INIT;
	struct layer l;
	struct blob *b;
	uint16_t size = 0;

	/* How many sectors the file has, whether it may be written, then its footer and its beginning. */
	if (n >= 3) {
		memcpy(&size, p, 2);
		f->bytes = (uint64_t)size * VHD_SECTOR;
		f->tail_at = f->bytes < VHD_FOOTER_BYTES ? 0 : f->bytes - VHD_FOOTER_BYTES;
		n -= 3;
		memcpy(f->tail, p + 3, n < sizeof(f->tail) ? n : sizeof(f->tail));
		if (n > sizeof(f->tail))
			memcpy(f->head, p + 3 + sizeof(f->tail), n - sizeof(f->tail) < KEPT ? n - sizeof(f->tail)
											     : KEPT);
		right_sums(f);
		b = blob_new(&ops, f, "fuzz.vhd", f->bytes, -1, 1, p[2] & 1);
		for (int again = 0; again < 2 && vhd_format.open(b, &l, &e) == 0; again++) {
			use(b, &l);
			l.ops->close(l.l);
		}
		blob_close(b);
	}
	free(f);
	return 0;
}

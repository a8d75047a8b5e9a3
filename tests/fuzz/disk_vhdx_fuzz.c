/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX files: one that create() made, or one whose log was left open, with the
 * input's bytes put over parts of it.  What still opens is mapped from end to
 * end, allocated, synced, grown, checked and opened again, without leaving its
 * file.  Checksums are put right first, so that the fields behind are reached.
 * sources: dom0-tools/disk/vhdx.c dom0-tools/disk/vhdx_alloc.c dom0-tools/disk/vhdx_bat.c
 * sources: dom0-tools/disk/vhdx_check.c dom0-tools/disk/vhdx_create.c dom0-tools/disk/vhdx_fmt.c
 * sources: dom0-tools/disk/vhdx_head.c dom0-tools/disk/vhdx_log.c dom0-tools/disk/vhdx_map.c
 * sources: dom0-tools/disk/vhdx_meta.c dom0-tools/disk/vhdx_resize.c dom0-tools/disk/vhdx_txn.c
 * sources: dom0-tools/disk/crc32c.c dom0-tools/disk/vhd_fmt.c dom0-tools/disk/blob.c dom0-tools/base/buf.c
 * sources: dom0-tools/base/clock.c dom0-tools/base/err.c dom0-tools/base/fd.c dom0-tools/base/rd.c
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/rd.h"
#include "disk/blob.h"
#include "disk/vhdx.h"
#include "disk/vhdx_fmt.h"

enum { PAGE = 32 << 10, PAGES = 8192, BLOCK = 16 << 20, DISK = 12 * BLOCK };
enum { RUNS_MAX = 2000, SUMMED_LOG = 64 << 10, KINDS = 6 };

struct file {
	const struct file *under;	/* what is there where page is NULL */
	uint8_t *page[PAGES];
	uint64_t bytes;
};

/* Where the input's bytes may go: the first of a patch says which. */
static const uint32_t areas[] = {
	0, VHDX_HEADER_AT, VHDX_HEADER_AT + VHDX_HEADER_STEP, VHDX_REGIONS_AT, VHDX_REGIONS_AT + VHDX_TABLE_BYTES,
	1 << 20, (1 << 20) + 4096, 2 << 20, (2 << 20) + VHDX_TABLE_BYTES, 3 << 20, (3 << 20) + 8 * 256, 7 << 20,
};

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void file_put(struct file *f, uint64_t off, const uint8_t *p, uint64_t n)
{
	while (n) {
		uint64_t i = off / PAGE, in = off % PAGE, k = n < PAGE - in ? n : PAGE - in;

		if (!f->page[i] && (p || (f->under && f->under->page[i]))) {
			f->page[i] = mem_alloc(PAGE);
			if (f->under && f->under->page[i])
				memcpy(f->page[i], f->under->page[i], PAGE);
		}
		if (p)
			memcpy(f->page[i] + in, p, k);
		else if (f->page[i])
			memset(f->page[i] + in, 0, k);
		off += k;
		p = p ? p + k : NULL;
		n -= k;
	}
}

static int on_read(void *arg, uint64_t off, void *out, size_t n)
{
	const struct file *f = arg;
	uint8_t *p = out;

	while (n) {
		uint64_t i = off / PAGE, in = off % PAGE, k = n < PAGE - in ? n : PAGE - in;
		const uint8_t *from = f->page[i] ? f->page[i] : f->under ? f->under->page[i] : NULL;

		if (from)
			memcpy(p, from + in, k);
		else
			memset(p, 0, k);
		off += k;
		p += k;
		n -= k;
	}
	return 0;
}

static int on_write(void *arg, uint64_t off, const void *in, size_t n)
{
	file_put(arg, off, in, n);
	return 0;
}

static int on_zero(void *arg, uint64_t off, uint64_t n)
{
	file_put(arg, off, NULL, n);
	return 0;
}

static int on_set_bytes(void *arg, uint64_t bytes)
{
	struct file *f = arg;

	if (bytes > (uint64_t)PAGE * PAGES)
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

static struct blob *blob_of(struct file *f, bool read_only)
{
	static const struct blob_ops ops = {
		.read = on_read, .write = on_write, .flush = on_flush, .set_bytes = on_set_bytes, .zero = on_zero,
		.close = on_close,
	};

	return blob_new(&ops, f, "fuzz.vhdx", f->bytes, -1, 1, read_only);
}

static void write_at(struct layer *l, uint64_t off)
{
	if (l->ops->alloc(l->l, off, 4096) == 0)
		l->ops->written(l->l, off, 4096);
}

/* Image i: of three kinds, closed or with its log open. */
static const struct file *image(unsigned i)
{
	static struct file *made[KINDS];
	static const char *const kind[] = { "dynamic", "differencing", "fixed" };
	struct layer_create c = { .bytes = DISK, .kind = kind[i / 2], .block_bytes = BLOCK,
				  .parent_name = "/a/b.vhdx" };
	struct err e = ERR_INIT;
	struct layer l;
	struct blob *b;

	if (made[i])
		return made[i];
	made[i] = mem_alloc(sizeof(*made[i]));
	c.parent_id = vhdx_guid_bat;
	c.sector_bytes = i == 3 ? 4096 : 512;
	b = blob_of(made[i], false);
	if (vhdx_format.create(b, &c, &e) < 0 || vhdx_format.open(b, &l, &e) < 0)
		abort();
	write_at(&l, 0);
	if (l.ops->sync(l.l))
		abort();
	write_at(&l, 5 * BLOCK);
	if (i % 2 == 0 && l.ops->sync(l.l))
		abort();
	l.ops->close(l.l);
	blob_close(b);
	return made[i];
}

static void right_sum(struct file *f, uint64_t at, uint32_t n)
{
	AUTO_FREE uint8_t *raw = mem_alloc(n);

	bool changed = false;

	for (uint64_t i = at / PAGE; i <= (at + n - 1) / PAGE && i < PAGES; i++)
		changed = changed || f->page[i];
	if (!changed || at > f->bytes || n > f->bytes - at)
		return;
	on_read(f, at, raw, n);
	vhdx_sum_set(raw, n);
	file_put(f, at, raw, n);
}

/* Those of pages that the input changed; the tables are large, and most runs leave them alone. */
static void right_sums(struct file *f)
{
	uint8_t head[VHDX_LOG_HEAD_BYTES];
	struct vhdx_entry n;

	for (unsigned i = 0; i < 2; i++) {
		right_sum(f, VHDX_HEADER_AT + i * VHDX_HEADER_STEP, VHDX_HEADER_BYTES);
		right_sum(f, VHDX_REGIONS_AT + i * VHDX_TABLE_BYTES, VHDX_TABLE_BYTES);
	}
	for (uint32_t at = 0; at < SUMMED_LOG && f->bytes >= 2 << 20; at += VHDX_LOG_SECTOR) {
		on_read(f, (1 << 20) + at, head, sizeof(head));
		if (vhdx_entry_decode(head, 1 << 20, &n) && n.bytes <= SUMMED_LOG)
			right_sum(f, (1 << 20) + at, n.bytes);
	}
}

/* Patches: area, offset (2), length, bytes. */
static void patch(struct file *f, struct rd *r)
{
	while (rd_left(r) >= 4) {
		uint64_t at = areas[rd_u8(r) % ARRAY_LEN(areas)];
		uint32_t n;

		at += rd_le16(r);
		n = rd_u8(r);
		n = n < rd_left(r) ? n : (uint32_t)rd_left(r);
		if (at + n <= f->bytes)
			file_put(f, at, rd_bytes(r, n), n);
	}
}

static void walk(struct blob *b, struct layer *l, const struct layer_info *info, bool for_write)
{
	struct layer_run run;
	int runs = 0;

	for (uint64_t off = 0; off < info->bytes && runs++ < RUNS_MAX; off += run.bytes) {
		l->ops->map(l->l, off, info->bytes - off, for_write, &run);
		if (!run.bytes || run.bytes > info->bytes - off || run.bytes % info->sector_bytes)
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

	l->ops->info(l->l, &info);
	if (!info.bytes || info.bytes % info.sector_bytes || info.bytes > VHDX_BYTES_MAX)
		abort();
	if (!memchr(info.parent_name, 0, sizeof(info.parent_name)))
		abort();
	walk(b, l, &info, false);
	(void)!l->ops->check(l->l, false, NULL, NULL, &e);
	if (l->ops->alloc(l->l, 0, info.sector_bytes) == 0)
		l->ops->written(l->l, 0, info.sector_bytes);
	if (l->ops->alloc(l->l, info.bytes - info.sector_bytes, info.sector_bytes) == 0)
		l->ops->written(l->l, info.bytes - info.sector_bytes, info.sector_bytes);
	walk(b, l, &info, true);
	(void)!l->ops->sync(l->l);
	(void)!l->ops->resize(l->l, info.bytes + 3 * BLOCK, &e);
	l->ops->info(l->l, &info);
	walk(b, l, &info, false);
	(void)!l->ops->check(l->l, true, NULL, NULL, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rd r = rd_of(p, n);
	unsigned kind = rd_u8(&r), mode = rd_u8(&r);
	struct file *f = mem_alloc(sizeof(*f));
	struct err e = ERR_INIT;
	struct layer l;
	struct blob *b;

	f->under = image(kind % KINDS);
	f->bytes = f->under->bytes;
	/* Cut short, sometimes. */
	if (mode & 2)
		f->bytes -= (uint64_t)(mode >> 2) << 17;
	patch(f, &r);
	right_sums(f);
	b = blob_of(f, mode & 1);
	for (int again = 0; again < 2 && vhdx_format.open(b, &l, &e) == 0; again++) {
		use(b, &l);
		l.ops->close(l.l);
	}
	blob_close(b);
	for (size_t i = 0; i < PAGES; i++)
		free(f->page[i]);
	free(f);
	return 0;
}

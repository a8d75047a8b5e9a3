/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transfers of a request, one after the other: each covers what one
 * disk_map call gives, so a request that crosses blocks takes several.
 *
 * Phases of a transfer that O_DIRECT cannot take as it is (the bounce buffer
 * covers whole blocks of the device):
 *
 *	read:	BOUNCE_READ, copy out
 *	write:	copy in, BOUNCE_WRITE; or BOUNCE_FILL, copy in, BOUNCE_WRITE if an edge is no block's
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "blkd/queue_priv.h"

enum { BOUNCE_BYTES_MAX = 1 << 20, ZERO_BYTES = 128 << 10 };
enum phase { PLAIN, BOUNCE_READ, BOUNCE_FILL, BOUNCE_WRITE, RANGE };

static const uint8_t zeroes[ZERO_BYTES] __attribute__((aligned(BUFPOOL_ALIGN)));

/* ---- files ------------------------------------------------------------------------------------ */

static int take_fixed(struct queue *q, int fd)
{
	for (int i = 0; q->files_registered && i < QUEUE_FILES_MAX; i++) {
		uint64_t *w = &q->fixed_used[i / 64], bit = UINT64_C(1) << (i % 64);

		if (*w & bit)
			continue;
		if (io_uring_register_files_update(&q->ring, (unsigned)i, &fd, 1) != 1)
			return -1;
		*w |= bit;
		return i;
	}
	return -1;
}

struct slot *qdisk_slot(struct qdisk *qd, struct blob *b)
{
	struct statfs fs;
	struct slot *s;

	for (unsigned i = 0; i < qd->n_slots; i++)
		if (qd->slots[i].blob == b)
			return &qd->slots[i];
	assert(qd->n_slots < DISK_CHAIN_MAX);
	s = &qd->slots[qd->n_slots++];
	*s = (struct slot){ .blob = b, .fd = blob_fd(b), .fixed = -1, .align = blob_align(b) };
	if (s->fd < 0)
		return s;
	s->fixed = take_fixed(qd->q, s->fd);
	s->memory = fstatfs(s->fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
	return s;
}

void qdisk_forget_slots(struct qdisk *qd)
{
	for (unsigned i = 0; i < qd->n_slots; i++) {
		int none = -1, at = qd->slots[i].fixed;

		if (at < 0)
			continue;
		(void)io_uring_register_files_update(&qd->q->ring, (unsigned)at, &none, 1);
		qd->q->fixed_used[at / 64] &= ~(UINT64_C(1) << (at % 64));
	}
	qd->n_slots = 0;
}

int queue_sqe_fd(const struct slot *s)
{
	return s->fixed >= 0 ? s->fixed : s->fd;
}

void queue_sqe_file(struct io_uring_sqe *sqe, const struct slot *s)
{
	if (s->fixed >= 0)
		io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
}

struct io_uring_sqe *queue_sqe(struct queue *q)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);

	while (!sqe) {		/* full: the kernel takes all of it, unless it is out of memory for a moment */
		int rc = io_uring_submit(&q->ring);

		if (rc > 0)
			q->unsubmitted -= (unsigned)rc;
		sqe = io_uring_get_sqe(&q->ring);
	}
	q->unsubmitted++;
	return sqe;
}

/* ---- memory ------------------------------------------------------------------------------------ */

/* x_iov becomes the part of r->iov at r->at, of up to `bytes`. */
static void take_memory(struct req *r, uint64_t bytes)
{
	uint64_t skip = r->at, got = 0;
	unsigned n = 0;

	if (!r->at && bytes == r->len) {
		r->x_iov = r->iov;
		r->x_n = r->n_iov;
		r->x_bytes = bytes;
		return;
	}
	for (unsigned i = 0; i < r->n_iov && n < REQ_SLICE_MAX && got < bytes; i++) {
		size_t len = r->iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		len -= (size_t)skip;
		if (len > bytes - got)
			len = (size_t)(bytes - got);
		r->slice[n++] = (struct iovec){ (uint8_t *)r->iov[i].iov_base + skip, len };
		got += len;
		skip = 0;
	}
	r->x_iov = r->slice;
	r->x_n = n;
	r->x_bytes = got;
}

static void take_zeroes(struct req *r, uint64_t bytes)
{
	r->x_n = 0;
	r->x_bytes = 0;
	while (r->x_bytes < bytes && r->x_n < REQ_SLICE_MAX) {
		uint64_t n = bytes - r->x_bytes < ZERO_BYTES ? bytes - r->x_bytes : ZERO_BYTES;

		/* Only ever written from. */
		r->slice[r->x_n++] = (struct iovec){ (void *)(uintptr_t)zeroes, (size_t)n };
		r->x_bytes += n;
	}
	r->x_iov = r->slice;
}

/* Copies n bytes between p and the transfer's memory, or zeroes that if p is NULL. */
static void copy(const struct req *r, uint8_t *p, uint64_t n, bool to_p)
{
	for (unsigned i = 0; i < r->x_n && n; i++) {
		size_t len = r->x_iov[i].iov_len < n ? r->x_iov[i].iov_len : (size_t)n;

		if (!p) {
			memset(r->x_iov[i].iov_base, 0, len);
		} else {
			memcpy(to_p ? p : r->x_iov[i].iov_base, to_p ? r->x_iov[i].iov_base : p, len);
			p += len;
		}
		n -= len;
	}
}

/* ---- one transfer -------------------------------------------------------------------------------- */

static bool writes(const struct req *r)
{
	return r->op != REQ_READ;
}

static void set_data(struct req *r, struct io_uring_sqe *sqe, const struct slot *s, enum phase phase)
{
	r->phase = phase;
	queue_sqe_file(sqe, s);
	io_uring_sqe_set_data(sqe, r);
}

static int64_t put_rw(struct queue *q, struct req *r, const struct slot *s)
{
	struct io_uring_sqe *sqe = queue_sqe(q);

	if (writes(r))
		io_uring_prep_writev(sqe, queue_sqe_fd(s), r->x_iov, r->x_n, r->run.off);
	else
		io_uring_prep_readv(sqe, queue_sqe_fd(s), r->x_iov, r->x_n, r->run.off);
	set_data(r, sqe, s, PLAIN);
	return 0;
}

static int64_t put_bounce(struct queue *q, struct req *r, const struct slot *s, enum phase phase)
{
	struct io_uring_sqe *sqe = queue_sqe(q);

	if (phase == BOUNCE_WRITE)
		io_uring_prep_write(sqe, queue_sqe_fd(s), r->bounce, (unsigned)r->bounce_bytes, r->bounce_off);
	else
		io_uring_prep_read(sqe, queue_sqe_fd(s), r->bounce, (unsigned)r->bounce_bytes, r->bounce_off);
	set_data(r, sqe, s, phase);
	return 0;
}

static int64_t bounce(struct queue *q, struct req *r, const struct slot *s)
{
	uint64_t mask = s->align - 1u, end;

	if (r->x_bytes > BOUNCE_BYTES_MAX)
		r->x_bytes = BOUNCE_BYTES_MAX;
	end = (r->run.off + r->x_bytes + mask) & ~mask;
	r->bounce_off = r->run.off & ~mask;
	r->bounce_bytes = end - r->bounce_off;
	r->bounce = bufpool_get(&q->pool, r->bounce_bytes);
	if (!writes(r))
		return put_bounce(q, r, s, BOUNCE_READ);
	if ((r->run.off | r->x_bytes) & mask)
		return put_bounce(q, r, s, BOUNCE_FILL);
	copy(r, r->bounce, r->x_bytes, true);
	return put_bounce(q, r, s, BOUNCE_WRITE);
}

static bool direct_takes(const struct req *r, const struct slot *s)
{
	uint64_t all = r->run.off;

	if (s->align <= 1)
		return true;
	for (unsigned i = 0; i < r->x_n; i++)
		all |= (uintptr_t)r->x_iov[i].iov_base | r->x_iov[i].iov_len;
	return !(all & (s->align - 1u));
}

/* Bytes done are whole sectors: disk_map knows no others. */
static int64_t transferred(struct req *r, int64_t n)
{
	struct disk *d = r->disk->disk;

	if (n < 0)
		return n;
	n &= ~((int64_t)disk_sector(d) - 1);
	if (!n)
		return -EIO;
	if (writes(r) && r->op != REQ_CACHE)
		disk_written(d, r->off + r->at, (uint64_t)n);
	return n;
}

/* Off-loop. */
static void blob_do(struct meta_job *j)
{
	struct req *r = j->arg;
	uint64_t off = r->run.off;

	j->res = r->phase == RANGE ? blob_zero(r->run.blob, off, r->x_bytes) : 0;
	for (unsigned i = 0; i < r->x_n && j->res == 0 && r->phase == PLAIN; i++) {
		const struct iovec *v = &r->x_iov[i];

		j->res = writes(r) ? blob_write(r->run.blob, off, v->iov_base, v->iov_len) :
				     blob_read(r->run.blob, off, v->iov_base, v->iov_len);
		off += v->iov_len;
	}
}

static void blob_done(struct meta_job *j)
{
	struct req *r = j->arg;
	struct queue *q = r->disk->q;

	queue_progress(q, r, transferred(r, j->res < 0 ? j->res : (int64_t)r->x_bytes));
	queue_batch_end(q);
}

static int64_t by_blob(struct queue *q, struct req *r, enum phase phase)
{
	r->phase = phase;
	r->job = (struct meta_job){ .fn = blob_do, .done = blob_done, .arg = r };
	meta_put(q->meta, &r->job);
	return 0;
}

static int64_t transfer(struct queue *q, struct req *r, const struct slot *s)
{
	ssize_t n;

	r->touched |= writes(r);
	if (s->fd < 0)
		return by_blob(q, r, PLAIN);
	if (!s->memory)
		return direct_takes(r, s) ? put_rw(q, r, s) : bounce(q, r, s);
	n = writes(r) ? pwritev(s->fd, r->x_iov, (int)r->x_n, (off_t)r->run.off) :
			preadv(s->fd, r->x_iov, (int)r->x_n, (off_t)r->run.off);
	return transferred(r, n < 0 ? -errno : n);
}

/* ---- room ------------------------------------------------------------------------------------------ */

/* Off-loop. */
static void alloc_do(struct meta_job *j)
{
	struct req *r = j->arg;

	j->res = disk_alloc(r->disk->disk, r->off + r->at, r->run.bytes);
}

static void alloc_done(struct meta_job *j)
{
	struct req *r = j->arg;
	struct queue *q = r->disk->q;

	queue_progress(q, r, j->res);		/* 0: maps again */
	queue_batch_end(q);
}

static int64_t alloc(struct queue *q, struct req *r)
{
	r->disk->stats.allocs++;
	r->job = (struct meta_job){ .fn = alloc_do, .done = alloc_done, .arg = r };
	meta_put(q->meta, &r->job);
	return 0;
}

/* ---- zero, discard, cache ------------------------------------------------------------------------- */

static int64_t put_range(struct queue *q, struct req *r, const struct slot *s)
{
	struct io_uring_sqe *sqe = queue_sqe(q);
	int how = r->no_hole ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;

	if (r->op == REQ_CACHE)
		io_uring_prep_fadvise(sqe, queue_sqe_fd(s), r->run.off, (off_t)r->run.bytes, POSIX_FADV_WILLNEED);
	else
		io_uring_prep_fallocate(sqe, queue_sqe_fd(s), how | FALLOC_FL_KEEP_SIZE, (off_t)r->run.off,
					(off_t)r->run.bytes);
	r->x_bytes = r->run.bytes;
	set_data(r, sqe, s, RANGE);
	return 0;
}

/* r->run is a place in the leaf. */
static int64_t zero_out(struct queue *q, struct req *r)
{
	struct slot *s = qdisk_slot(r->disk, r->run.blob);

	r->touched = true;
	if (s->fd < 0) {
		r->x_bytes = r->run.bytes;
		return by_blob(q, r, RANGE);
	}
	if (!(r->no_hole ? s->no_zero_range : s->no_punch))
		return put_range(q, r, s);
	if (r->op == REQ_DISCARD)
		return (int64_t)r->run.bytes;
	if (r->fast)
		return -EOPNOTSUPP;
	take_zeroes(r, r->run.bytes);
	return transfer(q, r, s);
}

static int64_t range_step(struct queue *q, struct req *r)
{
	struct disk *d = r->disk->disk;
	uint64_t off = r->off + r->at;
	struct slot *s;

	disk_map(d, off, r->len - r->at, false, &r->run);
	if (r->run.where != LAYER_DATA && !(r->op == REQ_ZERO && r->no_hole))
		return (int64_t)r->run.bytes;
	if (r->op == REQ_CACHE) {
		s = qdisk_slot(r->disk, r->run.blob);
		return s->fd < 0 || s->memory || s->no_advise ? (int64_t)r->run.bytes : put_range(q, r, s);
	}
	if (r->op == REQ_DISCARD && r->run.blob != disk_leaf(d))
		return (int64_t)r->run.bytes;
	disk_map(d, off, r->run.bytes, true, &r->run);
	if (r->run.where == LAYER_DATA)
		return zero_out(q, r);
	return r->op == REQ_DISCARD ? (int64_t)r->run.bytes : alloc(q, r);
}

static int64_t range_stepped(struct queue *q, struct req *r, struct slot *s, int res)
{
	if (r->op == REQ_CACHE) {
		s->no_advise |= res < 0;
		return (int64_t)r->x_bytes;
	}
	if (res == -EOPNOTSUPP || res == -EINVAL || res == -ENODEV) {
		*(r->no_hole ? &s->no_zero_range : &s->no_punch) = true;
		return zero_out(q, r);
	}
	return transferred(r, res < 0 ? res : (int64_t)r->x_bytes);
}

/* ---- steps ------------------------------------------------------------------------------------------ */

int64_t queue_step(struct queue *q, struct req *r)
{
	struct disk *d = r->disk->disk;

	if (r->op != REQ_READ && r->op != REQ_WRITE)
		return range_step(q, r);
	disk_map(d, r->off + r->at, r->len - r->at, r->op == REQ_WRITE, &r->run);
	if (r->run.where != LAYER_DATA && r->op == REQ_WRITE)
		return alloc(q, r);
	take_memory(r, r->run.bytes);
	if (r->run.where == LAYER_DATA)
		return transfer(q, r, qdisk_slot(r->disk, r->run.blob));
	copy(r, NULL, r->x_bytes, false);
	return (int64_t)r->x_bytes;
}

static int64_t bounce_end(struct queue *q, struct req *r, int64_t n)
{
	bufpool_put(&q->pool, r->bounce, r->bounce_bytes);
	r->bounce = NULL;
	return transferred(r, n);
}

static int64_t bounced(struct queue *q, struct req *r, struct slot *s, int res)
{
	uint64_t lead = r->run.off - r->bounce_off;
	int64_t got = res < 0 ? res : res - (int64_t)lead;

	if (res < 0)
		return bounce_end(q, r, res);
	if (r->phase == BOUNCE_FILL) {		/* what is behind the end of the file counts as zeroes */
		memset(r->bounce + res, 0, r->bounce_bytes - (uint64_t)res);
		copy(r, r->bounce + lead, r->x_bytes, true);
		return put_bounce(q, r, s, BOUNCE_WRITE);
	}
	if (got > (int64_t)r->x_bytes)
		got = (int64_t)r->x_bytes;
	if (r->phase == BOUNCE_READ && got > 0)
		copy(r, r->bounce + lead, (uint64_t)got, false);
	return bounce_end(q, r, got > 0 ? got : -EIO);
}

int64_t queue_stepped(struct queue *q, struct req *r, int res)
{
	struct slot *s = qdisk_slot(r->disk, r->run.blob);

	if (res == -EAGAIN || res == -EINTR) {
		if (r->phase == PLAIN)
			return put_rw(q, r, s);
		return r->phase == RANGE ? put_range(q, r, s) : put_bounce(q, r, s, r->phase);
	}
	if (r->phase == RANGE)
		return range_stepped(q, r, s, res);
	if (r->phase != PLAIN)
		return bounced(q, r, s, res);
	return transferred(r, res);
}

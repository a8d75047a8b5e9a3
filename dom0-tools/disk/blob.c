/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range and mode checks that every blob has, and the blob over a file or block
 * device.
 *
 * With O_DIRECT there is one descriptor and no page cache: what is not aligned
 * goes through a bounce buffer, reading the blocks at its ends first.  A second,
 * buffered descriptor would be simpler, but its write-back of a whole page could
 * bring back old bytes beside what io_uring has written since.
 *
 * A flush that failed once fails for good: the kernel forgets the pages it could
 * not write, so the next fdatasync would succeed for data that is not there.
 */
#include "disk/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

enum { BOUNCE_BYTES = 256 << 10, PAGE_BYTES = 4096 };

struct blob {
	const struct blob_ops *ops;
	void *arg;
	char *name;
	_Atomic uint64_t bytes;		/* reads run beside blob_set_bytes */
	int fd;
	uint32_t align;
	bool read_only;
};

struct file {
	int fd;
	uint32_t align;			/* 1: any */
	uint64_t bytes;
	bool device;
	bool no_punch, no_zero_range;
	int flush_error;		/* -errno, for good */
};

/* ---- any blob ----------------------------------------------------------------------------------- */

struct blob *blob_new(const struct blob_ops *ops, void *arg, const char *name, uint64_t bytes, int fd,
		      uint32_t align, bool read_only)
{
	struct blob *b = mem_alloc(sizeof(*b));

	b->ops = ops;
	b->arg = arg;
	b->name = mem_strdup(name);
	atomic_init(&b->bytes, bytes);
	b->fd = fd;
	b->align = align;
	b->read_only = read_only;
	return b;
}

void blob_close(struct blob *b)
{
	if (!b)
		return;
	b->ops->close(b->arg);
	free(b->name);
	free(b);
}

static int in_range(const struct blob *b, uint64_t off, uint64_t n)
{
	uint64_t bytes = atomic_load(&b->bytes);

	return off > bytes || n > bytes - off ? -EINVAL : 0;
}

int blob_read(struct blob *b, uint64_t off, void *p, size_t n)
{
	int rc = in_range(b, off, n);

	return rc || !n ? rc : b->ops->read(b->arg, off, p, n);
}

int blob_write(struct blob *b, uint64_t off, const void *p, size_t n)
{
	int rc = b->read_only ? -EROFS : in_range(b, off, n);

	return rc || !n ? rc : b->ops->write(b->arg, off, p, n);
}

int blob_zero(struct blob *b, uint64_t off, uint64_t n)
{
	int rc = b->read_only ? -EROFS : in_range(b, off, n);

	return rc || !n ? rc : b->ops->zero(b->arg, off, n);
}

int blob_flush(struct blob *b)
{
	return b->read_only ? 0 : b->ops->flush(b->arg);
}

int blob_set_bytes(struct blob *b, uint64_t bytes)
{
	int rc;

	if (b->read_only)
		return -EROFS;
	if (bytes > INT64_MAX)
		return -EFBIG;
	rc = b->ops->set_bytes(b->arg, bytes);
	if (!rc)
		atomic_store(&b->bytes, bytes);
	return rc;
}

uint64_t blob_bytes(const struct blob *b) { return atomic_load(&b->bytes); }
int blob_fd(const struct blob *b) { return b->fd; }
uint32_t blob_align(const struct blob *b) { return b->align; }
bool blob_read_only(const struct blob *b) { return b->read_only; }
const char *blob_name(const struct blob *b) { return b->name; }

/* ---- transfers of a file ------------------------------------------------------------------------ */

/* Bytes read, fewer than n at the end of the file, or -errno. */
static int64_t read_at(const struct file *f, uint64_t off, uint8_t *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = pread(f->fd, p + done, n - done, (off_t)(off + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		done += (size_t)got;
		/* Inside a block only the end stops a direct read; behind it the next would be unaligned. */
		if (!got || done % f->align)
			break;
	}
	return (int64_t)done;
}

static int write_at(const struct file *f, uint64_t off, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t put = pwrite(f->fd, p, n, (off_t)off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		p += put;
		off += (uint64_t)put;
		n -= (size_t)put;
	}
	return 0;
}

static bool direct_takes(const struct file *f, uint64_t off, const void *p, uint64_t n)
{
	return !((off | n | (uintptr_t)p) & (f->align - 1));
}

static uint8_t *bounce_new(void)
{
	void *p = NULL;

	return posix_memalign(&p, PAGE_BYTES, BOUNCE_BYTES) ? NULL : p;
}

/* The part of [off, off + n) that one bounce buffer takes, with the blocks around it. */
struct piece {
	uint64_t base;			/* block aligned */
	size_t lead, n, all;		/* bytes before it, of it, of whole blocks */
};

static struct piece piece_of(const struct file *f, uint64_t off, size_t n)
{
	struct piece k = { .lead = (size_t)(off & (f->align - 1)) };

	k.base = off - k.lead;
	k.n = n < BOUNCE_BYTES - k.lead ? n : BOUNCE_BYTES - k.lead;
	k.all = (k.lead + k.n + f->align - 1) & ~((size_t)f->align - 1);
	return k;
}

static int bounce_read(const struct file *f, uint64_t off, uint8_t *p, size_t n)
{
	AUTO_FREE uint8_t *b = bounce_new();

	if (!b)
		return -ENOMEM;
	while (n) {
		struct piece k = piece_of(f, off, n);
		int64_t got = read_at(f, k.base, b, k.all);

		if (got < (int64_t)(k.lead + k.n))
			return got < 0 ? (int)got : -EIO;
		memcpy(p, b + k.lead, k.n);
		p += k.n;
		off += k.n;
		n -= k.n;
	}
	return 0;
}

/* A block as the file has it; zeroes behind its end. */
static int fill_block(const struct file *f, uint64_t off, uint8_t *b)
{
	int64_t got;

	memset(b, 0, f->align);
	got = read_at(f, off, b, f->align);
	return got < 0 ? (int)got : 0;
}

static int bounce_write(const struct file *f, uint64_t off, const uint8_t *p, size_t n)
{
	AUTO_FREE uint8_t *b = bounce_new();
	uint64_t end = 0;
	int rc = b ? 0 : -ENOMEM;

	while (n && !rc) {
		struct piece k = piece_of(f, off, n);
		size_t last = k.all - f->align;

		if (k.lead)
			rc = fill_block(f, k.base, b);
		if (!rc && k.lead + k.n < k.all && (last || !k.lead))
			rc = fill_block(f, k.base + last, b + last);
		if (rc)
			break;
		memcpy(b + k.lead, p, k.n);
		rc = write_at(f, k.base, b, k.all);
		end = k.base + k.all;
		p += k.n;
		off += k.n;
		n -= k.n;
	}
	/* The last block went past the end of the file. */
	if (end > f->bytes && !f->device && ftruncate(f->fd, (off_t)f->bytes) < 0 && !rc)
		rc = -errno;
	return rc;
}

static int file_read(void *arg, uint64_t off, void *p, size_t n)
{
	const struct file *f = arg;
	int64_t got;

	if (!direct_takes(f, off, p, n))
		return bounce_read(f, off, p, n);
	got = read_at(f, off, p, n);
	return got < 0 ? (int)got : (uint64_t)got < n ? -EIO : 0;
}

static int file_write(void *arg, uint64_t off, const void *p, size_t n)
{
	const struct file *f = arg;

	return direct_takes(f, off, p, n) ? write_at(f, off, p, n) : bounce_write(f, off, p, n);
}

/* ---- the rest of a file's operations ------------------------------------------------------------ */

static int file_flush(void *arg)
{
	struct file *f = arg;

	if (!f->flush_error && fdatasync(f->fd) < 0)
		f->flush_error = -errno;
	return f->flush_error;
}

static int device_bytes(int fd, uint64_t *out)
{
	return ioctl(fd, BLKGETSIZE64, out) < 0 ? -errno : 0;
}

/* A device has the size it has; it may have grown since it was opened. */
static int file_set_bytes(void *arg, uint64_t bytes)
{
	struct file *f = arg;
	uint64_t has = 0;
	int rc;

	if (!f->device && ftruncate(f->fd, (off_t)bytes) < 0)
		return -errno;
	rc = f->device ? device_bytes(f->fd, &has) : 0;
	if (rc)
		return rc;
	if (f->device && bytes != has)
		return bytes > has ? -ENOSPC : -EOPNOTSUPP;
	f->bytes = bytes;
	return 0;
}

static int write_zeroes(struct file *f, uint64_t off, uint64_t n)
{
	AUTO_FREE uint8_t *zeroes = bounce_new();
	int rc = zeroes ? 0 : -ENOMEM;

	if (!rc)
		memset(zeroes, 0, BOUNCE_BYTES);
	while (n && !rc) {
		uint64_t part = BOUNCE_BYTES - off % BOUNCE_BYTES;

		if (part > n)
			part = n;
		rc = file_write(f, off, zeroes, (size_t)part);
		off += part;
		n -= part;
	}
	return rc;
}

/* True when done or failed for good (*rc); else there is another way. */
static bool try_fallocate(const struct file *f, int how, uint64_t off, uint64_t n, bool *never, int *rc)
{
	if (*never)
		return false;
	*rc = fallocate(f->fd, how | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)n) < 0 ? -errno : 0;
	*never = *rc == -EOPNOTSUPP || *rc == -ENODEV || *rc == -ENOSYS;
	return !*never && *rc != -EINVAL;	/* EINVAL: this range, by its alignment */
}

static int file_zero(void *arg, uint64_t off, uint64_t n)
{
	struct file *f = arg;
	int rc = 0;

	if (try_fallocate(f, FALLOC_FL_PUNCH_HOLE, off, n, &f->no_punch, &rc) ||
	    try_fallocate(f, FALLOC_FL_ZERO_RANGE, off, n, &f->no_zero_range, &rc))
		return rc;
	return write_zeroes(f, off, n);
}

static void file_close(void *arg)
{
	struct file *f = arg;

	fd_close(&f->fd);
	free(f);
}

static const struct blob_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.set_bytes = file_set_bytes,
	.zero = file_zero,
	.close = file_close,
};

/* ---- opening a file ----------------------------------------------------------------------------- */

static int look_at(struct file *f, const char *name, bool read_only, struct err *e)
{
	int mode = fcntl(f->fd, F_GETFL), rc = 0;
	struct stat st;

	if (mode < 0 || fstat(f->fd, &st) < 0)
		return err_sys(e, errno, "look at '%s'", name);
	f->device = S_ISBLK(st.st_mode);
	if (!f->device && !S_ISREG(st.st_mode))
		return err_set(e, ERR_REFUSED, "'%s' is neither a regular file nor a block device", name);
	if (!read_only && (mode & O_ACCMODE) != O_RDWR) {
		err_set(e, ERR_REFUSED, "'%s' is not open for reading and writing", name);
		return err_remedy(e, "open it for both, or use it read-only");
	}
	f->bytes = f->device ? 0 : (uint64_t)st.st_size;
	if (f->device)
		rc = device_bytes(f->fd, &f->bytes);
	return rc ? err_sys(e, -rc, "size of '%s'", name) : 0;
}

/* What a direct transfer must be aligned to; 0: not known or none possible. */
static uint32_t direct_align(const struct file *f)
{
	AUTO_FREE uint8_t *page = bounce_new();
	struct statx sx = { 0 };
	int sector;

	if (f->device)
		return ioctl(f->fd, BLKSSZGET, &sector) < 0 || sector < 1 ? 0 : (uint32_t)sector;
#ifdef STATX_DIOALIGN
	if (!statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && sx.stx_mask & STATX_DIOALIGN)
		return sx.stx_dio_offset_align;
#else
	(void)sx;
#endif
	for (uint32_t align = 512; page && align <= PAGE_BYTES; align *= 8)
		if (pread(f->fd, page, align, 0) >= 0)
			return align;
	return 0;
}

/* A file that ends inside a block stays buffered: the block would be longer than the file after each write to it. */
static void go_direct(struct file *f, bool wanted)
{
	int mode = fcntl(f->fd, F_GETFL);
	uint32_t align;

	f->align = 1;
	if (mode < 0 || !(wanted || mode & O_DIRECT) || fcntl(f->fd, F_SETFL, mode | O_DIRECT) < 0)
		return;
	align = direct_align(f);
	if (align && align < 512)
		align = 512;
	if (align && align <= PAGE_BYTES && !(align & (align - 1)) && f->bytes % align == 0)
		f->align = align;
	else
		(void)fcntl(f->fd, F_SETFL, mode & ~O_DIRECT);
}

int blob_from_fd(int fd, const char *name, bool direct, bool read_only, struct blob **out, struct err *e)
{
	struct file *f = mem_alloc(sizeof(*f));

	f->fd = fd;
	if (look_at(f, name, read_only, e) < 0) {
		file_close(f);
		return -1;
	}
	go_direct(f, direct);
	*out = blob_new(&file_ops, f, name, f->bytes, f->fd, f->align, read_only);
	return 0;
}

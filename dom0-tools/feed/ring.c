/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's side of the ring.  Its own head and the last good tail are
 * kept in private memory; what the reader can write is only compared.
 */
#include "feed/ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/buf.h"
#include "base/fd.h"

struct ring {
	int fd;
	uint64_t data_bytes;
	struct ring_head_page *shared;
	struct ring_tail_page *foreign;
	uint8_t *data;
	uint64_t head;
	uint64_t tail;			/* the last good one that was read */
	bool live;
	bool bad_tail;
	/* Read by other threads for statistics. */
	_Atomic uint64_t records, bytes, losses;
};

void *ring_map(int fd, uint64_t data_bytes, bool reader)
{
	size_t front = 2 * RING_PAGE_BYTES, data = (size_t)data_bytes;
	int prot = reader ? PROT_READ : PROT_READ | PROT_WRITE;
	uint8_t *p = mmap(NULL, front + 2 * data, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return p;
	if (mmap(p, front + data, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(p + front + data, data, prot, MAP_SHARED | MAP_FIXED, fd, (off_t)front) == MAP_FAILED ||
	    mprotect(p + RING_PAGE_BYTES, RING_PAGE_BYTES, PROT_READ | PROT_WRITE) < 0) {
		int saved = errno;

		munmap(p, front + 2 * data);
		errno = saved;
		return MAP_FAILED;
	}
	return p;
}

void ring_unmap(void *p, uint64_t data_bytes)
{
	munmap(p, 2 * RING_PAGE_BYTES + 2 * (size_t)data_bytes);
}

/* The file; sealed, so that no reader can cut it and have the writer die of SIGBUS. */
static int make_file(uint64_t data_bytes, int *out, struct err *e)
{
	AUTO_FD int fd = memfd_create("hv-feed-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_sys(e, errno, "memfd for the feed's ring");
	if (ftruncate(fd, 2 * RING_PAGE_BYTES + (off_t)data_bytes) < 0)
		return err_sys(e, errno, "ring of %llu bytes", (unsigned long long)data_bytes);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_sys(e, errno, "seal the ring");
	*out = fd_take(&fd);
	return 0;
}

int ring_new(uint64_t data_bytes, struct ring **out, struct err *e)
{
	struct ring *r;
	uint8_t *p;
	int fd = -1;

	if (data_bytes < RING_BYTES_MIN || data_bytes > RING_BYTES_MAX || (data_bytes & (data_bytes - 1)))
		return err_set(e, ERR_USAGE, "ring of %llu bytes: give a power of two from %d to %d",
			       (unsigned long long)data_bytes, RING_BYTES_MIN, RING_BYTES_MAX);
	if (make_file(data_bytes, &fd, e) < 0)
		return -1;
	p = ring_map(fd, data_bytes, false);
	if (p == MAP_FAILED) {
		err_sys(e, errno, "map the ring");
		close(fd);
		return -1;
	}
	r = mem_alloc(sizeof(*r));
	r->fd = fd;
	r->data_bytes = data_bytes;
	r->shared = (struct ring_head_page *)(void *)p;
	r->foreign = (struct ring_tail_page *)(void *)(p + RING_PAGE_BYTES);
	r->data = p + 2 * RING_PAGE_BYTES;
	r->shared->page_bytes = RING_PAGE_BYTES;
	r->shared->data_bytes = data_bytes;
	r->shared->magic = RING_MAGIC;
	atomic_store(&r->shared->is_lost, 1);
	*out = r;
	return 0;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	ring_unmap(r->shared, r->data_bytes);
	close(r->fd);
	free(r);
}

int ring_fd(const struct ring *r)
{
	return r->fd;
}

static void lose(struct ring *r, uint64_t position)
{
	if (r->live)
		atomic_fetch_add_explicit(&r->losses, 1, memory_order_relaxed);
	r->live = false;
	atomic_store(&r->shared->lost, position);
	atomic_store(&r->shared->is_lost, 1);
}

/* Reads the reader's word and believes it only where it can be true. */
static bool has_room(struct ring *r, uint64_t bytes)
{
	uint64_t tail;

	if (bytes > r->data_bytes || r->bad_tail)
		return false;
	if (bytes <= r->data_bytes - (r->head - r->tail))
		return true;
	tail = atomic_load_explicit(&r->foreign->tail, memory_order_acquire);
	if (tail % RING_ALIGN || tail - r->tail > r->head - r->tail) {
		r->bad_tail = true;
		return false;
	}
	r->tail = tail;
	return bytes <= r->data_bytes - (r->head - r->tail);
}

#ifdef __SSE2__
enum { VECTOR = 16, STREAM_MIN = 1024 };

/* Past the caches, which the writer's thread has better use for: it never reads this again, and before the ring comes
 * round it is gone from them anyway.  Returns how much of n was copied. */
static size_t stream(uint8_t *to, const uint8_t *from, size_t n)
{
	size_t i = -(uintptr_t)to % VECTOR;

	if (n < STREAM_MIN)
		return 0;
	memcpy(to, from, i);
	for (; i + VECTOR <= n; i += VECTOR)
		_mm_stream_si128((__m128i *)(void *)(to + i), _mm_loadu_si128((const void *)(from + i)));
	_mm_sfence();			/* before the head says that it is there */
	return i;
}
#else
static size_t stream(uint8_t *to, const uint8_t *from, size_t n)
{
	(void)to, (void)from, (void)n;
	return 0;
}
#endif

static void copy_in(uint8_t *to, uint64_t len, const struct iovec *iov, int n_iov)
{
	for (int i = 0; i < n_iov && len > 0; i++) {
		size_t n = iov[i].iov_len < len ? iov[i].iov_len : (size_t)len, done;
		const uint8_t *from = iov[i].iov_base;

		done = stream(to, from, n);
		memcpy(to + done, from + done, n - done);
		to += n;
		len -= n;
	}
	assert(len == 0);
}

/* One writer: others only look. */
static void count(_Atomic uint64_t *n, uint64_t more)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + more, memory_order_relaxed);
}

static bool append(struct ring *r, const struct ring_rec *rec, const struct iovec *iov, int n_iov)
{
	uint64_t data = rec->flags ? 0 : rec->len, total;
	uint8_t *at = r->data + (r->head & (r->data_bytes - 1));

	if (data > r->data_bytes - RING_REC_BYTES)
		return false;
	total = (RING_REC_BYTES + data + RING_ALIGN - 1) & ~(uint64_t)(RING_ALIGN - 1);
	if (!has_room(r, total))
		return false;
	memcpy(at, &(uint32_t){ (uint32_t)total }, 4);
	memcpy(at + 4, &rec->disk, 2);
	memcpy(at + 6, &rec->flags, 2);
	memcpy(at + 8, &rec->position, 8);
	memcpy(at + 16, &rec->off, 8);
	memcpy(at + 24, &rec->len, 8);
	if (data)
		copy_in(at + RING_REC_BYTES, data, iov, n_iov);
	r->head += total;
	atomic_store(&r->shared->head, r->head);
	count(&r->records, 1);
	count(&r->bytes, total);
	return true;
}

bool ring_put(struct ring *r, const struct ring_rec *rec, const struct iovec *iov, int n_iov)
{
	if (!r->live)
		return false;
	if (append(r, rec, iov, n_iov))
		return true;
	lose(r, rec->position);
	return false;
}

bool ring_mark(struct ring *r, uint64_t position)
{
	struct ring_rec mark = { .position = position, .flags = RING_MARK };

	if (!append(r, &mark, NULL, 0)) {
		if (r->live)
			lose(r, position + 1);
		return false;
	}
	r->live = true;
	atomic_store(&r->shared->is_lost, 0);
	atomic_store(&r->shared->lost, 0);
	return true;
}

bool ring_live(const struct ring *r)
{
	return r->live;
}

bool ring_wants_wake(struct ring *r)
{
	return atomic_load(&r->foreign->armed) && atomic_exchange(&r->foreign->armed, 0);
}

void ring_get_stats(const struct ring *r, struct ring_stats *out)
{
	*out = (struct ring_stats){
		.records = atomic_load_explicit(&r->records, memory_order_relaxed),
		.bytes = atomic_load_explicit(&r->bytes, memory_order_relaxed),
		.losses = atomic_load_explicit(&r->losses, memory_order_relaxed),
		.lost = r->live ? 0 : atomic_load(&r->shared->lost),
		.fill_bytes = r->head - r->tail,
		.bad_tail = r->bad_tail,
	};
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's side of the ring, in the consumer's process.  The writer is a
 * stranger here: size and seals of the file, head and every record are
 * checked before they are used, and header fields are copied out once.
 */
#include "feed/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/rd.h"

struct ring_reader {
	struct ring_head_page *foreign;
	struct ring_tail_page *shared;
	const uint8_t *data;
	uint64_t data_bytes;
	uint64_t cursor;		/* next record */
	uint64_t tail;			/* what the writer was told */
};

static int check_file(int fd, uint64_t *out_data_bytes, struct err *e)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	uint64_t data;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "the feed's ring");
	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return err_set(e, ERR_REFUSED, "the feed's ring is not sealed against shrinking");
	data = (uint64_t)st.st_size - 2 * RING_PAGE_BYTES;
	if (st.st_size < 2 * RING_PAGE_BYTES || data < RING_BYTES_MIN || data > RING_BYTES_MAX || (data & (data - 1)))
		return err_set(e, ERR_CORRUPT, "the feed's ring has %lld bytes", (long long)st.st_size);
	*out_data_bytes = data;
	return 0;
}

int ring_reader_new(int fd, struct ring_reader **out, struct err *e)
{
	struct ring_reader *r;
	struct ring_head_page *head;
	uint64_t data_bytes = 0;
	uint8_t *p;

	if (check_file(fd, &data_bytes, e) < 0)
		return -1;
	p = ring_map(fd, data_bytes, true);
	if (p == MAP_FAILED)
		return err_sys(e, errno, "map the feed's ring");
	head = (struct ring_head_page *)(void *)p;
	if (head->magic != RING_MAGIC || head->page_bytes != RING_PAGE_BYTES || head->data_bytes != data_bytes) {
		ring_unmap(p, data_bytes);
		return err_set(e, ERR_INCOMPATIBLE, "the feed's ring is of another version");
	}
	r = mem_alloc(sizeof(*r));
	r->foreign = head;
	r->shared = (struct ring_tail_page *)(void *)(p + RING_PAGE_BYTES);
	r->data = p + 2 * RING_PAGE_BYTES;
	r->data_bytes = data_bytes;
	*out = r;
	return 0;
}

void ring_reader_free(struct ring_reader *r)
{
	if (!r)
		return;
	ring_unmap(r->foreign, r->data_bytes);
	free(r);
}

static uint32_t decode(const uint8_t *at, struct ring_rec *rec)
{
	uint8_t copy[RING_REC_BYTES];
	struct rd r = rd_of(copy, sizeof(copy));
	uint32_t total;

	for (size_t i = 0; i < sizeof(copy); i++)
		copy[i] = ((const volatile uint8_t *)at)[i];
	total = rd_le32(&r);	/* x86-64: native is little-endian */
	rec->disk = rd_le16(&r);
	rec->flags = rd_le16(&r);
	rec->position = rd_le64(&r);
	rec->off = rd_le64(&r);
	rec->len = rd_le64(&r);
	return total;
}

static int check_rec(const struct ring_rec *rec, uint64_t total, uint64_t there, struct err *e)
{
	uint64_t data = rec->flags ? 0 : rec->len;

	if (total < RING_REC_BYTES || total > there || total % RING_ALIGN)
		return err_set(e, ERR_CORRUPT, "ring: record of %llu bytes where %llu are left",
			       (unsigned long long)total, (unsigned long long)there);
	if ((rec->flags & ~RING_FLAGS) || (rec->flags & (rec->flags - 1)))
		return err_set(e, ERR_CORRUPT, "ring: record with flags %#x", (unsigned)rec->flags);
	if (data > total - RING_REC_BYTES)
		return err_set(e, ERR_CORRUPT, "ring: %llu bytes of data in a record of %llu",
			       (unsigned long long)data, (unsigned long long)total);
	if (rec->len > UINT64_MAX - rec->off)
		return err_set(e, ERR_CORRUPT, "ring: range at %llu is too long", (unsigned long long)rec->off);
	return 0;
}

static enum ring_step at_end(const struct ring_reader *r, struct ring_rec *rec)
{
	*rec = (struct ring_rec){ .position = atomic_load(&r->foreign->lost) };
	/* Lost may end with a new mark at any time; then there is a record. */
	if (!atomic_load(&r->foreign->is_lost) || atomic_load(&r->foreign->head) != r->cursor)
		return RING_EMPTY;
	return RING_LOST;
}

enum ring_step ring_next(struct ring_reader *r, struct ring_rec *rec, const uint8_t **data, struct err *e)
{
	uint64_t head = atomic_load(&r->foreign->head), there = head - r->cursor;
	const uint8_t *at = r->data + (r->cursor & (r->data_bytes - 1));
	uint32_t total;

	if (there == 0)
		return at_end(r, rec);
	if (head - r->tail > r->data_bytes || there > r->data_bytes || there < RING_REC_BYTES || head % RING_ALIGN) {
		err_set(e, ERR_CORRUPT, "ring: head %llu with %llu read", (unsigned long long)head,
			(unsigned long long)r->cursor);
		return RING_BAD;
	}
	total = decode(at, rec);
	if (check_rec(rec, total, there, e) < 0)
		return RING_BAD;
	*data = at + RING_REC_BYTES;
	r->cursor += total;
	return RING_REC;
}

void ring_release(struct ring_reader *r)
{
	r->tail = r->cursor;
	atomic_store_explicit(&r->shared->tail, r->tail, memory_order_release);
}

bool ring_arm(struct ring_reader *r)
{
	atomic_store(&r->shared->armed, 1);
	return atomic_load(&r->foreign->head) == r->cursor && !atomic_load(&r->foreign->is_lost);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for the feed's tests: a thread that writes numbered operations to
 * model disks in memory, several in flight, as a queue would, and keeps their
 * history, so that the disks' state at any position can be made again.
 */
#ifndef TESTS_UNIT_FEED_RIG_H
#define TESTS_UNIT_FEED_RIG_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "feed/feed.h"
#include "tests/unit/check.h"

enum {
	RIG_DISKS = 2, RIG_DISK_BYTES = 4 << 20, RIG_SECTOR = 512, RIG_LEN_MAX = 24 << 10,
	RIG_IN_FLIGHT = 4, RIG_HISTORY_MAX = 2000000,
};

struct rig_op {
	uint32_t off, len;		/* what reached the disk: half of the length for a write that failed */
	uint32_t fill;			/* seed of the data; 0: zeroes */
	uint8_t disk;
	bool failed;
};

struct rig {
	struct feed *f;
	uint8_t *disk[RIG_DISKS];
	struct rig_op *history;		/* op i has position base + i + 1 */
	_Atomic uint64_t n;		/* raised before the feed hears of the op */
	uint64_t base;
	uint64_t seed;
	int wake_fd;
	_Atomic bool stop, slow;
	_Atomic uint64_t wait_ns_max;	/* longest that a write was told to wait */
	struct rig_op flight[RIG_IN_FLIGHT];
	unsigned n_flight;
	pthread_t thread;
};

static inline uint64_t rig_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Applies an operation to an image of its disk. */
static inline void rig_apply(const struct rig_op *op, uint8_t *image)
{
	uint64_t s = op->fill;
	uint64_t v;

	for (uint32_t i = 0; i < op->len; i += 8) {
		v = s ? rig_random(&s) : 0;
		memcpy(image + op->off + i, &v, 8);
	}
}

static inline void rig_wake(void *arg)
{
	struct rig *r = arg;

	(void)!write(r->wake_fd, &(uint64_t){ 1 }, 8);
}

static inline void rig_complete(struct rig *r, unsigned i)
{
	struct rig_op op = r->flight[i];
	struct iovec iov = { r->disk[op.disk] + op.off, op.len };
	uint64_t n = atomic_load(&r->n);

	assert_true(n < RIG_HISTORY_MAX);
	r->flight[i] = r->flight[--r->n_flight];
	rig_apply(&op, r->disk[op.disk]);
	r->history[n] = op;
	atomic_store(&r->n, n + 1);
	if (op.failed)
		feed_after_write(r->f, op.disk, op.off, NULL, 0, 2 * (uint64_t)op.len, -EIO);
	else if (op.fill)
		feed_after_write(r->f, op.disk, op.off, &iov, 1, op.len, 0);
	else
		feed_after_zero(r->f, op.disk, op.off, op.len, 0);
}

static inline bool rig_overlaps(const struct rig *r, const struct rig_op *op)
{
	for (unsigned i = 0; i < r->n_flight; i++)
		if (r->flight[i].disk == op->disk && r->flight[i].off < op->off + 2 * op->len &&
		    op->off < r->flight[i].off + 2 * r->flight[i].len)
			return true;
	return false;
}

/* Waits as a queue does: others complete meanwhile, and wake says when to ask again. */
static inline void rig_start(struct rig *r, const struct rig_op *op, uint64_t len)
{
	uint64_t began = clock_mono_ns(), took, junk;
	struct pollfd p = { .fd = r->wake_fd, .events = POLLIN };
	int rc;

	while ((rc = feed_before(r->f, op->disk, op->off, len)) == FEED_WAIT) {
		while (r->n_flight)
			rig_complete(r, 0);
		if (poll(&p, 1, 10000) != 1)
			abort();		/* told to wait and never woken */
		(void)!read(r->wake_fd, &junk, 8);
	}
	assert_int_equal(rc, FEED_GO);
	took = clock_mono_ns() - began;
	if (took > atomic_load(&r->wait_ns_max))
		atomic_store(&r->wait_ns_max, took);
	r->flight[r->n_flight++] = *op;
}

static inline void rig_step(struct rig *r)
{
	uint64_t x = rig_random(&r->seed), len = ((x >> 8) % (RIG_LEN_MAX / RIG_SECTOR) + 1) * RIG_SECTOR;
	struct rig_op op = { .disk = (uint8_t)(x % RIG_DISKS), .fill = (uint32_t)(x >> 40) | 1, .len = (uint32_t)len };

	op.off = (uint32_t)(rig_random(&r->seed) % ((RIG_DISK_BYTES - len) / RIG_SECTOR) * RIG_SECTOR);
	if (x % 31 == 0)
		op.fill = 0;
	op.failed = x % 997 == 0 && op.fill && len % (2 * RIG_SECTOR) == 0;
	if (op.failed)
		op.len /= 2;
	if (r->n_flight == RIG_IN_FLIGHT || rig_overlaps(r, &op))
		rig_complete(r, (unsigned)(rig_random(&r->seed) % r->n_flight));
	while (rig_overlaps(r, &op))
		rig_complete(r, 0);
	rig_start(r, &op, len);
}

static inline void *rig_main(void *arg)
{
	struct rig *r = arg;

	while (!atomic_load(&r->stop)) {
		for (unsigned i = 0; i < 8; i++)
			rig_step(r);
		if (atomic_load(&r->slow))
			(void)poll(NULL, 0, 1);
	}
	while (r->n_flight)
		rig_complete(r, 0);
	return NULL;
}

static inline void rig_init(struct rig *r, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->seed = seed;
	r->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r->history = malloc(RIG_HISTORY_MAX * sizeof(*r->history));
	for (unsigned i = 0; i < RIG_DISKS; i++)
		r->disk[i] = calloc(1, RIG_DISK_BYTES);
}

/* The feed is there; positions count from where it stands. */
static inline void rig_go(struct rig *r)
{
	struct feed_stats st;

	feed_get_stats(r->f, &st);
	r->base = st.position;
	assert_int_equal(pthread_create(&r->thread, NULL, rig_main, r), 0);
}

static inline void rig_halt(struct rig *r)
{
	atomic_store(&r->stop, true);
	pthread_join(r->thread, NULL);
}

static inline void rig_fini(struct rig *r)
{
	close(r->wake_fd);
	free(r->history);
	for (unsigned i = 0; i < RIG_DISKS; i++)
		free(r->disk[i]);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring: order and bytes across the wrap, overflow and mark, a reader that
 * lies about its tail, a writer that lies about head and records.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "feed/ring.h"
#include "tests/unit/check.h"

struct pair {
	struct ring *w;
	struct ring_reader *r;
	uint8_t *raw;			/* a third mapping, to lie with */
};

static void pair_init(struct pair *p)
{
	struct err e = ERR_INIT;

	assert_int_equal(ring_new(RING_BYTES_MIN, &p->w, &e), 0);
	assert_int_equal(ring_reader_new(ring_fd(p->w), &p->r, &e), 0);
	p->raw = mmap(NULL, 2 * RING_PAGE_BYTES + RING_BYTES_MIN, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd(p->w), 0);
	assert_true(p->raw != MAP_FAILED);
}

static void pair_fini(struct pair *p)
{
	munmap(p->raw, 2 * RING_PAGE_BYTES + RING_BYTES_MIN);
	ring_reader_free(p->r);
	ring_free(p->w);
}

static struct ring_head_page *head_of(struct pair *p)
{
	return (struct ring_head_page *)(void *)p->raw;
}

static struct ring_tail_page *tail_of(struct pair *p)
{
	return (struct ring_tail_page *)(void *)(p->raw + RING_PAGE_BYTES);
}

/* len bytes that depend on the position, in two pieces. */
static bool put(struct pair *p, uint64_t position, uint64_t len)
{
	static uint8_t data[RING_BYTES_MIN];
	struct ring_rec rec = { .position = position, .off = position * 512, .len = len,
				.disk = (uint16_t)(position % 3) };
	struct iovec iov[2] = { { data, len / 3 }, { data + len / 3, len - len / 3 } };

	for (uint64_t i = 0; i < len; i++)
		data[i] = (uint8_t)(position * 31 + i);
	return ring_put(p->w, &rec, iov, 2);
}

static void expect(struct pair *p, uint64_t position, uint64_t len)
{
	struct err e = ERR_INIT;
	struct ring_rec rec;
	const uint8_t *data = NULL;

	assert_int_equal(ring_next(p->r, &rec, &data, &e), RING_REC);
	assert_int_equal(rec.position, position);
	assert_int_equal(rec.off, position * 512);
	assert_int_equal(rec.len, len);
	assert_int_equal(rec.disk, position % 3);
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(data[i], (uint8_t)(position * 31 + i));
}

static enum ring_step step(struct pair *p, struct ring_rec *rec)
{
	struct err e = ERR_INIT;
	const uint8_t *data;

	return ring_next(p->r, rec, &data, &e);
}

static void order_across_the_wrap(void **state)
{
	struct ring_rec rec;
	struct pair p;

	(void)state;
	pair_init(&p);
	assert_int_equal(step(&p, &rec), RING_LOST);	/* nothing before the first mark */
	assert_false(put(&p, 1, 10));
	assert_true(ring_mark(p.w, 1));
	assert_int_equal(step(&p, &rec), RING_REC);
	assert_int_equal(rec.flags, RING_MARK);
	assert_int_equal(step(&p, &rec), RING_EMPTY);
	for (uint64_t i = 2; i < 400; i++) {
		uint64_t len = i * 97 % 5000;

		assert_true(put(&p, i, len));
		expect(&p, i, len);
		ring_release(p.r);
	}
	pair_fini(&p);
}

static void overflow_and_mark(void **state)
{
	struct ring_stats st;
	struct ring_rec rec;
	struct pair p;
	uint64_t n = 1;

	(void)state;
	pair_init(&p);
	assert_true(ring_mark(p.w, 0));
	while (put(&p, n, 4096))
		n++;
	assert_int_equal(n - 1, (RING_BYTES_MIN - RING_REC_BYTES) / (4096 + RING_REC_BYTES));
	assert_false(put(&p, n + 1, 8));		/* it would fit, but order is order */
	assert_int_equal(step(&p, &rec), RING_REC);
	for (uint64_t i = 1; i < n; i++)
		expect(&p, i, 4096);
	assert_int_equal(step(&p, &rec), RING_LOST);
	assert_int_equal(rec.position, n);
	ring_get_stats(p.w, &st);
	assert_int_equal(st.losses, 1);
	assert_int_equal(st.lost, n);
	ring_release(p.r);
	assert_true(ring_mark(p.w, n + 1));
	assert_int_equal(step(&p, &rec), RING_REC);
	assert_int_equal(rec.flags, RING_MARK);
	assert_int_equal(rec.position, n + 1);
	assert_true(put(&p, n + 2, 100));
	expect(&p, n + 2, 100);
	assert_false(put(&p, n + 3, RING_BYTES_MIN));	/* never fits */
	pair_fini(&p);
}

static void no_data_records(void **state)
{
	static const uint16_t flags[] = { RING_ZERO, RING_UNKNOWN };
	struct ring_rec rec, want = { .position = 5, .off = 1 << 20, .len = 1ull << 40, .disk = 2 };
	struct pair p;

	(void)state;
	pair_init(&p);
	assert_true(ring_mark(p.w, 4));
	assert_int_equal(step(&p, &rec), RING_REC);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		want.flags = flags[i];
		assert_true(ring_put(p.w, &want, NULL, 0));
		assert_int_equal(step(&p, &rec), RING_REC);
		assert_int_equal(rec.flags, flags[i]);
		assert_int_equal(rec.len, 1ull << 40);
	}
	pair_fini(&p);
}

/* Each lie shuts the ring; the writer stays in its memory (ASan would say) and never waits. */
static void reader_lies(void **state)
{
	static const uint64_t tails[] = { 1, 1ull << 40, UINT64_MAX, UINT64_MAX - 7, (uint64_t)-RING_BYTES_MIN };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
		struct ring_stats st;
		struct pair p;
		uint64_t n = 1;

		pair_init(&p);
		assert_true(ring_mark(p.w, 0));
		atomic_store(&tail_of(&p)->tail, tails[i]);
		while (n < 100 && put(&p, n, 4096))
			n++;
		assert_true(n < 20);
		atomic_store(&tail_of(&p)->tail, atomic_load(&head_of(&p)->head));
		assert_false(ring_mark(p.w, n));	/* for good */
		ring_get_stats(p.w, &st);
		assert_true(st.bad_tail);
		pair_fini(&p);
	}
}

static void tail_goes_back(void **state)
{
	struct ring_stats st;
	struct ring_rec rec;
	struct pair p;
	uint64_t n = 1;

	(void)state;
	pair_init(&p);
	assert_true(ring_mark(p.w, 0));
	assert_int_equal(step(&p, &rec), RING_REC);
	for (; n < 40; n++) {
		assert_true(put(&p, n, 4096));
		expect(&p, n, 4096);
		ring_release(p.r);
	}
	atomic_store(&tail_of(&p)->tail, 8);
	while (n < 100 && put(&p, n, 4096))
		n++;
	ring_get_stats(p.w, &st);
	assert_true(n < 100 && st.bad_tail);
	pair_fini(&p);
}

static void writer_lies(void **state)
{
	static const struct { const char *label; unsigned at; uint64_t v; unsigned n; } lies[] = {
		{ "total too small", 0, 8, 4 }, { "total beyond head", 0, 4096, 4 }, { "total odd", 0, 33, 4 },
		{ "unknown flag", 6, 64, 2 }, { "two flags", 6, 3, 2 }, { "data beyond total", 24, 1 << 20, 8 },
		{ "range wraps", 16, UINT64_MAX, 8 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		struct ring_rec rec;
		struct pair p;

		pair_init(&p);
		assert_true(ring_mark(p.w, 0));
		assert_int_equal(step(&p, &rec), RING_REC);
		assert_true(put(&p, 1, 64));
		memcpy(p.raw + 2 * RING_PAGE_BYTES + RING_REC_BYTES + lies[i].at, &lies[i].v, lies[i].n);
		if (step(&p, &rec) != RING_BAD)
			fail_msg("%s was believed", lies[i].label);
		pair_fini(&p);
	}
}

static void head_lies(void **state)
{
	static const uint64_t heads[] = { 8, 33, RING_BYTES_MIN + 64, UINT64_MAX - 7 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		struct ring_rec rec;
		struct pair p;

		pair_init(&p);
		atomic_store(&head_of(&p)->head, heads[i]);
		assert_int_equal(step(&p, &rec), RING_BAD);
		pair_fini(&p);
	}
}

static void file_is_checked(void **state)
{
	struct ring_reader *r = NULL;
	struct ring *w = NULL;
	struct err e = ERR_INIT;
	int fd = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(fd, 2 * RING_PAGE_BYTES + RING_BYTES_MIN), 0);
	assert_int_equal(ring_reader_new(fd, &r, &e), -1);
	assert_int_equal(e.code, ERR_REFUSED);		/* it could shrink under us */
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(ring_reader_new(fd, &r, &e), -1);
	assert_int_equal(e.code, ERR_INCOMPATIBLE);
	close(fd);
	assert_int_equal(ring_new(RING_BYTES_MIN + 4096, &w, &e), -1);
	assert_int_equal(ring_new(RING_BYTES_MIN, &w, &e), 0);
	assert_int_equal(ftruncate(ring_fd(w), 0), -1);
	ring_free(w);
}

static void wakes_once(void **state)
{
	struct ring_rec rec;
	struct pair p;

	(void)state;
	pair_init(&p);
	assert_false(ring_arm(p.r));			/* lost: not a time to sleep */
	assert_true(ring_mark(p.w, 1));
	assert_false(ring_arm(p.r));
	assert_int_equal(step(&p, &rec), RING_REC);
	assert_true(ring_arm(p.r));
	assert_true(put(&p, 2, 8));
	assert_true(ring_wants_wake(p.w));
	assert_false(ring_wants_wake(p.w));
	pair_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_across_the_wrap), cmocka_unit_test(overflow_and_mark),
		cmocka_unit_test(no_data_records), cmocka_unit_test(reader_lies), cmocka_unit_test(tail_goes_back),
		cmocka_unit_test(writer_lies), cmocka_unit_test(head_lies), cmocka_unit_test(file_is_checked),
		cmocka_unit_test(wakes_once),
	};

	return check_main(tests);
}

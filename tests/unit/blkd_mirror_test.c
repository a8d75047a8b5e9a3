/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror where its order matters: records older than the map's copy, a
 * switch whose rest is longer than one batch, or not in the ring at all, or
 * takes too long.  Writes "in flight" are played straight to the feed, so that
 * a test decides when they end.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "blkd/mirror_priv.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { MIB = 1 << 20, BYTES = 32 * MIB, BLOCK = 4096, JOBS = 16, WAIT_MS = 30000, PACE_BYTES_S = 64 * MIB };

struct job {
	struct req r;
	struct rig *g;
	struct iovec iov;
	uint8_t data[16 * BLOCK];
	bool busy;
};

struct rig {
	struct tmp tmp;
	struct vm vm;
	struct vdisk *v;
	int source_fd, target_fd, note_fd;
	uint8_t *source, *target;	/* the images, mapped */
	uint8_t model[BYTES];
	struct job jobs[JOBS];
	uint64_t seed, writes, write_bytes;
	bool begun, failed, closed;
};

static uint64_t rnd(struct rig *g)
{
	g->seed ^= g->seed << 13;
	g->seed ^= g->seed >> 7;
	g->seed ^= g->seed << 17;
	return g->seed;
}

static int image_fd(uint8_t **out)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	*out = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(*out != MAP_FAILED);
	return fd;
}

static struct rig *rig_new(uint64_t seed)
{
	struct rig *g = mem_alloc(sizeof(*g));
	struct vm_attach a = { .name = "xvda" };
	struct disk_part part = { .format = disk_format("raw") };
	struct disk *d;
	struct err e = ERR_INIT;

	tmp_init(&g->tmp);
	g->seed = seed;
	g->vm.name = "test";
	g->vm.log_fd = open(tmp_path(&g->tmp, "log"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	g->note_fd = open(tmp_path(&g->tmp, "note"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (loop_new(&g->vm.loop, &e) < 0 || queue_new(g->vm.loop, &g->vm.q, &e) < 0 ||
	    fd_unix_listen(tmp_path(&g->tmp, "feed"), 0600, &g->vm.feed_fd, &e) < 0)
		fail_msg("%s", e.detail);
	g->source_fd = image_fd(&g->source);
	g->target_fd = image_fd(&g->target);
	g->v = vm_reserve(&g->vm, &a, &e);
	if (!g->v || blob_from_fd(dup(g->source_fd), "source", false, false, &part.blob, &e) < 0 ||
	    disk_open(&part, 1, false, &d, &e) < 0)
		fail_msg("%s", e.detail);
	vm_opened(g->v, d);
	for (unsigned i = 0; i < JOBS; i++)
		g->jobs[i].g = g;
	return g;
}

static void turn(struct rig *g)
{
	loop_once(g->vm.loop, 1);
}

static void closed(void *arg, int res)
{
	struct rig *g = arg;

	assert_int_equal(res, 0);
	g->closed = true;
}

static void rig_free(struct rig *g)
{
	vm_close(g->v, closed, g);
	for (int i = 0; i < WAIT_MS && !g->closed; i++)
		turn(g);
	assert_true(g->closed);
	vm_feed_free(&g->vm);
	turn(g);
	queue_free(g->vm.q);
	loop_free(g->vm.loop);
	munmap(g->source, BYTES);
	munmap(g->target, BYTES);
	fd_close(&g->source_fd);
	fd_close(&g->target_fd);
	fd_close(&g->note_fd);
	fd_close(&g->vm.feed_fd);
	fd_close(&g->vm.log_fd);
	tmp_fini(&g->tmp);
	free(g);
}

static void begun(void *arg, const struct err *e)
{
	struct rig *g = arg;

	g->begun = true;
	g->failed = e != NULL;
}

static void mirror(struct rig *g, uint64_t bytes_s)
{
	struct image m = { .n = 1, .parts = { { .format = disk_format("raw"), .fd = dup(g->target_fd) } } };
	struct err e = ERR_INIT;

	m.parts[0].path = mem_strdup("target");
	if (mirror_start(g->v, &m, dup(g->note_fd), bytes_s, begun, g, &e) < 0)
		fail_msg("%s", e.detail);
	for (int i = 0; i < WAIT_MS && !g->begun; i++)
		turn(g);
	assert_true(g->begun && !g->failed);
}

static void until_over(struct rig *g)
{
	for (int i = 0; i < WAIT_MS && g->vm.mirror; i++)
		turn(g);
	assert_null(g->vm.mirror);
}

static bool noted(const struct rig *g)
{
	char text[16] = "";

	return pread(g->note_fd, text, sizeof(text), 0) == sizeof(MIRROR_NOTE) - 1 && !strcmp(text, MIRROR_NOTE);
}

static void expect_switched(struct rig *g)
{
	assert_true(noted(g));
	assert_int_equal(memcmp(g->target, g->model, BYTES), 0);
}

/* ---- a guest: many writes in flight, each with contents of its own ---- */

static void job_done(struct req *r, int res)
{
	struct job *j = (struct job *)(void *)r;

	assert_int_equal(res, 0);
	j->busy = false;
}

static void write_one(struct rig *g, struct job *j)
{
	uint64_t blocks = 1 + rnd(g) % 16, n = blocks * BLOCK, mark = ++g->writes;
	uint64_t at = rnd(g) % (BYTES / BLOCK - blocks);
	enum req_op op = rnd(g) % 16 ? REQ_WRITE : REQ_ZERO;

	for (size_t i = 0; i < n; i += sizeof(mark))
		memcpy(j->data + i, &mark, sizeof(mark));
	if (op == REQ_ZERO)
		memset(j->data, 0, n);
	memcpy(g->model + at * BLOCK, j->data, n);
	j->busy = true;
	j->iov = (struct iovec){ j->data, n };
	j->r = (struct req){ .op = op, .disk = g->v->qd, .off = at * BLOCK, .len = n, .iov = &j->iov, .n_iov = 1,
			     .done = job_done };
	g->write_bytes += n;
	queue_submit(g->vm.q, &j->r);
}

/* n more writes, as many at once as there are jobs free. */
static void write_some(struct rig *g, unsigned n)
{
	for (unsigned i = 0; i < JOBS && n; i++) {
		if (g->jobs[i].busy)
			continue;
		write_one(g, &g->jobs[i]);
		n--;
	}
	queue_kick(g->vm.q);
}

static bool busy(const struct rig *g)
{
	for (unsigned i = 0; i < JOBS; i++)
		if (g->jobs[i].busy)
			return true;
	return false;
}

/* Writes all the time until the ring has overflowed while the map was copied, a little until the end. */
static void busy_guest(struct rig *g)
{
	uint64_t much = 3 * RING_BYTES;

	write_some(g, JOBS);
	mirror(g, PACE_BYTES_S);
	for (int i = 0; i < WAIT_MS && g->vm.mirror; i++) {
		if (g->write_bytes < much)
			write_some(g, JOBS);
		else if (i % 4 == 0)
			write_some(g, 1);
		turn(g);
	}
	for (int i = 0; i < WAIT_MS && busy(g); i++)
		turn(g);
	assert_false(busy(g));
}

static void overflow_then_switch(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct rig *g = rig_new(seed * 0x9e3779b97f4a7c15u);

		busy_guest(g);
		expect_switched(g);
		assert_true(g->write_bytes > RING_BYTES);
		rig_free(g);
	}
}

/* ---- writes that end when the test says ---- */

static void start_write(struct rig *g, uint64_t off, uint64_t len)
{
	int rc = FEED_WAIT;

	for (int i = 0; i < WAIT_MS && rc == FEED_WAIT; i++) {	/* for the extent's mark */
		rc = feed_before(taps_feed(g->vm.taps), 0, off, len);
		if (rc == FEED_WAIT)
			turn(g);
	}
	assert_int_equal(rc, FEED_GO);
}

/* Contents that tell the place and `mark`. */
static void end_write(struct rig *g, uint64_t off, uint64_t len, uint8_t mark)
{
	struct iovec iov = { g->model + off, len };

	for (uint64_t i = 0; i < len; i++)
		g->model[off + i] = (uint8_t)(mark + i / BLOCK);
	memcpy(g->source + off, g->model + off, len);
	feed_after_write(taps_feed(g->vm.taps), 0, off, &iov, 1, len, 0);
}

static bool reaches(struct rig *g, enum mirror_state s)
{
	for (int i = 0; i < WAIT_MS && g->vm.mirror && g->vm.mirror->state != s; i++)
		turn(g);
	return g->vm.mirror && g->vm.mirror->state == s;
}

/* The first barrier is through, the map is being copied. */
static void begin_paced(struct rig *g)
{
	mirror(g, PACE_BYTES_S);
	for (int i = 0; i < WAIT_MS && !g->vm.mirror->has_cut; i++)
		turn(g);
	assert_true(g->vm.mirror->has_cut);
}

/* As soon as writes are held for the switch. */
static void until_held(struct rig *g)
{
	assert_true(reaches(g, MIRROR_SWITCHING));
	assert_true(mirror_switching(g->vm.mirror));
	while (feed_before(taps_feed(g->vm.taps), 0, 0, BLOCK) == FEED_GO) {	/* the worker has not asked yet */
		feed_after_nothing(taps_feed(g->vm.taps));
		turn(g);
	}
}

static void rest_of_many_batches(void **state)
{
	enum { N = 3 * MIRROR_RECORDS };
	struct rig *g = rig_new(1);

	(void)state;
	begin_paced(g);
	for (unsigned i = 0; i < N; i++)
		start_write(g, (uint64_t)i * BLOCK, BLOCK);
	until_held(g);
	for (unsigned i = 0; i < N; i++)
		end_write(g, (uint64_t)i * BLOCK, BLOCK, (uint8_t)i);
	until_over(g);
	expect_switched(g);
	rig_free(g);
}

/* A write that does not fit the ring ends behind the switch's beginning. */
static void rest_only_in_the_map(void **state)
{
	struct rig *g = rig_new(1);

	(void)state;
	begin_paced(g);
	start_write(g, MIB, RING_BYTES + MIB);
	start_write(g, 4 * MIB, BLOCK);
	until_held(g);
	end_write(g, 4 * MIB, BLOCK, 7);
	end_write(g, MIB, RING_BYTES + MIB, 1);		/* over the one that is in the ring */
	until_over(g);
	expect_switched(g);
	rig_free(g);
}

/* The same, and the switch is given up at that moment: the ring does not show the gap any more. */
static void gap_then_too_late(void **state)
{
	struct rig *g = rig_new(1);

	(void)state;
	begin_paced(g);
	start_write(g, MIB, RING_BYTES + MIB);
	until_held(g);
	end_write(g, MIB, RING_BYTES + MIB, 1);
	mirror_late(g->vm.mirror);
	assert_false(mirror_switching(g->vm.mirror));
	until_over(g);
	expect_switched(g);
	rig_free(g);
}

/* It ends too late: the writes go on, and the switch comes after it. */
static void too_late(void **state)
{
	struct rig *g = rig_new(1);

	(void)state;
	begin_paced(g);
	start_write(g, 0, BLOCK);
	until_held(g);
	for (int i = 0; i < WAIT_MS && mirror_switching(g->vm.mirror); i++)
		turn(g);
	start_write(g, BLOCK, BLOCK);			/* may go */
	assert_int_equal(pread(g->note_fd, (char[1]){ 0 }, 1, 0), 0);
	end_write(g, BLOCK, BLOCK, 3);
	end_write(g, 0, BLOCK, 5);
	until_over(g);
	expect_switched(g);
	rig_free(g);
}

static void cancel_while_held(void **state)
{
	struct rig *g = rig_new(1);

	(void)state;
	begin_paced(g);
	start_write(g, 0, BLOCK);
	until_held(g);
	mirror_cancel(g->vm.mirror, NULL, NULL);
	start_write(g, BLOCK, BLOCK);			/* at once, not when it is over */
	end_write(g, BLOCK, BLOCK, 3);
	end_write(g, 0, BLOCK, 5);
	until_over(g);
	assert_false(noted(g));
	assert_int_equal(memcmp(g->source, g->model, BYTES), 0);
	rig_free(g);
}

/* What was written half-way is read from the source, after the records before it and before those behind it. */
static void unknown_among_records(void **state)
{
	struct rig *g = rig_new(1);
	struct feed *f;

	(void)state;
	begin_paced(g);
	f = taps_feed(g->vm.taps);
	for (unsigned i = 0; i < 3; i++)
		start_write(g, 0, BLOCK);
	until_held(g);
	end_write(g, 0, BLOCK, 1);
	memset(g->model, 0xee, BLOCK / 2);
	memset(g->source, 0xee, BLOCK / 2);
	feed_after_unknown(f, 0, 0, BLOCK);
	end_write(g, BLOCK, BLOCK, 9);
	until_over(g);
	expect_switched(g);
	rig_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overflow_then_switch), cmocka_unit_test(rest_of_many_batches),
		cmocka_unit_test(rest_only_in_the_map), cmocka_unit_test(gap_then_too_late), cmocka_unit_test(too_late),
		cmocka_unit_test(cancel_while_held), cmocka_unit_test(unknown_among_records),
	};

	return check_main(tests);
}

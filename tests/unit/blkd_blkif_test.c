/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a guest through blkif and the real queue: bytes compared with
 * the disk, what is refused, memory bounded, and endings with requests in
 * flight.
 */
#include <fcntl.h>
#include <unistd.h>

#include "blkd/blkif_priv.h"
#include "tests/unit/blkif_guest.h"
#include "tests/unit/tmp.h"

enum { A = GUEST_DATA, B = GUEST_DATA + 4096, PAGE = BLKIF_PAGE_BYTES };

static struct blkif_stats stats_of(struct guest *u)
{
	struct blkif_stats s;

	blkif_stats(u->g->b, &s);
	return s;
}

static struct rig *begin(struct guest *u, unsigned order)
{
	struct rig *g = rig_new(NULL);

	rig_blkif(g, false);
	rig_settle(g);
	guest_connect(u, g, order);
	return g;
}

static void same(struct guest *u, uint32_t ref, uint32_t other, unsigned n)
{
	assert_memory_equal(u->g->pages[ref], u->g->pages[other], (size_t)n * PAGE);
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

static void bytes_go_round(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	guest_fill(&u, A, 11, 3);
	assert_int_equal(guest_run(&u, BLKIF_WRITE, 72, A, 11), BLKIF_OKAY);
	assert_memory_equal(g->m->p + 72 * 512, g->pages[A], 11 * PAGE);
	assert_int_equal(guest_run(&u, BLKIF_READ, 72, B, 11), BLKIF_OKAY);
	same(&u, A, B, 11);
	assert_int_equal(g->unmasked, 2);
	assert_int_equal(g->bells, 1 + 2);	/* the connection, two answers */
	assert_int_equal(guest_load(u.ring + BLKIF_REQ_EVENT_AT, 4), u.prod + 1);	/* and it is to ring again */
	rig_free(g);
}

/* Sectors 2 to 5 of one page and 7 of another, side by side on the disk. */
static void parts_of_pages(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	guest_fill(&u, A, 2, 9);
	guest_put(&u, BLKIF_WRITE, 1, 100, A, 2);
	guest_seg(u.ring + BLKIF_SLOTS_AT + 24, A, 2, 5);
	guest_seg(u.ring + BLKIF_SLOTS_AT + 32, A + 1, 7, 7);
	guest_ring(&u);
	guest_wait(&u, 1);
	assert_int_equal(u.status[1], BLKIF_OKAY);
	assert_memory_equal(g->m->p + 100 * 512, g->pages[A] + 1024, 2048);
	assert_memory_equal(g->m->p + 104 * 512, g->pages[A + 1] + 3584, 512);
	assert_int_equal(g->m->p[105 * 512], 0);
	rig_free(g);
}

static void indirect(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	guest_fill(&u, A, 256, 5);
	assert_int_equal(guest_run(&u, BLKIF_WRITE, 8, A, 256), BLKIF_OKAY);
	assert_int_equal(g->copies, 2);		/* the table, the data */
	assert_memory_equal(g->m->p + PAGE, g->pages[A], 256 * PAGE);
	assert_int_equal(guest_run(&u, BLKIF_READ, 8, B, 256), BLKIF_OKAY);
	assert_int_equal(g->copies, 4);
	same(&u, A, B, 256);
	rig_free(g);
}

static void a_batch_costs_one_copy(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 2);

	(void)state;
	guest_fill(&u, A, 64, 1);
	rig_hold(g, true);
	for (unsigned i = 0; i < 64; i++)
		guest_put(&u, BLKIF_WRITE, i, 8 * i, A + i, 1);
	guest_ring(&u);
	assert_int_equal(g->copies, 2);		/* of 32 each */
	assert_int_equal(stats_of(&u).in_flight, 64);
	rig_hold(g, false);
	guest_wait(&u, 64);
	assert_memory_equal(g->m->p, g->pages[A], 64 * PAGE);
	rig_free(g);
}

static void flushes(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	assert_int_equal(guest_run(&u, BLKIF_FLUSH, UINT64_MAX, 0, 0), BLKIF_OKAY);
	assert_string_equal(g->m->order, "f");
	guest_fill(&u, A, 1, 1);
	assert_int_equal(guest_run(&u, BLKIF_FLUSH, 16, A, 1), BLKIF_OKAY);
	assert_string_equal(g->m->order, "ffwf");	/* what was before, the data, the data durable */
	assert_memory_equal(g->m->p + 16 * 512, g->pages[A], PAGE);
	g->m->fail = -EIO;
	assert_int_equal(guest_run(&u, BLKIF_FLUSH, 0, 0, 0), BLKIF_FAILED);
	rig_free(g);
}

static void discards(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	guest_discard(&u, 3, 0, RIG_DISK_BYTES / 2 / 512);	/* all of it */
	guest_discard(&u, 4, 8, 0);
	guest_discard(&u, 5, 8, RIG_DISK_BYTES / 2 / 512);
	guest_ring(&u);
	guest_wait(&u, 3);
	assert_int_equal(u.status[3], BLKIF_OKAY);
	assert_int_equal(u.status[4], BLKIF_FAILED);
	assert_int_equal(u.status[5], BLKIF_FAILED);
	rig_free(g);
}

/* ---- what is refused ----------------------------------------------------------------------------------- */

static void refused(void **state)
{
	static const struct {
		const char *label;
		uint8_t op;
		uint64_t sector;
		unsigned n;
		uint32_t revoke;	/* reference that is not granted, 0: all are */
		int disk;		/* what the disk says */
		int want;
	} cases[] = {
		{ "barrier", BLKIF_BARRIER, 0, 1, 0, 0, BLKIF_UNSUPPORTED },
		{ "unknown", 77, 0, 1, 0, 0, BLKIF_UNSUPPORTED },
		{ "past_end", BLKIF_WRITE, RIG_DISK_BYTES / 2 / 512 - 7, 1, 0, 0, BLKIF_FAILED },
		{ "no_segments", BLKIF_WRITE, 0, 0, 0, 0, BLKIF_FAILED },
		{ "too_many", BLKIF_READ, 0, 257, 0, 0, BLKIF_FAILED },
		{ "write_page", BLKIF_WRITE, 0, 3, A + 2, 0, BLKIF_FAILED },
		{ "read_page", BLKIF_READ, 0, 3, A + 1, 0, BLKIF_FAILED },
		{ "table", BLKIF_WRITE, 0, 12, GUEST_TABLES, 0, BLKIF_FAILED },
		{ "disk_write", BLKIF_WRITE, 0, 1, 0, -EIO, BLKIF_FAILED },
		{ "disk_read", BLKIF_READ, 0, 1, 0, -EIO, BLKIF_FAILED },
		{ "good", BLKIF_WRITE, 0, 1, 0, 0, BLKIF_OKAY },
	};
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int got;

		guest_fill(&u, A, 1, 0x5a);
		g->revoked[cases[i].revoke] = cases[i].revoke != 0;
		g->m->fail = cases[i].disk;
		got = guest_run(&u, cases[i].op, cases[i].sector, A, cases[i].n);
		if (got != cases[i].want)
			fail_msg("%s: %d, want %d", cases[i].label, got, cases[i].want);
		g->revoked[cases[i].revoke] = false;
		g->m->fail = 0;
		if (cases[i].want != BLKIF_OKAY)
			assert_int_equal(g->m->p[0], 0);
	}
	assert_int_equal(stats_of(&u).failed, ARRAY_LEN(cases) - 1);
	assert_int_equal(stats_of(&u).bytes, 0);
	rig_free(g);
}

static void read_only(void **state)
{
	struct rig *g = rig_new(NULL);
	struct guest u;

	(void)state;
	rig_blkif(g, true);
	rig_settle(g);
	guest_connect(&u, g, 0);
	guest_fill(&u, A, 1, 1);
	assert_int_equal(guest_run(&u, BLKIF_WRITE, 0, A, 1), BLKIF_FAILED);
	assert_int_equal(guest_run(&u, BLKIF_READ, 0, A, 1), BLKIF_OKAY);
	assert_int_equal(guest_run(&u, BLKIF_FLUSH, 0, 0, 0), BLKIF_OKAY);
	assert_int_equal(g->m->p[0], 0);
	rig_free(g);
}

/* 48 MiB are asked for at once. */
static void memory_is_bounded(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 4);

	(void)state;
	guest_fill(&u, A, 256, 7);
	assert_int_equal(guest_run(&u, BLKIF_WRITE, 0, A, 256), BLKIF_OKAY);
	rig_hold(g, true);
	guest_put(&u, BLKIF_WRITE, 49, 8000, A, 1);	/* so that the limit comes within a batch */
	guest_ring(&u);
	for (unsigned i = 1; i <= 48; i++)
		guest_put(&u, BLKIF_READ, i, 0, A + 256 * i, 256);
	guest_ring(&u);
	blkif_rang(g->b);
	assert_int_equal(stats_of(&u).in_flight, BLKIF_BYTES_MAX / BLKIF_REQ_BYTES_MAX);
	assert_int_equal(stats_of(&u).bytes, BLKIF_BYTES_MAX - BLKIF_REQ_BYTES_MAX + PAGE);
	rig_hold(g, false);
	guest_wait(&u, 49);
	for (unsigned i = 1; i <= 48; i++)
		same(&u, A, A + 256 * i, 256);
	assert_true(stats_of(&u).stalls > 0);
	assert_int_equal(stats_of(&u).bytes, 0);
	rig_free(g);
}

/* ---- hostile counters ---------------------------------------------------------------------------------- */

static void absurd_counters(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	u.prod += 33;
	guest_ring(&u);
	assert_int_equal(g->broke, 1);
	assert_string_equal(g->states, "2456");
	assert_true(rig_node(g, RIG_ERROR) != NULL);
	assert_int_equal(g->mapped + g->bound, 0);
	blkif_rang(g->b);			/* a bell that was on its way */
	guest_state(&u, "3");			/* it may not just go on */
	rig_settle(g);
	assert_string_equal(g->states, "2456");
	guest_state(&u, "1");
	guest_connect(&u, g, 0);
	assert_string_equal(g->states, "245624");
	assert_null(rig_node(g, RIG_ERROR));
	assert_int_equal(guest_run(&u, BLKIF_READ, 0, A, 1), BLKIF_OKAY);
	rig_free(g);
}

static void absurd_counters_with_requests_in_flight(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	rig_hold(g, true);
	for (unsigned i = 0; i < 4; i++)
		guest_put(&u, BLKIF_READ, i, 8 * i, A + i, 1);
	guest_ring(&u);
	u.prod += 40;
	guest_ring(&u);
	assert_string_equal(g->states, "245");
	assert_int_equal(g->mapped, 1);		/* as long as a request of it is there */
	rig_hold(g, false);
	RIG_UNTIL(g, !g->mapped);
	assert_string_equal(g->states, "2456");
	guest_hear(&u);
	assert_int_equal(u.answers, 0);
	assert_int_equal(stats_of(&u).dropped, 4);
	rig_free(g);
}

/* ---- endings with requests in flight ------------------------------------------------------------------- */

/* Its pages may serve others by then, so nothing is written to them. */
static void the_guest_closes(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	memset(g->m->p, 0x11, 16 * PAGE);
	rig_hold(g, true);
	for (unsigned i = 0; i < 8; i++)
		guest_put(&u, BLKIF_READ, i, 8 * i, A + i, 1);
	guest_put(&u, BLKIF_WRITE, 8, 800, A, 1);
	guest_ring(&u);
	guest_state(&u, "6");
	assert_int_equal(g->mapped, 1);
	rig_hold(g, false);
	RIG_UNTIL(g, !g->mapped);
	assert_string_equal(g->states, "246");
	assert_int_equal(g->pages[A][0], 0);
	assert_int_equal(stats_of(&u).dropped, 9);
	guest_state(&u, "1");
	guest_connect(&u, g, 1);
	assert_string_equal(g->states, "24624");
	assert_int_equal(guest_run(&u, BLKIF_READ, 0, A, 1), BLKIF_OKAY);
	assert_int_equal(g->pages[A][0], 0x11);
	rig_free(g);
}

static void closing_is_still_served(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	guest_state(&u, "5");
	guest_fill(&u, A, 1, 2);
	assert_int_equal(guest_run(&u, BLKIF_WRITE, 0, A, 1), BLKIF_OKAY);
	guest_state(&u, "6");
	assert_string_equal(g->states, "2456");
	rig_free(g);
}

static void stop_answers_first(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	rig_hold(g, true);
	guest_fill(&u, A, 4, 2);
	for (unsigned i = 0; i < 4; i++)
		guest_put(&u, BLKIF_WRITE, i, 8 * i, A + i, 1);
	guest_ring(&u);
	blkif_stop(g->b, false, rig_stopped, g);
	guest_put(&u, BLKIF_WRITE, 9, 800, A, 1);
	guest_ring(&u);				/* too late */
	rig_settle(g);
	assert_int_equal(g->stopped, 0);
	rig_hold(g, false);
	RIG_UNTIL(g, g->stopped);
	guest_hear(&u);
	assert_int_equal(u.answers, 4);
	assert_int_equal(u.status[9], GUEST_NONE);
	assert_memory_equal(g->m->p, g->pages[A], 4 * PAGE);
	assert_string_equal(g->states, "2456");
	blkif_free(g->b);
	g->b = NULL;
	rig_free(g);
}

/* And it closes while it is being answered. */
static void stop_of_one_that_goes(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	rig_hold(g, true);
	guest_put(&u, BLKIF_READ, 0, 0, A, 1);
	guest_ring(&u);
	blkif_stop(g->b, true, rig_stopped, g);
	guest_state(&u, "6");
	rig_hold(g, false);
	RIG_UNTIL(g, g->stopped);
	guest_hear(&u);
	assert_int_equal(u.answers, 0);
	blkif_free(g->b);
	g->b = NULL;
	rig_free(g);
}

/* What was not taken is done by the next process. */
static void another_takes_over(void **state)
{
	struct guest u;
	struct rig *g = begin(&u, 0);

	(void)state;
	guest_fill(&u, A, 3, 2);
	assert_int_equal(guest_run(&u, BLKIF_WRITE, 0, A, 1), BLKIF_OKAY);
	rig_stop(g, true);
	guest_put(&u, BLKIF_WRITE, 1, 8, A + 1, 1);
	guest_put(&u, BLKIF_WRITE, 2, 16, A + 2, 1);
	guest_store(u.ring + BLKIF_REQ_PROD_AT, u.prod, 4);
	rig_blkif(g, false);
	guest_wait(&u, 2);
	assert_string_equal(g->states, "24");	/* the guest has not noticed */
	assert_memory_equal(g->m->p, g->pages[A], 3 * PAGE);
	assert_int_equal(guest_run(&u, BLKIF_READ, 0, B, 3), BLKIF_OKAY);
	same(&u, A, B, 3);
	rig_free(g);
}

/* ---- a file, at length --------------------------------------------------------------------------------- */

enum { SOAK_DEPTH = 24, SOAK_PAGES = 512, SOAK_ROUNDS = 400, EACH = 20 };

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* A round: requests to places of their own, up to EACH pages; the model is the memory of writes. */
static void soak_round(struct guest *u, uint8_t *model, uint32_t *seed)
{
	const unsigned own = SOAK_PAGES / SOAK_DEPTH;
	struct { bool read; unsigned at, n; } job[SOAK_DEPTH];

	for (unsigned i = 0; i < SOAK_DEPTH; i++) {
		uint32_t ref = A + 32 * i;

		job[i].read = next_random(seed) & 1;
		job[i].n = 1 + next_random(seed) % EACH;
		job[i].at = i * own + next_random(seed) % (own - job[i].n + 1);
		u->status[i] = GUEST_NONE;
		if (!job[i].read) {
			guest_fill(u, ref, job[i].n, (uint8_t)next_random(seed));
			memcpy(model + job[i].at * PAGE, u->g->pages[ref], job[i].n * PAGE);
		}
		guest_put(u, job[i].read ? BLKIF_READ : BLKIF_WRITE, i, 8 * job[i].at, ref, job[i].n);
	}
	u->status[SOAK_DEPTH] = GUEST_NONE;
	guest_put(u, BLKIF_FLUSH, SOAK_DEPTH, 0, 0, 0);
	guest_ring(u);
	guest_wait(u, SOAK_DEPTH + 1);
	for (unsigned i = 0; i <= SOAK_DEPTH; i++)
		assert_int_equal(u->status[i], BLKIF_OKAY);
	for (unsigned i = 0; i < SOAK_DEPTH; i++)
		if (job[i].read)
			assert_memory_equal(u->g->pages[A + 32 * i], model + job[i].at * PAGE, job[i].n * PAGE);
}

static void a_file_at_length(void **state)
{
	uint8_t *model = mem_alloc(SOAK_PAGES * PAGE);
	struct err e = ERR_INIT;
	uint32_t seed = 12345;
	struct blob *blob;
	struct guest u;
	struct rig *g;
	struct tmp t;
	int fd;

	(void)state;
	tmp_init(&t);
	fd = open(tmp_path(&t, "disk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, SOAK_PAGES * PAGE), 0);
	if (blob_from_fd(fd, "disk", false, false, &blob, &e) < 0)
		fail_msg("%s", e.detail);
	g = rig_new(blob);
	rig_blkif(g, false);
	rig_settle(g);
	guest_connect(&u, g, 1);
	for (unsigned i = 0; i < SOAK_ROUNDS; i++)
		soak_round(&u, model, &seed);
	rig_free(g);
	tmp_fini(&t);
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_round),
		cmocka_unit_test(parts_of_pages),
		cmocka_unit_test(indirect),
		cmocka_unit_test(a_batch_costs_one_copy),
		cmocka_unit_test(flushes),
		cmocka_unit_test(discards),
		cmocka_unit_test(refused),
		cmocka_unit_test(read_only),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(absurd_counters),
		cmocka_unit_test(absurd_counters_with_requests_in_flight),
		cmocka_unit_test(the_guest_closes),
		cmocka_unit_test(closing_is_still_served),
		cmocka_unit_test(stop_answers_first),
		cmocka_unit_test(stop_of_one_that_goes),
		cmocka_unit_test(another_takes_over),
		cmocka_unit_test(a_file_at_length),
	};

	return check_main(tests);
}

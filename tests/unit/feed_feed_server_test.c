/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server, client and feed together, over the real socket: a guest's thread
 * writes, a consumer rebuilds its disks from map and ring and must have, at
 * each barrier, exactly the state of that position.  He is slow at times, and
 * dies, and comes back.  FEED_SEED and FEED_ROUNDS repeat or lengthen a run.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/ctl.h"
#include "base/js.h"
#include "feed/feed_client.h"
#include "feed/feed_proto.h"
#include "feed/feed_server.h"
#include "tests/unit/check.h"
#include "tests/unit/feed_rig.h"
#include "tests/unit/tmp.h"

enum { SMALL_RING = 2 << 20, RUNS = 100 };

struct world {
	struct tmp tmp;
	char sock[TMP_PATH_BYTES];
	int log_fd;
	struct rig rig;
	struct feed_server *server;
	/* The consumer. */
	struct feed_client *c;
	uint8_t *copy[RIG_DISKS];	/* what he has */
	uint8_t *truth[RIG_DISKS];	/* the history up to ... */
	uint64_t truth_n;
	bool based;			/* all of the last barrier's map was read */
	bool unknown;			/* a range was read from the disk behind the barrier's back */
	uint64_t acked;			/* position */
	unsigned exact, losses;
};

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void world_init(struct world *w, uint64_t seed)
{
	static const struct feed_disk disks[RIG_DISKS] = {
		{ .key = "xvda", .bytes = RIG_DISK_BYTES }, { .key = "xvdb", .bytes = RIG_DISK_BYTES },
	};
	struct feed_cfg cfg = { .disks = disks, .n_disks = RIG_DISKS, .log_ops = &act_log_file_ops, .wake = rig_wake,
				.arg = &w->rig };
	struct err e = ERR_INIT;

	memset(w, 0, sizeof(*w));
	tmp_init(&w->tmp);
	rig_init(&w->rig, seed);
	w->log_fd = open(tmp_path(&w->tmp, "log"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cfg.log_io = (void *)(intptr_t)w->log_fd;
	assert_int_equal(feed_new(&cfg, &w->rig.f, &e), 0);
	snprintf(w->sock, sizeof(w->sock), "%s", tmp_path(&w->tmp, "feed.sock"));
	assert_int_equal(feed_server_new(w->rig.f, w->sock, 0600, (uid_t)-1, &w->server, &e), 0);
	for (unsigned i = 0; i < RIG_DISKS; i++) {
		w->copy[i] = calloc(1, RIG_DISK_BYTES);
		w->truth[i] = calloc(1, RIG_DISK_BYTES);
	}
}

static void world_fini(struct world *w)
{
	feed_client_close(w->c);
	feed_server_free(w->server);
	feed_free(w->rig.f);
	rig_fini(&w->rig);
	for (unsigned i = 0; i < RIG_DISKS; i++) {
		free(w->copy[i]);
		free(w->truth[i]);
	}
	close(w->log_fd);
	tmp_fini(&w->tmp);
}

static void attach(struct world *w, uint64_t ring_bytes)
{
	struct feed_stats st;
	struct feed_attach a = { .name = "replica", .has_position = w->acked > 0, .position = w->acked,
				 .ring_bytes = ring_bytes };
	struct err e = ERR_INIT;

	feed_get_stats(w->rig.f, &st);
	a.feed_id = st.feed_id;
	/* A consumer that died is BUSY until the server has seen it. */
	while (feed_client_open(w->sock, &a, &w->c, &e) < 0) {
		assert_int_equal(e.code, ERR_BUSY);
		(void)poll(NULL, 0, 1);
	}
	assert_int_equal(feed_client_info(w->c)->full, w->acked == 0);
	assert_false(feed_client_info(w->c)->coarse);
	w->based = false;
}

static void apply(struct world *w, const struct ring_rec *rec, const uint8_t *data)
{
	assert_true(rec->off + rec->len <= RIG_DISK_BYTES);
	if (rec->flags == RING_ZERO)
		memset(w->copy[rec->disk] + rec->off, 0, rec->len);
	else if (rec->flags == RING_UNKNOWN)
		memcpy(w->copy[rec->disk] + rec->off, w->rig.disk[rec->disk] + rec->off, rec->len);
	else
		memcpy(w->copy[rec->disk] + rec->off, data, rec->len);
	w->unknown = w->unknown || rec->flags == RING_UNKNOWN;
}

/* Applies what is in the ring, up to the mark of the barrier. */
static void drain(struct world *w, uint64_t until)
{
	struct err e = ERR_INIT;
	struct ring_rec rec;
	const uint8_t *data = NULL;
	enum ring_step step;

	while ((step = feed_client_next(w->c, &rec, &data, &e)) == RING_REC) {
		if (rec.flags == RING_MARK && rec.position == until)
			break;
		if (rec.flags != RING_MARK)
			apply(w, &rec, data);
		feed_client_release(w->c);
	}
	assert_int_not_equal(step, RING_BAD);
	feed_client_release(w->c);
}

static void read_map(struct world *w)
{
	struct dirty_run runs[RUNS];
	struct err e = ERR_INIT;

	for (unsigned d = 0; d < RIG_DISKS; d++) {
		for (uint64_t from = 0; from != UINT64_MAX;) {
			unsigned n = RUNS;

			assert_int_equal(feed_client_map(w->c, d, &from, runs, &n, &e), 0);
			for (unsigned i = 0; i < n; i++)
				memcpy(w->copy[d] + runs[i].off, w->rig.disk[d] + runs[i].off, runs[i].bytes);
		}
	}
}

static void compare_at(struct world *w, uint64_t position, uint64_t seed)
{
	for (; w->truth_n < position - w->rig.base; w->truth_n++) {
		const struct rig_op *op = &w->rig.history[w->truth_n];

		rig_apply(op, w->truth[op->disk]);
	}
	for (unsigned d = 0; d < RIG_DISKS; d++)
		if (memcmp(w->truth[d], w->copy[d], RIG_DISK_BYTES) != 0)
			fail_msg("seed %llu: disk %u differs at position %llu", (unsigned long long)seed, d,
				 (unsigned long long)position);
	w->exact++;
}

/* One barrier, and what feed_proto.h says to do after it. */
static void round_trip(struct world *w, uint64_t seed)
{
	struct feed_client_cut cut = { 0 };
	struct err e = ERR_INIT;

	w->unknown = false;
	assert_int_equal(feed_client_barrier(w->c, &cut, &e), 0);
	drain(w, cut.position);
	w->losses += w->based && !cut.complete;
	if (w->based && cut.complete && !w->unknown) {
		compare_at(w, cut.position, seed);
	} else {
		read_map(w);
		/* What was read is newer than the barrier: the ring from here on makes it good. */
		w->based = cut.ring;
		if (!w->based)
			return;
	}
	assert_int_equal(feed_client_ack(w->c, cut.position, &e), 0);
	w->acked = cut.position;
}

static void finish(struct world *w, uint64_t seed)
{
	rig_halt(&w->rig);
	for (unsigned i = 0; i < 3; i++)
		round_trip(w, seed);
	for (unsigned d = 0; d < RIG_DISKS; d++)
		assert_memory_equal(w->copy[d], w->rig.disk[d], RIG_DISK_BYTES);
}

static void rebuilt_at_each_barrier(void **state)
{
	uint64_t seed = from_env("FEED_SEED", 424242), rounds = from_env("FEED_ROUNDS", 400), s = seed | 1;
	struct world w;
	struct feed_stats st;
	unsigned deaths = 0;

	(void)state;
	world_init(&w, seed);
	attach(&w, SMALL_RING);
	rig_go(&w.rig);
	for (uint64_t i = 0; i < rounds && atomic_load(&w.rig.n) < RIG_HISTORY_MAX - 100000; i++) {
		atomic_store(&w.rig.slow, rig_random(&s) % 6 != 0);
		round_trip(&w, seed);
		if (rig_random(&s) % 40 == 0) {
			feed_client_drop(w.c);		/* as exit would: nothing is said */
			deaths++;
			attach(&w, SMALL_RING);
		}
	}
	feed_get_stats(w.rig.f, &st);
	finish(&w, seed);
	printf("feed: seed %llu, %llu writes, %u states compared, %u overflows, %u deaths; "
	       "longest wait of a write %llu us, of a barrier %llu us\n", (unsigned long long)seed,
	       (unsigned long long)atomic_load(&w.rig.n), w.exact,
	       w.losses, deaths, (unsigned long long)atomic_load(&w.rig.wait_ns_max) / 1000,
	       (unsigned long long)st.stall_ns_max / 1000);
	assert_true(w.exact > rounds / 10 && w.losses > 0 && deaths > 0);
	world_fini(&w);
}

/* A map-only consumer: reads ever smaller maps, and has all of it when the guest stands still. */
static void converges_without_ring(void **state)
{
	struct feed_client_cut cut = { 0 };
	struct err e = ERR_INIT;
	struct world w;

	(void)state;
	world_init(&w, 99);
	atomic_store(&w.rig.slow, true);
	attach(&w, 0);
	rig_go(&w.rig);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(feed_client_barrier(w.c, &cut, &e), 0);
		assert_true(!cut.ring && !cut.complete);
		read_map(&w);
		assert_int_equal(feed_client_ack(w.c, cut.position, &e), 0);
	}
	rig_halt(&w.rig);
	assert_int_equal(feed_client_barrier(w.c, &cut, &e), 0);
	read_map(&w);
	for (unsigned d = 0; d < RIG_DISKS; d++)
		assert_memory_equal(w.copy[d], w.rig.disk[d], RIG_DISK_BYTES);
	assert_int_equal(feed_client_forget(w.c, &e), 0);
	w.c = NULL;
	w.acked = 0;
	attach(&w, 0);			/* forgotten: full */
	world_fini(&w);
}

static void write_one(struct feed *f)
{
	uint8_t data[512] = { 1 };
	struct iovec iov = { data, sizeof(data) };

	while (feed_before(f, 0, 0, 512) != FEED_GO)
		(void)poll(NULL, 0, 1);
	feed_after_write(f, 0, 0, &iov, 1, 512, 0);
}

static void wakes_and_hangs_up(void **state)
{
	struct feed_client_cut cut = { 0 };
	struct err e = ERR_INIT;
	const uint8_t *data = NULL;
	struct ring_rec rec;
	struct world w;

	(void)state;
	world_init(&w, 1);
	attach(&w, SMALL_RING);
	assert_int_equal(feed_client_barrier(w.c, &cut, &e), 0);
	assert_int_equal(feed_client_next(w.c, &rec, &data, &e), RING_REC);
	assert_int_equal(feed_client_wait(w.c, 1, &e), 0);
	write_one(w.rig.f);
	assert_int_equal(feed_client_wait(w.c, 5000, &e), 1);
	assert_int_equal(feed_client_next(w.c, &rec, &data, &e), RING_REC);
	assert_int_equal(rec.len, 512);
	assert_int_equal(data[0], 1);
	feed_server_free(w.server);
	w.server = NULL;
	for (unsigned i = 0; i < 3 && feed_client_wait(w.c, 5000, &e) >= 0; i++)
		;				/* a wake byte of before may still be there */
	assert_int_equal(e.code, ERR_NET);
	feed_client_drop(w.c);
	w.c = NULL;
	world_fini(&w);
}

/* A write that hangs: the barrier is given up, and the guest's other writes go on. */
static void barrier_times_out(void **state)
{
	struct feed_client_cut cut = { 0 };
	struct err e = ERR_INIT;
	struct world w;

	(void)state;
	world_init(&w, 1);
	attach(&w, 0);
	while (feed_before(w.rig.f, 1, 0, 512) != FEED_GO)
		(void)poll(NULL, 0, 1);
	assert_int_equal(feed_client_barrier(w.c, &cut, &e), -1);
	assert_int_equal(e.code, ERR_TIMEOUT);
	write_one(w.rig.f);
	feed_after_nothing(w.rig.f);
	assert_int_equal(feed_client_barrier(w.c, &cut, &e), 0);
	world_fini(&w);
}

static void refused_requests(void **state)
{
	static const struct { const char *verb, *args; enum err_code want; } cases[] = {
		{ "attach", "{}", ERR_USAGE }, { "attach", "{\"consumer\": \"\"}", ERR_USAGE },
		{ "attach", "{\"consumer\": \"a/b\"}", ERR_USAGE },
		{ "attach", "{\"consumer\": \"x\", \"ring_bytes\": 65537}", ERR_USAGE },
		{ "attach", "{\"consumer\": \"x\", \"position\": 5, \"from_now\": true}", ERR_USAGE },
		{ "attach", "{\"consumer\": \"x\", \"colour\": 1}", ERR_USAGE },
		{ "attach", "{\"consumer\": \"replica\"}", ERR_BUSY },
		{ "barrier", "{\"session\": 0}", ERR_NOT_FOUND }, { "barrier", "{\"session\": 5}", ERR_NOT_FOUND },
		{ "map", "{\"session\": 5, \"disk\": 2}", ERR_USAGE },
		{ "map", "{\"session\": 5, \"disk\": 1, \"runs\": 0}", ERR_USAGE },
		{ "ack", "{\"session\": 5, \"position\": -1}", ERR_USAGE },
		{ "forget", "{\"consumer\": \"replica\"}", ERR_BUSY },
		{ "forget", "{\"consumer\": \"nobody\"}", ERR_NOT_FOUND },
	};
	struct world w;

	(void)state;
	world_init(&w, 1);
	attach(&w, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_JSON json_t *args = json_loads(cases[i].args, 0, NULL);
		struct err e = ERR_INIT;

		assert_int_equal(ctl_once(w.sock, cases[i].verb, args, NULL, 0, 5000, NULL, NULL, NULL, &e), -1);
		if (e.code != cases[i].want)
			fail_msg("%s %s: %s", cases[i].verb, cases[i].args, e.detail);
	}
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_requests), cmocka_unit_test(wakes_and_hangs_up),
		cmocka_unit_test(barrier_times_out), cmocka_unit_test(converges_without_ring),
		cmocka_unit_test(rebuilt_at_each_barrier),
	};

	return check_main(tests);
}

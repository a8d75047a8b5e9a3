/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer for bench-blk: attached to a feed until its standard input ends.
 *
 *	feed-reader SOCKET map	has a map only: what tracking costs when nobody reads
 *	feed-reader SOCKET ring	reads every byte that comes through the ring; begins anew when that overflowed
 *
 * prints "ready", and at the end "records N bytes N losses N".
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "feed/feed_client.h"

enum { BATCH = 64, WAIT_MS = 50 };

struct reader {
	struct feed_client *c;
	uint64_t records, bytes, losses;
	uint64_t sum;			/* of the data: keeps the reading from being optimised away */
};

static void die(const struct err *e)
{
	fprintf(stderr, "feed-reader: %s\n", e->detail);
	exit(1);
}

static bool asked_to_end(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* From here on nothing is owed. */
static void begin(struct reader *r)
{
	struct feed_client_cut cut;
	struct err e = ERR_INIT;

	if (feed_client_barrier(r->c, &cut, &e) < 0 || feed_client_ack(r->c, cut.position, &e) < 0)
		die(&e);
}

static void read_data(struct reader *r, const uint8_t *data, uint64_t len)
{
	for (uint64_t i = 0; i + sizeof(uint64_t) <= len; i += sizeof(uint64_t)) {
		uint64_t v;

		memcpy(&v, data + i, sizeof(v));
		r->sum += v;
	}
	r->records++;
	r->bytes += len;
}

/* What is there, at most BATCH records. */
static enum ring_step read_batch(struct reader *r)
{
	enum ring_step step = RING_REC;
	struct err e = ERR_INIT;
	const uint8_t *data;
	struct ring_rec rec;

	for (unsigned i = 0; i < BATCH && step == RING_REC; i++) {
		step = feed_client_next(r->c, &rec, &data, &e);
		if (step == RING_REC && !rec.flags)
			read_data(r, data, rec.len);
	}
	if (step == RING_BAD)
		die(&e);
	feed_client_release(r->c);
	return step;
}

static void run(struct reader *r, bool ring)
{
	struct err e = ERR_INIT;

	while (!asked_to_end()) {
		enum ring_step step = ring ? read_batch(r) : RING_EMPTY;

		if (step == RING_LOST) {
			r->losses++;
			begin(r);
		}
		if (step == RING_EMPTY && feed_client_wait(r->c, WAIT_MS, &e) < 0)
			die(&e);
	}
}

int main(int argc, char **argv)
{
	struct feed_attach a = { .name = "bench", .from_now = true };
	struct reader r = { 0 };
	struct err e = ERR_INIT;
	bool ring = argc == 3 && !strcmp(argv[2], "ring");

	if (argc != 3 || (!ring && strcmp(argv[2], "map"))) {
		fprintf(stderr, "usage: feed-reader SOCKET map|ring\n");
		return 2;
	}
	a.ring_bytes = ring ? RING_BYTES : 0;
	if (feed_client_open(argv[1], &a, &r.c, &e) < 0)
		die(&e);
	begin(&r);
	printf("ready\n");
	fflush(stdout);
	run(&r, ring);
	feed_client_drop(r.c);
	printf("records %llu bytes %llu losses %llu sum %llx\n", (unsigned long long)r.records,
	       (unsigned long long)r.bytes, (unsigned long long)r.losses, (unsigned long long)r.sum);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two sides of a feed read from each other, and from the disk.  The
 * first byte picks one: requests as JSON, the reader's page against the
 * writer, the writer's pages against the reader, blocks of the activity log.
 * sources: dom0-tools/feed/feed_proto.c dom0-tools/feed/ring.c dom0-tools/feed/ring_read.c
 * sources: dom0-tools/feed/act_log_fmt.c
 * sources: dom0-tools/base/buf.c dom0-tools/base/err.c dom0-tools/base/fd.c dom0-tools/base/js.c dom0-tools/base/rd.c
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/js.h"
#include "base/rd.h"
#include "feed/act_log_fmt.h"
#include "feed/feed_proto.h"
#include "feed/ring.h"

enum { FILE_BYTES = 2 * RING_PAGE_BYTES + RING_BYTES_MIN, N_DISKS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void need(bool ok)
{
	if (!ok)
		abort();
}

static void requests(const uint8_t *p, size_t n)
{
	AUTO_JSON json_t *o = NULL;
	struct feed_proto_call c = { 0 };
	struct feed_attach a = { 0 };
	struct err e = ERR_INIT;

	if (js_parse((const char *)p, n, &o, &e) < 0 || !json_is_object(o))
		return;
	if (feed_proto_attach(o, &a, &e) == 0)
		need(a.name && a.ring_bytes <= RING_BYTES_MAX && a.position <= INT64_MAX);
	if (feed_proto_map(o, N_DISKS, &c, &e) == 0)
		need(c.disk < N_DISKS && c.runs >= 1 && c.runs <= FEED_PROTO_RUNS_MAX && c.from <= INT64_MAX);
	(void)!feed_proto_session(o, &c, &e);
	(void)!feed_proto_ack(o, &c, &e);
	(void)!feed_proto_detach(o, &c, &e);
}

/* One ring for all inputs of a kind would carry state over; making one is cheap enough. */
static struct ring *make(uint8_t **raw)
{
	struct ring *r = NULL;
	struct err e = ERR_INIT;

	need(ring_new(RING_BYTES_MIN, &r, &e) == 0);
	*raw = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd(r), 0);
	need(*raw != MAP_FAILED);
	return r;
}

/* The reader writes any tail at any time; the writer must stay in its ring and say so in its numbers. */
static void hostile_reader(const uint8_t *p, size_t n)
{
	static uint8_t data[RING_BYTES_MIN];
	struct rd in = rd_of(p, n);
	struct ring_stats st;
	uint8_t *raw;
	struct ring *r = make(&raw);
	struct ring_tail_page *page = (struct ring_tail_page *)(void *)(raw + RING_PAGE_BYTES);

	ring_mark(r, 0);
	while (rd_left(&in) >= 4) {
		uint8_t what = rd_u8(&in);
		struct ring_rec rec = { .position = what, .len = rd_le16(&in), .flags = what & 8 ? RING_ZERO : 0 };
		struct iovec iov = { data, rec.len };

		if (what & 1)
			atomic_store(&page->tail, what & 2 ? rd_le64(&in) : atomic_load(&page->tail) + rd_u8(&in) * 8u);
		if (what & 4)
			atomic_store(&page->armed, 1);
		if (what & 16)
			ring_mark(r, what);
		ring_put(r, &rec, &iov, 1);
		(void)ring_wants_wake(r);
		ring_get_stats(r, &st);
		need(st.fill_bytes <= RING_BYTES_MIN);
	}
	munmap(raw, FILE_BYTES);
	ring_free(r);
}

/* Head and records are the input's; the reader must never hand out what does not lie in the ring. */
static void hostile_writer(const uint8_t *p, size_t n)
{
	struct rd in = rd_of(p, n);
	struct ring_reader *reader = NULL;
	struct err e = ERR_INIT;
	const uint8_t *data = NULL;
	struct ring_rec rec;
	uint8_t *raw, sum = 0;
	struct ring *r = make(&raw);

	need(ring_reader_new(ring_fd(r), &reader, &e) == 0);
	atomic_store(&((struct ring_head_page *)(void *)raw)->head, rd_le64(&in));
	memcpy(raw + 2 * RING_PAGE_BYTES, in.p, rd_left(&in) < RING_BYTES_MIN ? rd_left(&in) : RING_BYTES_MIN);
	for (unsigned i = 0; i < 4096 && ring_next(reader, &rec, &data, &e) == RING_REC; i++) {
		need(rec.flags || rec.len <= RING_BYTES_MIN);
		need(rec.off + rec.len >= rec.off);
		for (uint64_t k = 0; !rec.flags && k < rec.len; k++)
			sum ^= data[k];
		if (i % 3 == 0)
			ring_release(reader);
	}
	raw[0] = sum;
	munmap(raw, FILE_BYTES);
	ring_reader_free(reader);
	ring_free(r);
}

/* Any bytes as a block; those of a head that decodes must encode to the same. */
static void log_blocks(const uint8_t *p, size_t n)
{
	uint8_t raw[ACT_LOG_BLOCK_BYTES] = { 0 }, again[ACT_LOG_BLOCK_BYTES];
	struct act_log_block id = { .magic = ACT_LOG_MAGIC_HEAD, .seq = 9 }, back;
	struct act_log_head h, h2;

	memcpy(raw, p, n < sizeof(raw) ? n : sizeof(raw));
	(void)act_log_unseal(raw, ACT_LOG_MAGIC_HEAD, &back);
	if (act_log_head_decode(raw, &h)) {
		act_log_head_encode(again, &h);
		need(act_log_head_decode(again, &h2) && memcmp(&h, &h2, sizeof(h)) == 0);
	}
	act_log_seal(raw, &id);
	need(act_log_unseal(raw, ACT_LOG_MAGIC_HEAD, &back) && back.seq == 9);
	raw[n % sizeof(raw)] ^= 1;
	need(!act_log_unseal(raw, ACT_LOG_MAGIC_HEAD, &back));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static void (*const kinds[])(const uint8_t *, size_t) = {
		requests, hostile_reader, hostile_writer, log_blocks,
	};

	if (n > 1)
		kinds[p[0] % 4](p + 1, n - 1);
	return 0;
}

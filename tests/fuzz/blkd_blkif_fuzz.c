/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring full of anything, whose counters and slots change between our looks: what passes the check lies within the
 * disk and within its pages, and no more is taken than the ring holds.
 * sources: dom0-tools/blkd/blkif_ring.c dom0-tools/base/err.c dom0-tools/base/rd.c
 */
#include <stdlib.h>
#include <string.h>

#include "blkd/blkif_ring.h"

enum { PAGES = 2, SECTORS = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static _Alignas(4096) uint8_t shared[PAGES * BLKIF_PAGE_BYTES];
static struct blkif_req q;

static void must(bool so)
{
	if (!so)
		abort();
}

static void sound(const struct blkif_geometry *g)
{
	uint64_t sum = 0;

	must(q.op == BLKIF_READ || q.op == BLKIF_WRITE || q.op == BLKIF_FLUSH || q.op == BLKIF_DISCARD);
	must(!g->read_only || q.op == BLKIF_READ || (q.op == BLKIF_FLUSH && !q.n_sectors));
	must(q.n_segs <= (q.indirect ? BLKIF_INDIRECT_SEGS_MAX : BLKIF_SEGS_MAX));
	for (unsigned i = 0; i < q.n_segs; i++) {
		must(q.segs[i].first <= q.segs[i].last && q.segs[i].last < BLKIF_PAGE_SECTORS);
		sum += q.segs[i].last - q.segs[i].first + 1u;
	}
	must(q.op == BLKIF_DISCARD || sum == q.n_sectors);
	must(!q.n_sectors || (q.sector < SECTORS && q.n_sectors <= SECTORS && q.sector + q.n_sectors <= SECTORS));
}

static enum blkif_status judge(const uint8_t *table, const struct blkif_geometry *g)
{
	enum blkif_status st = blkif_req_begin(&q);

	if (st == BLKIF_OKAY && q.indirect)
		blkif_req_table(&q, table);
	if (st == BLKIF_OKAY)
		st = blkif_req_check(&q, g);
	if (st == BLKIF_OKAY)
		sound(g);
	return st;
}

/* Input: flags, then 4-byte pokes (offset, offset, value, value) between requests, over a page filled from the rest. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct blkif_geometry g = { SECTORS, 512, false, false };
	static uint8_t table[BLKIF_TABLE_BYTES_MAX];
	struct err e = ERR_INIT;
	struct blkif_ring r;
	unsigned taken = 0;

	if (n < 8)
		return 0;
	g.sector_bytes = p[0] & 1 ? 4096 : 512;
	g.read_only = p[0] & 2;
	g.discard = p[0] & 4;
	memset(shared, 0, sizeof(shared));
	memcpy(shared, p + 1, n - 1 < sizeof(shared) ? n - 1 : sizeof(shared));
	for (size_t i = 0; i < sizeof(table); i++)
		table[i] = p[i % n];
	if (blkif_ring_init(&r, shared, PAGES, p[0] & 8 ? BLKIF_ABI_32 : BLKIF_ABI_64, &e) < 0)
		return 0;
	for (size_t at = 1; at + 4 <= n && blkif_ring_next(&r, &q) == 1; at += 4) {
		enum blkif_status st = judge(table, &g);

		must(++taken <= r.slots || (p[0] & 16));
		if (p[0] & 16) {
			blkif_ring_respond(&r, q.id, q.op, st);
			if (blkif_ring_push(&r) && !blkif_ring_more(&r))
				break;
		}
		shared[((size_t)p[at] << 8 | p[at + 1]) % sizeof(shared)] = p[at + 2];
		shared[p[at] & 15] = p[at + 3];
	}
	return 0;
}

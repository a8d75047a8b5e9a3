/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole hostile front-end against blkif: its ring, its nodes, its pages and the order of events come from the input;
 * the queue is a stand-in that completes what and when the input says.  What reaches the queue lies within the disk and
 * has memory of its own, the limit of memory holds, a ring is unmapped only when nothing of it is left, nothing leaks.
 * sources: dom0-tools/blkd/blkif.c dom0-tools/blkd/blkif_xs.c dom0-tools/blkd/blkif_ring.c
 * sources: dom0-tools/blkd/bufpool.c dom0-tools/base/buf.c dom0-tools/base/err.c dom0-tools/base/rd.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rd.h"
#include "blkd/blkif_priv.h"

enum { PAGES = 48, SECTORS = 4096, PENDING = 1024, PORT = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct queue { struct bufpool pool; };
struct qdisk { int unused; };
struct disk { int unused; };
struct loop { int unused; };
struct loop_timer { bool armed; void (*fn)(void *arg); void *arg; };

static _Alignas(4096) uint8_t pages[PAGES][BLKIF_PAGE_BYTES];
static struct queue queue;
static struct qdisk qdisk;
static struct disk disk;
static struct loop loop;
static struct loop_timer timer;
static struct queue_hook *hook;
static struct req *pending[PENDING];
static unsigned n_pending, mapped, bound, stopped;
static uint32_t sector_bytes;
static uint64_t answers;

static void must(bool so)
{
	if (!so)
		abort();
}

/* ---- stand-ins ----------------------------------------------------------------------------------------- */

void log_line(enum log_level l, const char *fmt, ...) { (void)l, (void)fmt; }
void log_fail(const struct err *e, const char *fmt, ...) { (void)e, (void)fmt; }
struct bufpool *queue_pool(struct queue *q) { return &q->pool; }
struct disk *qdisk_disk(const struct qdisk *qd) { (void)qd; return &disk; }
uint64_t disk_bytes(const struct disk *d) { (void)d; return SECTORS * 512; }
uint32_t disk_sector(const struct disk *d) { (void)d; return sector_bytes; }
bool disk_read_only(const struct disk *d) { (void)d; return false; }
void queue_kick(struct queue *q) { (void)q; }
void queue_hook_add(struct queue *q, struct queue_hook *h) { (void)q; hook = h; }
void queue_hook_del(struct queue *q, struct queue_hook *h) { (void)q, (void)h; hook = NULL; }

void disk_info(const struct disk *d, struct layer_info *out)
{
	(void)d;
	memset(out, 0, sizeof(*out));
	out->physical_bytes = 4096;
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	(void)l;
	timer = (struct loop_timer){ .fn = fn, .arg = arg };
	return &timer;
}

void loop_timer_set(struct loop_timer *t, uint64_t after_ms, uint64_t period_ms)
{
	(void)after_ms, (void)period_ms;
	t->armed = true;
}

void loop_timer_free(struct loop_timer **t)
{
	(*t)->armed = false;
	*t = NULL;
}

static void fire(void)
{
	if (timer.armed) {
		timer.armed = false;
		timer.fn(timer.arg);
	}
}

void queue_submit(struct queue *q, struct req *r)
{
	uint64_t sum = 0;

	(void)q;
	must(mapped && n_pending < PENDING);
	must(!(r->off % sector_bytes) && !(r->len % sector_bytes) && r->off <= SECTORS * 512 &&
	     r->len <= SECTORS * 512 - r->off);
	for (unsigned i = 0; i < r->n_iov; i++) {
		if (r->op == REQ_READ)
			memset(r->iov[i].iov_base, 0xee, r->iov[i].iov_len);
		sum += r->iov[i].iov_len;
	}
	must((r->op != REQ_READ && r->op != REQ_WRITE) || (sum == r->len && sum));
	if (r->len % 1024 == 512)
		r->done(r, 0);		/* some at once */
	else
		pending[n_pending++] = r;
}

static void complete(unsigned i, int res)
{
	struct req *r = pending[i];

	pending[i] = pending[--n_pending];
	r->done(r, res);
}

/* ---- Xen ----------------------------------------------------------------------------------------------- */

static const char *const values[] = {
	"0", "1", "2", "3", "4", "5", "6", "7", "15", "40", "999", "4294967295", "4294967296", "", "-1", "x86_32-abi",
	"x86_64-abi", "x",
};
static const char *const names[] = {
	"/state", "/ring-ref", "/ring-ref0", "/ring-ref1", "/ring-page-order", "/event-channel", "/protocol",
	"/multi-queue-num-queues", "/online", "/ring-ref2", "/ring-ref3",
};
static uint8_t nodes[ARRAY_LEN(names)];	/* 0: none, else a value */

static int get(void *x, const char *path, char out[BLKIF_TEXT_BYTES], struct err *e)
{
	const char *name = strrchr(path, '/');

	(void)x;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(name, names[i]) || !nodes[i])
			continue;
		if (nodes[i] > ARRAY_LEN(values))
			return err_set(e, ERR_LIMIT, "long");
		snprintf(out, BLKIF_TEXT_BYTES, "%s", values[nodes[i] - 1]);
		return 0;
	}
	out[0] = '\0';
	return strcmp(name, "/frontend") ? err_set(e, ERR_NOT_FOUND, "none") : 0;
}

static int put(void *x, const char *path, const char *value, struct err *e)
{
	(void)x, (void)path, (void)value, (void)e;
	return 0;
}

static void drop(void *x, const char *path) { (void)x, (void)path; }

static int map(void *x, unsigned domid, const uint32_t *refs, unsigned n, void **out, struct err *e)
{
	(void)x, (void)domid;
	must(!mapped);
	for (unsigned i = 0; i < n; i++)
		if (refs[i] >= PAGES || refs[i] != refs[0] + i)
			return err_set(e, ERR_IO, "not granted");
	mapped = n;
	*out = pages[refs[0]];
	return 0;
}

static void unmap(void *x, void *p, unsigned n)
{
	(void)x, (void)p;
	must(mapped == n && !n_pending);
	mapped = 0;
}

static int copy(void *x, unsigned domid, struct gnt_copy *c, unsigned n)
{
	(void)x, (void)domid;
	for (unsigned i = 0; i < n; i++) {
		must(c[i].len && c[i].off + c[i].len <= BLKIF_PAGE_BYTES);
		c[i].res = c[i].ref >= PAGES ? -EFAULT : 0;
		if (c[i].res == 0 && c[i].to_guest)
			memcpy(pages[c[i].ref] + c[i].off, c[i].local, c[i].len);
		else if (c[i].res == 0)
			memcpy(c[i].local, pages[c[i].ref] + c[i].off, c[i].len);
	}
	return 0;
}

static int bind(void *x, unsigned domid, uint32_t remote, int *out, struct err *e)
{
	(void)x, (void)domid;
	if (remote > 100)
		return err_set(e, ERR_IO, "no port");
	bound++;
	*out = PORT;
	return 0;
}

static void unbind(void *x, int port) { (void)x; must(port == PORT && bound == 1); bound--; }
static void tell(void *x, int port) { (void)x; must(port == PORT && bound == 1); answers++; }
static void unmask(void *x, int port) { (void)x; must(port == PORT && bound == 1); }

static const struct blkif_xen_ops ops = { .map = map, .unmap = unmap, .copy = copy, .bind = bind, .unbind = unbind,
					  .notify = tell, .unmask = unmask, .get = get, .put = put, .remove = drop };

/* ---- the script ---------------------------------------------------------------------------------------- */

static void on_stopped(void *arg)
{
	blkif_free(*(struct blkif **)arg);
	stopped = 1;
}

/* Makes requests at req_prod that have a chance: else random bytes would seldom reach the queue. */
static void likely_requests(struct blkif *b, unsigned n, struct rd *r)
{
	uint8_t *ring = b->shared, s[BLKIF_SLOT64_BYTES] = { 0 };
	bool indirect;
	uint32_t prod;

	if (!b->live)
		return;
	s[0] = rd_u8(r) % 7;
	indirect = s[0] == BLKIF_INDIRECT;
	s[1] = rd_u8(r) % (indirect ? 2 : 13);
	s[2] = indirect ? rd_u8(r) : 0;
	s[17] = rd_u8(r) & 15;
	for (unsigned i = 0; i < BLKIF_SEGS_MAX && !indirect; i++) {
		s[24 + 8 * i] = rd_u8(r) % (PAGES + 2);
		s[28 + 8 * i] = rd_u8(r) & 7;
		s[29 + 8 * i] = 7;
	}
	if (indirect) {
		s[28] = rd_u8(r) % (PAGES + 2);
		for (unsigned i = 0; i < BLKIF_PAGE_BYTES; i++)		/* a table: whole pages of one reference */
			pages[PAGES - 1][i] = i % 8 == 0 ? s[2] & 31 : i % 8 == 5 ? 7 : 0;
	}
	memcpy(&prod, ring + BLKIF_REQ_PROD_AT, 4);
	for (; n; n--)
		memcpy(ring + BLKIF_SLOTS_AT + (prod++ & (b->ring.slots - 1)) * (size_t)BLKIF_SLOT64_BYTES, s,
		       sizeof(s));
	memcpy(ring + BLKIF_REQ_PROD_AT, &prod, 4);
	prod = b->ring.rsp_pushed + 1;
	memcpy(ring + BLKIF_RSP_EVENT_AT, &prod, 4);
}

static void step(struct blkif *b, struct rd *r)
{
	uint8_t what = rd_u8(r) % 8, k = rd_u8(r);
	uint16_t at;

	switch (what) {
	case 0:
		at = rd_le16(r);
		pages[k % PAGES][at % BLKIF_PAGE_BYTES] = rd_u8(r);
		break;
	case 1:
		likely_requests(b, k & 32 ? 32 : 1, r);
		break;
	case 2:
		blkif_rang(b);
		break;
	case 3:
		if (n_pending)
			complete(k % n_pending, k & 64 ? -EIO : 0);
		break;
	case 4:
		nodes[k % ARRAY_LEN(names)] = rd_u8(r) % (ARRAY_LEN(values) + 2);
		break;
	case 5:
		blkif_look(b);
		break;
	case 6:
		hook->fn(hook->arg);
		break;
	default:
		fire();
	}
	must(b->stats.bytes <= BLKIF_BYTES_MAX);
	must(!b->live || b->stats.in_flight <= b->ring.slots);
}

/* Input: flags, nodes, then steps. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct blkif_setup s = { .domid = 1, .devid = 2, .loop = &loop, .queue = &queue, .disk = &qdisk, .xen = &ops };
	struct rd r = rd_of(p, n);
	struct err e = ERR_INIT;
	struct blkif *b = NULL;
	uint8_t flags = rd_u8(&r);

	sector_bytes = flags & 1 ? 4096 : 512;
	s.read_only = flags & 2;
	s.discard = flags & 4;
	stopped = 0;
	memset(pages, 0, sizeof(pages));
	memset(nodes, 0, sizeof(nodes));
	nodes[0] = 5;			/* a front-end that is there, with a ring */
	nodes[1] = nodes[2] = nodes[5] = 2;
	if (blkif_new(&s, &b, &e) < 0)
		return 0;
	fire();
	while (rd_left(&r))
		step(b, &r);
	blkif_stop(b, flags & 8, on_stopped, &b);
	while (n_pending)
		complete(0, 0);
	for (unsigned i = 0; i < 4 && !stopped; i++) {
		if (hook)
			hook->fn(hook->arg);
		while (n_pending)
			complete(0, 0);	/* second halves of flushes */
		fire();
	}
	must(stopped && !mapped && !bound);
	bufpool_fini(&queue.pool);
	return 0;
}

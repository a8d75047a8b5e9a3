/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One copy of the bytes, as the writer sees them, and a log of the changes
 * since the last flush, each with what was there before: a cut undoes all of
 * them from the last to the first, then does again those that arrived.
 */
#include "tests/cuts/cut_blob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/buf.h"

struct change {
	bool size;			/* of the blob: from `off` to `n` */
	uint64_t off, n;
	uint64_t lost;			/* bytes in old that a shorter blob lost; the rest was zero */
	uint8_t *old, *new;		/* new NULL: zeroes */
};

struct cut_blob {
	uint8_t *p;			/* CUT_BYTES_MAX, zero behind `bytes` */
	uint64_t bytes, limit;
	uint64_t high;			/* all behind it is zero and was never touched */
	struct change *log;
	size_t n, room;
	unsigned left;			/* changes until power goes; 0: it stays */
	bool off, lies, turn;
	void (*on_flush)(void *arg);
	void *arg;
};

/* ---- chance ---------------------------------------------------------------------------------------- */

uint64_t cut_rand(uint64_t *rng)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return *rng * 0x2545f4914f6cdd1dull;
}

uint64_t cut_below(uint64_t *rng, uint64_t n)
{
	return (cut_rand(rng) >> 16) % n;
}

/* ---- the log --------------------------------------------------------------------------------------- */

static uint8_t *copy_of(const void *p, uint64_t n)
{
	uint8_t *c = mem_alloc(n ? n : 1);

	if (n)
		memcpy(c, p, n);
	return c;
}

static void put(struct cut_blob *c, struct change k)
{
	if (c->n == c->room) {
		c->room = c->room ? 2 * c->room : 64;
		c->log = mem_realloc(c->log, c->room * sizeof(*c->log));
	}
	c->log[c->n++] = k;
}

static void forget(struct cut_blob *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->log[i].old);
		free(c->log[i].new);
	}
	c->n = 0;
}

static void undo(struct cut_blob *c, const struct change *k)
{
	uint64_t n = k->n;

	if (!k->size) {
		memcpy(c->p + k->off, k->old, n);
		return;
	}
	/* What was written into a longer blob is undone by now: it is zero there. */
	if (k->lost)
		memcpy(c->p + n, k->old, k->lost);
	c->bytes = k->off;
}

/* Bytes from `off` to the end that may be other than zero. */
static uint64_t used_behind(const struct cut_blob *c, uint64_t off)
{
	uint64_t end = c->bytes < c->high ? c->bytes : c->high;

	return off < end ? end - off : 0;
}

static void redo_size(struct cut_blob *c, const struct change *k)
{
	memset(c->p + k->n, 0, used_behind(c, k->n));
	c->bytes = k->n;
}

static void redo(struct cut_blob *c, const struct change *k, bool torn, uint64_t *rng)
{
	for (uint64_t at = 0; at < k->n; at += CUT_TEAR_BYTES) {
		uint64_t n = k->n - at < CUT_TEAR_BYTES ? k->n - at : CUT_TEAR_BYTES;

		/* Behind the end there is nothing: the longer blob did not arrive. */
		if ((torn && cut_below(rng, 2)) || k->off + at + n > c->bytes)
			continue;
		if (k->new)
			memcpy(c->p + k->off + at, k->new + at, n);
		else
			memset(c->p + k->off + at, 0, n);
	}
}

void cut_blob_cut(struct cut_blob *c, uint64_t *rng)
{
	size_t sizes = 0, kept;
	/* What most changes come to: a cut where nearly all or nearly nothing arrived finds other mistakes. */
	uint64_t odds = 1 + cut_below(rng, 8);

	for (size_t i = c->n; i-- > 0;) {
		sizes += c->log[i].size;
		undo(c, &c->log[i]);
	}
	kept = cut_below(rng, sizes + 1);
	for (size_t i = 0; i < c->n; i++) {
		const struct change *k = &c->log[i];

		if (k->size && kept) {
			redo_size(c, k);
			kept--;
		} else if (!k->size && cut_below(rng, 9) < odds) {
			redo(c, k, cut_below(rng, 3) == 0, rng);
		}
	}
	forget(c);
	c->off = false;
	c->left = 0;
}

/* ---- the blob -------------------------------------------------------------------------------------- */

/* True when this change is the one at which power goes: it is logged, and fails. */
static bool goes_off(struct cut_blob *c)
{
	if (c->left && --c->left == 0)
		c->off = true;
	return c->off;
}

static int cut_read(void *arg, uint64_t off, void *p, size_t n)
{
	const struct cut_blob *c = arg;

	if (c->off)
		return -EIO;
	memcpy(p, c->p + off, n);
	return 0;
}

static int change_bytes(struct cut_blob *c, uint64_t off, const void *p, uint64_t n)
{
	if (c->off)
		return -EIO;
	put(c, (struct change){ .off = off, .n = n, .old = copy_of(c->p + off, n), .new = p ? copy_of(p, n) : NULL });
	if (c->high < off + n)
		c->high = off + n;
	if (p)
		memcpy(c->p + off, p, n);
	else
		memset(c->p + off, 0, n);
	return goes_off(c) ? -EIO : 0;
}

static int cut_write(void *arg, uint64_t off, const void *p, size_t n)
{
	return change_bytes(arg, off, p, n);
}

static int cut_zero(void *arg, uint64_t off, uint64_t n)
{
	return change_bytes(arg, off, NULL, n);
}

static int cut_set_bytes(void *arg, uint64_t bytes)
{
	struct cut_blob *c = arg;
	struct change k = { .size = true, .off = c->bytes, .n = bytes };

	if (c->off)
		return -EIO;
	if (bytes > c->limit && bytes > c->bytes)
		return -ENOSPC;
	k.lost = used_behind(c, bytes);
	if (k.lost)
		k.old = copy_of(c->p + bytes, k.lost);
	put(c, k);
	redo_size(c, &k);
	return goes_off(c) ? -EIO : 0;
}

static int cut_flush(void *arg)
{
	struct cut_blob *c = arg;

	c->turn = !c->turn;
	if (c->on_flush && c->turn && !c->off)
		c->on_flush(c->arg);
	if (c->off || goes_off(c))
		return -EIO;
	if (!c->lies)
		forget(c);
	if (c->on_flush && !c->turn)
		c->on_flush(c->arg);
	return 0;
}

static void cut_close(void *arg)
{
	(void)arg;
}

struct blob *cut_blob_open(struct cut_blob *c, bool read_only)
{
	static const struct blob_ops ops = {
		.read = cut_read, .write = cut_write, .flush = cut_flush, .set_bytes = cut_set_bytes, .zero = cut_zero,
		.close = cut_close,
	};

	return blob_new(&ops, c, "memory", c->bytes, -1, 1, read_only);
}

/* ---- life ------------------------------------------------------------------------------------------ */

struct cut_blob *cut_blob_new(void)
{
	struct cut_blob *c = mem_alloc(sizeof(*c));

	c->p = mmap(NULL, CUT_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->p == MAP_FAILED)
		abort();
	c->limit = CUT_BYTES_MAX;
	return c;
}

void cut_blob_reset(struct cut_blob *c)
{
	forget(c);
	if (madvise(c->p, CUT_BYTES_MAX, MADV_DONTNEED) < 0)
		abort();
	c->bytes = c->high = 0;
	c->limit = CUT_BYTES_MAX;
	c->left = 0;
	c->off = c->lies = c->turn = false;
	c->on_flush = NULL;
}

void cut_blob_free(struct cut_blob *c)
{
	forget(c);
	free(c->log);
	munmap(c->p, CUT_BYTES_MAX);
	free(c);
}

void cut_blob_arm(struct cut_blob *c, unsigned n) { c->left = n; }
void cut_blob_off(struct cut_blob *c) { c->off = true; }
bool cut_blob_is_off(const struct cut_blob *c) { return c->off; }
uint64_t cut_blob_bytes(const struct cut_blob *c) { return c->bytes; }
void cut_blob_limit(struct cut_blob *c, uint64_t bytes) { c->limit = bytes < CUT_BYTES_MAX ? bytes : CUT_BYTES_MAX; }
void cut_blob_lie(struct cut_blob *c, bool flushes_lie) { c->lies = flushes_lie; }

void cut_blob_on_flush(struct cut_blob *c, void (*fn)(void *arg), void *arg)
{
	c->on_flush = fn;
	c->arg = arg;
}

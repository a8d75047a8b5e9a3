/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that touched nothing is not a change, however it ended: a zero over
 * what reads as zeroes, a discard that the image does not know, a failure
 * before the first transfer.
 *
 * The feed's wake comes from any thread; it is one post to the loop, however
 * often it comes before that runs.
 */
#include "blkd/tap.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { GROW_FACTOR = 4 };		/* room to grow, and the steps of bytes_max */
#define BYTES_MAX_LEAST (UINT64_C(1) << 30)

struct tapped {
	struct tap tap;
	struct taps *t;
	struct qdisk *qd;		/* NULL: dropped */
	unsigned number;
	uint64_t bytes_max;
};

struct taps {
	struct loop *loop;
	struct feed *feed;
	unsigned n;
	atomic_bool posted;
	bool dead;			/* freed while `posted`: the post frees it */
	struct tapped disks[FEED_DISKS_MAX];
};

/* ---- the tap --------------------------------------------------------------------------------------- */

_Static_assert(FEED_GO == 0 && FEED_WAIT == 1, "the answers of the feed are those of a tap");

static int before(void *arg, const struct req *r)
{
	const struct tapped *d = arg;

	return feed_before(d->t->feed, d->number, r->off, r->len);
}

static void after(void *arg, const struct req *r, int res)
{
	const struct tapped *d = arg;
	struct feed *f = d->t->feed;

	if (!r->touched)
		feed_after_nothing(f);
	else if (r->op == REQ_WRITE)
		feed_after_write(f, d->number, r->off, r->iov, (int)r->n_iov, r->len, res);
	else if (r->op == REQ_ZERO)
		feed_after_zero(f, d->number, r->off, r->len, res);
	else
		feed_after_unknown(f, d->number, r->off, r->len);
}

/* ---- wake ------------------------------------------------------------------------------------------ */

static void ask_again(void *arg)
{
	struct taps *t = arg;

	atomic_store(&t->posted, false);
	if (t->dead) {
		free(t);
		return;
	}
	for (unsigned i = 0; i < t->n; i++)
		if (t->disks[i].qd)
			queue_ask_again(t->disks[i].qd);
}

static void wake(void *arg)
{
	struct taps *t = arg;

	if (!atomic_exchange(&t->posted, true))
		loop_post(t->loop, ask_again, t);
}

/* ---- life ------------------------------------------------------------------------------------------ */

/* The activity log's layout follows from it, so it must come out the same in the next life: wide steps. */
static uint64_t bytes_max_of(uint64_t bytes)
{
	uint64_t most = BYTES_MAX_LEAST;

	while (most < DIRTY_BYTES_MAX && most / GROW_FACTOR < bytes)
		most *= GROW_FACTOR;
	return most < DIRTY_BYTES_MAX ? most : DIRTY_BYTES_MAX;
}

int taps_new(struct loop *l, const struct taps_disk *disks, unsigned n, int log_fd, struct taps **out, struct err *e)
{
	struct feed_disk fd[FEED_DISKS_MAX] = { 0 };
	struct taps *t;
	struct feed_cfg cfg = { .disks = fd, .n_disks = n, .log_ops = log_fd >= 0 ? &act_log_file_ops : NULL,
				.log_io = (void *)(intptr_t)log_fd, .wake = wake };

	if (n > FEED_DISKS_MAX)
		return err_set(e, ERR_LIMIT, "a feed over %u disks, limit %d", n, FEED_DISKS_MAX);
	cfg.arg = t = mem_alloc(sizeof(*t));
	t->loop = l;
	t->n = n;
	for (unsigned i = 0; i < n; i++) {
		fd[i].bytes = disk_bytes(qdisk_disk(disks[i].qd));
		fd[i].bytes_max = bytes_max_of(fd[i].bytes);
		snprintf(fd[i].key, sizeof(fd[i].key), "%s", disks[i].key);
		t->disks[i] = (struct tapped){ .t = t, .qd = disks[i].qd, .number = i, .bytes_max = fd[i].bytes_max };
		t->disks[i].tap = (struct tap){ .arg = &t->disks[i], .before = before, .after = after };
	}
	if (feed_new(&cfg, &t->feed, e) < 0) {
		free(t);
		return -1;
	}
	*out = t;
	return 0;
}

void taps_stop(struct taps *t)
{
	feed_free(t->feed);		/* no wake comes any more */
	t->feed = NULL;
}

void taps_free(struct taps *t)
{
	if (!t)
		return;
	taps_stop(t);
	if (atomic_load(&t->posted))
		t->dead = true;
	else
		free(t);
}

void taps_put(struct taps *t)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->disks[i].qd)
			qdisk_set_tap(t->disks[i].qd, &t->disks[i].tap);
}

void taps_pull(struct taps *t)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->disks[i].qd)
			qdisk_set_tap(t->disks[i].qd, NULL);
}

void taps_drop(struct taps *t, struct qdisk *qd)
{
	int i = taps_number(t, qd);

	if (i < 0)
		return;
	qdisk_set_tap(qd, NULL);
	t->disks[i].qd = NULL;
}

struct feed *taps_feed(struct taps *t)
{
	return t->feed;
}

int taps_number(const struct taps *t, const struct qdisk *qd)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->disks[i].qd == qd)
			return (int)i;
	return -1;
}

uint64_t taps_bytes_max(const struct taps *t, const struct qdisk *qd)
{
	int i = taps_number(t, qd);

	return i < 0 ? DIRTY_BYTES_MAX : t->disks[i].bytes_max;
}

bool taps_dirty(void *arg, uint64_t off, uint64_t *len)
{
	const struct taps_view *v = arg;

	return feed_is_dirty(v->t->feed, v->consumer, v->disk, off, len);
}

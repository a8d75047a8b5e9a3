/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consumers of a feed: attaching and resuming, their maps, what they have
 * acknowledged, and what that lets the activity log forget.
 *
 * old and spare are touched here without the I/O thread's lock: old is never
 * its business, and spare only at the cut of a barrier, before which it has
 * been emptied (settle) and after which has_taken keeps the next one out.
 */
#include "feed/feed.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "feed/feed_priv.h"

/* ---- memory ---- */

void feed_consumer_free(struct feed_consumer *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->f->n_disks; i++) {
		dirty_map_free(c->cur[i]);
		dirty_map_free(c->spare[i]);
		dirty_map_free(c->old[i]);
	}
	ring_free(c->ring);
	fd_close(&c->wake_fd);
	free(c);
}

static int make_maps(struct feed_consumer *c, struct err *e)
{
	struct feed *f = c->f;

	for (unsigned i = 0; i < f->n_disks; i++)
		if (dirty_map_new(f->disks[i].bytes_max, f->grain_shift, &c->cur[i], e) < 0 ||
		    dirty_map_new(f->disks[i].bytes_max, f->grain_shift, &c->spare[i], e) < 0 ||
		    dirty_map_new(f->disks[i].bytes_max, f->grain_shift, &c->old[i], e) < 0)
			return -1;
	return 0;
}

static int consumer_new(struct feed *f, const char *name, struct feed_consumer **out, struct err *e)
{
	struct feed_consumer *c = mem_alloc(sizeof(*c));

	c->f = f;
	c->wake_fd = -1;
	memcpy(c->name, name, strlen(name) + 1);
	if (make_maps(c, e) < 0) {
		feed_consumer_free(c);
		return -1;
	}
	*out = c;
	return 0;
}

struct feed_consumer *feed_consumer_restore(struct feed *f, const char *name, uint64_t floor)
{
	struct feed_consumer *c = NULL;
	struct err e = ERR_INIT;
	uint64_t off, bytes;

	if (consumer_new(f, name, &c, &e) < 0)
		abort();	/* address space is out: as mem_alloc */
	for (unsigned i = 0; i < f->n_disks; i++)
		for (off = 0; act_log_next(f->log, i, off, &off, &bytes); off += bytes)
			dirty_map_set(c->old[i], off, bytes);
	c->has_acked = true;
	c->acked = floor;
	c->coarse = true;
	return c;
}

/* With `control`. */
static struct feed_consumer *find(struct feed *f, const char *name)
{
	for (unsigned i = 0; i < f->n_consumers; i++)
		if (strcmp(f->consumers[i]->name, name) == 0)
			return f->consumers[i];
	return NULL;
}

/* ---- maps ---- */

/* With `control`: what the last cut took away joins old, and spare is clean. */
static void settle(struct feed_consumer *c)
{
	struct feed *f = c->f;
	bool taken;

	pthread_mutex_lock(&f->lock);
	taken = c->has_taken;
	pthread_mutex_unlock(&f->lock);
	if (!taken)
		return;
	for (unsigned i = 0; i < f->n_disks; i++)
		dirty_map_merge(c->old[i], c->spare[i]);
	c->old_position = c->taken_position;
	c->old_interval = c->taken_interval;
	pthread_mutex_lock(&f->lock);
	c->has_taken = false;
	pthread_mutex_unlock(&f->lock);
}

uint64_t feed_map_bytes(struct feed_consumer *c)
{
	uint64_t sum = 0;

	pthread_mutex_lock(&c->f->control);
	settle(c);
	for (unsigned i = 0; i < c->f->n_disks; i++)
		sum += dirty_map_bytes(c->old[i]);
	pthread_mutex_unlock(&c->f->control);
	return sum;
}

bool feed_map_next(struct feed_consumer *c, unsigned disk, uint64_t from, uint64_t max, struct dirty_run *out)
{
	uint64_t end = feed_disk_bytes(c->f, disk);
	struct dirty_run run;
	bool found;

	pthread_mutex_lock(&c->f->control);
	settle(c);
	found = dirty_map_next(c->old[disk], from, max, &run) && run.off < end;
	pthread_mutex_unlock(&c->f->control);
	if (!found)
		return false;
	if (run.bytes > end - run.off)
		run.bytes = end - run.off;
	*out = run;
	return true;
}

/* Cuts *len where a dirty run of m begins, or ends when off is in it. */
static bool look(const struct dirty_map *m, uint64_t off, uint64_t *len)
{
	struct dirty_run run;
	uint64_t to;
	bool in;

	if (!dirty_map_next(m, off, DIRTY_BYTES_MAX, &run))
		return false;
	in = run.off <= off;
	to = in ? run.off + run.bytes : run.off;
	if (*len > to - off)
		*len = to - off;
	return in;
}

bool feed_is_dirty(struct feed *f, const char *name, unsigned disk, uint64_t off, uint64_t *len)
{
	struct feed_consumer *c;
	bool dirty = true;

	assert(disk < f->n_disks);
	if (pthread_mutex_trylock(&f->control) != 0)
		return true;
	c = find(f, name);
	if (c) {
		pthread_mutex_lock(&f->lock);
		dirty = look(c->cur[disk], off, len);
		dirty = look(c->spare[disk], off, len) || dirty;
		dirty = look(c->old[disk], off, len) || dirty;
		pthread_mutex_unlock(&f->lock);
	}
	pthread_mutex_unlock(&f->control);
	return dirty;
}

/* ---- acknowledgement ---- */

/* With `control`: tells the log what all consumers have. */
static void push_floor(struct feed *f)
{
	uint32_t interval;
	uint64_t floor;

	if (!f->log)
		return;
	pthread_mutex_lock(&f->lock);
	interval = f->ended_interval;
	floor = f->position;
	for (unsigned i = 0; i < f->n_consumers; i++) {
		const struct feed_consumer *c = f->consumers[i];

		if (!c->has_acked || c->acked_interval < interval)
			interval = c->has_acked ? c->acked_interval : 0;
		if (!c->has_acked || c->acked < floor)
			floor = c->has_acked ? c->acked : 0;
	}
	act_log_acked(f->log, interval, floor);
	pthread_mutex_unlock(&f->lock);
}

/* With `control`, settled: old is with the consumer. */
static void ack_old(struct feed_consumer *c)
{
	for (unsigned i = 0; i < c->f->n_disks; i++)
		dirty_map_clear(c->old[i]);
	c->has_acked = true;
	c->acked = c->old_position;
	c->acked_interval = c->old_interval;
	c->coarse = false;
	push_floor(c->f);
}

int feed_ack(struct feed_consumer *c, uint64_t position, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&c->f->control);
	settle(c);
	if (c->old_position == 0 || position > c->old_position)
		rc = err_set(e, ERR_USAGE, "consumer '%s' acknowledges position %llu, its last barrier was at %llu",
			     c->name, (unsigned long long)position, (unsigned long long)c->old_position);
	else if (position == c->old_position)
		ack_old(c);
	pthread_mutex_unlock(&c->f->control);
	return rc;
}

/* ---- attach ---- */

static int check_name(const char *name, struct err *e)
{
	size_t n = strlen(name);

	if (n == 0 || n >= FEED_NAME_BYTES || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != n)
		return err_set(e, ERR_USAGE, "consumer's name: 1 to %d characters of a-z, 0-9, '.', '_', '-'",
			       FEED_NAME_BYTES - 1);
	return 0;
}

/* The names that the log shall know: all but `without`, and `with` (either may be NULL). */
static int register_names(struct feed *f, const char *with, const char *without, struct err *e)
{
	char names[FEED_CONSUMERS_MAX + 1][FEED_NAME_BYTES] = { { 0 } };
	unsigned n = 0;

	if (!f->log)
		return 0;
	for (unsigned i = 0; i < f->n_consumers; i++)
		if (!without || strcmp(f->consumers[i]->name, without) != 0)
			memcpy(names[n++], f->consumers[i]->name, FEED_NAME_BYTES);
	if (with)
		memcpy(names[n++], with, strlen(with) + 1);
	return act_log_set_consumers(f->log, (const char (*)[FEED_NAME_BYTES])names, n, e);
}

static void set_all(struct feed_consumer *c)
{
	for (unsigned i = 0; i < c->f->n_disks; i++)
		dirty_map_set(c->old[i], 0, feed_disk_bytes(c->f, i));
	c->has_acked = false;
	c->coarse = false;
}

/* With `control`. */
static int add(struct feed *f, const struct feed_attach *a, struct feed_consumer **out, struct err *e)
{
	struct feed_consumer *c = NULL;

	if (f->n_consumers == FEED_CONSUMERS_MAX) {
		err_set(e, ERR_LIMIT, "the feed has %d consumers already", FEED_CONSUMERS_MAX);
		return err_remedy(e, "make it forget one that will not come back");
	}
	if (consumer_new(f, a->name, &c, e) < 0)
		return -1;
	/* While nobody was there nothing was marked: positions from before must not count. */
	if (f->n_consumers == 0)
		push_floor(f);
	if (register_names(f, a->name, NULL, e) < 0) {
		feed_consumer_free(c);
		return -1;
	}
	if (!a->from_now)
		set_all(c);
	pthread_mutex_lock(&f->lock);
	f->consumers[f->n_consumers++] = c;
	pthread_mutex_unlock(&f->lock);
	*out = c;
	return 0;
}

/* With `control`.  True: what he has counts, old and cur hold all that he lacks. */
static bool resumes(struct feed_consumer *c, const struct feed_attach *a)
{
	uint64_t now;

	settle(c);
	pthread_mutex_lock(&c->f->lock);
	now = c->f->position;
	pthread_mutex_unlock(&c->f->lock);
	if (!a->has_position || a->feed_id != c->f->feed_id || a->position > now)
		return false;
	if (c->old_position && a->position >= c->old_position) {
		ack_old(c);
		return true;
	}
	return c->has_acked && a->position >= c->acked;
}

static int make_ring(const struct feed_attach *a, struct ring **out_ring, int wake[2], struct err *e)
{
	if (fd_pair(wake, e) < 0)
		return -1;
	if (a->ring_bytes && ring_new(a->ring_bytes, out_ring, e) < 0) {
		fd_close(&wake[0]);
		fd_close(&wake[1]);
		return -1;
	}
	return 0;
}

static void describe(struct feed_consumer *c, bool full, int wake_fd, struct feed_attached *info)
{
	*info = (struct feed_attached){
		.feed_id = c->f->feed_id, .full = full, .coarse = c->coarse && !full,
		.ring_fd = c->ring ? ring_fd(c->ring) : -1, .wake_fd = wake_fd, .alive_fd = c->wake_fd,
	};
	for (unsigned i = 0; i < c->f->n_disks; i++)
		info->dirty_bytes += dirty_map_bytes(c->cur[i]) + dirty_map_bytes(c->old[i]);
}

static int attach(struct feed *f, const struct feed_attach *a, struct feed_consumer **out, struct feed_attached *info,
		  struct err *e)
{
	struct feed_consumer *c = find(f, a->name);
	struct ring *ring = NULL;
	int wake[2] = { -1, -1 };
	bool full = !c && !a->from_now;

	if (c && c->attached)
		return err_set(e, ERR_BUSY, "consumer '%s' is attached already", a->name);
	if (make_ring(a, &ring, wake, e) < 0)
		return -1;
	if (!c && add(f, a, &c, e) < 0) {
		ring_free(ring);
		fd_close(&wake[0]);
		fd_close(&wake[1]);
		return -1;
	}
	if (!full && !a->from_now && !resumes(c, a)) {
		full = true;
		set_all(c);
	}
	pthread_mutex_lock(&f->lock);
	c->attached = true;
	c->ring = ring;
	c->wake_fd = wake[0];
	pthread_mutex_unlock(&f->lock);
	describe(c, full, wake[1], info);
	*out = c;
	return 0;
}

int feed_attach(struct feed *f, const struct feed_attach *a, struct feed_consumer **out, struct feed_attached *info,
		struct err *e)
{
	int rc;

	if (check_name(a->name, e) < 0)
		return -1;
	pthread_mutex_lock(&f->control);
	rc = attach(f, a, out, info, e);
	pthread_mutex_unlock(&f->control);
	return rc;
}

void feed_detach(struct feed_consumer *c)
{
	struct feed *f = c->f;
	struct ring *ring;
	int wake_fd;

	(void)feed_barrier_cancel(c);
	pthread_mutex_lock(&f->control);
	pthread_mutex_lock(&f->lock);
	ring = c->ring;
	wake_fd = c->wake_fd;
	c->ring = NULL;
	c->wake_fd = -1;
	c->attached = false;
	pthread_mutex_unlock(&f->lock);
	ring_free(ring);
	fd_close(&wake_fd);
	pthread_mutex_unlock(&f->control);
}

/* With `control`. */
static int forget(struct feed *f, const char *name, struct feed_consumer **out, struct err *e)
{
	struct feed_consumer *c = find(f, name);

	if (!c)
		return err_set(e, ERR_NOT_FOUND, "the feed has no consumer '%s'", name);
	if (c->attached)
		return err_set(e, ERR_BUSY, "consumer '%s' is attached", name);
	if (register_names(f, NULL, name, e) < 0)
		return -1;
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < f->n_consumers; i++) {
		if (f->consumers[i] != c)
			continue;
		f->consumers[i] = f->consumers[--f->n_consumers];
		break;
	}
	pthread_mutex_unlock(&f->lock);
	push_floor(f);
	*out = c;
	return 0;
}

int feed_forget(struct feed *f, const char *name, struct err *e)
{
	struct feed_consumer *c = NULL;
	int rc;

	if (check_name(name, e) < 0)
		return -1;
	pthread_mutex_lock(&f->control);
	rc = forget(f, name, &c, e);
	pthread_mutex_unlock(&f->control);
	feed_consumer_free(c);
	return rc;
}

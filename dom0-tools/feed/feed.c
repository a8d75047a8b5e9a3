/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tap and the barrier.  A write is counted from feed_before to its
 * feed_after_*; a barrier waits until the count is zero, keeping new writes
 * out meanwhile, so that nothing is on both sides of it.
 */
#include "feed/feed.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "feed/feed_priv.h"

/* ---- life ---- */

static int check_disks(const struct feed_cfg *cfg, struct err *e)
{
	if (cfg->n_disks == 0 || cfg->n_disks > FEED_DISKS_MAX)
		return err_set(e, ERR_LIMIT, "a feed over %u disks, limit %d", cfg->n_disks, FEED_DISKS_MAX);
	for (unsigned i = 0; i < cfg->n_disks; i++) {
		const struct feed_disk *d = &cfg->disks[i];
		uint64_t most = d->bytes_max ? d->bytes_max : d->bytes;

		if (d->bytes == 0 || d->bytes > most || most > DIRTY_BYTES_MAX)
			return err_set(e, ERR_USAGE, "disk '%.*s' of the feed: %llu bytes, at most %llu",
				       FEED_KEY_BYTES - 1, d->key, (unsigned long long)d->bytes,
				       (unsigned long long)most);
	}
	return 0;
}

static void restore_consumers(struct feed *f, const struct act_log_found *found)
{
	for (unsigned i = 0; i < found->n_consumers; i++)
		f->consumers[f->n_consumers++] = feed_consumer_restore(f, found->consumers[i], found->floor);
}

static int open_log(struct feed *f, struct err *e)
{
	struct act_log_disk disks[FEED_DISKS_MAX];
	struct act_log_found found;
	struct act_log_cfg cfg = {
		.ops = f->cfg.log_ops, .io = f->cfg.log_io, .disks = disks, .n_disks = f->n_disks,
		.extent_shift = f->cfg.extent_shift, .wake = f->cfg.wake, .arg = f->cfg.arg,
	};

	for (unsigned i = 0; i < f->n_disks; i++) {
		memcpy(disks[i].key, f->disks[i].key, FEED_KEY_BYTES);
		disks[i].bytes = f->disks[i].bytes_max;
	}
	if (act_log_open(&cfg, &f->log, &found, e) < 0)
		return -1;
	f->feed_id = found.feed_id;
	f->position = (uint64_t)found.incarnation << FEED_SEQ_BITS;
	restore_consumers(f, &found);
	return 0;
}

int feed_new(const struct feed_cfg *cfg, struct feed **out, struct err *e)
{
	struct feed *f;

	if (check_disks(cfg, e) < 0)
		return -1;
	f = mem_alloc(sizeof(*f));
	f->cfg = *cfg;
	f->n_disks = cfg->n_disks;
	f->grain_shift = cfg->grain_shift ? cfg->grain_shift : DIRTY_GRAIN_SHIFT;
	memcpy(f->disks, cfg->disks, cfg->n_disks * sizeof(f->disks[0]));
	for (unsigned i = 0; i < f->n_disks; i++)
		if (!f->disks[i].bytes_max)
			f->disks[i].bytes_max = f->disks[i].bytes;
	f->position = 1ull << FEED_SEQ_BITS;
	pthread_mutex_init(&f->control, NULL);
	pthread_mutex_init(&f->lock, NULL);
	if (getrandom(&f->feed_id, sizeof(f->feed_id), 0) < 0) {
		feed_free(f);
		return err_sys(e, errno, "random number for the feed's id");
	}
	f->feed_id >>= 1;	/* fits a JSON integer */
	if (cfg->log_ops && open_log(f, e) < 0) {
		feed_free(f);
		return -1;
	}
	*out = f;
	return 0;
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	act_log_close(f->log);
	for (unsigned i = 0; i < f->n_consumers; i++)
		feed_consumer_free(f->consumers[i]);
	pthread_mutex_destroy(&f->control);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* ---- barrier ---- */

/* With `lock`. */
static void cut_consumer(struct feed *f, struct feed_consumer *c, struct feed_cut *cut)
{
	assert(!c->has_taken);
	for (unsigned i = 0; i < f->n_disks; i++)
		dirty_map_swap(&c->cur[i], &c->spare[i]);
	c->has_taken = true;
	c->taken_position = f->position;
	c->taken_interval = f->ended_interval;
	c->wants_cut = false;
	*cut = (struct feed_cut){ .position = f->position, .stall_ns = clock_mono_ns() - f->asked_ns };
	if (!c->ring)
		return;
	cut->complete = ring_live(c->ring);
	cut->ring = ring_mark(c->ring, f->position);
	if (ring_wants_wake(c->ring))
		(void)!send(c->wake_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* With `lock`, which is given up while the done functions run. */
static void run_cut(struct feed *f)
{
	struct {
		void (*done)(void *arg, const struct feed_cut *cut);
		void *arg;
		struct feed_cut cut;
	} due[FEED_CONSUMERS_MAX];
	unsigned n = 0;

	f->cut_wanted = false;
	f->cutting++;
	f->barriers++;
	f->ended_interval = f->log ? act_log_cut(f->log) : f->ended_interval + 1;
	for (unsigned i = 0; i < f->n_consumers; i++) {
		struct feed_consumer *c = f->consumers[i];

		if (!c->wants_cut)
			continue;
		cut_consumer(f, c, &due[n].cut);
		if (due[n].cut.stall_ns > f->stall_ns_max)
			f->stall_ns_max = due[n].cut.stall_ns;
		due[n].done = c->done;
		due[n].arg = c->arg;
		n++;
	}
	pthread_mutex_unlock(&f->lock);
	while (n-- > 0)
		due[n].done(due[n].arg, &due[n].cut);
	pthread_mutex_lock(&f->lock);
	f->cutting--;
	if (f->hold)
		f->held = true;
}

/* With `lock`: may writes that were told to wait go on?  True once. */
static bool resume(struct feed *f)
{
	bool wake = f->told_wait && !f->cut_wanted && !f->cutting && !f->held;

	if (wake)
		f->told_wait = false;
	return wake;
}

bool feed_recheck_wanted(struct feed *f)
{
	f->cut_wanted = false;
	for (unsigned i = 0; i < f->n_consumers; i++)
		f->cut_wanted = f->cut_wanted || f->consumers[i]->wants_cut;
	return resume(f);
}

/* Unlocks. */
static void cut_if_due(struct feed *f)
{
	bool wake;

	if (f->cut_wanted && f->in_flight == 0)
		run_cut(f);
	wake = resume(f);
	pthread_mutex_unlock(&f->lock);
	if (wake)
		f->cfg.wake(f->cfg.arg);
}

static int want_cut(struct feed_consumer *c, struct err *e)
{
	struct feed *f = c->f;

	if (c->wants_cut || c->has_taken)
		return err_set(e, ERR_BUSY, "consumer '%s' waits for a barrier already", c->name);
	c->wants_cut = true;
	if (!f->cut_wanted)
		f->asked_ns = clock_mono_ns();
	f->cut_wanted = true;
	return 0;
}

int feed_barrier(struct feed_consumer *c, void (*done)(void *arg, const struct feed_cut *cut), void *arg, struct err *e)
{
	struct feed *f = c->f;
	int rc;

	(void)feed_map_bytes(c);	/* empties spare */
	pthread_mutex_lock(&f->lock);
	rc = want_cut(c, e);
	if (rc < 0) {
		pthread_mutex_unlock(&f->lock);
		return rc;
	}
	c->done = done;
	c->arg = arg;
	cut_if_due(f);
	return 0;
}

bool feed_barrier_cancel(struct feed_consumer *c)
{
	struct feed *f = c->f;
	bool was, wake;

	pthread_mutex_lock(&f->lock);
	was = c->wants_cut;
	c->wants_cut = false;
	f->barriers_cancelled += was;
	wake = feed_recheck_wanted(f);
	pthread_mutex_unlock(&f->lock);
	if (wake)
		f->cfg.wake(f->cfg.arg);
	return was;
}

void feed_hold(struct feed *f)
{
	pthread_mutex_lock(&f->lock);
	f->hold = true;
	pthread_mutex_unlock(&f->lock);
}

void feed_release(struct feed *f)
{
	bool wake;

	pthread_mutex_lock(&f->lock);
	f->hold = f->held = false;
	wake = resume(f);
	pthread_mutex_unlock(&f->lock);
	if (wake)
		f->cfg.wake(f->cfg.arg);
}

/* ---- tap ---- */

int feed_before(struct feed *f, unsigned disk, uint64_t off, uint64_t len)
{
	static const int answers[] = { [ACT_LOG_GO] = FEED_GO, [ACT_LOG_WAIT] = FEED_WAIT, [ACT_LOG_FAILED] = -EIO };
	int rc = FEED_GO;

	assert(disk < f->n_disks);
	pthread_mutex_lock(&f->lock);
	if (f->cut_wanted || f->cutting || f->held) {
		f->told_wait = true;
		rc = FEED_WAIT;
	} else if (f->log && f->n_consumers) {
		rc = answers[act_log_before(f->log, disk, off, len)];
	}
	if (rc == FEED_GO)
		f->in_flight++;
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static void enter(struct feed_consumer *c, const struct ring_rec *rec, const struct iovec *iov, int n_iov)
{
	dirty_map_set(c->cur[rec->disk], rec->off, rec->len);
	if (!c->ring)
		return;
	ring_put(c->ring, rec, iov, n_iov);
	if (ring_wants_wake(c->ring))
		(void)!send(c->wake_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void after(struct feed *f, struct ring_rec rec, const struct iovec *iov, int n_iov)
{
	assert(rec.disk < f->n_disks);
	pthread_mutex_lock(&f->lock);
	assert(f->in_flight > 0);
	rec.position = ++f->position;
	for (unsigned i = 0; i < f->n_consumers && rec.len > 0; i++)
		enter(f->consumers[i], &rec, iov, n_iov);
	f->in_flight--;
	cut_if_due(f);
}

void feed_after_write(struct feed *f, unsigned disk, uint64_t off, const struct iovec *iov, int n_iov, uint64_t len,
		      int res)
{
	after(f, (struct ring_rec){ .off = off, .len = len, .disk = (uint16_t)disk,
				    .flags = res < 0 ? RING_UNKNOWN : 0 }, iov, n_iov);
}

void feed_after_zero(struct feed *f, unsigned disk, uint64_t off, uint64_t len, int res)
{
	after(f, (struct ring_rec){ .off = off, .len = len, .disk = (uint16_t)disk,
				    .flags = res < 0 ? RING_UNKNOWN : RING_ZERO }, NULL, 0);
}

void feed_after_unknown(struct feed *f, unsigned disk, uint64_t off, uint64_t len)
{
	feed_after_zero(f, disk, off, len, -EIO);
}

void feed_after_nothing(struct feed *f)
{
	pthread_mutex_lock(&f->lock);
	assert(f->in_flight > 0);
	f->in_flight--;
	cut_if_due(f);
}

void feed_set_bytes(struct feed *f, unsigned disk, uint64_t bytes)
{
	assert(disk < f->n_disks && bytes <= f->disks[disk].bytes_max);
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < f->n_consumers && bytes > f->disks[disk].bytes; i++)
		dirty_map_set(f->consumers[i]->cur[disk], f->disks[disk].bytes, bytes - f->disks[disk].bytes);
	f->disks[disk].bytes = bytes;
	pthread_mutex_unlock(&f->lock);
}

/* ---- what is going on ---- */

void feed_get_stats(struct feed *f, struct feed_stats *out)
{
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&f->control);
	pthread_mutex_lock(&f->lock);
	out->feed_id = f->feed_id;
	out->position = f->position;
	out->writes_in_flight = f->in_flight;
	out->barriers = f->barriers;
	out->barriers_cancelled = f->barriers_cancelled;
	out->stall_ns_max = f->stall_ns_max;
	out->n_consumers = f->n_consumers;
	for (unsigned i = 0; i < f->n_consumers; i++) {
		const struct feed_consumer *c = f->consumers[i];
		struct feed_consumer_stats *s = &out->consumers[i];

		memcpy(s->name, c->name, sizeof(s->name));
		s->attached = c->attached;
		s->acked = c->has_acked ? c->acked : 0;
		for (unsigned d = 0; d < f->n_disks; d++)
			s->dirty_bytes += dirty_map_bytes(c->cur[d]) + dirty_map_bytes(c->spare[d]) +
					  dirty_map_bytes(c->old[d]);
		if (c->ring)
			ring_get_stats(c->ring, &s->ring);
	}
	pthread_mutex_unlock(&f->lock);
	if (f->log)
		act_log_get_stats(f->log, &out->log);
	pthread_mutex_unlock(&f->control);
}

uint64_t feed_position(struct feed *f)
{
	uint64_t position;

	pthread_mutex_lock(&f->lock);
	position = f->position;
	pthread_mutex_unlock(&f->lock);
	return position;
}

unsigned feed_n_disks(const struct feed *f)
{
	return f->n_disks;
}

const char *feed_disk_key(const struct feed *f, unsigned disk)
{
	return f->disks[disk].key;
}

uint64_t feed_disk_bytes(struct feed *f, unsigned disk)
{
	uint64_t bytes;

	pthread_mutex_lock(&f->lock);
	bytes = f->disks[disk].bytes;
	pthread_mutex_unlock(&f->lock);
	return bytes;
}

uint64_t feed_grain(const struct feed *f)
{
	return 1ull << f->grain_shift;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The activity log's file: opening, batches, the writer's thread.
 *
 * A block's next copy goes to the place of the older one, and its number
 * counts only after a flush that succeeded; after a failure the same place is
 * written again, so the last durable copy is never touched.  open() flushes
 * first: what a killed process left in the cache must not be taken for
 * durable.
 */
#include "feed/act_log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "feed/act_log_priv.h"
#include "feed/dirty_map.h"

/* ---- where the blocks lie ---- */

enum { HEAD_COPIES = 2 };

static uint64_t head_off(uint64_t seq)
{
	return (seq & 1) * ACT_LOG_BLOCK_BYTES;
}

static uint64_t marks_off(const struct act_log *l, uint32_t block, uint64_t seq)
{
	return (HEAD_COPIES + (seq & 1) * l->n_blocks + block) * ACT_LOG_BLOCK_BYTES;
}

static uint64_t file_bytes(const struct act_log *l)
{
	return (HEAD_COPIES + 2ull * l->n_blocks) * ACT_LOG_BLOCK_BYTES;
}

/* ---- writing ---- */

static int write_head(struct act_log *l, const struct act_log_head *h)
{
	uint8_t raw[ACT_LOG_BLOCK_BYTES];
	struct act_log_block id = l->head_id;
	int rc;

	id.seq++;
	pthread_mutex_lock(&l->lock);
	id.floor = l->floor;
	pthread_mutex_unlock(&l->lock);
	act_log_head_encode(raw, h);
	act_log_seal(raw, &id);
	rc = l->cfg.ops->write(l->cfg.io, head_off(id.seq), raw, sizeof(raw));
	if (rc == 0)
		rc = l->cfg.ops->flush(l->cfg.io);
	if (rc == 0)
		l->head_id = id;
	return rc;
}

struct image {
	uint32_t block;
	uint64_t seq;
	uint8_t raw[ACT_LOG_BLOCK_BYTES];
};

/* With the lock: the block as it is wanted. */
static void image_make(struct act_log *l, uint32_t block, struct image *im)
{
	uint8_t *p = im->raw + ACT_LOG_BLOCK_HEAD;
	struct act_log_block id = {
		.magic = ACT_LOG_MAGIC_MARKS, .number = block, .incarnation = l->head_id.incarnation,
		.seq = l->seq[block] + 1, .feed_id = l->head_id.feed_id, .floor = l->floor,
	};

	im->block = block;
	im->seq = id.seq;
	for (size_t i = 0; i < ACT_LOG_WORDS; i++) {
		uint64_t w = l->wanted[(size_t)block * ACT_LOG_WORDS + i];

		for (unsigned k = 0; k < 8; k++)
			*p++ = (uint8_t)(w >> (8 * k));
	}
	act_log_seal(im->raw, &id);
}

static uint64_t image_word(const struct image *im, size_t i)
{
	const uint8_t *p = im->raw + ACT_LOG_BLOCK_HEAD + 8 * i;
	uint64_t w = 0;

	for (unsigned k = 8; k-- > 0;)
		w = w << 8 | p[k];
	return w;
}

/* With the lock: the image is on stable storage.  What was taken off since stays off. */
static void image_durable(struct act_log *l, const struct image *im)
{
	l->seq[im->block] = im->seq;
	l->stats.blocks++;
	for (size_t i = 0; i < ACT_LOG_WORDS; i++) {
		size_t w = (size_t)im->block * ACT_LOG_WORDS + i;

		atomic_fetch_or_explicit(&l->durable[w], image_word(im, i) & l->wanted[w], memory_order_release);
	}
}

static unsigned collect(struct act_log *l, struct image *im)
{
	unsigned n = 0;

	pthread_mutex_lock(&l->lock);
	for (uint32_t b = 0; b < l->n_blocks && n < ACT_LOG_BATCH_BLOCKS; b++) {
		if (!l->dirty[b])
			continue;
		l->dirty[b] = false;
		image_make(l, b, &im[n++]);
	}
	pthread_mutex_unlock(&l->lock);
	return n;
}

static int write_batch(struct act_log *l, const struct image *im, unsigned n)
{
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = l->cfg.ops->write(l->cfg.io, marks_off(l, im[i].block, im[i].seq), im[i].raw,
				       ACT_LOG_BLOCK_BYTES);
	return rc ? rc : l->cfg.ops->flush(l->cfg.io);
}

static void finish_batch(struct act_log *l, const struct image *im, unsigned n, int rc)
{
	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < n; i++) {
		if (rc == 0)
			image_durable(l, &im[i]);
		else
			l->dirty[im[i].block] = true;
	}
	l->stats.batches++;
	l->stats.failures += rc != 0;
	l->retry_at_ms = rc ? clock_mono_ms() + ACT_LOG_RETRY_MS : 0;
	pthread_mutex_unlock(&l->lock);
	l->cfg.wake(l->cfg.arg);
}

/* 0: nothing to do, 1: a batch is durable, -errno. */
static int step(struct act_log *l, struct image *im)
{
	unsigned n;
	int rc;

	pthread_mutex_lock(&l->io);
	n = collect(l, im);
	rc = n ? write_batch(l, im, n) : 0;
	if (n)
		finish_batch(l, im, n, rc);
	pthread_mutex_unlock(&l->io);
	return rc ? rc : n > 0;
}

bool act_log_step(struct act_log *l)
{
	AUTO_FREE struct image *im = mem_alloc(ACT_LOG_BATCH_BLOCKS * sizeof(*im));

	return step(l, im) != 0;
}

static void *writer(void *arg)
{
	struct act_log *l = arg;
	AUTO_FREE struct image *im = mem_alloc(ACT_LOG_BATCH_BLOCKS * sizeof(*im));

	pthread_mutex_lock(&l->lock);
	while (!l->stop) {
		if (!l->kick) {
			pthread_cond_wait(&l->work, &l->lock);
			continue;
		}
		l->kick = false;
		pthread_mutex_unlock(&l->lock);
		while (step(l, im) > 0)
			;
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

int act_log_set_consumers(struct act_log *l, const char (*names)[ACT_LOG_NAME_BYTES], unsigned n, struct err *e)
{
	struct act_log_head h = l->head;
	int rc;

	if (n > ACT_LOG_CONSUMERS_MAX)
		return err_set(e, ERR_LIMIT, "%u consumers of one feed, limit %d", n, ACT_LOG_CONSUMERS_MAX);
	memset(h.consumers, 0, sizeof(h.consumers));
	for (unsigned i = 0; i < n; i++)
		memcpy(h.consumers[i], names[i], ACT_LOG_NAME_BYTES);
	h.n_consumers = n;
	pthread_mutex_lock(&l->io);
	rc = write_head(l, &h);
	if (rc == 0)
		l->head = h;
	pthread_mutex_unlock(&l->io);
	return rc ? err_sys(e, -rc, "the feed's activity log") : 0;
}

/* ---- opening ---- */

static int check_cfg(const struct act_log_cfg *c, struct err *e)
{
	unsigned shift = c->extent_shift ? c->extent_shift : ACT_LOG_EXTENT_SHIFT;

	if (c->n_disks == 0 || c->n_disks > ACT_LOG_DISKS_MAX)
		return err_set(e, ERR_LIMIT, "a feed over %u disks, limit %d", c->n_disks, ACT_LOG_DISKS_MAX);
	if (shift < ACT_LOG_EXTENT_SHIFT_MIN || shift > ACT_LOG_EXTENT_SHIFT_MAX)
		return err_set(e, ERR_USAGE, "extents of 2^%u bytes, allowed 2^%d to 2^%d", shift,
			       ACT_LOG_EXTENT_SHIFT_MIN, ACT_LOG_EXTENT_SHIFT_MAX);
	for (unsigned i = 0; i < c->n_disks; i++) {
		const struct act_log_disk *d = &c->disks[i];

		if (!d->key[0] || !memchr(d->key, 0, sizeof(d->key)))
			return err_set(e, ERR_USAGE, "disk %u of the feed has no key or one over %d bytes", i,
				       ACT_LOG_KEY_BYTES - 1);
		if (d->bytes == 0 || d->bytes > DIRTY_BYTES_MAX)
			return err_set(e, ERR_LIMIT, "disk '%s' of the feed has %llu bytes", d->key,
				       (unsigned long long)d->bytes);
	}
	return 0;
}

static struct act_log *alloc_log(const struct act_log_cfg *c)
{
	struct act_log *l = mem_alloc(sizeof(*l));
	uint32_t x = 0;

	l->cfg = *c;
	l->head.extent_shift = c->extent_shift ? c->extent_shift : ACT_LOG_EXTENT_SHIFT;
	l->head.n_disks = c->n_disks;
	for (unsigned i = 0; i < c->n_disks; i++) {
		struct act_log_disk *d = &l->head.disks[i];

		snprintf(d->key, sizeof(d->key), "%s", c->disks[i].key);	/* clean behind the NUL */
		d->bytes = c->disks[i].bytes;
		l->spans[i].first = x;
		l->spans[i].n = (uint32_t)(((d->bytes - 1) >> l->head.extent_shift) + 1);
		x += (l->spans[i].n + ACT_LOG_BLOCK_BITS - 1) / ACT_LOG_BLOCK_BITS * ACT_LOG_BLOCK_BITS;
	}
	l->n_blocks = x / ACT_LOG_BLOCK_BITS;
	l->interval = ACT_LOG_INTERVAL_BEFORE + 1;
	l->last = mem_alloc(x * sizeof(uint32_t));
	l->next = mem_alloc(x * sizeof(uint32_t));
	l->prev = mem_alloc(x * sizeof(uint32_t));
	l->wanted = mem_alloc(x / 8);
	l->durable = mem_alloc(x / 8);
	l->dirty = mem_alloc(l->n_blocks * sizeof(bool));
	l->seq = mem_alloc(l->n_blocks * sizeof(uint64_t));
	l->lru_first = l->lru_last = ACT_LOG_NIL;
	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->io, NULL);
	pthread_cond_init(&l->work, NULL);
	return l;
}

static int read_head(struct act_log *l, bool *found)
{
	uint8_t raw[ACT_LOG_BLOCK_BYTES];
	struct act_log_head h;
	bool seen = false;

	*found = false;
	for (unsigned copy = 0; copy < HEAD_COPIES; copy++) {
		struct act_log_block id;
		int rc = l->cfg.ops->read(l->cfg.io, head_off(copy), raw, sizeof(raw));

		if (rc < 0 && rc != -EIO)
			return rc;
		if (rc < 0 || !act_log_unseal(raw, ACT_LOG_MAGIC_HEAD, &id) || (id.seq & 1) != copy)
			continue;
		if ((seen && id.seq < l->head_id.seq) || !act_log_head_decode(raw, &h))
			continue;
		seen = true;
		*found = h.extent_shift == l->head.extent_shift && h.n_disks == l->head.n_disks &&
			 memcmp(h.disks, l->head.disks, sizeof(h.disks)) == 0;
		l->head_id = id;
		l->floor = id.floor;
		if (!*found)
			continue;
		l->head.n_consumers = h.n_consumers;
		memcpy(l->head.consumers, h.consumers, sizeof(h.consumers));
	}
	return 0;
}

static void take_marks(struct act_log *l, uint32_t block, const struct image *im)
{
	for (size_t i = 0; i < ACT_LOG_WORDS; i++) {
		size_t w = (size_t)block * ACT_LOG_WORDS + i;
		uint64_t bits = im ? image_word(im, i) : ~0ull;

		l->wanted[w] = bits;
		atomic_store(&l->durable[w], bits);
		for (; bits; bits &= bits - 1) {
			uint32_t x = (uint32_t)(w * 64 + (unsigned)__builtin_ctzll(bits));

			l->last[x] = ACT_LOG_INTERVAL_BEFORE;
			act_log_list_add(l, x);
		}
	}
}

/* A block of which no copy is whole counts as all marked. */
static int read_marks(struct act_log *l, uint32_t block, struct image *best, struct image *im)
{
	bool found = false;

	for (unsigned copy = 0; copy < 2; copy++) {
		struct act_log_block id;
		int rc = l->cfg.ops->read(l->cfg.io, marks_off(l, block, copy), im->raw, ACT_LOG_BLOCK_BYTES);

		if (rc < 0 && rc != -EIO)
			return rc;
		if (rc < 0 || !act_log_unseal(im->raw, ACT_LOG_MAGIC_MARKS, &id) || (id.seq & 1) != copy ||
		    id.number != block || id.feed_id != l->head_id.feed_id || (found && id.seq < l->seq[block]))
			continue;
		found = true;
		l->seq[block] = id.seq;
		if (id.floor > l->floor)
			l->floor = id.floor;
		memcpy(best->raw, im->raw, sizeof(best->raw));
	}
	take_marks(l, block, found ? best : NULL);
	return 0;
}

/* All marks blocks in both places, then the head: until that is there the file has no log of this id. */
static int begin_anew(struct act_log *l)
{
	AUTO_FREE struct image *im = mem_alloc(sizeof(*im));
	int rc = 0;

	l->floor = 0;
	l->head.n_consumers = 0;
	memset(l->head.consumers, 0, sizeof(l->head.consumers));
	l->head_id.magic = ACT_LOG_MAGIC_HEAD;
	l->head_id.incarnation = 0;
	if (getrandom(&l->head_id.feed_id, sizeof(l->head_id.feed_id), 0) < 0)
		return -errno;
	l->head_id.feed_id >>= 1;	/* fits a JSON integer */
	for (uint32_t b = 0; b < l->n_blocks; b++) {
		for (unsigned k = 0; k < 2 && rc == 0; k++) {
			image_make(l, b, im);
			rc = l->cfg.ops->write(l->cfg.io, marks_off(l, b, im->seq), im->raw, ACT_LOG_BLOCK_BYTES);
			l->seq[b] = im->seq;
		}
	}
	return rc ? rc : l->cfg.ops->flush(l->cfg.io);
}

static int load(struct act_log *l, bool *found)
{
	AUTO_FREE struct image *im = mem_alloc(2 * sizeof(*im));
	int rc = l->cfg.ops->set_bytes(l->cfg.io, file_bytes(l));

	if (rc == 0)
		rc = l->cfg.ops->flush(l->cfg.io);
	if (rc == 0)
		rc = read_head(l, found);
	if (rc < 0)
		return rc;
	if (!*found)
		rc = begin_anew(l);
	for (uint32_t b = 0; b < l->n_blocks && *found && rc == 0; b++)
		rc = read_marks(l, b, &im[0], &im[1]);
	if (rc < 0)
		return rc;
	l->head_id.incarnation++;
	return write_head(l, &l->head);
}

static int start(struct act_log *l)
{
	int rc = l->cfg.no_thread ? 0 : pthread_create(&l->thread, NULL, writer, l);

	l->has_thread = !l->cfg.no_thread && rc == 0;
	return -rc;
}

int act_log_open(const struct act_log_cfg *cfg, struct act_log **out, struct act_log_found *found, struct err *e)
{
	struct act_log *l;
	bool there = false;
	int rc;

	if (check_cfg(cfg, e) < 0)
		return -1;
	l = alloc_log(cfg);
	rc = load(l, &there);
	if (rc == 0)
		rc = start(l);
	if (rc < 0) {
		act_log_close(l);
		return err_sys(e, -rc, "the feed's activity log");
	}
	memset(found, 0, sizeof(*found));
	found->fresh = !there;
	found->feed_id = l->head_id.feed_id;
	found->incarnation = l->head_id.incarnation;
	found->floor = l->floor;
	found->n_consumers = l->head.n_consumers;
	memcpy(found->consumers, l->head.consumers, sizeof(found->consumers));
	*out = l;
	return 0;
}

void act_log_close(struct act_log *l)
{
	if (!l)
		return;
	if (l->has_thread) {
		pthread_mutex_lock(&l->lock);
		l->stop = true;
		pthread_cond_signal(&l->work);
		pthread_mutex_unlock(&l->lock);
		pthread_join(l->thread, NULL);
	}
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->io);
	pthread_cond_destroy(&l->work);
	free(l->last);
	free(l->next);
	free(l->prev);
	free(l->wanted);
	free(l->durable);
	free(l->dirty);
	free(l->seq);
	free(l);
}

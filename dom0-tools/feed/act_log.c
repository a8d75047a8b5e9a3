/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which extents are marked, in memory: the decision go or wait, the list of
 * least recently used ones, intervals.  An extent is in the list exactly when
 * its wanted bit is set.  One is taken off only when its last write is of an
 * interval that all consumers acknowledged, so none has a write in flight.
 */
#include "feed/act_log.h"

#include <assert.h>

#include "base/clock.h"
#include "feed/act_log_priv.h"

static uint64_t bit_of(uint32_t x)
{
	return 1ull << x % 64;
}

static bool is_durable(const struct act_log *l, uint32_t x)
{
	return atomic_load_explicit(&l->durable[x / 64], memory_order_acquire) & bit_of(x);
}

void act_log_list_add(struct act_log *l, uint32_t x)
{
	l->prev[x] = l->lru_last;
	l->next[x] = ACT_LOG_NIL;
	if (l->lru_last == ACT_LOG_NIL)
		l->lru_first = x;
	else
		l->next[l->lru_last] = x;
	l->lru_last = x;
	l->n_marked++;
}

static void list_del(struct act_log *l, uint32_t x)
{
	if (l->prev[x] == ACT_LOG_NIL)
		l->lru_first = l->next[x];
	else
		l->next[l->prev[x]] = l->next[x];
	if (l->next[x] == ACT_LOG_NIL)
		l->lru_last = l->prev[x];
	else
		l->prev[l->next[x]] = l->prev[x];
	l->n_marked--;
}

/* x is in the list. */
static void touch(struct act_log *l, uint32_t x)
{
	if (l->last[x] == l->interval)
		return;
	l->last[x] = l->interval;
	list_del(l, x);
	act_log_list_add(l, x);
}

/* With the lock. */
static void want(struct act_log *l, uint32_t x)
{
	if (l->wanted[x / 64] & bit_of(x)) {
		touch(l, x);
		return;
	}
	l->wanted[x / 64] |= bit_of(x);
	l->dirty[x / ACT_LOG_BLOCK_BITS] = true;
	l->last[x] = l->interval;
	act_log_list_add(l, x);
}

static enum act_log_answer mark(struct act_log *l, uint32_t first, uint32_t last)
{
	enum act_log_answer answer = ACT_LOG_WAIT;
	bool all = true;

	pthread_mutex_lock(&l->lock);
	for (uint32_t x = first; x <= last; x++) {
		want(l, x);
		all = all && is_durable(l, x);
	}
	if (all) {		/* the writer came in between */
		answer = ACT_LOG_GO;
	} else if (l->retry_at_ms && clock_mono_ms() < l->retry_at_ms) {
		answer = ACT_LOG_FAILED;
	} else {
		l->stats.waits++;
		l->kick = true;
		pthread_cond_signal(&l->work);
	}
	pthread_mutex_unlock(&l->lock);
	return answer;
}

enum act_log_answer act_log_before(struct act_log *l, unsigned disk, uint64_t off, uint64_t len)
{
	const struct act_log_span *s = &l->spans[disk];
	uint64_t first = off >> l->head.extent_shift, last;

	assert(disk < l->head.n_disks);
	if (len == 0 || first >= s->n)
		return ACT_LOG_GO;
	last = (off + len - 1) >> l->head.extent_shift;
	if (last >= s->n)
		last = s->n - 1;
	for (uint64_t i = first; i <= last; i++) {
		uint32_t x = s->first + (uint32_t)i;

		if (!is_durable(l, x))
			return mark(l, s->first + (uint32_t)first, s->first + (uint32_t)last);
		touch(l, x);
	}
	return ACT_LOG_GO;
}

uint32_t act_log_cut(struct act_log *l)
{
	return l->interval++;
}

void act_log_acked(struct act_log *l, uint32_t interval, uint64_t floor)
{
	assert(interval < l->interval);
	if (interval > l->acked)
		l->acked = interval;
	pthread_mutex_lock(&l->lock);
	if (floor > l->floor)
		l->floor = floor;
	while (l->n_marked > ACT_LOG_IDLE_MAX && l->last[l->lru_first] <= l->acked) {
		uint32_t x = l->lru_first;

		list_del(l, x);
		l->wanted[x / 64] &= ~bit_of(x);
		atomic_fetch_and(&l->durable[x / 64], ~bit_of(x));
		l->dirty[x / ACT_LOG_BLOCK_BITS] = true;
		l->kick = true;
	}
	if (l->kick)
		pthread_cond_signal(&l->work);
	pthread_mutex_unlock(&l->lock);
}

bool act_log_next(struct act_log *l, unsigned disk, uint64_t from, uint64_t *off, uint64_t *bytes)
{
	const struct act_log_span *s = &l->spans[disk];
	unsigned shift = l->head.extent_shift;
	bool found = false;

	pthread_mutex_lock(&l->lock);
	for (uint64_t i = from >> shift; i < s->n && !found; i++) {
		uint32_t x = s->first + (uint32_t)i;

		if (!(l->wanted[x / 64] & bit_of(x)))
			continue;
		*off = i << shift;
		*bytes = 1ull << shift;
		found = true;
	}
	pthread_mutex_unlock(&l->lock);
	return found;
}

void act_log_get_stats(struct act_log *l, struct act_log_stats *out)
{
	pthread_mutex_lock(&l->lock);
	*out = l->stats;
	out->marked = l->n_marked;
	pthread_mutex_unlock(&l->lock);
}

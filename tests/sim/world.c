/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time, chance and the trace.  The trace's hash takes in what happened and in
 * which order, not when: two runs that differ in delays only are one schedule.
 */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 */
static uint64_t next64(struct sim *w)
{
	uint64_t z = w->rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint32_t rnd(struct sim *w, uint32_t n)
{
	return (uint32_t)(next64(w) % n);
}

bool chance(struct sim *w, uint32_t percent)
{
	return rnd(w, 100) < percent;
}

void mark(struct sim *w, uint64_t what)
{
	w->hash = (w->hash ^ what) * UINT64_C(0x100000001b3);
	w->hash ^= w->hash >> 29;
}

void say(struct sim *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->verbose)
		return;
	printf("%8llu  ", (unsigned long long)w->now_ms);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void violated(struct sim *w, const char *fmt, ...)
{
	va_list ap;

	if (w->violation[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->violation, sizeof(w->violation), fmt, ap);
	va_end(ap);
	say(w, "VIOLATION %s", w->violation);
}

/* ---- the queue: a binary heap by (at_ms, order) ---- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order);
}

void at(struct sim *w, uint64_t ms, const char *name, void (*fn)(struct sim *, const struct event *), struct event ev)
{
	unsigned i = w->n_heap++;

	if (w->n_heap > w->cap_heap) {
		w->cap_heap = w->cap_heap ? w->cap_heap * 2 : 256;
		w->heap = mem_realloc(w->heap, w->cap_heap * sizeof(*w->heap));
	}
	ev.at_ms = w->now_ms + ms;
	ev.order = ++w->orders;
	ev.fn = fn;
	ev.name = name;
	for (; i && before(&ev, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = ev;
}

static struct event pop(struct sim *w)
{
	struct event top = w->heap[0], last = w->heap[--w->n_heap];
	unsigned i = 0;

	for (unsigned k = 1; k < w->n_heap; k = 2 * i + 1) {
		if (k + 1 < w->n_heap && before(&w->heap[k + 1], &w->heap[k]))
			k++;
		if (before(&last, &w->heap[k]))
			break;
		w->heap[i] = w->heap[k];
		i = k;
	}
	w->heap[i] = last;
	return top;
}

bool world_step(struct sim *w)
{
	struct event ev;

	if (!w->n_heap || w->heap[0].at_ms > CALM_MS + SETTLE_MS)
		return false;
	ev = pop(w);
	w->now_ms = ev.at_ms;
	w->events_run++;
	ev.fn(w, &ev);
	check_now(w);
	return true;
}

static void forget_lines(struct sim *w)
{
	for (unsigned i = 0; i < w->n_lines; i++) {
		for (unsigned d = 0; d < 2; d++) {
			struct line_dir *dir = &w->line[i].dir[d];

			for (; dir->n; dir->n--, dir->head++)
				free(dir->msg[dir->head % LINE_MSGS_MAX]);
		}
	}
	w->n_lines = 0;
}

void world_reset(struct sim *w, uint64_t seed)
{
	forget_lines(w);
	w->seed = seed;
	w->rng = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	w->now_ms = 1000;
	w->orders = w->events_run = 0;
	w->n_heap = w->n_procs = w->n_faults = 0;
	w->cut = w->calm = false;
	w->calm_ms = 0;
	w->latency_ms = 1 + rnd(w, 8);
	w->sessions = w->reports = 0;
	w->moves_left = 1 + rnd(w, 3);
	w->hash = UINT64_C(0xcbf29ce484222325);
	w->violation[0] = 0;
	memset(w->host, 0, sizeof(w->host));
	for (uint32_t h = 0; h < HOSTS; h++) {
		w->host[h].up = w->host[h].domd_up = w->host[h].hvapid_up = true;
		w->host[h].boot = ++w->epochs;
		w->host[h].domd_epoch = ++w->epochs;
	}
	w->host[0].disk = (struct record){ .owner = MIG_OWNER_HERE, .generation = 1 };
	w->host[0].mem = w->host[0].synced = w->host[0].disk;
	w->host[0].dom = DOM_RUNNING;
	faults_plan(w);
}

void world_fini(struct sim *w)
{
	forget_lines(w);
	for (unsigned i = 0; i < PROCS_MAX; i++)
		free(w->proc[i]);
	free(w->heap);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The count of blockers is kept symmetric: each pair of nodes that adding
 * counted is met again, once, when the earlier of the two goes.
 */
#include "blkd/overlap.h"

#include <assert.h>
#include <stddef.h>

static struct overlap_node **bucket_of(struct overlap_table *t, uint64_t grain)
{
	/* Fibonacci hashing: neighbours spread, so a sequential stream does not share buckets. */
	return &t->bucket[(grain * UINT64_C(0x9e3779b97f4a7c15)) >> 54];
}

_Static_assert(OVERLAP_BUCKETS == 1 << (64 - 54), "the hash gives the bucket's number");

static void link_node(struct overlap_node **head, struct overlap_node *n, struct overlap *o)
{
	n->of = o;
	n->at = head;
	n->next = *head;
	if (n->next)
		n->next->at = &n->next;
	*head = n;
}

static void unlink_node(struct overlap_node *n)
{
	*n->at = n->next;
	if (n->next)
		n->next->at = n->at;
}

static bool meets(const struct overlap *a, const struct overlap *b)
{
	return a != b && a->lo < b->hi && b->lo < a->hi;
}

static unsigned count(const struct overlap_node *list, const struct overlap *o)
{
	unsigned n = 0;

	for (; list; list = list->next)
		n += meets(list->of, o);
	return n;
}

bool overlap_add(struct overlap_table *t, struct overlap *o, uint64_t lo, uint64_t hi)
{
	uint64_t first = lo >> OVERLAP_GRAIN_SHIFT, last = (hi - 1) >> OVERLAP_GRAIN_SHIFT;

	assert(lo < hi);
	o->lo = lo;
	o->hi = hi;
	o->seq = t->seq++;
	o->wide = last - first >= OVERLAP_NODES;
	o->n_nodes = o->wide ? 1 : (unsigned)(last - first) + 1;
	if (o->wide) {
		o->blockers = count(t->all, o);
		link_node(&t->wide, &o->node[0], o);
	} else {
		o->blockers = count(t->wide, o);
		for (unsigned i = 0; i < o->n_nodes; i++) {
			struct overlap_node **head = bucket_of(t, first + i);

			o->blockers += count(*head, o);
			link_node(head, &o->node[i], o);
		}
	}
	link_node(&t->all, &o->all, o);
	return o->blockers == 0;
}

static void release(const struct overlap_node *list, const struct overlap *o, struct overlap **ready)
{
	for (; list; list = list->next) {
		struct overlap *w = list->of, **at = ready;

		if (w->seq < o->seq || !meets(w, o))
			continue;
		assert(w->blockers > 0);
		if (--w->blockers)
			continue;
		while (*at && (*at)->seq < w->seq)
			at = &(*at)->next_ready;
		w->next_ready = *at;
		*at = w;
	}
}

struct overlap *overlap_del(struct overlap_table *t, struct overlap *o)
{
	struct overlap *ready = NULL;

	unlink_node(&o->all);
	for (unsigned i = 0; i < o->n_nodes; i++)
		unlink_node(&o->node[i]);
	if (o->wide) {
		release(t->all, o, &ready);
		return ready;
	}
	release(t->wide, o, &ready);
	for (unsigned i = 0; i < o->n_nodes; i++)
		release(*bucket_of(t, (o->lo >> OVERLAP_GRAIN_SHIFT) + i), o, &ready);
	return ready;
}

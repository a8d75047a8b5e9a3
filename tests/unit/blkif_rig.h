/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of blkif: the real blkif and queue between a disk in memory
 * (or a file) and a Xen that is made up.
 */
#ifndef TESTS_UNIT_BLKIF_RIG_H
#define TESTS_UNIT_BLKIF_RIG_H

#include "tests/unit/blkif_rig_xen.h"

static void rig_gone(void *arg)
{
	((struct rig *)arg)->gone++;
}

static void rig_broke(void *arg, const char *why)
{
	assert_true(why[0]);
	((struct rig *)arg)->broke++;
}

static void rig_stopped(void *arg)
{
	((struct rig *)arg)->stopped++;
}

static inline void rig_blkif(struct rig *g, bool read_only)
{
	struct blkif_setup s = { .domid = RIG_DOMID, .devid = RIG_DEVID, .loop = g->loop, .queue = g->q, .disk = g->qd,
				 .read_only = read_only, .discard = true, .xen = &fake_ops, .x = g, .gone = rig_gone,
				 .broke = rig_broke, .arg = g };
	struct err e = ERR_INIT;

	if (blkif_new(&s, &g->b, &e) < 0)
		fail_msg("%s", e.detail);
}

/* blob NULL: one in memory. */
static inline struct rig *rig_new(struct blob *blob)
{
	struct rig *g = mem_alloc(sizeof(*g));
	struct disk_part part = { .format = disk_format("raw"), .blob = blob };
	struct err e = ERR_INIT;

	g->pages = mem_alloc((size_t)RIG_PAGES * BLKIF_PAGE_BYTES);
	g->m = mem_alloc(sizeof(*g->m));
	pthread_mutex_init(&g->m->lock, NULL);
	pthread_cond_init(&g->m->moved, NULL);
	g->own_disk = blob != NULL;
	if (!blob)
		part.blob = blob_new(&rig_blob, g->m, "memory", RIG_DISK_BYTES / 2, -1, 1, false);
	if (loop_new(&g->loop, &e) < 0 || queue_new(g->loop, &g->q, &e) < 0 ||
	    disk_open(&part, 1, false, &g->disk, &e) < 0)
		fail_msg("%s", e.detail);
	g->qd = queue_add(g->q, g->disk, NULL);
	rig_set(g, RIG_BACK "frontend", "/local/domain/7/device/vbd/51712");
	rig_set(g, RIG_BACK "state", "1");
	rig_set(g, RIG_BACK "online", "1");
	rig_set(g, RIG_FRONT "state", "1");
	return g;
}

/* Until cond, or the test fails. */
#define RIG_UNTIL(g, cond)                                              \
	do {                                                            \
		for (int i_ = 0; i_ < RIG_TURNS && !(cond); i_++)       \
			loop_once((g)->loop, RIG_WAIT_MS);              \
		assert_true(cond);                                      \
	} while (0)

/* What is due now. */
static inline void rig_settle(struct rig *g)
{
	for (int i = 0; i < 8; i++)
		loop_once(g->loop, 0);
}

static inline void rig_stop(struct rig *g, bool keep)
{
	unsigned before = g->stopped;

	blkif_stop(g->b, keep, rig_stopped, g);
	assert_int_equal(g->stopped, before);
	RIG_UNTIL(g, g->stopped > before);
	blkif_free(g->b);
	g->b = NULL;
}

static inline void rig_free(struct rig *g)
{
	if (g->b)
		rig_stop(g, false);
	assert_int_equal(g->mapped, 0);
	assert_int_equal(g->bound, 0);
	queue_remove(g->qd);
	disk_close(g->disk);
	queue_free(g->q);
	loop_free(g->loop);
	if (g->own_disk)
		free(g->m);		/* no blob had it */
	free(g->pages);
	free(g);
}

#endif

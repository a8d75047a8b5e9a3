/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of blkif: the rig, and its disk in memory, whose transfers can
 * be held and made to fail.
 */
#ifndef TESTS_UNIT_BLKIF_RIG_BASE_H
#define TESTS_UNIT_BLKIF_RIG_BASE_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "blkd/blkif.h"
#include "blkd/blkif_ring.h"
#include "tests/unit/check.h"

enum {
	RIG_DISK_BYTES = 64 << 20, RIG_WAIT_MS = 5000, RIG_TURNS = 20000,
	RIG_DOMID = 7, RIG_DEVID = 51712, RIG_NODES = 96, RIG_PAGES = 16 << 10, RIG_REMOTE_PORT = 33, RIG_PORT = 5,
};

#define RIG_FRONT "/local/domain/7/device/vbd/51712/"
#define RIG_BACK "/local/domain/0/backend/hvblk/7/51712/"
#define RIG_ERROR "/local/domain/0/error/backend/hvblk/7/51712/error"

struct rig_disk {			/* the blob */
	uint8_t p[RIG_DISK_BYTES];
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool hold;
	atomic_int fail;		/* -errno of what comes, 0: none */
	atomic_uint flushes;
	char order[64];			/* what the disk did: r w f z */
	unsigned n_order;
};

struct rig {
	struct loop *loop;
	struct queue *q;
	struct disk *disk;
	struct qdisk *qd;
	struct rig_disk *m;
	bool own_disk;
	struct blkif *b;
	/* the fake Xen */
	struct { char path[128], value[160]; } nodes[RIG_NODES];
	char states[64];		/* each write of our state, a digit each */
	uint8_t (*pages)[BLKIF_PAGE_BYTES];	/* reference n is page n */
	bool revoked[RIG_PAGES];
	unsigned mapped, bound, bells, unmasked, copies;
	bool no_bind;
	/* the callbacks */
	unsigned gone, broke, stopped;
};

/* ---- the disk ------------------------------------------------------------------------------------------ */

static int rig_turn(struct rig_disk *m, char what)
{
	pthread_mutex_lock(&m->lock);
	while (m->hold)
		pthread_cond_wait(&m->moved, &m->lock);
	if (m->n_order < sizeof(m->order) - 1)
		m->order[m->n_order++] = what;
	pthread_mutex_unlock(&m->lock);
	return m->fail;
}

static inline void rig_hold(struct rig *g, bool on)
{
	pthread_mutex_lock(&g->m->lock);
	g->m->hold = on;
	pthread_cond_broadcast(&g->m->moved);
	pthread_mutex_unlock(&g->m->lock);
}

static int rig_read(void *arg, uint64_t off, void *p, size_t n)
{
	struct rig_disk *m = arg;
	int rc = rig_turn(m, 'r');

	if (rc == 0)
		memcpy(p, m->p + off, n);
	return rc;
}

static int rig_write(void *arg, uint64_t off, const void *p, size_t n)
{
	struct rig_disk *m = arg;
	int rc = rig_turn(m, 'w');

	if (rc == 0)
		memcpy(m->p + off, p, n);
	return rc;
}

static int rig_flush(void *arg)
{
	struct rig_disk *m = arg;

	atomic_fetch_add(&m->flushes, 1);
	return rig_turn(m, 'f');
}

static int rig_set_bytes(void *arg, uint64_t bytes)
{
	(void)arg;
	return bytes <= RIG_DISK_BYTES ? 0 : -ENOSPC;
}

static int rig_zero(void *arg, uint64_t off, uint64_t n)
{
	struct rig_disk *m = arg;
	int rc = rig_turn(m, 'z');

	if (rc == 0)
		memset(m->p + off, 0, n);
	return rc;
}

static void rig_close(void *arg)
{
	free(arg);
}

static const struct blob_ops rig_blob = { .read = rig_read, .write = rig_write, .flush = rig_flush,
					  .set_bytes = rig_set_bytes, .zero = rig_zero, .close = rig_close };

#endif

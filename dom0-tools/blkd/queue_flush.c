/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flushes of one disk share a sync: all that arrive while one runs are served
 * by the next, however many they are.  That one starts after they came, so it
 * covers every write that was complete when they were submitted.
 */
#include <errno.h>

#include "blkd/queue_priv.h"

static void begin(struct qdisk *qd);

/* The sync that ran for qd->sync_now ended. */
static void ended(struct qdisk *qd, int res)
{
	struct req_list now = qd->sync_now;

	req_list_init(&qd->sync_now);
	qd->sync_busy = false;
	if (!qd->sync_error)
		qd->sync_error = res;
	res = qd->sync_error;
	if (qd->sync_next.first)
		begin(qd);
	/* Last, and by the list alone: the last of these may be all that kept qd. */
	for (struct req *r; (r = req_list_take(&now)) != NULL;)
		queue_complete(r->disk->q, r, res);
}

static void sync_do(struct meta_job *j)
{
	struct qdisk *qd = j->arg;

	j->res = disk_sync(qd->disk);
}

static void sync_done(struct meta_job *j)
{
	struct qdisk *qd = j->arg;
	struct queue *q = qd->q;

	ended(qd, j->res);
	queue_batch_end(q);
}

void queue_flushed(struct qdisk *qd, int res)
{
	ended(qd, res < 0 ? res : 0);
}

static void begin(struct qdisk *qd)
{
	struct slot *s = qdisk_slot(qd, disk_leaf(qd->disk));

	qd->sync_now = qd->sync_next;
	req_list_init(&qd->sync_next);
	qd->sync_busy = true;
	if (disk_dirty(qd->disk) || s->fd < 0) {
		qd->sync_job = (struct meta_job){ .fn = sync_do, .done = sync_done, .arg = qd };
		meta_put(qd->q->meta, &qd->sync_job);
		return;
	}
	struct io_uring_sqe *sqe = queue_sqe(qd->q);

	io_uring_prep_fsync(sqe, queue_sqe_fd(s), IORING_FSYNC_DATASYNC);
	queue_sqe_file(sqe, s);
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)qd | QUEUE_UD_SYNC);
}

void queue_flush(struct queue *q, struct req *r)
{
	struct qdisk *qd = r->disk;

	if (qd->sync_error) {
		queue_complete(q, r, qd->sync_error);
		return;
	}
	/* Memory has no later than now; but a sync that runs may have taken the dirty mark and not be through. */
	if (disk_read_only(qd->disk) ||
	    (!qd->sync_busy && !disk_dirty(qd->disk) && qdisk_slot(qd, disk_leaf(qd->disk))->memory)) {
		queue_complete(q, r, 0);
		return;
	}
	req_list_put(&qd->sync_next, r);
	if (!qd->sync_busy)
		begin(qd);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, so that decoding and hvdomd's reading do not hold up the loop.
 * The object lives until the thread has ended, even when its owner is gone.
 */
#include "migrate/guest/loader.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "migrate/stream/raw_sum.h"

enum { LOADER_PROGRESS_MS = 250 };

struct item {
	struct item *next;
	uint64_t seq;
	struct buf batch;
};

struct loader {
	struct loop *loop;
	struct mig_link *link;
	const struct loader_ops *ops;
	void *arg;
	int fd;

	pthread_mutex_t lock;
	pthread_cond_t more;
	struct item *first, **last;
	size_t queued_bytes;
	bool held, freed, has_end;
	uint64_t end_batches, end_raw, end_sum;
	struct codec_counts counts;

	/* of the thread */
	struct decoder *dec;
	struct raw_sum *sum;
	uint64_t next_seq, told_ms;
	struct err err;
};

static void release_on_loop(void *arg)
{
	struct loader *l = arg;

	pthread_mutex_lock(&l->lock);
	bool release = l->held && l->queued_bytes < LOADER_QUEUE_BYTES / 2;
	if (release)
		l->held = false;
	struct codec_counts c = l->counts;
	pthread_mutex_unlock(&l->lock);
	if (l->freed)
		return;
	l->ops->progress(l->arg, &c);
	if (release && l->link && !l->freed)
		mig_link_hold(l->link, false);
}

/* The next batch, or NULL when the stream is over or nobody wants it any more. */
static struct item *take_item(struct loader *l)
{
	pthread_mutex_lock(&l->lock);
	while (!l->first && !l->has_end && !l->freed)
		pthread_cond_wait(&l->more, &l->lock);
	struct item *it = l->freed ? NULL : l->first;
	bool tell = false;

	if (it) {
		l->first = it->next;
		if (!l->first)
			l->last = &l->first;
		l->queued_bytes -= it->batch.len;
		tell = l->held && l->queued_bytes < LOADER_QUEUE_BYTES / 2;
	}
	pthread_mutex_unlock(&l->lock);
	if (tell)
		loop_post(l->loop, release_on_loop, l);
	return it;
}

static int decode_item(struct loader *l, const struct item *it, struct buf *raw)
{
	raw->len = 0;
	if (it->seq != l->next_seq)
		return err_set(&l->err, ERR_CORRUPT, "batch %llu came when %llu was due", (unsigned long long)it->seq,
			       (unsigned long long)l->next_seq);
	l->next_seq++;
	if (decoder_batch(l->dec, (struct span){ it->batch.p, it->batch.len }, raw, &l->err) < 0)
		return -1;
	raw_sum_add(l->sum, raw->p, raw->len);
	int rc = fd_write_full(l->fd, raw->p, raw->len);

	if (rc < 0)
		return err_sys(&l->err, -rc, "hand memory to hvdomd");
	pthread_mutex_lock(&l->lock);
	l->counts = *decoder_counts(l->dec);
	pthread_mutex_unlock(&l->lock);
	uint64_t now = clock_mono_ms();

	if (now - l->told_ms >= LOADER_PROGRESS_MS) {
		l->told_ms = now;
		loop_post(l->loop, release_on_loop, l);
	}
	return 0;
}

static int compare_end(struct loader *l)
{
	if (l->next_seq != l->end_batches || decoder_counts(l->dec)->raw_bytes != l->end_raw ||
	    raw_sum_value(l->sum) != l->end_sum)
		return err_set(&l->err, ERR_CORRUPT,
			       "the memory that came (%llu batches, %llu bytes) is not what was sent",
			       (unsigned long long)l->next_seq,
			       (unsigned long long)decoder_counts(l->dec)->raw_bytes);
	return 0;
}

static void decode_thread(void *arg)
{
	struct loader *l = arg;
	AUTO_BUF struct buf raw = { 0 };
	struct item *it;
	int rc = 0;

	while (rc == 0 && (it = take_item(l))) {
		rc = decode_item(l, it, &raw);
		buf_fini(&it->batch);
		free(it);
	}
	if (rc == 0 && !l->freed)
		rc = compare_end(l);
	if (rc == 0)
		shutdown(l->fd, SHUT_WR);
}

static void destroy(struct loader *l)
{
	for (struct item *it = l->first, *next; it; it = next) {
		next = it->next;
		buf_fini(&it->batch);
		free(it);
	}
	decoder_free(l->dec);
	raw_sum_free(l->sum);
	fd_close(&l->fd);
	pthread_cond_destroy(&l->more);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static void thread_ended(void *arg)
{
	struct loader *l = arg;
	bool freed = l->freed;

	l->loop = NULL;		/* from here on loader_free destroys */
	if (freed) {
		destroy(l);
		return;
	}
	l->ops->progress(l->arg, &l->counts);
	if (l->err.code == ERR_NONE)
		l->ops->done(l->arg);
	else
		l->ops->failed(l->arg, &l->err);
}

int loader_new(struct loop *loop, struct mig_link *link, int out_fd, uint32_t cache_pages, const struct loader_ops *ops,
	       void *arg, struct loader **out, struct err *e)
{
	struct loader *l = mem_alloc(sizeof(*l));

	l->loop = loop;
	l->link = link;
	l->ops = ops;
	l->arg = arg;
	l->fd = -1;
	l->last = &l->first;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->more, NULL);
	l->sum = raw_sum_new();
	if (decoder_new(cache_pages, &l->dec, e) < 0) {
		destroy(l);
		return -1;
	}
	l->fd = out_fd;
	if (loop_work(loop, decode_thread, thread_ended, l, e) < 0) {
		l->fd = -1;
		destroy(l);
		return -1;
	}
	*out = l;
	return 0;
}

void loader_data(struct loader *l, uint64_t seq, struct buf batch)
{
	struct item *it = mem_alloc(sizeof(*it));

	it->seq = seq;
	it->batch = batch;
	pthread_mutex_lock(&l->lock);
	*l->last = it;
	l->last = &it->next;
	l->queued_bytes += batch.len;
	bool hold = !l->held && l->queued_bytes > LOADER_QUEUE_BYTES;
	if (hold)
		l->held = true;
	pthread_cond_signal(&l->more);
	pthread_mutex_unlock(&l->lock);
	if (hold && l->link)
		mig_link_hold(l->link, true);
}

void loader_end(struct loader *l, uint64_t batches, uint64_t raw_bytes, uint64_t sum)
{
	pthread_mutex_lock(&l->lock);
	l->has_end = true;
	l->end_batches = batches;
	l->end_raw = raw_bytes;
	l->end_sum = sum;
	pthread_cond_signal(&l->more);
	pthread_mutex_unlock(&l->lock);
}

void loader_forget_link(struct loader *l)
{
	if (l)
		l->link = NULL;
}

void loader_free(struct loader *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->freed = true;
	pthread_cond_signal(&l->more);
	pthread_mutex_unlock(&l->lock);
	shutdown(l->fd, SHUT_RDWR);
	if (!l->loop)
		destroy(l);
}

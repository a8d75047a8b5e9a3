/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads, one lock.  The save thread waits for the loop's decision after
 * each round; the encode thread waits for room on the link.  Whatever ends
 * either of them makes the pipe end, and so the other.
 */
#include "migrate/guest/saver.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "migrate/stream/raw_sum.h"
#include "migrate/stream/records.h"

enum { SAVER_PIPE_BYTES = 1 << 20, SAVER_PROGRESS_MS = 250 };

struct saver {
	struct loop *loop;
	struct mig_link *link;
	const struct saver_xen *xen;
	const struct saver_ops *ops;
	void *arg;
	int pipe_rd, pipe_wr;

	pthread_mutex_t lock;
	pthread_cond_t answered;
	struct saver_facts facts;	/* written by the encode thread */
	bool stop;
	bool asking, has_answer;
	enum saver_step answer;
	struct policy_round round;
	uint64_t suspend_ms;

	/* of the save thread */
	uint64_t round_start_ms, round_pages, round_wire, suspend_start_ms;

	/* of the encode thread */
	struct encoder *enc;
	struct raw_sum *sum;
	uint64_t told_ms;

	unsigned running;		/* threads; loop thread only */
	bool ended_ok;			/* the END record went out */
	uint64_t raw_bytes, sum_value;
	struct err save_err, encode_err;
};

static uint64_t pages_of(const struct codec_counts *c)
{
	return c->pages[PAGE_ZERO] + c->pages[PAGE_FULL] + c->pages[PAGE_DELTA];
}

static struct saver_facts facts_now(struct saver *s)
{
	pthread_mutex_lock(&s->lock);
	struct saver_facts f = s->facts;
	pthread_mutex_unlock(&s->lock);
	return f;
}

static bool is_stopped(void *arg)
{
	struct saver *s = arg;

	pthread_mutex_lock(&s->lock);
	bool stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	return stop;
}

/* ---- the save thread ---- */

static void round_on_loop(void *arg)
{
	struct saver *s = arg;
	struct saver_facts f = facts_now(s);

	if (!is_stopped(s))
		s->ops->round(s->arg, &s->round, &f);
}

/* What still sits between Xen and the line counts as work of the next round. */
static uint64_t pages_under_way(struct saver *s)
{
	int in_pipe = 0;

	if (ioctl(s->pipe_rd, FIONREAD, &in_pipe) < 0)
		in_pipe = 0;
	return ((uint64_t)in_pipe + mig_link_backlog(s->link)) / PAGE_BYTES;
}

static enum saver_step on_round(void *arg, uint32_t number, uint64_t dirty_pages)
{
	struct saver *s = arg;
	struct saver_facts f = facts_now(s);
	uint64_t now = clock_mono_ms(), pages = pages_of(&f.counts);

	s->round = (struct policy_round){
		.number = number,
		.sent_pages = pages - s->round_pages,
		.wire_bytes = f.counts.wire_bytes - s->round_wire,
		.duration_ms = now - s->round_start_ms,
		.left_pages = dirty_pages + pages_under_way(s),
	};
	pthread_mutex_lock(&s->lock);
	s->has_answer = false;
	pthread_mutex_unlock(&s->lock);
	loop_post(s->loop, round_on_loop, s);
	pthread_mutex_lock(&s->lock);
	while (!s->has_answer && !s->stop)
		pthread_cond_wait(&s->answered, &s->lock);
	enum saver_step step = s->stop ? SAVER_ABORT : s->answer;
	s->facts.round = number + 1;
	pthread_mutex_unlock(&s->lock);
	s->round_pages = pages;
	s->round_wire = f.counts.wire_bytes;
	s->round_start_ms = clock_mono_ms();
	return step;
}

static void on_suspending(void *arg)
{
	struct saver *s = arg;

	s->suspend_start_ms = clock_mono_ms();
}

static void suspended_on_loop(void *arg)
{
	struct saver *s = arg;

	if (!is_stopped(s))
		s->ops->suspended(s->arg, s->suspend_ms);
}

static void on_suspended(void *arg)
{
	struct saver *s = arg;

	s->suspend_ms = clock_mono_ms() - s->suspend_start_ms;
	loop_post(s->loop, suspended_on_loop, s);
}

static void save_thread(void *arg)
{
	struct saver *s = arg;
	struct saver_hooks hooks = { on_round, on_suspending, on_suspended, is_stopped, s };

	s->round_start_ms = clock_mono_ms();
	if (s->xen->save(s->xen->arg, s->pipe_wr, &hooks, &s->save_err) < 0 && s->save_err.code == ERR_NONE)
		err_set(&s->save_err, ERR_INTERNAL, "the save failed without saying why");
	fd_close(&s->pipe_wr);
}

/* ---- the encode thread ---- */

static void progress_on_loop(void *arg)
{
	struct saver *s = arg;
	struct saver_facts f = facts_now(s);

	if (!is_stopped(s))
		s->ops->progress(s->arg, &f);
}

/* Pushes the batches in wire, one frame each. */
static bool push_batches(struct saver *s, const struct buf *wire, const size_t *ends, size_t n)
{
	size_t from = 0;

	for (size_t i = 0; i < n; from = ends[i++])
		if (!mig_link_push(s->link, s->facts.batches + i, (struct span){ wire->p + from, ends[i] - from }))
			return false;
	pthread_mutex_lock(&s->lock);
	s->facts.batches += n;
	s->facts.counts = *encoder_counts(s->enc);
	pthread_mutex_unlock(&s->lock);
	uint64_t now = clock_mono_ms();

	if (now - s->told_ms >= SAVER_PROGRESS_MS) {
		s->told_ms = now;
		loop_post(s->loop, progress_on_loop, s);
	}
	return true;
}

/* Stream bytes in parts that are one batch each. */
static bool encode_bytes(struct saver *s, struct span in)
{
	AUTO_BUF struct buf wire = { 0 };

	raw_sum_add(s->sum, in.p, in.len);
	for (size_t part; in.len; in.p += part, in.len -= part) {
		part = in.len < BATCH_BYTES_PART ? in.len : BATCH_BYTES_PART;
		wire.len = 0;
		encoder_bytes(s->enc, in.p, part, &wire);
		if (!push_batches(s, &wire, &wire.len, 1))
			return false;
	}
	return true;
}

static bool encode_pages(struct saver *s, struct span body, struct buf *wire)
{
	uint8_t hdr[REC_HDR_BYTES] = { LIBXC_REC_PAGE_DATA };

	for (int i = 0; i < 4; i++)
		hdr[4 + i] = (uint8_t)(body.len >> (8 * i));
	raw_sum_add(s->sum, hdr, sizeof(hdr));
	raw_sum_add(s->sum, body.p, body.len);
	wire->len = 0;
	encoder_pages(s->enc, body.p, body.len, wire);
	return push_batches(s, wire, &wire->len, 1);
}

/* libxl's wrapping around the libxc stream (stream_fmt.h). */
static bool encode_front(struct saver *s)
{
	AUTO_BUF struct buf b = { 0 };

	buf_put_be64(&b, LIBXL_STREAM_ID);
	buf_put_be32(&b, LIBXL_VERSION_WANT);
	buf_put_be32(&b, 0);
	buf_put_le32(&b, LIBXL_REC_LIBXC_CONTEXT);
	buf_put_le32(&b, 0);
	return encode_bytes(s, (struct span){ b.p, b.len });
}

static int encode_all(struct saver *s, struct rec_reader *r, struct err *e)
{
	static const uint8_t libxl_end[REC_HDR_BYTES] = { LIBXL_REC_END };
	AUTO_BUF struct buf wire = { 0 };
	enum rec_kind kind = REC_PIECE_BYTES;
	struct span piece;
	bool ok = encode_front(s);

	while (ok && kind != REC_PIECE_END) {
		if (rec_next(r, &kind, &piece, e) < 0)
			return -1;
		ok = kind == REC_PIECE_PAGES ? encode_pages(s, piece, &wire) : encode_bytes(s, piece);
	}
	if (!ok || !encode_bytes(s, (struct span){ libxl_end, sizeof(libxl_end) }))
		return err_set(e, ERR_NET, "the connection went down while memory was sent");
	return 0;
}

static void encode_thread(void *arg)
{
	struct saver *s = arg;
	struct rec_reader r;

	rec_reader_init(&r, s->pipe_rd);
	if (encode_all(s, &r, &s->encode_err) == 0) {
		s->raw_bytes = encoder_counts(s->enc)->raw_bytes;
		s->sum_value = raw_sum_value(s->sum);
		s->ended_ok = true;
	}
	rec_reader_fini(&r);
	/* If the save still writes, it learns now that nobody reads. */
	int fd = s->pipe_rd;
	pthread_mutex_lock(&s->lock);
	s->pipe_rd = -1;
	pthread_mutex_unlock(&s->lock);
	fd_close(&fd);
}

/* ---- the loop's thread ---- */

static void thread_ended(void *arg)
{
	struct saver *s = arg;

	if (--s->running)
		return;
	if (s->stop) {
		s->ops->stopped(s->arg);
		return;
	}
	struct saver_facts f = facts_now(s);

	if (s->save_err.code == ERR_NONE && s->ended_ok)
		s->ops->done(s->arg, &f, s->raw_bytes, s->sum_value);
	else if (s->encode_err.code != ERR_NONE && s->encode_err.code != ERR_NET)
		s->ops->failed(s->arg, &s->encode_err);
	else
		s->ops->failed(s->arg, s->save_err.code != ERR_NONE ? &s->save_err : &s->encode_err);
}

static int start(struct saver *s, enum stream_codec codec, uint32_t cache_pages, struct err *e)
{
	int p[2];

	if (encoder_new(codec, cache_pages, &s->enc, e) < 0)
		return -1;
	s->sum = raw_sum_new();
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe for the memory stream");
	s->pipe_rd = p[0];
	s->pipe_wr = p[1];
	fcntl(s->pipe_wr, F_SETPIPE_SZ, SAVER_PIPE_BYTES);	/* a smaller one only costs switches */
	if (loop_work(s->loop, encode_thread, thread_ended, s, e) < 0)
		return -1;
	s->running = 1;
	if (loop_work(s->loop, save_thread, thread_ended, s, e) < 0) {
		/* The encode thread ends with the pipe and reports the failure. */
		s->save_err = *e;
		fd_close(&s->pipe_wr);
		return 0;
	}
	s->running = 2;
	return 0;
}

int saver_new(struct loop *loop, struct mig_link *link, const struct saver_xen *xen, enum stream_codec codec,
	      uint32_t cache_pages, const struct saver_ops *ops, void *arg, struct saver **out, struct err *e)
{
	struct saver *s = mem_alloc(sizeof(*s));

	s->loop = loop;
	s->link = link;
	s->xen = xen;
	s->ops = ops;
	s->arg = arg;
	s->pipe_rd = s->pipe_wr = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->answered, NULL);
	if (start(s, codec, cache_pages, e) < 0) {
		saver_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

void saver_answer(struct saver *s, enum saver_step step)
{
	pthread_mutex_lock(&s->lock);
	s->answer = step;
	s->has_answer = true;
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
}

void saver_stop(struct saver *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
	mig_link_stop_pushing(s->link);
	if (!s->running)
		s->ops->stopped(s->arg);
}

bool saver_ended(const struct saver *s)
{
	return !s->running;
}

void saver_free(struct saver *s)
{
	if (!s)
		return;
	encoder_free(s->enc);
	raw_sum_free(s->sum);
	fd_close(&s->pipe_rd);
	fd_close(&s->pipe_wr);
	pthread_cond_destroy(&s->answered);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue is a list of whole frames, so that a message of the session goes
 * between two batches and never waits for more than MIG_LINK_QUEUE_BYTES.
 */
#include "migrate/mig_link.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "link/stream.h"

struct frame {
	struct frame *next;
	struct buf bytes;
};

struct mig_link {
	struct loop *loop;
	const struct mig_link_ops *ops;
	void *arg;
	int fd;
	struct loop_src *src;
	bool held;
	bool down_told;
	bool freed;			/* by its owner, while a flush is posted */

	/* reading */
	uint8_t hdr_bytes[MIG_HDR_BYTES];
	size_t hdr_have;
	struct mig_hdr hdr;
	struct buf body;

	/* writing; the lock guards what the encoder's thread sees */
	pthread_mutex_t lock;
	pthread_cond_t room;
	struct frame *first, **last;
	uint64_t queued_bytes;
	bool closed;			/* no more pushes */
	bool woken;			/* a flush is posted */
	uint64_t rate_bytes_s, paid_until_ns;
	size_t first_done;		/* bytes of the first frame written */
	uint64_t sent_bytes;
};

static void on_ready(void *arg, unsigned events);

int mig_link_new(struct loop *loop, int fd, const struct mig_link_ops *ops, void *arg, struct mig_link **out,
		 struct err *e)
{
	struct mig_link *l = mem_alloc(sizeof(*l));

	l->loop = loop;
	l->ops = ops;
	l->arg = arg;
	l->fd = fd;
	l->last = &l->first;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->room, NULL);
	if (fd_set_nonblock(fd, true, e) < 0 || loop_watch(loop, fd, LOOP_READ, on_ready, l, &l->src, e) < 0) {
		l->fd = -1;		/* not taken on failure */
		mig_link_free(l);
		return -1;
	}
	*out = l;
	return 0;
}

static void destroy(struct mig_link *l)
{
	for (struct frame *f = l->first, *next; f; f = next) {
		next = f->next;
		buf_fini(&f->bytes);
		free(f);
	}
	buf_fini(&l->body);
	fd_close(&l->fd);
	pthread_cond_destroy(&l->room);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void mig_link_free(struct mig_link *l)
{
	if (!l)
		return;
	loop_unwatch(&l->src);
	fd_close(&l->fd);
	mig_link_stop_pushing(l);
	l->down_told = true;
	l->freed = true;
	if (!l->woken)
		destroy(l);
}

void mig_link_stop_pushing(struct mig_link *l)
{
	pthread_mutex_lock(&l->lock);
	l->closed = true;
	pthread_cond_broadcast(&l->room);
	pthread_mutex_unlock(&l->lock);
}

static void go_down(struct mig_link *l, const struct err *why)
{
	if (l->down_told)
		return;
	l->down_told = true;
	loop_unwatch(&l->src);
	mig_link_stop_pushing(l);
	l->ops->down(l->arg, l, why);
}

/* What is watched: reading unless held, writing while there is something to write. */
static void set_events(struct mig_link *l)
{
	pthread_mutex_lock(&l->lock);
	unsigned events = (l->held ? 0u : LOOP_READ) | (l->first ? LOOP_WRITE : 0u);
	pthread_mutex_unlock(&l->lock);
	if (l->src)
		loop_set_events(l->src, events);
}

/* Writes as much as the socket takes.  0, or -errno. */
static int write_queue(struct mig_link *l)
{
	int rc = 0;

	pthread_mutex_lock(&l->lock);
	while (l->first) {
		struct frame *f = l->first;
		size_t left = f->bytes.len - l->first_done;

		pthread_mutex_unlock(&l->lock);
		ssize_t n = send(l->fd, f->bytes.p + l->first_done, left, MSG_NOSIGNAL);
		pthread_mutex_lock(&l->lock);
		if (n < 0) {
			rc = errno == EAGAIN || errno == EINTR ? 0 : -errno;
			break;
		}
		l->sent_bytes += (uint64_t)n;
		l->queued_bytes -= (uint64_t)n;
		l->first_done += (size_t)n;
		if (l->first_done < f->bytes.len)
			continue;
		l->first = f->next;
		if (!l->first)
			l->last = &l->first;
		l->first_done = 0;
		buf_fini(&f->bytes);
		free(f);
	}
	if (l->queued_bytes < MIG_LINK_QUEUE_BYTES)
		pthread_cond_broadcast(&l->room);
	pthread_mutex_unlock(&l->lock);
	return rc;
}

static void write_some(struct mig_link *l)
{
	struct err e = ERR_INIT;
	int rc = l->down_told ? 0 : write_queue(l);

	if (rc < 0) {
		err_sys(&e, -rc, "write to the peer");
		go_down(l, &e);
		return;
	}
	set_events(l);
}

static void flush_posted(void *arg)
{
	struct mig_link *l = arg;

	pthread_mutex_lock(&l->lock);
	l->woken = false;
	pthread_mutex_unlock(&l->lock);
	if (l->freed)
		destroy(l);
	else
		write_some(l);
}

/* Under the lock. */
static void append(struct mig_link *l, struct frame *f)
{
	*l->last = f;
	l->last = &f->next;
	l->queued_bytes += f->bytes.len;
}

void mig_link_send(struct mig_link *l, const struct mig_msg *m)
{
	struct err e = ERR_INIT;
	struct frame *f = mem_alloc(sizeof(*f));

	if (l->down_told || mig_encode(m, &f->bytes, &e) < 0) {
		if (!l->down_told)
			go_down(l, &e);
		buf_fini(&f->bytes);
		free(f);
		return;
	}
	pthread_mutex_lock(&l->lock);
	append(l, f);
	pthread_mutex_unlock(&l->lock);
	write_some(l);
}

void mig_link_set_rate(struct mig_link *l, uint64_t bytes_s)
{
	l->rate_bytes_s = bytes_s;
}

/* Under the lock: waits until the rate allows n more bytes, or the link closes. */
static void wait_for_rate(struct mig_link *l, size_t n)
{
	const uint64_t burst_ns = MIG_LINK_BURST_MS * 1000000ull;

	while (l->rate_bytes_s && !l->closed) {
		uint64_t now = clock_mono_ns();
		struct timespec until;

		if (l->paid_until_ns < now + burst_ns)
			break;
		uint64_t wait_ns = l->paid_until_ns - burst_ns;

		until.tv_sec = (time_t)(wait_ns / 1000000000u);
		until.tv_nsec = (long)(wait_ns % 1000000000u);
		pthread_cond_clockwait(&l->room, &l->lock, CLOCK_MONOTONIC, &until);
	}
	if (!l->rate_bytes_s)
		return;
	uint64_t now = clock_mono_ns(), from = l->paid_until_ns > now ? l->paid_until_ns : now;

	l->paid_until_ns = from + n * 1000000000ull / l->rate_bytes_s;
}

bool mig_link_push(struct mig_link *l, uint64_t seq, struct span batch)
{
	struct mig_hdr h = { .type = MIG_DATA, .len_bytes = (uint32_t)batch.len, .seq = seq };
	struct frame *f = mem_alloc(sizeof(*f));
	bool wake, ok;

	buf_reserve(&f->bytes, MIG_HDR_BYTES + batch.len);
	mig_hdr_encode(&h, &f->bytes);
	buf_put(&f->bytes, batch.p, batch.len);
	pthread_mutex_lock(&l->lock);
	while (!l->closed && l->queued_bytes > MIG_LINK_QUEUE_BYTES)
		pthread_cond_wait(&l->room, &l->lock);
	wait_for_rate(l, f->bytes.len);
	ok = !l->closed;
	wake = ok && !l->woken;
	if (ok)
		append(l, f);
	if (wake)
		l->woken = true;
	pthread_mutex_unlock(&l->lock);
	if (wake)
		loop_post(l->loop, flush_posted, l);
	if (!ok) {
		buf_fini(&f->bytes);
		free(f);
	}
	return ok;
}

void mig_link_hold(struct mig_link *l, bool hold)
{
	struct err e = ERR_INIT;

	l->held = hold;
	/* A hang-up while held took the source away; what was sent before it is still to be read. */
	if (!hold && !l->src && !l->down_told && loop_watch(l->loop, l->fd, LOOP_READ, on_ready, l, &l->src, &e) < 0) {
		go_down(l, &e);
		return;
	}
	set_events(l);
}

uint64_t mig_link_backlog(struct mig_link *l)
{
	int in_socket = 0;

	if (ioctl(l->fd, SIOCOUTQ, &in_socket) < 0)
		in_socket = 0;
	pthread_mutex_lock(&l->lock);
	uint64_t n = l->queued_bytes;
	pthread_mutex_unlock(&l->lock);
	return n + (uint64_t)in_socket;
}

uint64_t mig_link_sent(const struct mig_link *l)
{
	return l->sent_bytes;
}

void mig_link_flush(struct mig_link *l)
{
	uint64_t end = clock_mono_ms() + MIG_LINK_FLUSH_MS;

	while (!l->down_told && l->first) {
		uint64_t now = clock_mono_ms();
		struct pollfd p = { .fd = l->fd, .events = POLLOUT };

		if (now >= end || poll(&p, 1, (int)(end - now)) <= 0)
			return;
		write_some(l);
	}
}

/* The body is whole: hand it on.  False: the link went down. */
static bool deliver(struct mig_link *l)
{
	struct err e = ERR_INIT;
	struct mig_msg m;

	l->hdr_have = 0;
	if (l->hdr.type == MIG_DATA) {
		struct buf batch = l->body;

		l->body = (struct buf){ 0 };
		l->ops->data(l->arg, l, l->hdr.seq, batch);
		return !l->down_told;
	}
	if (mig_body_decode(&l->hdr, l->body.p, &m, &e) < 0) {
		go_down(l, &e);
		return false;
	}
	struct buf body = l->body;	/* m.body borrows it while the callee runs */

	l->body = (struct buf){ 0 };
	l->ops->msg(l->arg, l, &m);
	buf_fini(&body);
	return true;
}

/* One read into where bytes are missing.  As stream_read; 1 when nothing was missing; -EBADMSG with e set. */
static ssize_t read_part(struct mig_link *l, struct err *e)
{
	if (l->hdr_have < MIG_HDR_BYTES) {
		ssize_t n = stream_read(l->fd, l->hdr_bytes + l->hdr_have, MIG_HDR_BYTES - l->hdr_have);

		if (n <= 0)
			return n;
		l->hdr_have += (size_t)n;
		if (l->hdr_have < MIG_HDR_BYTES)
			return n;
		struct rd r = rd_of(l->hdr_bytes, MIG_HDR_BYTES);

		if (mig_hdr_decode(&r, &l->hdr, e) < 0)
			return -EBADMSG;
		buf_reserve(&l->body, l->hdr.len_bytes + 1ul);
		l->body.len = 0;
		return n;
	}
	if (l->body.len == l->hdr.len_bytes)
		return 1;
	ssize_t n = stream_read(l->fd, l->body.p + l->body.len, l->hdr.len_bytes - l->body.len);

	if (n > 0)
		l->body.len += (size_t)n;
	return n;
}

static void read_some(struct mig_link *l)
{
	while (!l->held && !l->down_told) {
		struct err e = ERR_INIT;
		ssize_t n = read_part(l, &e);

		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n < 0 && e.code == ERR_NONE)
			err_sys(&e, (int)-n, "read from the peer");
		if (n <= 0) {
			go_down(l, n == 0 ? NULL : &e);
			return;
		}
		if (l->hdr_have == MIG_HDR_BYTES && l->body.len == l->hdr.len_bytes && !deliver(l))
			return;
	}
}

static void on_ready(void *arg, unsigned events)
{
	struct mig_link *l = arg;

	if (events & LOOP_WRITE)
		write_some(l);
	if (l->down_told || !(events & (LOOP_READ | LOOP_HUP)))
		return;
	if (!l->held)
		read_some(l);
	else if (events & LOOP_HUP)
		loop_unwatch(&l->src);
}

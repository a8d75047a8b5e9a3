/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump.  `turn` moves what can be moved and then says to the loop what it
 * waits for.  A hang-up is reported by epoll whether asked for or not, so a
 * source that hung up is taken off the loop; what is left in it is finite and
 * is read when the other side has room.
 */
#include "link/pump.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/fd.h"

struct half {
	uint8_t p[TLS_RECORD_BYTES_MAX];
	size_t at, len;			/* what is held and not passed on: p[at .. at + len) */
	bool eof;			/* the source has ended */
	bool ended;			/* and the sink was told */
};

struct pump {
	struct loop *l;
	struct tls *tls;
	int pair;			/* our end */
	struct loop_src *tcp_src, *pair_src;
	struct loop_timer *kick, *linger;
	void (*on_end)(void *arg, struct pump *p, bool clean);
	void *arg;
	struct half in, out;		/* from the peer, from the worker */
	bool read_wants_write;		/* TLS has an alert to send before it can read */
	bool deaf;			/* the worker reads no more: bytes for it are dropped */
	bool pair_hup;			/* the worker closed its end */
	bool cut;			/* the TLS side broke */
	bool lingers;
};

enum moved { MOVED, STUCK };

void pump_free(struct pump *p)
{
	if (!p)
		return;
	loop_unwatch(&p->tcp_src);
	loop_unwatch(&p->pair_src);
	loop_timer_free(&p->kick);
	loop_timer_free(&p->linger);
	tls_free(p->tls);
	fd_close(&p->pair);
	free(p);
}

/* The connection takes nothing more: the worker's writes fail from now on. */
static enum moved stop_out(struct pump *p)
{
	p->cut = true;
	p->out.len = 0;
	p->out.eof = p->out.ended = true;
	(void)shutdown(p->pair, SHUT_RD);
	return MOVED;
}

/* It gives nothing more either; what came is with the worker already. */
static enum moved stop_all(struct pump *p)
{
	p->in.eof = p->in.ended = true;
	return stop_out(p);
}

static void advance(struct half *h, size_t n)
{
	h->at += n;
	h->len -= n;
}

static enum moved fill_from_peer(struct pump *p)
{
	ssize_t n = tls_read(p->tls, p->in.p, sizeof(p->in.p));

	p->read_wants_write = n == -EAGAIN && tls_wants_write(p->tls);
	if (n == -EAGAIN)
		return STUCK;
	if (n < 0)
		return stop_all(p);
	p->in.at = 0;
	p->in.len = p->deaf ? 0 : (size_t)n;
	p->in.eof = n == 0;
	return MOVED;
}

static enum moved drain_to_worker(struct pump *p)
{
	ssize_t n = send(p->pair, p->in.p + p->in.at, p->in.len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return STUCK;
	if (n < 0) {
		p->deaf = true;
		n = (ssize_t)p->in.len;
	}
	advance(&p->in, (size_t)n);
	return MOVED;
}

static enum moved move_in(struct pump *p)
{
	if (p->in.len)
		return drain_to_worker(p);
	if (!p->in.eof)
		return fill_from_peer(p);
	if (p->in.ended)
		return STUCK;
	(void)shutdown(p->pair, SHUT_WR);
	p->in.ended = true;
	return MOVED;
}

static enum moved fill_from_worker(struct pump *p)
{
	ssize_t n = recv(p->pair, p->out.p, sizeof(p->out.p), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return STUCK;
	/* ECONNRESET: closed without having read everything.  What it sent before that was sent on purpose. */
	p->out.at = 0;
	p->out.len = n > 0 ? (size_t)n : 0;
	p->out.eof = n <= 0;
	return MOVED;
}

static enum moved drain_to_peer(struct pump *p)
{
	ssize_t n = tls_write(p->tls, p->out.p + p->out.at, p->out.len);

	if (n == -EAGAIN)
		return STUCK;
	if (n < 0)
		return stop_out(p);
	advance(&p->out, (size_t)n);
	return MOVED;
}

static enum moved move_out(struct pump *p)
{
	int rc;

	if (p->out.len)
		return drain_to_peer(p);
	if (!p->out.eof)
		return fill_from_worker(p);
	if (p->out.ended)
		return STUCK;
	rc = tls_end(p->tls);
	if (rc == -EAGAIN)
		return STUCK;
	if (rc < 0)
		return stop_out(p);
	(void)shutdown(tls_fd(p->tls), SHUT_WR);
	p->out.ended = true;
	return MOVED;
}

static void listen_on(struct pump *p)
{
	unsigned tcp = 0, pair = 0;

	if (!p->in.len && !p->in.eof)
		tcp |= LOOP_READ;
	if (p->out.len || (p->out.eof && !p->out.ended) || p->read_wants_write)
		tcp |= LOOP_WRITE;
	if (p->in.len)
		pair |= LOOP_WRITE;
	if (!p->out.len && !p->out.eof)
		pair |= LOOP_READ;
	if (p->tcp_src)
		loop_set_events(p->tcp_src, tcp);
	if (p->pair_src)
		loop_set_events(p->pair_src, pair);
}

static void finish(struct pump *p, bool clean)
{
	p->on_end(p->arg, p, clean);
	pump_free(p);
}

static void turn(struct pump *p)
{
	int left = PUMP_TURNS_MAX;
	enum moved in = MOVED, out = MOVED;

	while (left-- && (in == MOVED || out == MOVED)) {
		in = move_in(p);
		out = move_out(p);
	}
	if (p->in.ended && p->out.ended) {
		finish(p, !p->cut);
		return;
	}
	if (p->out.ended && p->pair_hup && !p->lingers) {
		p->lingers = true;
		loop_timer_set(p->linger, PUMP_LINGER_MS, 0);
	}
	if (in == MOVED || out == MOVED)
		loop_timer_set(p->kick, 0, 0);	/* not all done, but others wait too */
	listen_on(p);
}

static void tcp_ready(void *arg, unsigned events)
{
	struct pump *p = arg;

	if (events & LOOP_HUP)
		loop_unwatch(&p->tcp_src);
	turn(p);
}

static void pair_ready(void *arg, unsigned events)
{
	struct pump *p = arg;

	if (events & LOOP_HUP) {
		loop_unwatch(&p->pair_src);
		p->pair_hup = true;
	}
	turn(p);
}

static void kicked(void *arg)
{
	turn(arg);
}

static void lingered(void *arg)
{
	finish(arg, true);
}

int pump_new(struct loop *l, struct tls *t, void (*on_end)(void *arg, struct pump *p, bool clean), void *arg,
	     int *out_fd, struct pump **out, struct err *e)
{
	struct pump *p = mem_alloc(sizeof(*p));
	int ends[2] = { -1, -1 };

	p->l = l;
	p->on_end = on_end;
	p->arg = arg;
	p->pair = -1;
	p->kick = loop_timer_new(l, kicked, p);
	p->linger = loop_timer_new(l, lingered, p);
	if (fd_pair(ends, e) < 0)
		goto fail;
	p->pair = fd_take(&ends[0]);
	if (fd_set_nonblock(tls_fd(t), true, e) < 0 ||
	    loop_watch(l, tls_fd(t), LOOP_READ, tcp_ready, p, &p->tcp_src, e) < 0 ||
	    loop_watch(l, p->pair, LOOP_READ, pair_ready, p, &p->pair_src, e) < 0)
		goto fail;
	p->tls = t;
	loop_timer_set(p->kick, 0, 0);	/* a record may have been decrypted already */
	*out_fd = ends[1];
	*out = p;
	return 0;
fail:
	fd_close(&ends[1]);
	pump_free(p);
	return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a connection on its way.  `ready` runs the step of the state
 * that is current; each step says what to wait for or ends the attempt.
 */
#include "link/attempt.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"

enum state { CONNECTING, SHAKING, PAIRING, LINGERING, IDLE };

struct attempt {
	struct loop *l;
	struct loop_src *src;
	struct loop_timer *timer;
	enum state state;
	bool connected;
	struct tls *tls;
	struct pair pair;
	enum pair_step pair_step;
	struct err pair_err;
	void (*done)(void *arg, struct attempt *a, const struct err *e);
	void *arg;
};

static const char *const doing[] = {
	[CONNECTING] = "no answer to the connection", [SHAKING] = "the handshake took too long",
	[PAIRING] = "the pairing took too long", [LINGERING] = "", [IDLE] = "",
};

void attempt_free(struct attempt *a)
{
	if (!a)
		return;
	loop_unwatch(&a->src);
	loop_timer_free(&a->timer);
	pair_fini(&a->pair);
	tls_free(a->tls);
	free(a);
}

struct tls *attempt_tls(struct attempt *a)
{
	return a->tls;
}

struct tls *attempt_take_tls(struct attempt *a)
{
	struct tls *t = a->tls;

	loop_unwatch(&a->src);
	a->tls = NULL;
	return t;
}

bool attempt_was_connected(const struct attempt *a)
{
	return a->connected;
}

const struct pair_result *attempt_pair_result(const struct attempt *a)
{
	return &a->pair.result;
}

/* The step is over. */
static void end_step(struct attempt *a, const struct err *e)
{
	a->state = IDLE;
	if (a->src)
		loop_set_events(a->src, 0);
	if (!e || e->code == ERR_NONE) {
		a->done(a->arg, a, NULL);
		return;
	}
	loop_timer_stop(a->timer);
	a->done(a->arg, a, e);
}

static void step_connect(struct attempt *a)
{
	socklen_t len = sizeof(int);
	struct err e = ERR_INIT;
	int failed = 0;

	if (getsockopt(tls_fd(a->tls), SOL_SOCKET, SO_ERROR, &failed, &len) < 0)
		failed = errno;
	if (failed) {
		err_sys(&e, failed, "connect");
		end_step(a, &e);
		return;
	}
	a->connected = true;
	a->state = SHAKING;
	loop_set_events(a->src, LOOP_WRITE);
}

static void step_shake(struct attempt *a)
{
	struct err e = ERR_INIT;

	switch (tls_handshake(a->tls, &e)) {
	case TLS_WANT_READ:
		loop_set_events(a->src, LOOP_READ);
		return;
	case TLS_WANT_WRITE:
		loop_set_events(a->src, LOOP_WRITE);
		return;
	case TLS_DONE:
	case TLS_FAILED:
		end_step(a, &e);
	}
}

/* 0 all sent, -EAGAIN, or broken. */
static int flush_pair(struct attempt *a)
{
	while (a->pair.out.len) {
		ssize_t n = tls_write(a->tls, a->pair.out.p, a->pair.out.len);

		if (n < 0)
			return (int)n;
		buf_consume(&a->pair.out, (size_t)n);
	}
	return 0;
}

static void read_pair(struct attempt *a)
{
	uint8_t in[PAIR_BODY_BYTES_MAX];

	while (a->pair_step == PAIR_STEP_MORE) {
		ssize_t n = tls_read(a->tls, in, sizeof(in));

		if (n == -EAGAIN)
			return;
		if (n > 0) {
			a->pair_step = pair_feed(&a->pair, in, (size_t)n, &a->pair_err);
			continue;
		}
		/* A peer that has been pinned may go without its last word. */
		a->pair_step = a->pair.pinned ? PAIR_STEP_DONE : PAIR_STEP_FAILED;
		err_set(&a->pair_err, ERR_NET, "the other side broke off the pairing");
	}
}

static void step_pair(struct attempt *a)
{
	int rc = flush_pair(a);

	if (rc == 0) {
		read_pair(a);
		rc = flush_pair(a);
	}
	if (rc == -EAGAIN) {
		loop_set_events(a->src, LOOP_WRITE);
		return;
	}
	if (rc < 0 && a->pair_step == PAIR_STEP_MORE) {
		err_set(&a->pair_err, ERR_NET, "the connection broke inside the pairing");
		a->pair_step = PAIR_STEP_FAILED;
	}
	if (a->pair_step == PAIR_STEP_MORE) {
		loop_set_events(a->src, LOOP_READ);
		return;
	}
	(void)tls_end(a->tls);
	end_step(a, a->pair_step == PAIR_STEP_DONE ? NULL : &a->pair_err);
}

static void step_linger(struct attempt *a)
{
	char drop[4096];
	ssize_t n = recv(tls_fd(a->tls), drop, sizeof(drop), MSG_DONTWAIT);

	if (n <= 0 && !(n < 0 && (errno == EAGAIN || errno == EINTR)))
		end_step(a, NULL);
}

static void ready(void *arg, unsigned events)
{
	struct attempt *a = arg;

	switch (a->state) {
	case CONNECTING:
		step_connect(a);
		return;
	case SHAKING:
		step_shake(a);
		return;
	case PAIRING:
		step_pair(a);
		return;
	case LINGERING:
		step_linger(a);
		return;
	case IDLE:
		/* A hang-up between two steps; the next one meets it. */
		if (events & LOOP_HUP)
			loop_unwatch(&a->src);
	}
}

static void timed_out(void *arg)
{
	struct attempt *a = arg;
	struct err e = ERR_INIT;

	if (a->state == IDLE)
		return;
	if (a->state == LINGERING || (a->state == PAIRING && a->pair.pinned)) {
		end_step(a, NULL);
		return;
	}
	err_set(&e, ERR_TIMEOUT, "%s", doing[a->state]);
	end_step(a, &e);
}

/* A socket that is connecting, or the one that was accepted. */
static int open_socket(const struct attempt_setup *s, int *out_fd, struct err *e)
{
	AUTO_FD int fd = s->fd;
	int one = 1;

	if (s->side == TLS_CLIENT)
		fd = socket(s->to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (s->side == TLS_CLIENT && connect(fd, s->to, s->to_len) < 0 && errno != EINPROGRESS)
		return err_sys(e, errno, "connect");
	*out_fd = fd_take(&fd);
	return 0;
}

int attempt_new(const struct attempt_setup *s, struct attempt **out, struct err *e)
{
	struct attempt *a;
	struct tls_setup ts = {
		.side = s->side, .fd = -1, .id = s->id, .alpn = s->alpn, .gcm_first = s->gcm_first,
		.judge = s->judge, .arg = s->arg,
	};

	if (open_socket(s, &ts.fd, e) < 0)
		return -1;
	a = mem_alloc(sizeof(*a));
	*a = (struct attempt){ .l = s->l, .done = s->done, .arg = s->arg };
	a->state = s->side == TLS_SERVER ? SHAKING : CONNECTING;
	a->connected = s->side == TLS_SERVER;
	a->timer = loop_timer_new(s->l, timed_out, a);
	if (tls_new(&ts, &a->tls, e) < 0) {
		fd_close(&ts.fd);
		attempt_free(a);
		return -1;
	}
	if (loop_watch(s->l, tls_fd(a->tls), s->side == TLS_SERVER ? LOOP_READ : LOOP_WRITE, ready, a, &a->src,
		       e) < 0) {
		attempt_free(a);
		return -1;
	}
	loop_timer_set(a->timer, s->limit_ms, 0);
	*out = a;
	return 0;
}

int attempt_pair(struct attempt *a, struct pair_setup *s, struct err *e)
{
	memcpy(s->other, tls_peer(a->tls)->fingerprint, sizeof(s->other));
	if (pair_init(&a->pair, s, e) < 0)
		return -1;
	a->state = PAIRING;
	a->pair_step = PAIR_STEP_MORE;
	/* The write readiness that comes at once starts the first step. */
	if (!a->src)
		return err_set(e, ERR_NET, "the other side broke off");
	loop_set_events(a->src, LOOP_WRITE);
	return 0;
}

bool attempt_linger(struct attempt *a)
{
	if (!a->src || shutdown(tls_fd(a->tls), SHUT_WR) < 0)
		return false;
	a->state = LINGERING;
	loop_set_events(a->src, LOOP_READ);
	loop_timer_set(a->timer, ATTEMPT_LINGER_MS, 0);
	return true;
}

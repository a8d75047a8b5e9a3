/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client end of control connections: one request at a time with a deadline,
 * or many at once on a loop.  Replies are matched by id, so the late answer
 * to a request that timed out is recognised and dropped.
 *
 * A callback may free the client: the memory goes when the outermost reader
 * returns (`busy`), everything else at once.
 */
#include "base/ctl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ctl_frame.h"
#include "base/fd.h"
#include "base/js.h"

enum {
	EVENTS_KEPT_MAX = 1024,		/* before attach; then the oldest go */
	FRAMES_PER_TURN = 16,
};

struct pending {
	struct pending *next;
	json_int_t id;
	void (*fn)(void *arg, const json_t *ok, const struct err *e);
	void *arg;
};

struct ctl_client {
	int sock;			/* -1 once the server went or the client was freed */
	char *path;
	json_int_t last_id;
	struct ctl_in in;
	struct ctl_out out;
	json_t *events;			/* array: came before attach */
	/* Attached only. */
	struct loop *l;
	struct loop_src *src;
	struct loop_timer *kick;	/* hands out what happened outside of a loop callback */
	struct pending *first, **last;
	void (*on_event)(void *arg, const json_t *event);
	void (*on_gone)(void *arg);
	void *arg;
	unsigned busy;
	bool told_gone, freed;
};

int ctl_connect(const char *path, struct ctl_client **out, struct err *e)
{
	AUTO_FD int sock = -1;
	struct ctl_client *c;

	if (fd_unix_connect(path, &sock, e) < 0)
		return err_remedy(e, "check that its server runs");
	if (fd_set_nonblock(sock, true, e) < 0)
		return -1;
	c = mem_alloc(sizeof(*c));
	c->sock = fd_take(&sock);
	c->path = mem_strdup(path);
	c->events = json_array();
	c->last = &c->first;
	*out = c;
	return 0;
}

/* What can go while callbacks of this client are on the stack. */
static void cut(struct ctl_client *c)
{
	loop_unwatch(&c->src);
	fd_close(&c->sock);
	ctl_in_fini(&c->in);
	ctl_out_fini(&c->out);
}

static void release(struct ctl_client *c)
{
	if (!c->freed || c->busy)
		return;
	json_decref(c->events);
	free(c->path);
	free(c);
}

void ctl_client_free(struct ctl_client *c)
{
	struct pending *p;

	if (!c)
		return;
	cut(c);
	loop_timer_free(&c->kick);
	while ((p = c->first) != NULL) {
		c->first = p->next;
		free(p);
	}
	c->last = &c->first;
	c->freed = true;
	release(c);
}

static int gone(struct ctl_client *c, struct err *e)
{
	return err_set(e, ERR_NET, "the server at '%s' closed the connection", c->path);
}

/* Copies, because a frame may have to wait while the caller closes his. */
static int copy_fds(const int *fds, size_t n, int *out, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		out[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (out[i] >= 0)
			continue;
		err_sys(e, errno, "descriptor %d to pass on", fds[i]);
		while (i-- > 0)
			fd_close(&out[i]);
		return -1;
	}
	return 0;
}

static int encode_request(json_int_t id, const char *verb, const json_t *args, struct buf *b, struct err *e)
{
	union { const json_t *in; json_t *out; } u = { .in = args };	/* json_copy changes nothing */
	AUTO_JSON json_t *msg = args ? json_copy(u.out) : json_object();

	if (!json_is_object(msg) || json_object_get(msg, "id") || json_object_get(msg, "verb"))
		return err_set(e, ERR_INTERNAL, "arguments of '%s' are no object, or hold 'id' or 'verb'", verb);
	json_object_set_new(msg, "id", json_integer(id));
	if (json_object_set_new(msg, "verb", json_string(verb)) < 0)
		return err_set(e, ERR_USAGE, "the verb is not UTF-8 text");
	return ctl_encode(msg, b, e);
}

/* Queues a request and returns its id, or -1. */
static json_int_t put_request(struct ctl_client *c, const char *verb, const json_t *args,
			      const int *fds, size_t n_fds, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };
	int copies[CTL_CALL_FDS_MAX];

	if (c->sock < 0)
		return gone(c, e);
	if (n_fds > ARRAY_LEN(copies))
		return err_set(e, ERR_LIMIT, "%zu descriptors with one request, limit %d", n_fds, CTL_CALL_FDS_MAX);
	if (encode_request(c->last_id + 1, verb, args, &b, e) < 0 || copy_fds(fds, n_fds, copies, e) < 0)
		return -1;
	ctl_out_put(&c->out, &b, copies, n_fds);
	return ++c->last_id;
}

static void keep_event(struct ctl_client *c, json_t *event)
{
	if (json_array_size(c->events) >= EVENTS_KEPT_MAX)
		json_array_remove(c->events, 0);
	json_array_append(c->events, event);
}

static bool is_reply_to(const json_t *msg, json_int_t id)
{
	json_t *v = json_object_get(msg, "id");

	return json_is_integer(v) && json_integer_value(v) == id;
}

/* The "ok" object of a reply (borrowed), or NULL with the error. */
static json_t *ok_of(const json_t *reply, struct err *e)
{
	json_t *ok = json_object_get(reply, "ok"), *error = json_object_get(reply, "error");

	if (json_is_object(error)) {
		js_to_err(error, e);
		return NULL;
	}
	if (!json_is_object(ok)) {
		err_set(e, ERR_CORRUPT, "reply holds neither 'ok' nor 'error'");
		return NULL;
	}
	return ok;
}

/* Waits until the socket can be read, or written if there is something to write. */
static int wait_sock(struct ctl_client *c, bool want_write, uint64_t end_ms, struct err *e)
{
	struct pollfd p = { .fd = c->sock, .events = (short)(want_write ? POLLIN | POLLOUT : POLLIN) };
	uint64_t now = clock_mono_ms();
	int left = now >= end_ms ? 0 : (int)(end_ms - now);
	int rc = poll(&p, 1, left);

	if (rc > 0 || (rc < 0 && errno == EINTR))
		return 0;
	if (rc < 0)
		return err_sys(e, errno, "wait for '%s'", c->path);
	return err_set(e, ERR_TIMEOUT, "no answer from '%s' in time", c->path);
}

/* As ctl_in_step; cuts the connection at its end. */
static enum ctl_step read_msg(struct ctl_client *c, json_t **out, struct err *e)
{
	enum ctl_step step = ctl_in_step(&c->in, c->sock, out, e);

	if (step == CTL_STEP_END) {
		err_wrap(e, "'%s'", c->path);
		cut(c);
	}
	return step;
}

/* Blocks until the reply to id is there; its descriptors are then in c->in. */
static int await_reply(struct ctl_client *c, json_int_t id, uint64_t end_ms, json_t **out, struct err *e)
{
	for (;;) {
		AUTO_JSON json_t *msg = NULL;
		int rc = ctl_out_flush(&c->out, c->sock);
		enum ctl_step step;

		/* A server that hung up may have said why: read before giving up on the write. */
		step = read_msg(c, &msg, e);
		if (step == CTL_STEP_END)
			return -1;
		if (step == CTL_STEP_AGAIN) {
			if (rc < 0 && rc != -EAGAIN)
				return err_sys(e, -rc, "send to '%s'", c->path);
			if (wait_sock(c, rc == -EAGAIN, end_ms, e) < 0)
				return -1;
			continue;
		}
		if (is_reply_to(msg, id)) {
			*out = json_incref(msg);
			return 0;
		}
		if (json_object_get(msg, "event"))
			keep_event(c, msg);
		/* Else the answer to an earlier request that timed out.  Either may come without end. */
		if (clock_mono_ms() >= end_ms)
			return err_set(e, ERR_TIMEOUT, "no answer from '%s' in time", c->path);
	}
}

static void hand_over_fds(struct ctl_client *c, int *out_fds, size_t *n_out_fds)
{
	int fds[CTL_CALL_FDS_MAX];
	size_t n = ctl_in_take_fds(&c->in, fds), max = out_fds && n_out_fds ? *n_out_fds : 0;

	for (size_t i = 0; i < n; i++) {
		if (i < max)
			out_fds[i] = fds[i];
		else
			fd_close(&fds[i]);
	}
	if (n_out_fds)
		*n_out_fds = n < max ? n : max;
}

int ctl_request(struct ctl_client *c, const char *verb, const json_t *args, const int *fds, size_t n_fds,
		int timeout_ms, json_t **out, int *out_fds, size_t *n_out_fds, struct err *e)
{
	uint64_t end_ms = clock_mono_ms() + (timeout_ms < 0 ? INT_MAX : (uint64_t)timeout_ms);
	AUTO_JSON json_t *reply = NULL;
	json_int_t id;
	json_t *ok;

	assert(!c->l);		/* an attached client uses ctl_send */
	id = put_request(c, verb, args, fds, n_fds, e);
	if (id < 0 || await_reply(c, id, end_ms, &reply, e) < 0)
		return -1;
	ok = ok_of(reply, e);
	if (!ok)
		return -1;	/* descriptors, if any, are closed by the next read or free */
	hand_over_fds(c, out_fds, n_out_fds);
	if (out)
		*out = json_incref(ok);
	return 0;
}

int ctl_once(const char *path, const char *verb, const json_t *args, const int *fds, size_t n_fds,
	     int timeout_ms, json_t **out, int *out_fds, size_t *n_out_fds, struct err *e)
{
	struct ctl_client *c;
	int rc;

	if (ctl_connect(path, &c, e) < 0)
		return -1;
	rc = ctl_request(c, verb, args, fds, n_fds, timeout_ms, out, out_fds, n_out_fds, e);
	ctl_client_free(c);
	return rc;
}

/* ---- attached to a loop; in the order in which it runs ---- */

static void finish_pending(struct ctl_client *c, const json_t *msg)
{
	struct pending **at, *p;
	struct err e = ERR_INIT;
	json_t *ok;

	for (at = &c->first; *at && !is_reply_to(msg, (*at)->id); at = &(*at)->next)
		;
	p = *at;
	if (!p)
		return;
	*at = p->next;
	if (!p->next)
		c->last = at;
	ok = ok_of(msg, &e);
	if (p->fn)
		p->fn(p->arg, ok, ok ? NULL : &e);
	free(p);
}

static void deliver(struct ctl_client *c, const json_t *msg)
{
	if (!json_object_get(msg, "event"))
		finish_pending(c, msg);
	else if (c->on_event)
		c->on_event(c->arg, msg);
}

/* Everything that waits fails, then the owner hears of it.  Each callback may free the client. */
static void fail_all(struct ctl_client *c, const struct err *e)
{
	struct pending *p;

	cut(c);
	while (!c->freed && (p = c->first) != NULL) {
		c->first = p->next;
		if (!c->first)
			c->last = &c->first;
		if (p->fn)
			p->fn(p->arg, NULL, e);
		free(p);
	}
	if (!c->freed && c->on_gone && !c->told_gone) {
		c->told_gone = true;
		c->on_gone(c->arg);
	}
}

static void read_frames(struct ctl_client *c)
{
	struct err e = ERR_INIT;

	for (int i = 0; i < FRAMES_PER_TURN && !c->freed; i++) {
		AUTO_JSON json_t *msg = NULL;
		enum ctl_step step = read_msg(c, &msg, &e);

		if (step == CTL_STEP_AGAIN)
			return;
		if (step == CTL_STEP_END) {
			e.code = ERR_NET;
			fail_all(c, &e);
			return;
		}
		deliver(c, msg);
	}
}

/* A write that failed is left to the reader, who meets the end of file. */
static void flush(struct ctl_client *c)
{
	if (c->sock >= 0)
		loop_set_events(c->src, ctl_out_flush(&c->out, c->sock) == -EAGAIN ?
				LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void deliver_kept(struct ctl_client *c)
{
	while (!c->freed && json_array_size(c->events)) {
		AUTO_JSON json_t *event = json_incref(json_array_get(c->events, 0));

		json_array_remove(c->events, 0);
		deliver(c, event);
	}
}

static void sock_ready(void *arg, unsigned events)
{
	struct ctl_client *c = arg;

	c->busy++;
	deliver_kept(c);	/* older than what is read now */
	if (events & LOOP_WRITE)
		flush(c);
	if (events & (LOOP_READ | LOOP_HUP))
		read_frames(c);
	c->busy--;
	release(c);
}

/* Events that came before attach, and a server that had gone by then. */
static void kicked(void *arg)
{
	struct ctl_client *c = arg;
	struct err e = ERR_INIT;

	c->busy++;
	deliver_kept(c);
	if (!c->freed && c->sock < 0) {
		gone(c, &e);
		fail_all(c, &e);
	}
	c->busy--;
	release(c);
}

int ctl_client_attach(struct ctl_client *c, struct loop *l, void (*on_event)(void *arg, const json_t *event),
		      void (*on_gone)(void *arg), void *arg, struct err *e)
{
	assert(!c->l);
	if (c->sock >= 0 && loop_watch(l, c->sock, LOOP_READ, sock_ready, c, &c->src, e) < 0)
		return -1;
	c->l = l;
	c->on_event = on_event;
	c->on_gone = on_gone;
	c->arg = arg;
	c->kick = loop_timer_new(l, kicked, c);
	if (json_array_size(c->events) || c->sock < 0)
		loop_timer_set(c->kick, 0, 0);
	flush(c);
	return 0;
}

int ctl_send(struct ctl_client *c, const char *verb, const json_t *args, const int *fds, size_t n_fds,
	     void (*fn)(void *arg, const json_t *ok, const struct err *e), void *arg, struct err *e)
{
	struct pending *p;
	json_int_t id;

	assert(c->l);
	if (c->out.bytes > CTL_OUT_BYTES_MAX)
		return err_set(e, ERR_BUSY, "'%s' does not take requests", c->path);
	id = put_request(c, verb, args, fds, n_fds, e);
	if (id < 0)
		return -1;
	p = mem_alloc(sizeof(*p));
	*p = (struct pending){ .id = id, .fn = fn, .arg = arg };
	*c->last = p;
	c->last = &p->next;
	flush(c);
	return 0;
}

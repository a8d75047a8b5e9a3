/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server end of control connections.
 *
 * Life times: a connection is kept by the server's list, by each of its calls
 * and by the reader while it runs; closing it (conn_close) cuts the socket
 * and takes it off the list at once, whoever still holds it.  So a verb may
 * free the server, and a deferred call may outlive its client.
 */
#include "base/ctl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ctl_frame.h"
#include "base/fd.h"
#include "base/js.h"

enum {
	FRAMES_PER_TURN = 16,		/* then the other sources of the loop get theirs */
	CALLS_OPEN_MAX = 1024,		/* unanswered calls of one connection */
	ACCEPT_RETRY_MS = 200,		/* after the process ran out of descriptors */
};

struct conn {
	struct ctl_server *s;		/* NULL once closed */
	struct conn *next;
	unsigned refs;
	int sock;			/* -1 once closed */
	struct loop_src *src;
	struct ucred peer;
	bool subscribed;
	unsigned calls;
	struct ctl_in in;
	struct ctl_out out;
};

struct ctl_server {
	struct loop *l;
	int listen_fd;
	char *path;			/* removed at the end; NULL if the socket was handed over */
	uid_t allow_uid;
	const struct ctl_verb *verbs;
	void *arg;
	struct loop_src *src;
	struct loop_timer *retry;
	struct conn *conns;
	unsigned n_conns;
};

struct ctl_call {
	struct conn *c;
	json_int_t id;
	bool in_fn, deferred, answered;
	int in_fds[CTL_CALL_FDS_MAX];
	size_t n_in;
	int out_fds[CTL_CALL_FDS_MAX];
	size_t n_out;
};

static void conn_put(struct conn *c)
{
	if (--c->refs == 0)
		free(c);
}

static void conn_close(struct conn *c)
{
	struct conn **at;

	if (!c->s)
		return;
	for (at = &c->s->conns; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	c->s->n_conns--;
	c->s = NULL;
	loop_unwatch(&c->src);
	fd_close(&c->sock);
	ctl_in_fini(&c->in);
	ctl_out_fini(&c->out);
	conn_put(c);
}

/* Queues a frame and sends what the socket takes; may close the connection.  Owns the descriptors. */
static void conn_send(struct conn *c, struct buf *b, const int *fds, size_t n_fds)
{
	int rc;

	ctl_out_put(&c->out, b, fds, n_fds);
	rc = ctl_out_flush(&c->out, c->sock);
	if ((rc < 0 && rc != -EAGAIN) || c->out.bytes > CTL_OUT_BYTES_MAX) {
		conn_close(c);
		return;
	}
	loop_set_events(c->src, rc < 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void call_free(struct ctl_call *k)
{
	for (size_t i = 0; i < k->n_in; i++)
		fd_close(&k->in_fds[i]);
	for (size_t i = 0; i < k->n_out; i++)
		fd_close(&k->out_fds[i]);
	k->c->calls--;
	conn_put(k->c);
	free(k);
}

static int encode_reply(struct ctl_call *k, json_t *out, const struct err *e, struct buf *b, struct err *why)
{
	AUTO_JSON json_t *msg = json_pack("{sI so*}", "id", k->id, e ? "error" : "ok",
					  e ? js_from_err(e) : out ? json_incref(out) : json_object());

	if (!msg || (!e && out && !json_is_object(out)))
		return err_set(why, ERR_INTERNAL, "the answer is not a JSON object");
	return ctl_encode(msg, b, why);
}

/* Answers: out is borrowed. */
static void answer(struct ctl_call *k, json_t *out, const struct err *e)
{
	struct err why = ERR_INIT;
	AUTO_BUF struct buf b = { 0 };
	struct conn *c = k->c;

	assert(!k->answered);
	k->answered = true;
	if (!c->s)
		return;		/* the client is gone */
	if (encode_reply(k, out, e, &b, &why) < 0 && encode_reply(k, NULL, &why, &b, &why) < 0) {
		conn_close(c);
		return;
	}
	conn_send(c, &b, k->out_fds, k->n_out);
	k->n_out = 0;
}

int ctl_take_fd(struct ctl_call *k, unsigned i)
{
	return i < k->n_in ? fd_take(&k->in_fds[i]) : -1;
}

void ctl_give_fd(struct ctl_call *k, int fd)
{
	assert(fd >= 0 && k->n_out < ARRAY_LEN(k->out_fds));
	k->out_fds[k->n_out++] = fd;
}

uid_t ctl_peer_uid(const struct ctl_call *k)
{
	return k->c->peer.uid;
}

pid_t ctl_peer_pid(const struct ctl_call *k)
{
	return k->c->peer.pid;
}

struct ctl_call *ctl_defer(struct ctl_call *k)
{
	k->deferred = true;
	return k;
}

void ctl_finish(struct ctl_call *k, json_t *out, const struct err *e)
{
	answer(k, out, e);
	json_decref(out);
	if (!k->in_fn)
		call_free(k);
}

/* What every server answers itself. */
static json_t *list_verbs(const struct ctl_server *s)
{
	json_t *verbs = json_array();

	for (const struct ctl_verb *v = s->verbs; v->name; v++)
		json_array_append_new(verbs, json_pack("{ss ss}", "verb", v->name, "help", v->help ? v->help : ""));
	return json_pack("{so}", "verbs", verbs);
}

static int run_verb(struct ctl_call *k, const char *verb, const json_t *in, json_t **out, struct err *e)
{
	struct ctl_server *s = k->c->s;

	if (!strcmp(verb, "subscribe")) {
		k->c->subscribed = true;
		return 0;
	}
	if (!strcmp(verb, "help")) {
		*out = list_verbs(s);
		return 0;
	}
	for (const struct ctl_verb *v = s->verbs; v->name; v++)
		if (!strcmp(v->name, verb))
			return v->fn(s->arg, k, in, out, e);
	err_set(e, ERR_USAGE, "verb '%s' is not known here", verb);
	return err_remedy(e, "the verb 'help' lists those that are");
}

static void call_run(struct conn *c, json_int_t id, json_t *msg)
{
	struct ctl_call *k = mem_alloc(sizeof(*k));
	AUTO_JSON json_t *verb = json_incref(json_object_get(msg, "verb"));
	AUTO_JSON json_t *out = NULL;
	struct err e = ERR_INIT;
	int rc;

	*k = (struct ctl_call){ .c = c, .id = id, .in_fn = true };
	c->refs++;
	c->calls++;
	k->n_in = ctl_in_take_fds(&c->in, k->in_fds);
	json_object_del(msg, "id");
	json_object_del(msg, "verb");
	if (!json_is_string(verb))
		rc = err_set(&e, ERR_USAGE, "request without a verb");
	else if (c->calls > CALLS_OPEN_MAX)
		rc = err_set(&e, ERR_LIMIT, "%d calls of this connection wait for answers", CALLS_OPEN_MAX);
	else
		rc = run_verb(k, json_string_value(verb), msg, &out, &e);
	k->in_fn = false;
	if (k->deferred && !k->answered) {
		for (size_t i = 0; i < k->n_in; i++)
			fd_close(&k->in_fds[i]);
		return;
	}
	if (!k->answered)
		answer(k, out, rc < 0 ? &e : NULL);
	call_free(k);
}

/* False: the connection is closed. */
static bool conn_read(struct conn *c)
{
	json_t *msg;
	struct err e = ERR_INIT;

	for (int i = 0; i < FRAMES_PER_TURN; i++) {
		enum ctl_step step = ctl_in_step(&c->in, c->sock, &msg, &e);
		json_t *id;

		if (step == CTL_STEP_AGAIN)
			return true;
		id = step == CTL_STEP_FRAME ? json_object_get(msg, "id") : NULL;
		/* Without a number there is no way to answer: whoever sends that does not speak this protocol. */
		if (!json_is_integer(id)) {
			if (step == CTL_STEP_FRAME)
				json_decref(msg);
			conn_close(c);
			return false;
		}
		call_run(c, json_integer_value(id), msg);
		json_decref(msg);
		if (!c->s)
			return false;
	}
	return true;
}

static void conn_ready(void *arg, unsigned events)
{
	struct conn *c = arg;
	int rc;

	c->refs++;
	if (events & (LOOP_READ | LOOP_HUP) && !conn_read(c))
		goto out;
	if (events & LOOP_WRITE) {
		rc = ctl_out_flush(&c->out, c->sock);
		if (rc < 0 && rc != -EAGAIN)
			conn_close(c);
		else
			loop_set_events(c->src, rc < 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
	}
out:
	conn_put(c);
}

static bool may_connect(const struct ctl_server *s, int sock, struct ucred *out)
{
	socklen_t len = sizeof(*out);

	if (s->n_conns >= CTL_CONNS_MAX)
		return false;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, out, &len) < 0)
		return false;
	return out->uid == 0 || (s->allow_uid != (uid_t)-1 && out->uid == s->allow_uid);
}

static void conn_new(struct ctl_server *s, int sock)
{
	struct conn *c;
	struct ucred peer;
	struct err e = ERR_INIT;

	if (!may_connect(s, sock, &peer)) {
		fd_close(&sock);
		return;
	}
	c = mem_alloc(sizeof(*c));
	*c = (struct conn){ .s = s, .next = s->conns, .refs = 1, .sock = sock, .peer = peer };
	s->conns = c;
	s->n_conns++;
	if (loop_watch(s->l, sock, LOOP_READ, conn_ready, c, &c->src, &e) < 0)
		conn_close(c);
}

static void accept_ready(void *arg, unsigned events)
{
	struct ctl_server *s = arg;
	int sock = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (sock >= 0) {
		conn_new(s, sock);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	/* Out of descriptors: the socket stays ready, so looking again at once would spin. */
	loop_set_events(s->src, 0);
	loop_timer_set(s->retry, ACCEPT_RETRY_MS, 0);
}

static void accept_again(void *arg)
{
	struct ctl_server *s = arg;

	loop_set_events(s->src, LOOP_READ);
}

int ctl_server_from_fd(struct loop *l, int listen_fd, uid_t allow_uid, const struct ctl_verb *verbs, void *arg,
		       struct ctl_server **out, struct err *e)
{
	struct ctl_server *s;

	if (fd_set_nonblock(listen_fd, true, e) < 0)
		return -1;
	s = mem_alloc(sizeof(*s));
	*s = (struct ctl_server){ .l = l, .listen_fd = listen_fd, .allow_uid = allow_uid,
				  .verbs = verbs, .arg = arg };
	if (loop_watch(l, listen_fd, LOOP_READ, accept_ready, s, &s->src, e) < 0) {
		free(s);
		return -1;
	}
	s->retry = loop_timer_new(l, accept_again, s);
	*out = s;
	return 0;
}

int ctl_server_new(struct loop *l, const char *path, mode_t mode, uid_t allow_uid, const struct ctl_verb *verbs,
		   void *arg, struct ctl_server **out, struct err *e)
{
	AUTO_FD int fd = -1;

	if (fd_unix_listen(path, mode, &fd, e) < 0)
		return -1;
	if (ctl_server_from_fd(l, fd, allow_uid, verbs, arg, out, e) < 0)
		return -1;
	fd_take(&fd);
	(*out)->path = mem_strdup(path);
	return 0;
}

void ctl_server_free(struct ctl_server *s)
{
	if (!s)
		return;
	while (s->conns)
		conn_close(s->conns);
	loop_unwatch(&s->src);
	loop_timer_free(&s->retry);
	if (s->path)
		(void)unlink(s->path);
	fd_close(&s->listen_fd);
	free(s->path);
	free(s);
}

void ctl_publish(struct ctl_server *s, json_t *event)
{
	AUTO_BUF struct buf frame = { 0 };
	struct conn *next;
	struct err e = ERR_INIT;
	int rc = ctl_encode(event, &frame, &e);

	json_decref(event);
	for (struct conn *c = rc < 0 ? NULL : s->conns; c; c = next) {
		AUTO_BUF struct buf copy = { 0 };

		next = c->next;
		if (!c->subscribed)
			continue;
		buf_put(&copy, frame.p, frame.len);
		conn_send(c, &copy, NULL, 0);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of consumers.  All of this runs on the server's own thread, except
 * cut_done, which may run on the I/O thread and only posts.  A session ends
 * by `detach` or when the consumer's end of its wake socket is closed.
 */
#include "feed/feed_server.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/loop.h"
#include "feed/feed_proto.h"

struct barrier {			/* one call of `barrier` until its answer */
	struct feed_server *s;
	uint64_t session;
	struct ctl_call *call;
	struct feed_cut cut;
};

struct session {
	struct feed_server *s;
	uint64_t token;			/* 0: free */
	struct feed_consumer *c;
	char name[FEED_NAME_BYTES];
	struct loop_src *alive;
	struct barrier *barrier;	/* pending, or NULL */
	struct loop_timer *timer;
};

struct feed_server {
	struct feed *f;
	struct loop *loop;
	struct ctl_server *ctl;
	pthread_t thread;
	bool running;
	struct session sessions[FEED_CONSUMERS_MAX];
};

static struct session *by_token(struct feed_server *s, uint64_t token)
{
	for (unsigned i = 0; i < FEED_CONSUMERS_MAX && token; i++)
		if (s->sessions[i].token == token)
			return &s->sessions[i];
	return NULL;
}

static struct session *need(struct feed_server *s, uint64_t token, struct err *e)
{
	struct session *ss = by_token(s, token);

	if (ss)
		return ss;
	err_set(e, ERR_NOT_FOUND, "the feed has no such session");
	err_remedy(e, "attach again with the last position");
	return NULL;
}

/* ---- barrier ---- */

static void barrier_fail(struct session *ss, enum err_code code, const char *what)
{
	struct err e = ERR_INIT;

	err_set(&e, code, "barrier of consumer '%s': %s", ss->name, what);
	ctl_finish(ss->barrier->call, NULL, &e);
	free(ss->barrier);
	ss->barrier = NULL;
	loop_timer_stop(ss->timer);
}

static void barrier_answer(void *arg)
{
	struct barrier *b = arg;
	struct session *ss = by_token(b->s, b->session);
	struct err e = ERR_INIT;

	if (ss) {
		ctl_finish(b->call, json_pack("{s:I, s:b, s:b, s:I, s:I}", "position", (json_int_t)b->cut.position,
					      "ring", (int)b->cut.ring, "complete", (int)b->cut.complete,
					      "stall_us", (json_int_t)(b->cut.stall_ns / 1000),
					      "dirty_bytes", (json_int_t)feed_map_bytes(ss->c)), NULL);
		ss->barrier = NULL;
		loop_timer_stop(ss->timer);
	} else {
		err_set(&e, ERR_CANCELLED, "the consumer is detached");
		ctl_finish(b->call, NULL, &e);
	}
	free(b);
}

/* Maybe on the I/O thread. */
static void cut_done(void *arg, const struct feed_cut *cut)
{
	struct barrier *b = arg;

	b->cut = *cut;
	loop_post(b->s->loop, barrier_answer, b);
}

static void barrier_late(void *arg)
{
	struct session *ss = arg;

	if (ss->barrier && feed_barrier_cancel(ss->c))
		barrier_fail(ss, ERR_TIMEOUT, "a write of the guest is taking too long");
}

static int verb_barrier(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	struct feed_server *s = arg;
	struct feed_proto_call a = { 0 };
	struct session *ss;
	struct barrier *b;

	(void)out;
	if (feed_proto_session(in, &a, e) < 0)
		return -1;
	ss = need(s, a.session, e);
	if (!ss)
		return -1;
	if (ss->barrier)
		return err_set(e, ERR_BUSY, "consumer '%s' waits for a barrier already", ss->name);
	b = mem_alloc(sizeof(*b));
	*b = (struct barrier){ .s = s, .session = ss->token };
	ss->barrier = b;
	b->call = ctl_defer(call);
	loop_timer_set(ss->timer, FEED_BARRIER_MS_MAX, 0);
	if (feed_barrier(ss->c, cut_done, b, e) < 0)
		barrier_fail(ss, e->code, e->detail);
	return 0;
}

/* ---- sessions ---- */

static void session_end(struct session *ss)
{
	if (ss->barrier && feed_barrier_cancel(ss->c))
		barrier_fail(ss, ERR_CANCELLED, "detached");
	ss->barrier = NULL;		/* an answer under way finds no session */
	loop_unwatch(&ss->alive);
	loop_timer_free(&ss->timer);
	feed_detach(ss->c);
	memset(ss, 0, sizeof(*ss));
}

static void on_alive(void *arg, unsigned events)
{
	struct session *ss = arg;

	if (events & LOOP_HUP)
		session_end(ss);
}

static uint64_t new_token(void)
{
	uint64_t token = 0;

	if (getrandom(&token, sizeof(token), 0) != (ssize_t)sizeof(token))
		abort();
	return (token >> 1) | 1;
}

static struct session *session_new(struct feed_server *s, const struct feed_attach *a, struct feed_attached *info,
				   struct err *e)
{
	struct session *ss = NULL;

	for (unsigned i = 0; i < FEED_CONSUMERS_MAX; i++)
		if (!s->sessions[i].token)
			ss = &s->sessions[i];
	if (!ss) {
		err_set(e, ERR_LIMIT, "%d consumers are attached already", FEED_CONSUMERS_MAX);
		return NULL;
	}
	if (feed_attach(s->f, a, &ss->c, info, e) < 0)
		return NULL;
	if (loop_watch(s->loop, info->alive_fd, 0, on_alive, ss, &ss->alive, e) < 0) {
		feed_detach(ss->c);
		fd_close(&info->wake_fd);
		return NULL;
	}
	ss->s = s;
	ss->token = new_token();
	ss->timer = loop_timer_new(s->loop, barrier_late, ss);
	snprintf(ss->name, sizeof(ss->name), "%s", a->name);
	return ss;
}

static json_t *disks_json(struct feed *f)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < feed_n_disks(f); i++)
		json_array_append_new(list, json_pack("{s:i, s:s, s:I}", "disk", (int)i, "key", feed_disk_key(f, i),
						      "bytes", (json_int_t)feed_disk_bytes(f, i)));
	return list;
}

static int verb_attach(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	struct feed_server *s = arg;
	struct feed_attach a;
	struct feed_attached info;
	struct session *ss;
	struct feed_stats st;
	int ring = -1;

	if (feed_proto_attach(in, &a, e) < 0)
		return -1;
	ss = session_new(s, &a, &info, e);
	if (!ss)
		return -1;
	feed_get_stats(s->f, &st);
	*out = json_pack("{s:I, s:I, s:I, s:b, s:b, s:I, s:I, s:b, s:o}", "session", (json_int_t)ss->token,
			 "feed", (json_int_t)info.feed_id, "position", (json_int_t)st.position, "full", (int)info.full,
			 "coarse", (int)info.coarse, "dirty_bytes", (json_int_t)info.dirty_bytes,
			 "grain", (json_int_t)feed_grain(s->f), "ring", (int)(info.ring_fd >= 0),
			 "disks", disks_json(s->f));
	ctl_give_fd(call, info.wake_fd);
	if (info.ring_fd >= 0)
		ring = fcntl(info.ring_fd, F_DUPFD_CLOEXEC, 0);
	if (ring >= 0)
		ctl_give_fd(call, ring);
	return 0;
}

static int verb_map(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	struct feed_server *s = arg;
	struct feed_proto_call a;
	struct session *ss;
	struct dirty_run run;
	json_t *runs;

	(void)call;
	if (feed_proto_map(in, feed_n_disks(s->f), &a, e) < 0)
		return -1;
	ss = need(s, a.session, e);
	if (!ss)
		return -1;
	runs = json_array();
	while (json_array_size(runs) < a.runs &&
	       feed_map_next(ss->c, (unsigned)a.disk, a.from, DIRTY_BYTES_MAX, &run)) {
		json_array_append_new(runs, json_pack("[I, I]", (json_int_t)run.off, (json_int_t)run.bytes));
		a.from = run.off + run.bytes;
	}
	*out = json_pack("{s:o}", "runs", runs);
	if (json_array_size(runs) == a.runs)
		json_object_set_new(*out, "next", json_integer((json_int_t)a.from));
	return 0;
}

static int verb_ack(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	struct feed_proto_call a = { 0 };
	struct session *ss;

	(void)call, (void)out;
	if (feed_proto_ack(in, &a, e) < 0)
		return -1;
	ss = need(arg, a.session, e);
	return ss ? feed_ack(ss->c, a.position, e) : -1;
}

static int verb_detach(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	struct feed_server *s = arg;
	struct feed_proto_call a = { 0 };
	char name[FEED_NAME_BYTES];
	struct session *ss;

	(void)call, (void)out;
	if (feed_proto_detach(in, &a, e) < 0)
		return -1;
	ss = need(s, a.session, e);
	if (!ss)
		return -1;
	memcpy(name, ss->name, sizeof(name));
	session_end(ss);
	return a.forget ? feed_forget(s->f, name, e) : 0;
}

static int verb_forget(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "consumer", NULL };
	struct feed_server *s = arg;
	const char *name = NULL;

	(void)call, (void)out;
	if (js_only(in, known, e) < 0 || js_text(in, "consumer", &name, e) < 0)
		return -1;
	return feed_forget(s->f, name, e);
}

static int verb_stats(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { NULL };
	struct feed_server *s = arg;
	struct feed_stats st;

	(void)call;
	if (js_only(in, known, e) < 0)
		return -1;
	feed_get_stats(s->f, &st);
	*out = feed_proto_stats(&st);
	return 0;
}

static const struct ctl_verb verbs[] = {
	{ "attach", verb_attach,
	  "{consumer, ring_bytes?, feed?, position?, from_now?}: begins or resumes; fds: wake, ring" },
	{ "barrier", verb_barrier, "{session}: cuts at one point of all disks" },
	{ "map", verb_map, "{session, disk, from?, runs?}: ranges that changed before the last barrier" },
	{ "ack", verb_ack, "{session, position}: everything before that barrier is durable with the consumer" },
	{ "detach", verb_detach, "{session, forget?}: ends the session; the map is kept unless forgotten" },
	{ "forget", verb_forget, "{consumer}: drops a consumer that is not attached, with its map" },
	{ "stats", verb_stats, "{}: positions, maps, rings, activity log" },
	{ NULL, NULL, NULL },
};

/* ---- life ---- */

static void *serve(void *arg)
{
	struct feed_server *s = arg;

	loop_run(s->loop);
	return NULL;
}

static void stop(void *arg)
{
	struct feed_server *s = arg;

	loop_stop(s->loop, 0);
}

static int start(struct feed_server *s, struct feed_server **out, struct err *e)
{
	int rc = pthread_create(&s->thread, NULL, serve, s);

	if (rc) {
		feed_server_free(s);
		return err_sys(e, rc, "thread of the feed's server");
	}
	s->running = true;
	*out = s;
	return 0;
}

int feed_server_new(struct feed *f, const char *path, mode_t mode, uid_t allow_uid, struct feed_server **out,
		    struct err *e)
{
	struct feed_server *s = mem_alloc(sizeof(*s));

	s->f = f;
	if (loop_new(&s->loop, e) < 0 ||
	    ctl_server_new(s->loop, path, mode, allow_uid, verbs, s, &s->ctl, e) < 0) {
		feed_server_free(s);
		return -1;
	}
	return start(s, out, e);
}

int feed_server_from_fd(struct feed *f, int listen_fd, uid_t allow_uid, struct feed_server **out, struct err *e)
{
	struct feed_server *s = mem_alloc(sizeof(*s));

	s->f = f;
	if (loop_new(&s->loop, e) < 0) {
		fd_close(&listen_fd);
		feed_server_free(s);
		return -1;
	}
	if (ctl_server_from_fd(s->loop, listen_fd, allow_uid, verbs, s, &s->ctl, e) < 0) {
		fd_close(&listen_fd);
		feed_server_free(s);
		return -1;
	}
	return start(s, out, e);
}

void feed_server_free(struct feed_server *s)
{
	if (!s)
		return;
	if (s->running) {
		loop_post(s->loop, stop, s);
		pthread_join(s->thread, NULL);
	}
	for (unsigned i = 0; i < FEED_CONSUMERS_MAX; i++)
		if (s->sessions[i].token)
			session_end(&s->sessions[i]);
	if (s->loop)
		loop_once(s->loop, 0);	/* answers of barriers that were under way */
	ctl_server_free(s->ctl);
	loop_free(s->loop);
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two hosts in one process, for tests of hvmigrate: each has a made-up hvdomd,
 * hvapid and hvtls on real sockets, served by a thread, and runs send_run or
 * recv_run on another.  The fake hvdomd keeps a real owner.json and remembers
 * what it heard; the made-up guest writes a real libxc stream.
 */
#ifndef TESTS_UNIT_MIGRATE_RIG_H
#define TESTS_UNIT_MIGRATE_RIG_H

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/record.h"
#include "domd/domd_ctl.h"
#include "hvapi/hvapid_ctl.h"
#include "link/hvtls_ctl.h"
#include "migrate/migrate_ctl.h"
#include "migrate/recv.h"
#include "migrate/send.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

#define RIG_UUID "01234567-89ab-cdef-0123-456789abcdef"

enum { RIG_WAIT_S = 20, RIG_PATH_BYTES = 200, RIG_DOMID = 7, RIG_GENERATION = 4, RIG_RUNS = 2 };

struct side;

/* One run of hvmigrate. */
struct run {
	struct side *side;
	bool used, sends;
	char unit[16];			/* names socket and report */
	int fd;
	const json_t *spec;
	struct loop *loop;
	pthread_t thread;
	struct ctl_client *watch;	/* on the side's loop: hears `done` */
	struct loop_timer *again;
	bool done;
};

struct side {
	struct tmp t;
	char run_dir[RIG_PATH_BYTES], data_dir[RIG_PATH_BYTES];
	struct side *peer;
	struct loop *l;
	pthread_t thread;
	struct ctl_server *domd, *hvapid, *hvtls;
	struct run runs[RIG_RUNS];
	pthread_mutex_t m;
	pthread_cond_t changed;
	/* under m, or when the threads are over */
	char heard[512];		/* verbs of hvdomd, in order */
	char word[16];			/* of the record; "": none */
	uint64_t generation;
	struct buf got;			/* what `receive` was given */
	unsigned cap;
	/* of the servers' thread */
	struct ctl_call *receive;
	int stream, alive;
	struct loop_src *src;
	/* set before the start */
	int cut_fd;			/* the line, to cut it */
	const char *cut_at, *fail_at;	/* a verb: the line is cut; an error is the answer */
	bool stuck;			/* never reads the stream */
	bool answers_dials;
	const json_t *problems;
};

/* The guest. */
struct guest {
	struct side *host;
	struct buf sent;		/* the libxc stream so far */
	unsigned first_pages, dirty_pages;
	bool endless;			/* the first round never ends */
	unsigned cut_in_round;		/* 0: no */
	bool cut_suspended;
	unsigned rounds;
	uint64_t seed;
};

static struct guest *rig_guest;		/* of the test that runs: make_xen has no argument */

static inline void rig_note(struct side *s, const char *verb)
{
	pthread_mutex_lock(&s->m);
	size_t n = strlen(s->heard);

	snprintf(s->heard + n, sizeof(s->heard) - n, "%s%s", n ? " " : "", verb);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->m);
}

/* Waits, with the lock held, until cond is true; fails the test after RIG_WAIT_S. */
#define RIG_UNTIL(s, cond)                                                                           \
	do {                                                                                         \
		struct timespec end_;                                                                \
		clock_gettime(CLOCK_REALTIME, &end_);                                                \
		end_.tv_sec += RIG_WAIT_S;                                                           \
		pthread_mutex_lock(&(s)->m);                                                         \
		int rc_ = 0;                                                                         \
		while (!(cond) && rc_ == 0)                                                          \
			rc_ = pthread_cond_timedwait(&(s)->changed, &(s)->m, &end_);                 \
		bool ok_ = (cond);                                                                   \
		pthread_mutex_unlock(&(s)->m);                                                       \
		if (!ok_)                                                                            \
			fail_msg("waited in vain for %s; hvdomd heard: %s", #cond, (s)->heard);      \
	} while (0)

/* ---- hvdomd ---- */

static inline int rig_record(struct side *s, const char *word, uint64_t generation, const char *session, struct err *e)
{
	char path[RIG_PATH_BYTES + 64];
	AUTO_JSON json_t *o = json_pack("{ss ss sI ss ss ss}", "vm", "web1", "uuid", RIG_UUID, "generation",
					(json_int_t)generation, "owner", word, "session", session, "peer", "other");

	snprintf(path, sizeof(path), DOMD_DIR_FMT, s->data_dir, "web1");
	if (fd_make_dirs(path, 0755, e) < 0)
		return -1;
	snprintf(path, sizeof(path), DOMD_OWNER_FMT, s->data_dir, "web1");
	if (record_save(path, o, e) < 0)
		return -1;
	pthread_mutex_lock(&s->m);
	snprintf(s->word, sizeof(s->word), "%s", word);
	s->generation = generation;
	pthread_mutex_unlock(&s->m);
	return 0;
}

/* What every verb does first. */
static inline int rig_verb(struct side *s, const char *verb, struct err *e)
{
	rig_note(s, verb);
	if (s->cut_at && !strcmp(s->cut_at, verb))
		shutdown(s->cut_fd, SHUT_RDWR);
	if (s->fail_at && !strcmp(s->fail_at, verb))
		return err_set(e, ERR_XEN, "made-up failure of %s", verb);
	return 0;
}

static inline json_t *rig_vm(void)
{
	return json_pack("{ss ss ss si}", "name", "web1", "uuid", RIG_UUID, "type", "pvh", "memory_mib", 16);
}

static inline int rig_give_begin(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct side *s = arg;
	const char *session;

	if (rig_verb(s, "give-begin", e) < 0 || js_text(in, "session", &session, e) < 0)
		return -1;
	s->alive = ctl_take_fd(c, 0);
	if (s->alive < 0)
		return err_set(e, ERR_USAGE, "no descriptor");
	*out = json_pack("{so si ss si}", "config", rig_vm(), "domid", RIG_DOMID, "uuid", RIG_UUID, "generation",
			 RIG_GENERATION);
	return rig_record(s, "giving", RIG_GENERATION, session, e);
}

static inline int rig_throttle(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct side *s = arg;

	(void)c, (void)out;
	if (rig_verb(s, "throttle", e) < 0)
		return -1;
	s->cap = (unsigned)json_integer_value(json_object_get(in, "cap"));
	return 0;
}

static inline int rig_becomes(struct side *s, const char *verb, const char *word, uint64_t generation, const json_t *in,
			      struct err *e)
{
	const char *session;

	if (rig_verb(s, verb, e) < 0 || js_text(in, "session", &session, e) < 0)
		return -1;
	return rig_record(s, word, generation, session, e);
}

static inline int rig_give_commit(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)c, (void)out;
	return rig_becomes(arg, "give-commit", "in-doubt", RIG_GENERATION, in, e);
}

static inline int rig_give_done(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)c, (void)out;
	return rig_becomes(arg, "give-done", "away", RIG_GENERATION, in, e);
}

static inline int rig_give_abort(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct side *s = arg;
	bool not_taken = json_is_true(json_object_get(in, "not_taken"));

	(void)c, (void)out;
	if (!strcmp(s->word, "in-doubt") && !not_taken) {
		rig_note(s, "give-abort-in-doubt");
		return err_set(e, ERR_IN_DOUBT, "handed over");
	}
	return rig_becomes(s, not_taken ? "give-abort!" : "give-abort", "here", RIG_GENERATION, in, e);
}

static inline void rig_end_receive(struct side *s, const struct err *e)
{
	loop_unwatch(&s->src);
	fd_close(&s->stream);
	if (s->receive)
		ctl_finish(s->receive, e ? NULL : json_pack("{si s{si si}}", "domid", RIG_DOMID, "times", "devices_ms", 3,
							    "restore_ms", 5), e);
	s->receive = NULL;
}

static inline void rig_stream(void *arg, unsigned events)
{
	struct side *s = arg;
	uint8_t part[65536];
	struct err e = ERR_INIT;
	ssize_t n = recv(s->stream, part, sizeof(part), MSG_DONTWAIT);

	(void)events;
	if (n > 0) {
		pthread_mutex_lock(&s->m);
		buf_put(&s->got, part, (size_t)n);
		pthread_cond_broadcast(&s->changed);
		pthread_mutex_unlock(&s->m);
		return;
	}
	static const uint8_t end[REC_HDR_BYTES];
	bool whole = s->got.len > 64 && !memcmp(s->got.p + s->got.len - sizeof(end), end, sizeof(end));

	if (!whole)
		err_set(&e, ERR_XEN, "the stream broke off");
	rig_end_receive(s, whole ? NULL : &e);
}

static inline int rig_receive(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct side *s = arg;
	const char *session;

	(void)out;
	if (rig_verb(s, "receive", e) < 0 || js_text(in, "session", &session, e) < 0)
		return -1;
	s->stream = ctl_take_fd(c, 0);
	s->alive = ctl_take_fd(c, 1);
	if (s->stream < 0 || s->alive < 0)
		return err_set(e, ERR_USAGE, "two descriptors are due");
	if (rig_record(s, "receiving", RIG_GENERATION, session, e) < 0 ||
	    (!s->stuck && loop_watch(s->l, s->stream, LOOP_READ, rig_stream, s, &s->src, e) < 0))
		return -1;
	s->receive = ctl_defer(c);
	return 0;
}

static inline int rig_take(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct side *s = arg;

	(void)c;
	if (strcmp(s->word, "receiving"))
		return err_set(e, ERR_STATE, "%s", s->word);
	*out = json_pack("{s{si}}", "times", "unpause_ms", 2);
	return rig_becomes(s, "take", "here", RIG_GENERATION + 1, in, e);
}

static inline int rig_refuse(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct side *s = arg;
	struct err gone = ERR_INIT;

	(void)c, (void)out;
	if (!strcmp(s->word, "here"))
		return err_set(e, ERR_STATE, "taken");
	if (rig_becomes(s, "refuse", "refused", RIG_GENERATION, in, e) < 0)
		return -1;
	err_set(&gone, ERR_CANCELLED, "refused while it arrived");
	rig_end_receive(s, &gone);
	return 0;
}

static const struct ctl_verb rig_domd[] = {
	{ DOMD_GIVE_BEGIN, rig_give_begin, NULL }, { DOMD_THROTTLE, rig_throttle, NULL },
	{ DOMD_GIVE_COMMIT, rig_give_commit, NULL }, { DOMD_GIVE_DONE, rig_give_done, NULL },
	{ DOMD_GIVE_ABORT, rig_give_abort, NULL }, { DOMD_RECEIVE, rig_receive, NULL },
	{ DOMD_TAKE, rig_take, NULL }, { DOMD_REFUSE, rig_refuse, NULL }, { .name = NULL },
};

/* ---- runs of hvmigrate ---- */

static inline int rig_guest_save(void *arg, int fd, const struct saver_hooks *hooks, struct err *e);

static inline int rig_make_xen(uint32_t domid, struct saver_xen *out, struct err *e)
{
	if (domid != RIG_DOMID)
		return err_set(e, ERR_INTERNAL, "domain %u", domid);
	*out = (struct saver_xen){ rig_guest_save, rig_guest };
	return 0;
}

static inline json_t *rig_facts(const json_t *vm, uint32_t domid, struct err *e)
{
	(void)vm, (void)domid, (void)e;
	return json_pack("{si}", "memory_kib", 16384);
}

static inline void rig_check(const json_t *offer, json_t *problems)
{
	if (json_integer_value(json_object_get(offer, "memory_kib")) != 16384)
		json_array_append_new(problems, json_pack("{ss ss}", "code", "no-facts", "severity", "error"));
}

static inline void *rig_run_main(void *arg)
{
	struct run *r = arg;
	struct side *s = r->side;

	if (r->sends) {
		struct send_setup set = { s->run_dir, s->data_dir, r->unit, r->spec, r->fd, rig_make_xen, rig_facts };

		send_run(r->loop, &set);
	} else {
		struct recv_setup set = { s->run_dir, s->data_dir, r->unit, "other", r->fd, rig_check };

		recv_run(r->loop, &set);
	}
	return NULL;
}

static inline void rig_done(struct run *r)
{
	pthread_mutex_lock(&r->side->m);
	r->done = true;
	pthread_cond_broadcast(&r->side->changed);
	pthread_mutex_unlock(&r->side->m);
}

static inline void rig_event(void *arg, const json_t *ev)
{
	const char *name = json_string_value(json_object_get(ev, "event"));

	if (name && !strcmp(name, "done"))
		rig_done(arg);
}

static inline void rig_gone(void *arg)
{
	rig_done(arg);
}

/* A report that is there already: `done` was said before anybody listened. */
static inline void rig_subscribed(void *arg, const json_t *ok, const struct err *e)
{
	struct run *r = arg;
	char path[RIG_PATH_BYTES + 64];

	(void)ok, (void)e;
	snprintf(path, sizeof(path), MIGRATE_REPORT_FMT, r->side->data_dir, r->unit);
	if (access(path, F_OK) == 0)
		rig_done(r);
}

static inline void rig_watch(void *arg)
{
	struct run *r = arg;
	struct err e = ERR_INIT;
	char path[RIG_PATH_BYTES + 64];

	snprintf(path, sizeof(path), MIGRATE_SOCKET_FMT, r->side->run_dir, r->unit);
	if (ctl_connect(path, &r->watch, &e) < 0) {
		loop_timer_set(r->again, 2, 0);		/* its socket is not there yet */
		return;
	}
	if (ctl_client_attach(r->watch, r->side->l, rig_event, rig_gone, r, &e) < 0 ||
	    ctl_send(r->watch, "subscribe", NULL, NULL, 0, rig_subscribed, r, &e) < 0)
		abort();
}

static inline void rig_watch_start(void *arg)
{
	struct run *r = arg;

	r->again = loop_timer_new(r->side->l, rig_watch, r);
	rig_watch(r);
}

static inline void rig_start(struct side *s, unsigned i, bool sends, const char *unit, int fd, const json_t *spec)
{
	struct run *r = &s->runs[i];
	struct err e = ERR_INIT;

	*r = (struct run){ .side = s, .used = true, .sends = sends, .fd = fd, .spec = spec };
	snprintf(r->unit, sizeof(r->unit), "%s", unit);
	if (loop_new(&r->loop, &e) < 0 || pthread_create(&r->thread, NULL, rig_run_main, r))
		abort();
	loop_post(s->l, rig_watch_start, r);
}

/* ---- hvapid and hvtls ---- */

static inline int rig_offer(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct side *s = arg;
	char path[RIG_PATH_BYTES + 64];
	const char *session;

	(void)c;
	if (js_text(in, "session", &session, e) < 0)
		return -1;
	snprintf(path, sizeof(path), DOMD_SOCKET_FMT, s->run_dir, "web1");
	*out = json_pack("{s:o, s:s}", "problems", s->problems ? json_deep_copy(s->problems) : json_array(), "domd", path);
	return 0;
}

/* The peer starts a new hvmigrate at the other end, as its hvapid would. */
static inline int rig_dial(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct side *s = arg;
	int pair[2];

	(void)in, (void)out;
	rig_note(s, "dial");
	if (!s->answers_dials || s->peer->runs[1].used)
		return err_set(e, ERR_NET, "nobody is there");
	if (fd_pair(pair, e) < 0)
		return -1;
	rig_start(s->peer, 1, false, "u2", pair[1], NULL);
	ctl_give_fd(c, pair[0]);
	return 0;
}

static const struct ctl_verb rig_hvapid[] = { { HVAPID_OFFER, rig_offer, NULL }, { .name = NULL } };
static const struct ctl_verb rig_hvtls[] = { { HVTLS_DIAL, rig_dial, NULL }, { .name = NULL } };

/* ---- a host ---- */

static inline void *rig_serve(void *arg)
{
	loop_run(((struct side *)arg)->l);
	return NULL;
}

static inline void rig_stop(void *arg)
{
	loop_stop(arg, 0);
}

static inline struct ctl_server *rig_server(struct side *s, const char *path, const struct ctl_verb *verbs)
{
	struct ctl_server *out = NULL;
	struct err e = ERR_INIT;

	if (ctl_server_new(s->l, path, 0600, getuid(), verbs, s, &out, &e) < 0)
		fail_msg("%s", e.detail);
	return out;
}

static inline void rig_side_start(struct side *s, struct side *peer)
{
	char path[RIG_PATH_BYTES + 64];
	struct err e = ERR_INIT;
	static const char *const dirs[] = { "run/domd", "run/migrate", "data/migrate" };

	*s = (struct side){ .peer = peer, .stream = -1, .alive = -1, .cut_fd = -1 };
	tmp_init(&s->t);
	snprintf(s->run_dir, sizeof(s->run_dir), "%s/run", s->t.dir);
	snprintf(s->data_dir, sizeof(s->data_dir), "%s/data", s->t.dir);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		assert_int_equal(fd_make_dirs(tmp_path(&s->t, dirs[i]), 0755, &e), 0);
	pthread_mutex_init(&s->m, NULL);
	pthread_cond_init(&s->changed, NULL);
	assert_int_equal(loop_new(&s->l, &e), 0);
	snprintf(path, sizeof(path), DOMD_SOCKET_FMT, s->run_dir, "web1");
	s->domd = rig_server(s, path, rig_domd);
	snprintf(path, sizeof(path), "%s/%s", s->run_dir, HVAPID_SOCKET);
	s->hvapid = rig_server(s, path, rig_hvapid);
	snprintf(path, sizeof(path), "%s/%s", s->run_dir, HVTLS_SOCKET);
	s->hvtls = rig_server(s, path, rig_hvtls);
	assert_int_equal(pthread_create(&s->thread, NULL, rig_serve, s), 0);
}

static inline void rig_runs_end(struct side *s)
{
	for (unsigned i = 0; i < RIG_RUNS; i++) {
		struct run *r = &s->runs[i];

		if (!r->used)
			continue;
		RIG_UNTIL(s, r->done);
		loop_post(r->loop, rig_stop, r->loop);	/* instead of its lingering */
		pthread_join(r->thread, NULL);
		loop_free(r->loop);
	}
}

static inline void rig_serve_end(struct side *s)
{
	loop_post(s->l, rig_stop, s->l);
	pthread_join(s->thread, NULL);
	for (unsigned i = 0; i < RIG_RUNS; i++) {
		ctl_client_free(s->runs[i].watch);
		loop_timer_free(&s->runs[i].again);
	}
	rig_end_receive(s, NULL);
	ctl_server_free(s->domd);
	ctl_server_free(s->hvapid);
	ctl_server_free(s->hvtls);
	fd_close(&s->alive);
	loop_free(s->l);
}

static inline void rig_side_fini(struct side *s)
{
	buf_fini(&s->got);
	fd_close(&s->cut_fd);
	pthread_mutex_destroy(&s->m);
	pthread_cond_destroy(&s->changed);
	tmp_fini(&s->t);
}

/* ---- the guest's stream ---- */

static inline uint64_t rig_random(struct guest *g)
{
	g->seed ^= g->seed << 13;
	g->seed ^= g->seed >> 7;
	g->seed ^= g->seed << 17;
	return g->seed;
}

/* Writes b, which is then part of what was sent. */
static inline int rig_out(struct guest *g, int fd, struct buf *b, struct err *e)
{
	int rc = fd_write_full(fd, b->p, b->len);

	if (rc < 0)
		return err_sys(e, -rc, "write the made-up stream");
	buf_put(&g->sent, b->p, b->len);
	b->len = 0;
	return 0;
}

static inline int rig_pages(struct guest *g, int fd, unsigned pages, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };

	while (pages) {
		uint32_t n = pages < 64 ? pages : 64;

		buf_put_le32(&b, LIBXC_REC_PAGE_DATA);
		buf_put_le32(&b, PAGES_HDR_BYTES + n * (8 + PAGE_BYTES));
		buf_put_le32(&b, n);
		buf_put_le32(&b, 0);
		for (unsigned i = 0; i < n; i++)
			buf_put_le64(&b, rig_random(g) % 4096);
		for (unsigned i = 0; i < n * PAGE_WORDS; i++)
			buf_put_le64(&b, i % 1024 < 512 ? rig_random(g) : 0);
		if (rig_out(g, fd, &b, e) < 0)
			return -1;
		pages -= n;
	}
	return 0;
}

static inline int rig_header(struct guest *g, int fd, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };

	buf_put_be64(&b, LIBXC_MARKER);
	buf_put_be32(&b, LIBXC_ID);
	buf_put_be32(&b, 3);
	buf_put_be64(&b, 0);
	for (int i = 0; i < LIBXC_DHDR_BYTES; i++)
		buf_put_u8(&b, (uint8_t)i);
	return rig_out(g, fd, &b, e);
}

static inline int rig_rest(struct guest *g, int fd, const struct saver_hooks *hooks, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };

	hooks->suspending(hooks->arg);
	hooks->suspended(hooks->arg);
	rig_note(g->host, "SUSPENDED");
	if (g->cut_suspended)
		shutdown(g->host->cut_fd, SHUT_RDWR);
	if (rig_pages(g, fd, g->dirty_pages, e) < 0)
		return -1;
	buf_put_le64(&b, LIBXC_REC_END);
	return rig_out(g, fd, &b, e);
}

static inline int rig_guest_save(void *arg, int fd, const struct saver_hooks *hooks, struct err *e)
{
	struct guest *g = arg;

	if (rig_header(g, fd, e) < 0)
		return -1;
	for (unsigned pages = g->first_pages;; pages = g->dirty_pages) {
		do {
			if (hooks->cancelled(hooks->arg))
				return err_set(e, ERR_CANCELLED, "given up");
			if (g->cut_in_round && g->cut_in_round == g->rounds)
				shutdown(g->host->cut_fd, SHUT_RDWR);
			if (rig_pages(g, fd, pages, e) < 0)
				return -1;
		} while (g->endless);
		switch (hooks->round(hooks->arg, g->rounds++, g->dirty_pages)) {
		case SAVER_CONTINUE:
			continue;
		case SAVER_STOP:
			return rig_rest(g, fd, hooks, e);
		case SAVER_ABORT:
		default:
			return err_set(e, ERR_CANCELLED, "given up");
		}
	}
}

#endif

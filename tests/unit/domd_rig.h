/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvdomd on a real control socket and a real data folder, with a made-up Xen
 * that remembers what it was told, and can fail, block, and be looked at while
 * it is told.  A restart of hvdomd keeps Xen and the folder.
 */
#ifndef TESTS_UNIT_DOMD_RIG_H
#define TESTS_UNIT_DOMD_RIG_H

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/record.h"
#include "domd/domd.h"
#include "domd/domd_ctl.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

#define RIG_UUID "01234567-89ab-cdef-0123-456789abcdef"

enum { RIG_WAIT_S = 10, RIG_CALL_MS = 10000, RIG_PATH_BYTES = 200 };

struct rig {
	struct tmp t;
	char run_dir[RIG_PATH_BYTES], data_dir[RIG_PATH_BYTES], sock[RIG_PATH_BYTES + 32];
	struct loop *l;
	struct domd d;
	struct domd_xen xen;
	pthread_t thread;
	bool runs, ended;		/* hvdomd's thread; loop_run came back by itself */
	pthread_mutex_t m;
	pthread_cond_t changed;
	/* Xen, under m */
	enum domd_life life;
	int domid, last_domid;
	uint16_t cap;
	char calls[512];		/* in order */
	const char *fails, *blocks;	/* names of calls; a call that blocks goes on when it is NULL */
	char owner_at_unpause[32];	/* word and generation on disk when unpause came */
	bool devices_ready;
	char got[64];			/* what restore read */
	unsigned announced;
	/* a call that takes its time */
	pthread_t caller;
	const char *verb;
	json_t *args, *answer;
	int fds[2], rc;
	size_t n_fds;
	struct err err;
	bool answered;
};

#define RIG_UNTIL(r, cond)                                                                            \
	do {                                                                                          \
		struct timespec end_;                                                                 \
		int rc_ = 0;                                                                          \
		clock_gettime(CLOCK_REALTIME, &end_);                                                 \
		end_.tv_sec += RIG_WAIT_S;                                                            \
		pthread_mutex_lock(&(r)->m);                                                          \
		while (!(cond) && rc_ == 0)                                                           \
			rc_ = pthread_cond_timedwait(&(r)->changed, &(r)->m, &end_);                  \
		bool ok_ = (cond);                                                                    \
		pthread_mutex_unlock(&(r)->m);                                                        \
		if (!ok_)                                                                             \
			fail_msg("waited in vain for %s; Xen heard: %s", #cond, (r)->calls);          \
	} while (0)

/* ---- Xen ---- */

static inline int rig_call(struct rig *r, const char *name, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&r->m);
	size_t n = strlen(r->calls);

	snprintf(r->calls + n, sizeof(r->calls) - n, "%s%s", n ? " " : "", name);
	pthread_cond_broadcast(&r->changed);
	while (r->blocks && !strcmp(r->blocks, name))
		pthread_cond_wait(&r->changed, &r->m);
	if (r->fails && !strcmp(r->fails, name))
		rc = err_set(e, ERR_XEN, "made-up failure of %s", name);
	pthread_mutex_unlock(&r->m);
	return rc;
}

static inline void rig_life(struct rig *r, enum domd_life life)
{
	pthread_mutex_lock(&r->m);
	r->life = life;
	if (life == LIFE_GONE)
		r->domid = DOMD_NO_DOMAIN;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->m);
}

static inline void rig_born(struct rig *r, int *out_domid)
{
	pthread_mutex_lock(&r->m);
	*out_domid = r->domid = ++r->last_domid;
	r->life = LIFE_PAUSED;
	r->cap = 0;
	pthread_mutex_unlock(&r->m);
}

static inline int rig_create(void *x, const json_t *vm, const char *boot_dir, int *out_domid, struct err *e)
{
	(void)vm, (void)boot_dir;
	if (rig_call(x, "create", e) < 0)
		return -1;
	rig_born(x, out_domid);
	return 0;
}

/* The stream is whole when its last byte is 'E'. */
static inline int rig_restore(void *x, const json_t *vm, const char *boot_dir, int fd, bool devices, int *out_domid,
			      struct err *e)
{
	struct rig *r = x;
	size_t n = 0;

	(void)vm, (void)boot_dir;
	if (rig_call(x, devices ? "restore+devices" : "restore", e) < 0)
		return -1;
	while (n < sizeof(r->got) - 1 && read(fd, r->got + n, 1) == 1 && r->got[n++] != 'E')
		;
	if (!n || r->got[n - 1] != 'E')
		return err_set(e, ERR_XEN, "the stream broke off");
	rig_born(x, out_domid);
	return 0;
}

static inline int rig_prepare(void *x, const json_t *vm, bool (*cancelled)(void *arg), void *arg, struct err *e)
{
	struct rig *r = x;
	int rc = rig_call(x, "prepare", e);

	(void)vm;
	pthread_mutex_lock(&r->m);
	while (rc == 0 && !r->devices_ready) {
		struct timespec soon;

		if (cancelled(arg)) {
			rc = err_set(e, ERR_CANCELLED, "told to stop");
			break;
		}
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 5000000;
		soon.tv_sec += soon.tv_nsec / 1000000000;
		soon.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&r->changed, &r->m, &soon);
	}
	pthread_mutex_unlock(&r->m);
	return rc;
}

static inline int rig_turns(void *x, const char *name, enum domd_life life, struct err *e)
{
	if (rig_call(x, name, e) < 0)
		return -1;
	rig_life(x, life);
	return 0;
}

static inline int rig_save(void *x, int domid, int fd, struct err *e)
{
	(void)domid;
	rig_life(x, LIFE_SUSPENDED);
	if (rig_call(x, "save", e) < 0)
		return -1;
	return fd_write_full(fd, "guestE", 6) < 0 ? err_set(e, ERR_IO, "write") : 0;
}

static inline int rig_unpause(void *x, int domid, struct err *e)
{
	struct rig *r = x;
	char path[RIG_PATH_BYTES + 64];
	struct err ignored = ERR_INIT;
	AUTO_JSON json_t *o = NULL;

	(void)domid;
	snprintf(path, sizeof(path), DOMD_OWNER_FMT, r->data_dir, "web1");
	if (record_load(path, &o, &ignored) == 0)
		snprintf(r->owner_at_unpause, sizeof(r->owner_at_unpause), "%.20s %lld",
			 json_string_value(json_object_get(o, "owner")),
			 (long long)json_integer_value(json_object_get(o, "generation")));
	return rig_turns(x, "unpause", LIFE_RUNNING, e);
}

static inline int rig_pause(void *x, int domid, struct err *e)
{
	(void)domid;
	return rig_turns(x, "pause", LIFE_PAUSED, e);
}

static inline int rig_shutdown(void *x, int domid, struct err *e)
{
	(void)domid;
	return rig_call(x, "shutdown", e);
}

static inline int rig_reboot(void *x, int domid, struct err *e)
{
	(void)domid;
	return rig_call(x, "reboot", e);
}

static inline int rig_destroy(void *x, int domid, struct err *e)
{
	(void)domid;
	return rig_turns(x, "destroy", LIFE_GONE, e);
}

static inline int rig_resume(void *x, int domid, struct err *e)
{
	(void)domid;
	return rig_turns(x, "resume", LIFE_RUNNING, e);
}

static inline int rig_find(void *x, const char *uuid)
{
	struct rig *r = x;
	return strcmp(uuid, RIG_UUID) ? DOMD_NO_DOMAIN : r->domid;
}

static inline enum domd_life rig_look(void *x, int domid)
{
	struct rig *r = x;

	pthread_mutex_lock(&r->m);
	enum domd_life life = domid == r->domid && domid != DOMD_NO_DOMAIN ? r->life : LIFE_GONE;
	pthread_mutex_unlock(&r->m);
	return life;
}

static inline int rig_console(void *x, int domid, char *out, size_t n, struct err *e)
{
	(void)x, (void)domid, (void)e;
	snprintf(out, n, "/dev/null");
	return 0;
}

static inline int rig_cap_get(void *x, int domid, uint16_t *out, struct err *e)
{
	struct rig *r = x;

	(void)domid, (void)e;
	*out = r->cap;
	return 0;
}

static inline int rig_cap_set(void *x, int domid, uint16_t cap, struct err *e)
{
	struct rig *r = x;

	(void)domid, (void)e;
	r->cap = cap;
	return 0;
}

static inline void rig_announce(void *x, struct loop *l, const json_t *vm)
{
	(void)l, (void)vm;
	((struct rig *)x)->announced++;
}

/* ---- hvdomd's life ---- */

static inline void *rig_main(void *arg)
{
	struct rig *r = arg;

	loop_run(r->l);
	pthread_mutex_lock(&r->m);
	r->ended = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->m);
	return NULL;
}

static inline int rig_try_start(struct rig *r, struct err *e)
{
	r->ended = false;
	assert_int_equal(loop_new(&r->l, e), 0);
	if (domd_init(&r->d, r->l, &r->xen, r->data_dir, "web1", e) < 0 || domd_serve(&r->d, r->run_dir, e) < 0) {
		domd_fini(&r->d);
		loop_free(r->l);
		return -1;
	}
	assert_int_equal(pthread_create(&r->thread, NULL, rig_main, r), 0);
	r->runs = true;
	return 0;
}

static inline void rig_begin(struct rig *r)
{
	struct err e = ERR_INIT;

	if (rig_try_start(r, &e) < 0)
		fail_msg("%s", e.detail);
}

static inline void rig_stop_(void *arg)
{
	loop_stop(arg, 0);
}

/* hvdomd ends at this point, whatever it was at, as far as disk and domain can tell. */
static inline void rig_end(struct rig *r)
{
	if (!r->runs)
		return;
	loop_post(r->l, rig_stop_, r->l);
	pthread_join(r->thread, NULL);
	r->runs = false;
	domd_fini(&r->d);
	loop_free(r->l);
}

static inline void rig_again(struct rig *r)
{
	rig_end(r);
	r->calls[0] = '\0';
	rig_begin(r);
}

static inline int rig_setup(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));
	struct err e = ERR_INIT;

	tmp_init(&r->t);
	snprintf(r->run_dir, sizeof(r->run_dir), "%s/run", r->t.dir);
	snprintf(r->data_dir, sizeof(r->data_dir), "%s/data", r->t.dir);
	snprintf(r->sock, sizeof(r->sock), DOMD_SOCKET_FMT, r->run_dir, "web1");
	if (fd_make_dirs(tmp_path(&r->t, "run/domd"), 0755, &e) < 0 ||
	    fd_make_dirs(tmp_path(&r->t, "data/save"), 0755, &e) < 0)
		return -1;
	pthread_mutex_init(&r->m, NULL);
	pthread_cond_init(&r->changed, NULL);
	r->domid = DOMD_NO_DOMAIN;
	r->devices_ready = true;
	r->fds[0] = r->fds[1] = -1;
	r->xen = (struct domd_xen){
		rig_create, rig_restore, rig_prepare, rig_save, rig_unpause, rig_pause, rig_shutdown, rig_reboot,
		rig_destroy, rig_resume, rig_find, rig_look, rig_console, rig_cap_get, rig_cap_set, rig_announce, r,
	};
	*state = r;
	return 0;
}

/* ---- asking it ---- */

/* Takes args.  The answer must be ok. */
static inline json_t *rig_ask(struct rig *r, const char *verb, json_t *args, const int *fds, size_t n_fds)
{
	json_t *out = NULL;
	struct err e = ERR_INIT;

	if (ctl_once(r->sock, verb, args, fds, n_fds, RIG_CALL_MS, &out, NULL, NULL, &e) < 0)
		fail_msg("%s: %s", verb, e.detail);
	json_decref(args);
	return out;
}

static inline void rig_tell(struct rig *r, const char *verb, json_t *args)
{
	json_decref(rig_ask(r, verb, args, NULL, 0));
}

/* Takes args.  The answer must be this error, with this word in it. */
static inline void rig_denied(struct rig *r, const char *verb, json_t *args, enum err_code code, const char *word)
{
	struct err e = ERR_INIT;

	if (ctl_once(r->sock, verb, args, NULL, 0, RIG_CALL_MS, NULL, NULL, NULL, &e) == 0)
		fail_msg("%s was done", verb);
	json_decref(args);
	if (e.code != code || !strstr(e.detail, word))
		fail_msg("%s: %s '%s'; wanted %s with '%s'", verb, err_name(e.code), e.detail, err_name(code), word);
}

static inline void *rig_caller(void *arg)
{
	struct rig *r = arg;

	r->rc = ctl_once(r->sock, r->verb, r->args, r->fds, r->n_fds, RIG_CALL_MS, &r->answer, NULL, NULL, &r->err);
	pthread_mutex_lock(&r->m);
	r->answered = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->m);
	return NULL;
}

/* A call whose answer may take its time; takes args; r->fds go with it if n_fds. */
static inline void rig_call_later(struct rig *r, const char *verb, json_t *args, size_t n_fds)
{
	r->verb = verb;
	r->args = args;
	r->n_fds = n_fds;
	r->answered = false;
	r->err = (struct err)ERR_INIT;
	json_decref(r->answer);
	r->answer = NULL;
	assert_int_equal(pthread_create(&r->caller, NULL, rig_caller, r), 0);
}

static inline int rig_answer(struct rig *r)
{
	pthread_join(r->caller, NULL);
	json_decref(r->args);
	fd_close(&r->fds[0]);
	fd_close(&r->fds[1]);
	return r->rc;
}

/* STATUS.state and the record on disk, "running here 4". */
static inline void rig_is(struct rig *r, const char *want)
{
	char path[RIG_PATH_BYTES + 64], have[96];
	struct err e = ERR_INIT;
	AUTO_JSON json_t *st = rig_ask(r, DOMD_STATUS, NULL, NULL, 0), *o = NULL;

	snprintf(path, sizeof(path), DOMD_OWNER_FMT, r->data_dir, "web1");
	if (record_load(path, &o, &e) < 0)
		o = json_pack("{ss si}", "owner", "-", "generation", 0);
	snprintf(have, sizeof(have), "%s %s %lld", json_string_value(json_object_get(st, "state")),
		 json_string_value(json_object_get(o, "owner")),
		 (long long)json_integer_value(json_object_get(o, "generation")));
	assert_string_equal(have, want);
}

/* hvdomd's loop has done what was posted before. */
static inline void rig_sync(struct rig *r)
{
	rig_tell(r, DOMD_STATUS, NULL);
}

/* What Xen blocks goes on. */
static inline void rig_release(struct rig *r)
{
	pthread_mutex_lock(&r->m);
	r->blocks = NULL;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->m);
}

/* Nothing is under way any more. */
static inline void rig_until_idle(struct rig *r)
{
	for (int i = 0; i < 2000 && r->runs && !r->ended; i++) {
		struct err e = ERR_INIT;
		AUTO_JSON json_t *st = NULL;

		/* On hvdomd's thread nothing else runs while it answers, and its threads end by themselves. */
		if (ctl_once(r->sock, DOMD_STATUS, NULL, NULL, 0, RIG_CALL_MS, &st, NULL, NULL, &e) < 0 ||
		    (!__atomic_load_n(&r->d.busy, __ATOMIC_SEQ_CST) &&
		     !__atomic_load_n(&r->d.receiving, __ATOMIC_SEQ_CST)))
			return;
		(void)poll(NULL, 0, 1);
	}
}

static inline int rig_teardown(void **state)
{
	struct rig *r = *state;

	rig_release(r);
	rig_until_idle(r);
	rig_end(r);
	fd_close(&r->fds[0]);
	fd_close(&r->fds[1]);
	json_decref(r->answer);
	pthread_mutex_destroy(&r->m);
	pthread_cond_destroy(&r->changed);
	tmp_fini(&r->t);
	free(r);
	return 0;
}

/* ---- arguments ---- */

static inline json_t *rig_vm(void)
{
	return json_pack("{ss ss ss si}", "name", "web1", "uuid", RIG_UUID, "type", "pvh", "memory_mib", 16);
}

static inline json_t *rig_made(int generation)
{
	return json_pack("{so si}", "config", rig_vm(), "generation", generation);
}

static inline json_t *rig_session(const char *s)
{
	return json_pack("{ss}", "session", s);
}

static inline void rig_create_vm(struct rig *r)
{
	rig_begin(r);
	rig_tell(r, DOMD_CREATE, rig_made(4));
	r->calls[0] = '\0';
}

/* give-begin; returns the mover's end of its descriptor. */
static inline int rig_give(struct rig *r, const char *session)
{
	int pair[2];
	struct err e = ERR_INIT;

	assert_int_equal(fd_pair(pair, &e), 0);
	json_decref(rig_ask(r, DOMD_GIVE_BEGIN, json_pack("{ss ss}", "session", session, "peer", "b"), &pair[1], 1));
	fd_close(&pair[1]);
	return pair[0];
}

static inline json_t *rig_arriving(const char *session, int generation)
{
	return json_pack("{ss ss so si}", "session", session, "peer", "a", "config", rig_vm(), "generation", generation);
}

/* Starts `receive`; out: the mover's ends of stream and life line. */
static inline void rig_receive(struct rig *r, const char *session, int generation, int *out_stream, int *out_alive)
{
	int s[2], a[2];
	struct err e = ERR_INIT;

	assert_int_equal(fd_pair(s, &e), 0);
	assert_int_equal(fd_pair(a, &e), 0);
	r->fds[0] = s[1];
	r->fds[1] = a[1];
	*out_stream = s[0];
	*out_alive = a[0];
	rig_call_later(r, DOMD_RECEIVE, rig_arriving(session, generation), 2);
}

#define rig_heard(r, want) assert_string_equal((r)->calls, want)

static inline void rig_look_now_(void *arg)
{
	domd_look(&((struct rig *)arg)->d);
}

/* The domain's state changes, and hvdomd is told so. */
static inline void rig_turn(struct rig *r, enum domd_life life)
{
	rig_life(r, life);
	loop_post(r->l, rig_look_now_, r);
}


#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvdomd on a real control socket and a real data folder, with a made-up Xen
 * (domd_rig_xen.h).  A restart of hvdomd keeps Xen and the folder.
 */
#ifndef TESTS_UNIT_DOMD_RIG_H
#define TESTS_UNIT_DOMD_RIG_H

#include "tests/unit/domd_rig_ask.h"
#include "tests/unit/domd_rig_xen.h"

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
		rig_destroy, rig_resume, rig_still, rig_find, rig_look, rig_console, rig_cap_get, rig_cap_set,
		rig_announce, NULL, r,
	};
	*state = r;
	return 0;
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
	return json_pack("{ss ss so si}", "session", session, "peer", "a", "config", rig_vm(), "generation",
			 generation);
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

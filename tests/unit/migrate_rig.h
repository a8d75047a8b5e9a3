/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two hosts in one process, for tests of hvmigrate: each has a made-up hvdomd,
 * hvapid and hvtls on real sockets, served by a thread, and runs send_run or
 * recv_run on another.
 */
#ifndef TESTS_UNIT_MIGRATE_RIG_H
#define TESTS_UNIT_MIGRATE_RIG_H

#include "tests/unit/migrate_rig_run.h"

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

#endif

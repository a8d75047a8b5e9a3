/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server on a thread of its own, and how tests ask it.  A test must end with
 * as many open descriptors as it began with.
 */
#ifndef TESTS_UNIT_CTL_FIXTURE_H
#define TESTS_UNIT_CTL_FIXTURE_H

#include "tests/unit/ctl_verbs.h"

static inline void *serve(void *arg)
{
	loop_run(((struct fixture *)arg)->l);
	return NULL;
}

static inline void stop_serving(void *arg)
{
	loop_stop(((struct fixture *)arg)->l, 0);
}

static inline int start(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err e = ERR_INIT;

	f->fds_before = tmp_open_fds();
	tmp_init(&f->t);
	tmp_path(&f->t, "sock");
	f->log = json_array();
	if (loop_new(&f->l, &e) < 0 || loop_new(&f->cl, &e) < 0 ||
	    ctl_server_new(f->l, f->t.path, 0666, getuid(), verbs, f, &f->s, &e) < 0)
		return -1;
	if (pthread_create(&f->thread, NULL, serve, f))
		return -1;
	*state = f;
	return 0;
}

static inline int end(void **state)
{
	struct fixture *f = *state;
	unsigned before = f->fds_before;
	int rc = 0;

	loop_post(f->l, stop_serving, f);
	pthread_join(f->thread, NULL);
	ctl_server_free(f->s);
	if (access(f->t.path, F_OK) == 0)
		rc = -1;		/* the socket goes with the server */
	while (f->n_held)		/* calls may outlive the server */
		ctl_finish(f->held[--f->n_held], NULL, NULL);
	ctl_client_free(f->c);
	loop_free(f->l);
	loop_free(f->cl);
	json_decref(f->log);
	tmp_fini(&f->t);
	free(f);
	return tmp_open_fds() == before ? rc : -1;
}

static inline struct ctl_client *connect_to(struct fixture *f)
{
	struct ctl_client *c = NULL;
	struct err e = ERR_INIT;

	if (ctl_connect(f->t.path, &c, &e) < 0)
		fail_msg("%s", e.detail);
	return c;
}

/* One request that must succeed. */
static inline json_t *ask(struct ctl_client *c, const char *verb, json_t *args)
{
	json_t *out = NULL;
	struct err e = ERR_INIT;

	if (ctl_request(c, verb, args, NULL, 0, WAIT_MS, &out, NULL, NULL, &e) < 0)
		fail_msg("%s: %s", verb, e.detail);
	json_decref(args);
	return out;
}

static inline void tell(struct ctl_client *c, const char *verb, json_t *args)
{
	json_decref(ask(c, verb, args));
}

/* One request that must fail. */
static inline enum err_code refuse(struct ctl_client *c, const char *verb, int timeout_ms, struct err *e)
{
	json_t *out = NULL;

	*e = (struct err)ERR_INIT;
	assert_int_equal(ctl_request(c, verb, NULL, NULL, 0, timeout_ms, &out, NULL, NULL, e), -1);
	assert_null(out);
	return e->code;
}

static inline void still_serves(struct fixture *f)
{
	AUTO_JSON json_t *args = json_pack("{si}", "x", 1), *out = NULL;
	struct err e = ERR_INIT;

	if (ctl_once(f->t.path, "echo", args, NULL, 0, WAIT_MS, &out, NULL, NULL, &e) < 0)
		fail_msg("%s", e.detail);
	assert_true(json_equal(args, out));
}

#endif

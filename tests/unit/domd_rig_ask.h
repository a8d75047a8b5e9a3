/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking hvdomd over its control socket, as hvapid and hvmigrate do.
 */
#ifndef TESTS_UNIT_DOMD_RIG_ASK_H
#define TESTS_UNIT_DOMD_RIG_ASK_H

#include "tests/unit/domd_rig_base.h"

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

#endif

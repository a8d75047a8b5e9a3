/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A made-up hvdomd for hvmigrate: it keeps a real owner.json, remembers what it
 * heard, and can fail or cut the line at any verb.
 */
#ifndef TESTS_UNIT_MIGRATE_RIG_DOMD_H
#define TESTS_UNIT_MIGRATE_RIG_DOMD_H

#include "tests/unit/migrate_rig_base.h"

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
		ctl_finish(s->receive, e ? NULL : json_pack("{si s{si si}}", "domid", RIG_DOMID, "times",
							    "devices_ms", 3, "restore_ms", 5), e);
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

#endif

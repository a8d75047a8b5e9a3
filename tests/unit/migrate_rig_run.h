/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send_run and recv_run, each on a thread of its own, followed to their end;
 * and the hvapid and hvtls that they ask.
 */
#ifndef TESTS_UNIT_MIGRATE_RIG_RUN_H
#define TESTS_UNIT_MIGRATE_RIG_RUN_H

#include "tests/unit/migrate_rig_domd.h"
#include "tests/unit/migrate_rig_guest.h"

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
	*out = json_pack("{s:o, s:s}", "problems", s->problems ? json_deep_copy(s->problems) : json_array(),
			 "domd", path);
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

#endif

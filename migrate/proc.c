/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events and actions are tables on both sides; this file is what stands
 * between them and the loop.
 */
#include "migrate/proc.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "base/record.h"
#include "link/hvtls_ctl.h"
#include "migrate/migrate_ctl.h"

enum { PROC_DIAL_MS = 15000 };

/* ---- events ---- */

struct waiting {
	struct proc *p;
	struct mig_event ev;
	struct err err;
	char vm[MIG_VM_BYTES_MAX + 1], uuid[MIG_UUID_BYTES + 1], owner_session[MIG_SESSION_BYTES_MAX + 1];
};

static void event_later(void *arg)
{
	struct waiting *w = arg;

	proc_event(w->p, &w->ev);
	free(w);
}

/* What an event borrows is copied with it; messages come only from the line, which never interrupts an action. */
static const char *keep(char *out, size_t n, const char *in)
{
	if (!in)
		return NULL;
	snprintf(out, n, "%s", in);
	return out;
}

static void postpone(struct proc *p, const struct mig_event *ev)
{
	struct waiting *w = mem_alloc(sizeof(*w));

	assert(!ev->msg);

	w->p = p;
	w->ev = *ev;
	if (ev->err) {
		w->err = *ev->err;
		w->ev.err = &w->err;
	}
	w->ev.vm = keep(w->vm, sizeof(w->vm), ev->vm);
	w->ev.uuid = keep(w->uuid, sizeof(w->uuid), ev->uuid);
	w->ev.owner_session = keep(w->owner_session, sizeof(w->owner_session), ev->owner_session);
	loop_post(p->loop, event_later, w);
}

static void run_action(struct proc *p, const struct mig_action *a);

void proc_event(struct proc *p, const struct mig_event *ev)
{
	const struct mig_action *a;

	if (p->finished)
		return;
	if (p->busy) {
		postpone(p, ev);
		return;
	}
	p->busy = true;
	session_event(&p->session, ev, clock_mono_ms());
	while (session_next(&p->session, &a))
		run_action(p, a);
	p->busy = false;
}

void proc_done(struct proc *p, enum mig_act_kind act, const struct err *err)
{
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_DONE, .act = act, .err = err });
}

/* ---- the line ---- */

static void on_msg(void *arg, struct mig_link *l, const struct mig_msg *m)
{
	struct proc *p = arg;

	(void)l;
	if (p->role->seen)
		p->role->seen(p, m);
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_MSG, .link = p->link_no, .msg = m });
}

static void on_data(void *arg, struct mig_link *l, uint64_t seq, struct buf batch)
{
	struct proc *p = arg;

	(void)l;
	if (p->role->data)
		p->role->data(p, seq, batch);
	else
		buf_fini(&batch);
}

static void on_down(void *arg, struct mig_link *l, const struct err *why)
{
	struct proc *p = arg;

	(void)l;
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_LINK_DOWN, .link = p->link_no, .err = why });
}

static const struct mig_link_ops link_ops = { on_msg, on_data, on_down };

static int attach_link(struct proc *p, int fd, uint32_t no, struct err *e)
{
	struct mig_link *l;

	if (mig_link_new(p->loop, fd, &link_ops, p, &l, e) < 0)
		return -1;
	p->link = l;
	p->link_no = no;
	return 0;
}

static void act_send(struct proc *p, const struct mig_action *a)
{
	struct mig_msg m = a->msg;
	AUTO_JSON json_t *body = p->role->body ? p->role->body(p, m.type) : NULL;
	AUTO_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	if (text)
		m.body = (struct span){ (const uint8_t *)text, strlen(text) };
	if (p->link && a->link == p->link_no)
		mig_link_send(p->link, &m);
}

static void free_link_later(void *arg)
{
	mig_link_free(arg);
}

static void act_close_link(struct proc *p, const struct mig_action *a)
{
	if (!p->link || a->link != p->link_no)
		return;
	mig_link_stop_pushing(p->link);		/* first, or the flush runs after what is still being pushed */
	mig_link_flush(p->link);
	/* The saver's thread may still be inside a push; it is freed with the process if so. */
	if (p->role->unlink)
		p->role->unlink(p);
	if (!p->session.stream_runs) {
		loop_post(p->loop, free_link_later, p->link);
		p->link = NULL;
	}
}

struct dial {
	struct proc *p;
	uint32_t no;
	int fd;
	struct err err;
	int rc;
	char path[PROC_PATH_BYTES + 16];
	json_t *args;
};

static void dial_work(void *arg)
{
	struct dial *d = arg;
	size_t n = 1;

	d->rc = ctl_once(d->path, HVTLS_DIAL, d->args, NULL, 0, PROC_DIAL_MS, NULL, &d->fd, &n, &d->err);
	if (d->rc == 0 && n != 1)
		d->rc = err_set(&d->err, ERR_INTERNAL, "hvtls gave no descriptor");
}

static void dial_done(void *arg)
{
	struct dial *d = arg;
	struct proc *p = d->p;

	if (d->rc == 0 && d->no == p->session.link && !p->finished)
		d->rc = attach_link(p, d->fd, d->no, &d->err);
	else if (d->rc == 0)
		fd_close(&d->fd);	/* too late: nobody waits for it */
	if (d->rc < 0)
		fd_close(&d->fd);
	if (d->rc == 0)
		proc_event(p, &(struct mig_event){ .kind = MIG_EV_LINK_UP, .link = d->no });
	else
		proc_event(p, &(struct mig_event){ .kind = MIG_EV_DONE, .act = MIG_ACT_DIAL, .link = d->no,
						   .err = &d->err });
	json_decref(d->args);
	free(d);
}

static void act_dial(struct proc *p, const struct mig_action *a)
{
	struct dial *d = mem_alloc(sizeof(*d));
	struct err e = ERR_INIT;

	d->p = p;
	d->no = a->link;
	d->fd = -1;
	d->args = json_pack("{s:s, s:s, s:s}", "address", p->address, "alpn", MIG_ALPN, "peer", p->peer);
	snprintf(d->path, sizeof(d->path), "%s/%s", p->run_dir, HVTLS_SOCKET);
	if (p->link) {
		mig_link_free(p->link);
		p->link = NULL;
	}
	if (loop_work(p->loop, dial_work, dial_done, d, &e) == 0)
		return;
	proc_done(p, MIG_ACT_DIAL, &e);
	json_decref(d->args);
	free(d);
}

/* ---- timers, reports, the end ---- */

static void on_timer(struct proc *p, enum mig_timer t)
{
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_TIMER, .timer = t });
}

static void on_timer_state(void *arg) { on_timer(arg, MIG_TIMER_STATE); }
static void on_timer_ping(void *arg) { on_timer(arg, MIG_TIMER_PING); }
static void on_timer_dead(void *arg) { on_timer(arg, MIG_TIMER_DEAD); }

static void act_arm_timer(struct proc *p, const struct mig_action *a)
{
	loop_timer_set(p->timers[a->timer], a->ms, 0);
}

static void act_cancel_timer(struct proc *p, const struct mig_action *a)
{
	loop_timer_stop(p->timers[a->timer]);
}

void proc_progress(struct proc *p)
{
	json_t *ev = report_progress(&p->report, &p->session.policy);

	json_object_set_new(ev, "event", json_string("progress"));
	ctl_publish(p->ctl, ev);
}

static void act_report(struct proc *p, const struct mig_action *a)
{
	p->report.state = a->state;
	log_info("session %s vm=%s: %s (%s)", p->session.session, p->session.vm, a->state, a->why);
	ctl_publish(p->ctl, json_pack("{s:s, s:s, s:s, s:b}", "event", "state", "state", a->state, "why", a->why,
				      "in_doubt", session_in_doubt(&p->session)));
	proc_progress(p);
}

static void leave(void *arg)
{
	struct proc *p = arg;

	loop_stop(p->loop, p->result);
}

static void act_finish(struct proc *p, const struct mig_action *a)
{
	char path[PROC_PATH_BYTES + 64];
	struct err e = ERR_INIT;
	AUTO_JSON json_t *r = report_final(&p->report, &p->session, a->outcome, a->err, clock_mono_ms());

	json_object_set_new(r, "peer", json_string(p->peer));
	snprintf(path, sizeof(path), MIGRATE_REPORT_FMT, p->data_dir, p->name);
	if (record_save(path, r, &e) < 0)
		log_fail(&e, "session %s: the report is only told, not kept", p->name);
	json_object_set_new(r, "event", json_string("done"));
	ctl_publish(p->ctl, json_incref(r));
	if (p->link && p->session.link_up)	/* else act_close_link did */
		mig_link_flush(p->link);
	p->finished = true;
	p->result = a->outcome == MIG_DONE_UNKNOWN;
	loop_timer_set(p->linger, PROC_LINGER_MS, 0);
}

static void (*const common[MIG_ACT_N])(struct proc *p, const struct mig_action *a) = {
	[MIG_ACT_SEND] = act_send,
	[MIG_ACT_CLOSE_LINK] = act_close_link,
	[MIG_ACT_DIAL] = act_dial,
	[MIG_ACT_ARM_TIMER] = act_arm_timer,
	[MIG_ACT_CANCEL_TIMER] = act_cancel_timer,
	[MIG_ACT_REPORT] = act_report,
	[MIG_ACT_FINISH] = act_finish,
};

static void run_action(struct proc *p, const struct mig_action *a)
{
	void (*fn)(struct proc *p, const struct mig_action *a) = p->role->act[a->kind];

	if (!fn)
		fn = common[a->kind];
	if (fn)
		fn(p, a);
	else
		log_err("no way to do action %s", mig_act_name(a->kind));
}

/* ---- hvdomd ---- */

struct domd_failure {
	struct proc *p;
	struct err err;
	void (*fn)(void *arg, const json_t *ok, const struct err *e);
};

static void domd_failed(void *arg)
{
	struct domd_failure *f = arg;

	f->fn(f->p, NULL, &f->err);
	free(f);
}

static void domd_gone(void *arg)
{
	struct proc *p = arg;

	ctl_client_free(p->domd);
	p->domd = NULL;
}

static int domd_connect(struct proc *p, struct err *e)
{
	if (p->domd)
		return 0;
	if (!*p->domd_path)
		return err_set(e, ERR_STATE, "no hvdomd was named for this move");
	if (ctl_connect(p->domd_path, &p->domd, e) < 0)
		return -1;
	if (ctl_client_attach(p->domd, p->loop, NULL, domd_gone, p, e) < 0) {
		domd_gone(p);
		return -1;
	}
	return 0;
}

void proc_domd(struct proc *p, const char *verb, json_t *args, const int *fds, size_t n_fds,
	       void (*fn)(void *arg, const json_t *ok, const struct err *e))
{
	struct err e = ERR_INIT;
	int rc = domd_connect(p, &e);

	if (rc == 0)
		rc = ctl_send(p->domd, verb, args, fds, n_fds, fn, p, &e);
	json_decref(args);
	if (rc == 0)
		return;
	struct domd_failure *f = mem_alloc(sizeof(*f));

	err_wrap(&e, "hvdomd %s", verb);
	*f = (struct domd_failure){ .p = p, .err = e, .fn = fn };
	loop_post(p->loop, domd_failed, f);
}

/* ---- control socket ---- */

static int verb_status(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct proc *p = arg;

	(void)c;
	(void)in;
	(void)e;
	*out = json_pack("{s:s, s:s, s:s, s:s, s:b, s:o}", "session", p->session.session,
			 "role", p->role->role == MIG_ROLE_SEND ? "send" : "receive", "vm", p->session.vm,
			 "state", session_state_name(&p->session), "in_doubt", session_in_doubt(&p->session),
			 "progress", report_progress(&p->report, &p->session.policy));
	return 0;
}

int proc_cancel(struct proc *p, struct err *e)
{
	if (!session_can_cancel(&p->session)) {
		err_set(e, ERR_STATE, "the move is in state %s: too late to cancel", session_state_name(&p->session));
		return err_remedy(e, "wait for it to end; the guest is then at the target, and can be moved back");
	}
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_CANCEL });
	return 0;
}

static int verb_cancel(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)c;
	(void)in;
	(void)out;
	return proc_cancel(arg, e);
}

static int need_doubt(const struct proc *p, struct err *e)
{
	if (session_in_doubt(&p->session))
		return 0;
	return err_set(e, ERR_STATE, "the move is in state %s, not in doubt", session_state_name(&p->session));
}

static int verb_ask(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct proc *p = arg;

	(void)c;
	(void)in;
	(void)out;
	if (need_doubt(p, e) < 0)
		return -1;
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_ASK_NOW });
	return 0;
}

static int verb_claim(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct proc *p = arg;
	const char *outcome;

	(void)c;
	(void)out;
	if (js_text(in, "outcome", &outcome, e) < 0 || need_doubt(p, e) < 0)
		return -1;
	if (strcmp(outcome, "taken") && strcmp(outcome, "refused"))
		return err_set(e, ERR_USAGE, "outcome '%s' is neither taken nor refused", outcome);
	proc_event(p, &(struct mig_event){
		.kind = MIG_EV_CLAIM,
		.outcome = strcmp(outcome, "taken") ? MIG_OUTCOME_REFUSED : MIG_OUTCOME_TAKEN,
	});
	return 0;
}

static const struct ctl_verb verbs[] = {
	{ MIGRATE_STATUS, verb_status, "state and progress" },
	{ MIGRATE_CANCEL, verb_cancel, "end the move; the guest stays at the source" },
	{ MIGRATE_ASK, verb_ask, "in doubt: ask the peer now" },
	{ MIGRATE_CLAIM, verb_claim, "in doubt: what the operator saw at the target" },
	{ NULL, NULL, NULL },
};

/* ---- life ---- */

static void copy_text(char *out, const char *in)
{
	snprintf(out, PROC_PATH_BYTES, "%s", in ? in : "");
}

int proc_init(struct proc *p, struct loop *loop, const struct proc_role *role, void *own,
	      const struct proc_setup *set, const struct session_params *params, struct err *e)
{
	char path[PROC_PATH_BYTES + 64];

	*p = (struct proc){ .loop = loop, .role = role, .own = own };
	copy_text(p->run_dir, set->run_dir);
	copy_text(p->data_dir, set->data_dir);
	copy_text(p->domd_path, set->domd_path);
	copy_text(p->peer, set->peer);
	copy_text(p->address, set->address);
	snprintf(p->name, sizeof(p->name), "%s", set->session);
	report_init(&p->report, clock_mono_ms());
	session_init(&p->session, role->role, params);
	p->timers[MIG_TIMER_STATE] = loop_timer_new(loop, on_timer_state, p);
	p->timers[MIG_TIMER_PING] = loop_timer_new(loop, on_timer_ping, p);
	p->timers[MIG_TIMER_DEAD] = loop_timer_new(loop, on_timer_dead, p);
	p->linger = loop_timer_new(loop, leave, p);
	snprintf(path, sizeof(path), MIGRATE_SOCKET_FMT, p->run_dir, p->name);
	if (ctl_server_new(loop, path, 0660, PROC_API_UID, verbs, p, &p->ctl, e) < 0)
		return -1;
	return set->link_fd >= 0 ? attach_link(p, set->link_fd, 0, e) : 0;
}

void proc_start(struct proc *p, const struct mig_event *start)
{
	proc_event(p, start);
	if (p->link)
		proc_event(p, &(struct mig_event){ .kind = MIG_EV_LINK_UP, .link = 0 });
}

void proc_fini(struct proc *p)
{
	char path[PROC_PATH_BYTES + 64];

	if (p->role && p->role->fini)
		p->role->fini(p);
	mig_link_free(p->link);
	ctl_client_free(p->domd);
	if (p->ctl) {
		snprintf(path, sizeof(path), MIGRATE_SOCKET_FMT, p->run_dir, p->name);
		unlink(path);
		ctl_server_free(p->ctl);
	}
	for (int i = 0; i < MIG_TIMER_N; i++)
		loop_timer_free(&p->timers[i]);
	loop_timer_free(&p->linger);
	report_fini(&p->report);
}

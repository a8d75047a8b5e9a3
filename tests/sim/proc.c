/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvmigrate without its I/O: carries out the actions of a session in the
 * simulated world and turns what happens there into its events.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char vm_uuid[] = "01234567-89ab-cdef-0123-456789abcdef";

void session_text(uint32_t session, char out[MIG_SESSION_BYTES_MAX + 1])
{
	snprintf(out, MIG_SESSION_BYTES_MAX + 1, "S-%u", session);
}

uint32_t session_number(const char *text)
{
	return text[0] ? (uint32_t)strtoul(text + 2, NULL, 10) : 0;
}

bool proc_is(const struct sim *w, uint32_t p, uint64_t epoch)
{
	return p < w->n_procs && w->proc[p]->alive && w->proc[p]->epoch == epoch;
}

static uint32_t slot(struct sim *w)
{
	for (uint32_t p = 0; p < w->n_procs; p++) {
		if (!w->proc[p]->alive)
			return p;
	}
	if (w->n_procs == PROCS_MAX)
		return PROCS_MAX;
	if (!w->proc[w->n_procs])
		w->proc[w->n_procs] = mem_alloc(sizeof(struct proc));
	return w->n_procs++;
}

uint32_t proc_new(struct sim *w, uint32_t host, enum mig_role role, uint32_t session, bool resolve, bool check_only)
{
	uint32_t i = slot(w);
	char text[MIG_SESSION_BYTES_MAX + 1];
	struct session_params sp = {
		.vm = "web1",
		.uuid = vm_uuid,
		.resolve = resolve,
		.check_only = check_only,
		.policy = policy_defaults(),
		.codecs = BIT(CODEC_NONE) | BIT(CODEC_ZLIB),
		.streams_max = 1,
	};
	struct proc *p;

	if (i == PROCS_MAX)
		return i;
	if (role == MIG_ROLE_SEND) {
		session_text(session, text);
		sp.session = text;
		sp.policy.max_rounds = 2 + rnd(w, 4);
		sp.policy.on_stall = (enum policy_on_stall)rnd(w, POLICY_ON_STALL_N);
	}
	p = w->proc[i];
	memset(p, 0, offsetof(struct proc, s));
	p->alive = true;
	p->epoch = ++w->epochs;
	p->host = host;
	p->session = session;
	p->line = -1;
	p->check_only = check_only;
	session_init(&p->s, role, &sp);
	say(w, "host %u  p%u starts: %s S%u%s", host, i, role == MIG_ROLE_SEND ? "send" : "receive", session,
	    resolve ? " (resolve)" : check_only ? " (check)" : "");
	return i;
}

void proc_start(struct sim *w, uint32_t p, const struct record *r)
{
	uint64_t epoch = w->proc[p]->epoch;

	proc_event(w, p, (struct mig_event){ .kind = MIG_EV_START, .owner = r ? r->owner : MIG_OWNER_NONE,
					     .generation = r ? r->generation : 0 });
	if (proc_is(w, p, epoch) && w->proc[p]->line >= 0)
		proc_event(w, p, (struct mig_event){ .kind = MIG_EV_LINK_UP, .link = w->proc[p]->line_number });
}

void proc_die(struct sim *w, uint32_t i, bool power)
{
	struct proc *p = w->proc[i];

	if (!p->alive)
		return;
	p->alive = false;
	if (power) {
		line_vanish(w, p->line, p->line_end);
		return;
	}
	line_close(w, p->line, p->line_end);
	if (p->uses_domd)
		host_hangup(w, p->host, i, p->epoch);
}

/* ---- things that answer later ---- */

static void done_comes(struct sim *w, const struct event *ev)
{
	struct err e = { .code = (enum err_code)ev->c, .detail = "simulated" };
	struct mig_event out = { .kind = MIG_EV_DONE, .act = (enum mig_act_kind)ev->b, .err = ev->c ? &e : NULL };
	char text[MIG_SESSION_BYTES_MAX + 1] = "";
	struct proc *p;

	if (!proc_is(w, ev->a, ev->epoch))
		return;
	p = w->proc[ev->a];
	if (out.act == MIG_ACT_LOOK) {
		const struct record *r = &w->host[p->host].disk;

		if (r->session)
			session_text(r->session, text);
		out.owner = r->owner;
		out.generation = w->brk == BREAK_BLIND_VERDICT ? 0 : r->generation;
		out.owner_session = text;
	} else if (out.act == MIG_ACT_CHECK) {
		out.generation = p->offer_generation;
		out.check_only = p->offer_check_only;
		out.vm = "web1";
	}
	mark(w, 0x500u + (uint64_t)out.act * 2 + (ev->c != 0));
	proc_event(w, ev->a, out);
}

static void answer_later(struct sim *w, uint32_t i, enum mig_act_kind act, enum err_code code, uint32_t ms)
{
	at(w, ms, "done", done_comes, (struct event){ .a = i, .b = act, .c = code, .epoch = w->proc[i]->epoch });
}

static void timer_off(struct sim *w, const struct event *ev)
{
	if (!proc_is(w, ev->a, ev->epoch) || w->proc[ev->a]->timer_armed[ev->b] != ev->c)
		return;
	if (ev->b == MIG_TIMER_STATE)
		mark(w, 0x600);
	proc_event(w, ev->a, (struct mig_event){ .kind = MIG_EV_TIMER, .timer = (enum mig_timer)ev->b });
}

static void ask_domd(struct sim *w, uint32_t i, const struct mig_action *a)
{
	struct proc *p = w->proc[i];
	struct op o = { .kind = a->kind, .proc = i + 1, .proc_epoch = p->epoch, .session = p->session,
			.not_taken = a->not_taken, .cap = a->cap_percent };

	if (a->kind == MIG_ACT_START_RECEIVE)
		o.generation = p->offer_generation;
	p->uses_domd = true;
	if (a->kind == MIG_ACT_GIVE_COMMIT && w->brk == BREAK_COMMIT_EARLY)
		answer_later(w, i, a->kind, ERR_NONE, 0);
	if (a->kind == MIG_ACT_REFUSE && w->brk == BREAK_REFUSE_UNSAID) {
		answer_later(w, i, a->kind, ERR_NONE, 1);
		return;
	}
	host_ask(w, p->host, o);
}

/* The target's checks: its own, and hvapid's (name, generation, memory). */
static void check(struct sim *w, uint32_t i)
{
	struct proc *p = w->proc[i];
	const struct host *x = &w->host[p->host];
	enum mig_owner o = x->disk.owner;
	bool bad = !x->hvapid_up || !x->domd_up || chance(w, 6) || x->disk.generation > p->offer_generation ||
		   (o != MIG_OWNER_NONE && o != MIG_OWNER_AWAY && o != MIG_OWNER_REFUSED);

	answer_later(w, i, MIG_ACT_CHECK, bad ? ERR_REFUSED : ERR_NONE, 5 + rnd(w, 200));
}

/* ---- dial ---- */

static void dialled(struct sim *w, const struct event *ev)
{
	uint32_t i = ev->a, j;
	struct proc *p;
	uint64_t epoch = ev->epoch;

	if (!proc_is(w, i, ev->epoch))
		return;
	p = w->proc[i];
	if (w->cut || !w->host[1 - p->host].up || !w->host[1 - p->host].hvapid_up || w->n_lines == LINKS_MAX) {
		answer_later(w, i, MIG_ACT_DIAL, ERR_NET, 1);
		return;
	}
	j = proc_new(w, 1 - p->host, MIG_ROLE_RECV, 0, false, false);
	if (j == PROCS_MAX)
		return;
	line_close(w, p->line, p->line_end);
	p->line_number = ev->b;
	line_new(w, i, j);
	proc_start(w, j, NULL);
	if (proc_is(w, i, epoch))
		proc_event(w, i, (struct mig_event){ .kind = MIG_EV_LINK_UP, .link = ev->b });
}

/* ---- sending: the process fills in the bodies ---- */

static void send_msg(struct sim *w, uint32_t i, const struct mig_action *a)
{
	struct proc *p = w->proc[i];
	struct mig_msg m = a->msg;
	char body[64];

	if (a->link != p->line_number)
		return;
	if (m.type == MIG_OFFER)
		snprintf(body, sizeof(body), "%u %llu", p->check_only, (unsigned long long)p->s.generation);
	else
		snprintf(body, sizeof(body), "{}");
	m.body = (struct span){ (const uint8_t *)body, strlen(body) };
	if (m.type != MIG_OFFER && m.type != MIG_READY && m.type != MIG_TAKEN && m.type != MIG_REFUSE)
		m.body.len = 0;
	line_send(w, p->line, p->line_end, &m);
}

/* ---- actions ---- */

static void finished(struct sim *w, uint32_t i, const struct mig_action *a)
{
	say(w, "host %u  p%u ends: outcome %d %s", w->proc[i]->host, i, a->outcome, a->err ? a->err->detail : "");
	mark(w, 0x700u + (uint64_t)a->outcome);
	check_finish(w, i, a->outcome);
	proc_die(w, i, false);
}

static void act(struct sim *w, uint32_t i, const struct mig_action *a)
{
	struct proc *p = w->proc[i];

	switch (a->kind) {
	case MIG_ACT_SEND:
		send_msg(w, i, a);
		break;
	case MIG_ACT_CLOSE_LINK:
		if (a->link == p->line_number)
			line_close(w, p->line, p->line_end);
		break;
	case MIG_ACT_DIAL:	/* now and then so slow that nobody waits for it any more */
		at(w, 5 + rnd(w, chance(w, 95) ? 100 : 30000), "dialled", dialled,
		   (struct event){ .a = i, .b = a->link, .epoch = p->epoch });
		break;
	case MIG_ACT_START_STREAM:
		saver_start(w, i);
		break;
	case MIG_ACT_CONTINUE:
		saver_continue(w, i);
		break;
	case MIG_ACT_REQUEST_STOP:
		saver_suspend(w, i);
		break;
	case MIG_ACT_STOP_STREAM:
		saver_stop(w, i);
		answer_later(w, i, a->kind, ERR_NONE, 1 + rnd(w, 50));
		break;
	case MIG_ACT_CHECK:
		check(w, i);
		break;
	case MIG_ACT_END_STREAM:
		if (a->msg.seq != p->batches_got)
			violated(w, "%u batches came of %llu", p->batches_got, (unsigned long long)a->msg.seq);
		host_ask(w, p->host, (struct op){ .kind = MIG_ACT_END_STREAM, .proc = i + 1, .proc_epoch = p->epoch,
						  .session = p->session });
		break;
	case MIG_ACT_LOOK:
		answer_later(w, i, a->kind, chance(w, 3) ? ERR_IO : ERR_NONE, 1 + rnd(w, 20));
		break;
	case MIG_ACT_ANNOUNCE:
		answer_later(w, i, a->kind, ERR_NONE, 500 + rnd(w, 3000));
		break;
	case MIG_ACT_ARM_TIMER:
		p->timer_armed[a->timer] = ++w->orders & 0xffffffffu;
		at(w, a->ms, "timer", timer_off,
		   (struct event){ .a = i, .b = a->timer, .c = (uint32_t)p->timer_armed[a->timer], .epoch = p->epoch });
		break;
	case MIG_ACT_CANCEL_TIMER:
		p->timer_armed[a->timer] = 0;
		break;
	case MIG_ACT_REPORT:
		say(w, "host %u  p%u -> %s (%s)", p->host, i, a->state, a->why);
		mark(w, (uint64_t)a->state[0] * 256 + (uint64_t)a->state[1] + p->host);
		faults_report(w);
		break;
	case MIG_ACT_FINISH:
		finished(w, i, a);
		break;
	default:
		ask_domd(w, i, a);
	}
}

/* What the process itself reads out of a message before its session sees it. */
static bool look_inside(struct sim *w, uint32_t i, const struct mig_msg *m)
{
	struct proc *p = w->proc[i];

	if (m->type == MIG_DATA) {
		p->batches_got++;
		proc_event(w, i, (struct mig_event){ .kind = MIG_EV_STREAM_PROGRESS });
		return false;
	}
	if (m->type == MIG_HELLO || m->type == MIG_QUERY)
		p->session = session_number(m->session);
	if (m->type == MIG_OFFER) {
		char text[64];
		char *end;

		snprintf(text, sizeof(text), "%.*s", (int)m->body.len, (const char *)m->body.p);
		p->offer_check_only = text[0] == '1';
		p->offer_generation = strtoull(text + 2, &end, 10);
	}
	return true;
}

void proc_event(struct sim *w, uint32_t i, struct mig_event ev)
{
	struct proc *p = w->proc[i];
	uint64_t epoch = p->epoch;
	const struct mig_event impatient = { .kind = MIG_EV_CLAIM, .outcome = MIG_OUTCOME_REFUSED };
	const struct mig_action *a;

	if (!p->alive || (ev.kind == MIG_EV_MSG && !look_inside(w, i, ev.msg)))
		return;
	if (ev.kind == MIG_EV_DONE && ev.act == MIG_ACT_END_STREAM)
		return;	/* hvdomd refused the end of a stream it has forgotten: RECEIVE_FAILED says so */
	if (ev.kind == MIG_EV_RECEIVE_READY)
		session_event(&p->s, &(struct mig_event){ .kind = MIG_EV_STREAM_DONE }, w->now_ms);
	session_event(&p->s, &ev, w->now_ms);
	if (w->brk == BREAK_IMPATIENT && session_in_doubt(&p->s))
		session_event(&p->s, &impatient, w->now_ms);
	while (proc_is(w, i, epoch) && session_next(&p->s, &a))
		act(w, i, a);
}

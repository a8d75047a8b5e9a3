/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong, when, and what the people and hvapid do meanwhile: start
 * moves, cancel, resolve, switch hosts on again.
 *
 * Half of the faults strike a few milliseconds after the n-th change of state
 * of any session, because the dangerous moments are there; the others at any
 * time.  After CALM_MS nothing goes wrong any more.
 */
#include "tests/sim/sim.h"

#include <string.h>

enum { SCAN_MS = 3000 };

enum fault_kind {
	F_KILL_SENDER, F_KILL_RECEIVER, F_KILL_ANY, F_DOMD, F_HVAPID, F_POWER, F_CUT, F_RESET, F_CANCEL, F_ASK_TWICE,
	F_DEAF_GUEST, F_SLOW_DISK, F_SLOW_LINE, F_CLAIM, F_MOVE, F_N
};

/* ---- picking ---- */

static uint32_t pick(struct sim *w, int role)
{
	uint32_t found = PROCS_MAX, n = 0;

	for (uint32_t p = 0; p < w->n_procs; p++) {
		if (w->proc[p]->alive && (role < 0 || (int)w->proc[p]->s.role == role) && rnd(w, ++n) == 0)
			found = p;
	}
	return found;
}

/* ---- the operator ---- */

static uint32_t spawn_send(struct sim *w, uint32_t h, uint32_t session, bool resolve, bool check_only)
{
	uint32_t p = proc_new(w, h, MIG_ROLE_SEND, session, resolve, check_only);

	if (p != PROCS_MAX)
		proc_start(w, p, &w->host[h].disk);
	return p;
}

/* POST …/migrate: hvapid has a line made, and starts a process at each end. */
static void move(struct sim *w, uint32_t h)
{
	struct host *x = &w->host[h], *y = &w->host[1 - h];
	bool check_only = chance(w, 5);
	uint32_t p, q;

	if (!x->up || !x->hvapid_up || !y->up || !y->hvapid_up || w->cut || w->n_lines == LINKS_MAX)
		return;
	p = proc_new(w, h, MIG_ROLE_SEND, ++w->sessions, false, check_only);
	q = p == PROCS_MAX ? p : proc_new(w, 1 - h, MIG_ROLE_RECV, 0, false, false);
	if (q == PROCS_MAX)
		return;
	line_new(w, p, q);
	proc_start(w, q, NULL);
	proc_start(w, p, NULL);
}

static bool sender_lives(const struct sim *w, uint32_t h, uint32_t session)
{
	for (uint32_t p = 0; p < w->n_procs; p++) {
		const struct proc *x = w->proc[p];

		if (x->alive && x->host == h && x->session == session && x->s.role == MIG_ROLE_SEND)
			return true;
	}
	return false;
}

/* hvapid, every few seconds: who is in doubt without a process that asks gets one. */
static void scan(struct sim *w, const struct event *ev)
{
	for (uint32_t h = 0; h < HOSTS; h++) {
		struct host *x = &w->host[h];

		if (!x->up || !x->hvapid_up)
			continue;
		if (x->disk.owner == MIG_OWNER_IN_DOUBT && !sender_lives(w, h, x->disk.session))
			spawn_send(w, h, x->disk.session, true, false);
		if (x->disk.owner == MIG_OWNER_HERE && x->domd_up && x->dom == DOM_NONE && x->lost && chance(w, 20)) {
			x->dom = DOM_RUNNING;	/* the operator starts the guest again */
			x->lost = false;
		}
		if (x->disk.owner == MIG_OWNER_HERE && x->dom == DOM_RUNNING && w->moves_left && !w->calm &&
		    !sender_lives(w, h, x->disk.session) && chance(w, 50)) {
			w->moves_left--;
			move(w, h);
		}
	}
	faults_check_calm(w);
	if (w->now_ms < CALM_MS + SETTLE_MS)
		at(w, SCAN_MS, "scan", scan, (struct event){ .a = ev->a });
}

/* The operator has seen that the target is switched off, and what its record says: that cannot change by itself. */
static void claim(struct sim *w)
{
	uint32_t p = pick(w, MIG_ROLE_SEND);
	const struct host *y;
	struct mig_msg query = { 0 };
	char owner[MIG_SESSION_BYTES_MAX + 1] = "";
	enum mig_outcome o;
	bool undecided;

	if (p == PROCS_MAX || !session_in_doubt(&w->proc[p]->s))
		return;
	y = &w->host[1 - w->proc[p]->host];
	if (y->up)
		return;
	query.generation = w->proc[p]->s.generation;
	session_text(w->proc[p]->session, query.session);
	if (y->disk.session)
		session_text(y->disk.session, owner);
	o = session_verdict(y->disk.owner, owner, y->disk.generation, &query, &undecided);
	proc_event(w, p, (struct mig_event){ .kind = MIG_EV_CLAIM, .outcome = undecided ? MIG_OUTCOME_REFUSED : o });
}

/* ---- ends of faults ---- */

static void end_hvapid(struct sim *w, const struct event *ev)
{
	w->host[ev->a].hvapid_up = w->host[ev->a].up;
}

static void end_power(struct sim *w, const struct event *ev)
{
	power_on(w, ev->a);
}

static void end_cut(struct sim *w, const struct event *ev)
{
	(void)ev;
	net_heal(w);
}

static void end_slow(struct sim *w, const struct event *ev)
{
	w->host[ev->a].slow_ms = 0;
	w->latency_ms = 5;
}

/* ---- the faults ---- */

static uint32_t span(struct sim *w)
{
	return chance(w, 50) ? 10 + rnd(w, 1000) : 1000 + rnd(w, 25000);
}

static void kill_one(struct sim *w, int role)
{
	uint32_t p = pick(w, role);

	if (p == PROCS_MAX)
		return;
	say(w, "host %u  p%u is killed", w->proc[p]->host, p);
	proc_die(w, p, false);
}

static void ask_twice(struct sim *w)
{
	uint32_t p = pick(w, MIG_ROLE_SEND);

	if (p != PROCS_MAX && w->host[w->proc[p]->host].disk.session == w->proc[p]->session)
		spawn_send(w, w->proc[p]->host, w->proc[p]->session, true, false);
}

static void strike_host(struct sim *w, unsigned kind, uint32_t h, struct event hit)
{
	switch (kind) {
	case F_DOMD:
		domd_crash(w, h, chance(w, 90) ? span(w) : 45000);
		break;
	case F_HVAPID:
		w->host[h].hvapid_up = false;
		at(w, span(w), "hvapid-up", end_hvapid, hit);
		break;
	case F_POWER:
		power_off(w, h);
		at(w, span(w), "power-on", end_power, hit);
		break;
	case F_DEAF_GUEST:
		w->host[h].deaf = true;
		break;
	case F_SLOW_DISK:
		w->host[h].slow_ms = 500 + rnd(w, 30000);
		at(w, span(w), "slow-end", end_slow, hit);
		break;
	case F_MOVE:
		move(w, h);
		break;
	default:
		break;
	}
}

static void strike(struct sim *w, const struct event *ev)
{
	uint32_t h = rnd(w, HOSTS), p;

	if (w->calm)
		return;
	mark(w, 0x900u + ev->a * 2 + h);
	switch ((enum fault_kind)ev->a) {
	case F_KILL_SENDER:
		kill_one(w, MIG_ROLE_SEND);
		break;
	case F_KILL_RECEIVER:
		kill_one(w, MIG_ROLE_RECV);
		break;
	case F_KILL_ANY:
		kill_one(w, -1);
		break;
	case F_CUT:
		net_cut(w);
		at(w, span(w), "heal", end_cut, (struct event){ .a = 0 });
		break;
	case F_RESET:
		if (w->n_lines)
			line_reset(w, (int)(w->n_lines - 1));
		break;
	case F_CANCEL:
		p = pick(w, -1);
		if (p != PROCS_MAX)
			proc_event(w, p, (struct mig_event){ .kind = MIG_EV_CANCEL });
		break;
	case F_ASK_TWICE:
		ask_twice(w);
		break;
	case F_SLOW_LINE:
		w->latency_ms = 100 + rnd(w, 12000);
		at(w, span(w), "slow-end", end_slow, (struct event){ .a = h });
		break;
	case F_CLAIM:
		claim(w);
		break;
	default:
		strike_host(w, ev->a, h, (struct event){ .a = h });
	}
}

void faults_report(struct sim *w)
{
	w->reports++;
	for (unsigned i = 0; i < w->n_faults; i++) {
		struct fault *f = &w->fault[i];

		if (f->at_report && f->at_report == w->reports)
			at(w, f->ms, "fault", strike, (struct event){ .a = f->kind });
	}
}

/* From CALM_MS on everything works; the world is given time to come to rest. */
void faults_check_calm(struct sim *w)
{
	if (w->calm || w->now_ms < CALM_MS)
		return;
	say(w, "calm");
	w->calm = true;
	w->calm_ms = w->now_ms;
	w->latency_ms = 5;
	net_heal(w);
	for (uint32_t h = 0; h < HOSTS; h++) {
		power_on(w, h);
		domd_start(w, h);
		w->host[h].hvapid_up = true;
		w->host[h].slow_ms = 0;
		w->host[h].deaf = false;
	}
}

void faults_plan(struct sim *w)
{
	uint32_t n = rnd(w, FAULTS_MAX + 1);

	for (uint32_t i = 0; i < n; i++) {
		struct fault *f = &w->fault[w->n_faults++];

		*f = (struct fault){ .kind = rnd(w, F_N) };
		if (chance(w, 60)) {
			f->at_report = 1 + rnd(w, i ? 60 : 30);
			f->ms = rnd(w, chance(w, 70) ? 60 : 2000);
		} else {
			at(w, rnd(w, CALM_MS / 2), "fault", strike, (struct event){ .a = f->kind });
		}
	}
	w->moves_left--;
	move(w, 0);
	at(w, SCAN_MS, "scan", scan, (struct event){ .a = 0 });
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One host as far as a move sees it: hvdomd with its verbs (docs/interfaces.md),
 * the record it keeps, the domain, and the power switch.
 *
 * hvdomd does one request at a time, in steps: look at the record and decide;
 * write the record and wait until it is on disk; then act on the domain; then
 * answer.  A crash or a power cut can fall between any two of them, and what
 * was being written is then on disk or not, by chance.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <string.h>

static void domd_step(struct sim *w, const struct event *ev);

static void schedule(struct sim *w, uint32_t h)
{
	struct host *x = &w->host[h];

	at(w, 1 + rnd(w, 20) + x->slow_ms, "domd", domd_step, (struct event){ .a = h, .epoch = x->domd_epoch });
}

/* ---- answers: lost with the process that asked ---- */

static void answer_comes(struct sim *w, const struct event *ev)
{
	struct err e = { .code = (enum err_code)ev->c, .detail = "hvdomd" };
	struct mig_event out = { .kind = MIG_EV_DONE, .act = (enum mig_act_kind)ev->b, .err = ev->c ? &e : NULL };

	if (!proc_is(w, ev->a, ev->epoch))
		return;
	if (out.act == MIG_ACT_START_RECEIVE && !ev->c)
		out.kind = MIG_EV_RECEIVE_READY;
	else if (out.act == MIG_ACT_START_RECEIVE)
		out.kind = MIG_EV_RECEIVE_FAILED;
	else if (out.act == MIG_ACT_GIVE_BEGIN) {
		out.vm = "web1";
		out.uuid = "01234567-89ab-cdef-0123-456789abcdef";
		out.generation = w->host[w->proc[ev->a]->host].mem.generation;
	}
	mark(w, 0x200u + (uint64_t)out.act * 4 + (ev->c != 0));
	proc_event(w, ev->a, out);
}

static void reply(struct sim *w, const struct op *o, enum err_code code)
{
	if (o->proc)
		at(w, 1 + rnd(w, 5), "answer", answer_comes,
		   (struct event){ .a = o->proc - 1, .b = o->kind, .c = code, .epoch = o->proc_epoch });
}

/* The head of the queue is over. */
static void finish(struct sim *w, uint32_t h, enum err_code code)
{
	struct host *x = &w->host[h];

	reply(w, &x->ops[0], code);
	memmove(x->ops, x->ops + 1, --x->n_ops * sizeof(x->ops[0]));
	if (x->n_ops)
		schedule(w, h);
}

/* ---- the record ---- */

static void write_record(struct sim *w, uint32_t h, enum mig_owner owner, uint32_t session, uint64_t generation)
{
	struct host *x = &w->host[h];

	x->writing = (struct record){ owner, session, generation };
	x->is_writing = true;
	x->ops[0].step = 1;
	schedule(w, h);
}

static void written(struct sim *w, struct host *x)
{
	if (!x->is_writing)
		return;
	x->is_writing = false;
	x->mem = x->disk = x->writing;
	if (w->brk != BREAK_NO_SYNC || chance(w, 70))
		x->synced = x->disk;
}

static void torn(struct sim *w, struct host *x)
{
	if (x->is_writing && chance(w, 50))
		written(w, x);
	x->is_writing = false;
}

/* ---- the domain ---- */

static void resume(struct sim *w, uint32_t h)
{
	struct host *x = &w->host[h];

	if (x->dom == DOM_SUSPENDED) {
		x->dom = DOM_RUNNING;
		say(w, "host %u  guest resumed", h);
	}
	if (w->brk != BREAK_KEEP_THROTTLE)
		x->cap = 0;
}

static void destroy(struct sim *w, uint32_t h)
{
	if (w->host[h].dom != DOM_NONE)
		say(w, "host %u  domain destroyed", h);
	w->host[h].dom = DOM_NONE;
	w->host[h].suspend_asked = false;
	w->host[h].cap = 0;
}

/* ---- verbs: source ---- */

static bool is_mover(const struct host *x, const struct op *o)
{
	return x->mover == o->proc && x->mover_epoch == o->proc_epoch;
}

static enum err_code give_begin(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];

	if (x->mem.owner != MIG_OWNER_HERE || x->dom != DOM_RUNNING)
		return ERR_STATE;
	x->mover = o->proc;
	x->mover_epoch = o->proc_epoch;
	write_record(w, h, MIG_OWNER_GIVING, o->session, x->mem.generation);
	return ERR_NONE;
}

static enum err_code give_commit(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];

	if (x->mem.owner != MIG_OWNER_GIVING || x->mem.session != o->session || !is_mover(x, o) ||
	    x->dom != DOM_SUSPENDED)
		return ERR_STATE;
	write_record(w, h, MIG_OWNER_IN_DOUBT, o->session, x->mem.generation);
	return ERR_NONE;
}

static enum err_code give_done(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];

	if (x->mem.session != o->session || (x->mem.owner != MIG_OWNER_IN_DOUBT && x->mem.owner != MIG_OWNER_AWAY))
		return ERR_STATE;
	write_record(w, h, MIG_OWNER_AWAY, o->session, x->mem.generation);
	return ERR_NONE;
}

static enum err_code give_abort(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];

	if (x->mem.session != o->session)
		return ERR_REFUSED;
	if (x->mem.owner == MIG_OWNER_IN_DOUBT && !o->not_taken)
		return ERR_IN_DOUBT;
	if (x->mem.owner != MIG_OWNER_IN_DOUBT && x->mem.owner != MIG_OWNER_GIVING && x->mem.owner != MIG_OWNER_HERE)
		return ERR_STATE;
	write_record(w, h, MIG_OWNER_HERE, o->session, x->mem.generation);
	return ERR_NONE;
}

static enum err_code throttle(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];

	if (x->mem.owner != MIG_OWNER_GIVING || x->mem.session != o->session || !is_mover(x, o))
		return ERR_STATE;
	x->cap = o->cap;
	finish(w, h, ERR_NONE);
	return ERR_NONE;
}

/* ---- verbs: target ---- */

static enum err_code receive(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];
	enum mig_owner was = x->mem.owner;
	bool vacant = was == MIG_OWNER_NONE || was == MIG_OWNER_AWAY || was == MIG_OWNER_REFUSED;

	if (!vacant || x->dom != DOM_NONE || x->mem.session == o->session || o->generation < x->mem.generation)
		return ERR_STATE;
	x->mover = o->proc;
	x->mover_epoch = o->proc_epoch;
	write_record(w, h, MIG_OWNER_RECEIVING, o->session, o->generation);
	return ERR_NONE;
}

/* The stream's last byte reached hvdomd (the simulator's own verb: it is the end of the stream's descriptor). */
static enum err_code receive_end(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];

	if (x->mem.owner != MIG_OWNER_RECEIVING || x->mem.session != o->session || x->dom != DOM_BUILDING)
		return ERR_STATE;
	x->dom = DOM_PAUSED;
	o->kind = MIG_ACT_START_RECEIVE;
	finish(w, h, ERR_NONE);
	return ERR_NONE;
}

static enum err_code take(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];
	bool may = x->mem.owner == MIG_OWNER_RECEIVING && x->dom == DOM_PAUSED;

	if (w->brk == BREAK_TAKE_AFTER_REFUSE && x->mem.owner == MIG_OWNER_REFUSED)
		may = true;
	if (!may || x->mem.session != o->session)
		return ERR_REFUSED;
	write_record(w, h, MIG_OWNER_HERE, o->session,
		     x->mem.generation + (w->brk != BREAK_SAME_GENERATION));
	return ERR_NONE;
}

static enum err_code refuse(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];

	if (x->mem.session != o->session && w->brk != BREAK_BLIND_REFUSE)
		return ERR_REFUSED;
	if (x->mem.owner == MIG_OWNER_RECEIVING && x->mem.session == o->session)
		write_record(w, h, MIG_OWNER_REFUSED, o->session, x->mem.generation);
	else if (x->mem.owner == MIG_OWNER_REFUSED || w->brk == BREAK_BLIND_REFUSE)
		finish(w, h, ERR_NONE);
	else
		return ERR_STATE;
	return ERR_NONE;
}

/* ---- a mover that dies ---- */

static void hung_up(struct sim *w, uint32_t h, struct op *o)
{
	struct host *x = &w->host[h];

	if (!is_mover(x, o)) {
		finish(w, h, ERR_NONE);
		return;
	}
	x->mover = 0;
	if (x->mem.owner == MIG_OWNER_GIVING && w->brk != BREAK_NO_HANGUP) {
		write_record(w, h, MIG_OWNER_HERE, x->mem.session, x->mem.generation);
	} else if (x->mem.owner == MIG_OWNER_RECEIVING && w->brk != BREAK_NO_RECEIVE_HANGUP) {
		write_record(w, h, MIG_OWNER_REFUSED, x->mem.session, x->mem.generation);
	} else {
		if (x->mem.owner == MIG_OWNER_IN_DOUBT && w->brk == BREAK_DOUBT_RESUMES)
			resume(w, h);
		finish(w, h, ERR_NONE);
	}
}

/* ---- steps ---- */

static void decide(struct sim *w, uint32_t h, struct op *o)
{
	static enum err_code (*const verbs[MIG_ACT_N])(struct sim *, uint32_t, struct op *) = {
		[MIG_ACT_GIVE_BEGIN] = give_begin,
		[MIG_ACT_THROTTLE] = throttle,
		[MIG_ACT_GIVE_COMMIT] = give_commit,
		[MIG_ACT_GIVE_DONE] = give_done,
		[MIG_ACT_GIVE_ABORT] = give_abort,
		[MIG_ACT_START_RECEIVE] = receive,
		[MIG_ACT_END_STREAM] = receive_end,
		[MIG_ACT_TAKE] = take,
		[MIG_ACT_REFUSE] = refuse,
	};
	enum err_code code;

	if (o->kind == MIG_ACT_NONE) {
		hung_up(w, h, o);
		return;
	}
	code = verbs[o->kind](w, h, o);
	say(w, "host %u  %s(S%u) %s", h, mig_act_name(o->kind), o->session, code ? err_name(code) : "goes on");
	if (code)
		finish(w, h, code);
}

/* The record is on disk: act on the domain as it says. */
static void act(struct sim *w, uint32_t h)
{
	struct host *x = &w->host[h];
	bool receive = x->ops[0].kind == MIG_ACT_START_RECEIVE;

	written(w, x);
	say(w, "host %u  record: owner %d S%u generation %llu", h, x->mem.owner, x->mem.session,
	    (unsigned long long)x->mem.generation);
	switch (x->mem.owner) {
	case MIG_OWNER_HERE:
		if (x->ops[0].kind == MIG_ACT_TAKE) {
			x->dom = DOM_RUNNING;
			x->lost = false;
			x->mover = 0;
		}
		if (x->ops[0].kind == MIG_ACT_GIVE_ABORT)
			x->mover = 0;
		resume(w, h);
		break;
	case MIG_OWNER_AWAY:
	case MIG_OWNER_REFUSED:
		destroy(w, h);
		break;
	case MIG_OWNER_RECEIVING:
		x->dom = DOM_BUILDING;
		x->lost = false;
		break;
	default:
		break;
	}
	if (receive) {	/* answered when the stream is complete */
		x->ops[0].proc = 0;
	}
	finish(w, h, ERR_NONE);
}

static void domd_step(struct sim *w, const struct event *ev)
{
	struct host *x = &w->host[ev->a];

	if (!x->up || !x->domd_up || x->domd_epoch != ev->epoch || !x->n_ops)
		return;
	mark(w, 0x300u + (uint64_t)x->ops[0].kind * 8 + x->ops[0].step * 4 + ev->a);
	if (x->ops[0].step == 0)
		decide(w, ev->a, &x->ops[0]);
	else
		act(w, ev->a);
}

void host_ask(struct sim *w, uint32_t h, struct op op)
{
	struct host *x = &w->host[h];

	op.step = 0;
	if (!x->up || !x->domd_up || x->n_ops == OPS_MAX) {
		reply(w, &op, ERR_NET);
		return;
	}
	x->ops[x->n_ops++] = op;
	if (x->n_ops == 1)
		schedule(w, h);
}

/*
 * The hang-up comes on a descriptor of its own, so it may overtake what was asked before and not begun; but not
 * the request that brings that descriptor.
 */
static bool overtakes(const struct host *x)
{
	for (unsigned i = 0; i < x->n_ops; i++) {
		if (x->ops[i].kind == MIG_ACT_GIVE_BEGIN || x->ops[i].kind == MIG_ACT_START_RECEIVE)
			return false;
	}
	return x->n_ops > 2;
}

void host_hangup(struct sim *w, uint32_t h, uint32_t proc, uint64_t epoch)
{
	struct host *x = &w->host[h];

	host_ask(w, h, (struct op){ .kind = MIG_ACT_NONE, .proc = proc + 1, .proc_epoch = epoch });
	if (overtakes(x) && chance(w, 40)) {
		struct op last = x->ops[x->n_ops - 1];

		memmove(x->ops + 2, x->ops + 1, (x->n_ops - 2) * sizeof(x->ops[0]));
		x->ops[1] = last;
	}
}

/* ---- suspend: between the guest and the saver, watched by hvdomd ---- */

static void stands_still(struct sim *w, const struct event *ev)
{
	struct host *x = &w->host[ev->a];
	bool unwanted;

	if (!x->up || x->boot != ev->epoch || x->dom != DOM_RUNNING || !x->suspend_asked)
		return;
	x->suspend_asked = false;
	x->dom = DOM_SUSPENDED;
	mark(w, 0x400);
	say(w, "host %u  guest suspended", ev->a);
	unwanted = x->mem.owner == MIG_OWNER_HERE || (x->mem.owner == MIG_OWNER_GIVING && !x->mover);
	if (unwanted && x->domd_up && w->brk != BREAK_LATE_SUSPEND)
		resume(w, ev->a);
	saver_suspended(w, ev->a);
}

void host_suspend(struct sim *w, uint32_t h)
{
	struct host *x = &w->host[h];

	if (x->dom == DOM_SUSPENDED) {
		saver_suspended(w, h);
		return;
	}
	x->suspend_asked = true;
	if (x->deaf) {
		x->deaf = false;
		return;
	}
	at(w, 5 + rnd(w, 300), "suspend", stands_still, (struct event){ .a = h, .epoch = x->boot });
}

/* ---- crash and power ---- */

/* What hvdomd does when it finds its record and, perhaps, its domain: no mover is attached to it any more. */
void domd_start(struct sim *w, uint32_t h)
{
	struct host *x = &w->host[h];
	struct record r = x->disk;

	if (!x->up || x->domd_up)
		return;
	x->domd_up = true;
	x->domd_epoch = ++w->epochs;
	x->mover = 0;
	x->n_ops = 0;
	if (r.owner == MIG_OWNER_IN_DOUBT && x->dom == DOM_NONE && w->brk == BREAK_BOOT_DOUBT_HERE)
		r.owner = MIG_OWNER_HERE;
	if (r.owner == MIG_OWNER_GIVING)
		r.owner = MIG_OWNER_HERE;
	if (r.owner == MIG_OWNER_RECEIVING)
		r.owner = MIG_OWNER_REFUSED;
	x->disk = x->mem = x->synced = r;
	say(w, "host %u  hvdomd starts: owner %d generation %llu", h, r.owner, (unsigned long long)r.generation);
	if (r.owner == MIG_OWNER_HERE) {
		if (x->dom == DOM_PAUSED)	/* take was durable, the unpause did not come to pass */
			x->dom = DOM_RUNNING;
		resume(w, h);
	} else if (r.owner == MIG_OWNER_IN_DOUBT) {
		if (w->brk == BREAK_DOUBT_RESUMES)
			resume(w, h);
	} else {
		destroy(w, h);
	}
}

static void domd_again(struct sim *w, const struct event *ev)
{
	if (w->host[ev->a].boot == ev->epoch)
		domd_start(w, ev->a);
}

void domd_crash(struct sim *w, uint32_t h, uint32_t down_ms)
{
	struct host *x = &w->host[h];

	if (!x->up || !x->domd_up)
		return;
	say(w, "host %u  hvdomd crashes", h);
	torn(w, x);
	x->domd_up = false;
	for (unsigned i = 0; i < x->n_ops; i++)
		reply(w, &x->ops[i], ERR_IO);
	x->n_ops = 0;
	if (x->mover && (x->dom == DOM_BUILDING || x->dom == DOM_PAUSED)) {	/* `receive` ends with it */
		struct op o = { .kind = MIG_ACT_START_RECEIVE, .proc = x->mover, .proc_epoch = x->mover_epoch };

		reply(w, &o, ERR_IO);
	}
	at(w, down_ms, "domd-start", domd_again, (struct event){ .a = h, .epoch = x->boot });
}

void power_off(struct sim *w, uint32_t h)
{
	struct host *x = &w->host[h];

	if (!x->up)
		return;
	say(w, "host %u  power off", h);
	torn(w, x);
	x->disk = x->synced;
	for (uint32_t p = 0; p < w->n_procs; p++) {
		if (w->proc[p]->alive && w->proc[p]->host == h)
			proc_die(w, p, true);
	}
	x->up = x->domd_up = false;
	x->n_ops = 0;
	x->dom = DOM_NONE;
	x->cap = 0;
	x->suspend_asked = x->deaf = false;
	if (x->disk.owner == MIG_OWNER_HERE || x->disk.owner == MIG_OWNER_GIVING || x->disk.owner == MIG_OWNER_IN_DOUBT)
		x->lost = true;
}

void power_on(struct sim *w, uint32_t h)
{
	struct host *x = &w->host[h];

	if (x->up)
		return;
	say(w, "host %u  power on", h);
	x->up = x->hvapid_up = true;
	x->boot = ++w->epochs;
	x->slow_ms = 0;
	domd_start(w, h);
}

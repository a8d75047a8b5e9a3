/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invariants of DESIGN.md that a move can break: 1, at most one running
 * copy, whatever happens; 3, a failed move leaves the guest running at the
 * source and nothing at the target.  And that every run ends.
 */
#include "tests/sim/sim.h"

static bool may_run(const struct record *r)
{
	return r->owner == MIG_OWNER_HERE || r->owner == MIG_OWNER_GIVING;
}

void check_now(struct sim *w)
{
	const struct host *a = &w->host[0], *b = &w->host[1];

	if (a->dom == DOM_RUNNING && b->dom == DOM_RUNNING)
		violated(w, "invariant 1: the guest runs on both hosts");
	if (may_run(&a->disk) && may_run(&b->disk))
		violated(w, "invariant 1: both hosts' records say that the guest may run there");
	for (unsigned h = 0; h < HOSTS; h++) {
		const struct host *x = &w->host[h], *y = &w->host[1 - h];

		if (x->dom == DOM_RUNNING && x->domd_up && !may_run(&x->disk))
			violated(w, "invariant 1: the guest runs on host %u, whose record says owner %d", h,
				 x->disk.owner);
		if (may_run(&x->disk) && x->disk.generation < y->disk.generation)
			violated(w, "invariant 1: host %u may run generation %llu, the other host has %llu", h,
				 (unsigned long long)x->disk.generation, (unsigned long long)y->disk.generation);
		if (may_run(&x->disk) && x->disk.generation == y->disk.generation && y->disk.owner == MIG_OWNER_AWAY)
			violated(w, "invariant 1: host %u has the generation that the other host gave away", h);
	}
}

/* What a session says of its end must be so. */
void check_finish(struct sim *w, uint32_t p, enum mig_done outcome)
{
	const struct proc *x = w->proc[p];
	const struct host *here = &w->host[x->host], *there = &w->host[1 - x->host];
	uint64_t g = x->s.generation;

	if (x->s.role != MIG_ROLE_SEND)
		return;
	if (outcome == MIG_DONE_MOVED) {
		w->moved++;
		if (there->disk.generation <= g)
			violated(w, "S%u: moved, but the target's record has generation %llu", x->session,
				 (unsigned long long)there->disk.generation);
	}
	if (outcome != MIG_DONE_ABORTED && outcome != MIG_DONE_CHECKED)
		return;
	w->aborted++;
	if (there->disk.generation > here->disk.generation)	/* a later session may have moved it meanwhile */
		return;
	if (here->domd_up && here->disk.owner == MIG_OWNER_HERE && here->disk.session == x->session &&
	    here->dom != DOM_RUNNING && !here->lost)
		violated(w, "invariant 3: S%u was aborted and the guest does not run at the source", x->session);
}

void check_end(struct sim *w)
{
	unsigned owners = 0, owner = 0;

	for (unsigned h = 0; h < HOSTS; h++) {
		const struct host *x = &w->host[h];

		if (x->disk.owner == MIG_OWNER_HERE) {
			owners++;
			owner = h;
		} else if (x->disk.owner == MIG_OWNER_GIVING || x->disk.owner == MIG_OWNER_IN_DOUBT ||
			   x->disk.owner == MIG_OWNER_RECEIVING) {
			violated(w, "liveness: host %u ends undecided, owner %d", h, x->disk.owner);
		}
		if (x->disk.owner != MIG_OWNER_HERE && x->dom != DOM_NONE)
			violated(w, "invariant 3: host %u keeps a domain in state %d that is not its own", h, x->dom);
	}
	if (owners != 1) {
		violated(w, "liveness: %u hosts own the guest at the end", owners);
		return;
	}
	if (w->host[owner].dom != DOM_RUNNING && !w->host[owner].lost)
		violated(w, "invariant 3: the guest was lost (state %d on host %u)", w->host[owner].dom, owner);
	if (w->host[owner].cap)
		violated(w, "invariant 3: the guest stays throttled to %u %%", w->host[owner].cap);
	for (uint32_t p = 0; p < w->n_procs; p++) {
		if (w->proc[p]->alive)
			violated(w, "liveness: p%u (S%u) never ends, state %s", p, w->proc[p]->session,
				 session_state_name(&w->proc[p]->s));
	}
}

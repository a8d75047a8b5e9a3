/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hvdomd does by itself: with what an earlier hvdomd left, and when the
 * guest ends or stands still.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "domd/domd.h"

/* ---- start ---- */

static int destroy_found(struct domd *d, struct err *e)
{
	d->work_domid = d->domid;
	if (domd_destroy_work(d, NULL, e) < 0)
		return -1;
	d->domid = DOMD_NO_DOMAIN;
	return 0;
}

/* A mover that an earlier hvdomd knew cannot be told from a dead one: the move is over, the guest is ours. */
static int settle_giving(struct domd *d, struct err *e)
{
	struct owner next = d->owner;

	memcpy(d->given_back, d->owner.session, sizeof(d->given_back));
	*next.session = *next.peer = '\0';
	if (owner_enter(&d->owner, OWNER_HERE, &next, "hvdomd started anew", e) < 0)
		return -1;
	give_restore_cap(d);
	return give_resume(d, e);
}

/* What was received died with the process that received it. */
static int settle_receiving(struct domd *d, struct err *e)
{
	struct owner next = d->owner;

	return owner_enter(&d->owner, OWNER_REFUSED, &next, "hvdomd started anew", e) < 0 ? -1 : destroy_found(d, e);
}

/* There may have been a crash while it was built, between a durable take and the unpause, or after a suspend. */
static int settle_here(struct domd *d, struct err *e)
{
	if (d->domid == DOMD_NO_DOMAIN)
		return 0;
	give_restore_cap(d);
	if (d->xen->look(d->xen->x, d->domid) != LIFE_PAUSED)
		return give_resume(d, e);
	if (d->note.building)
		return destroy_found(d, e);
	return d->note.paused ? 0 : d->xen->unpause(d->xen->x, d->domid, e);
}

int domd_settle_start(struct domd *d, struct err *e)
{
	switch (d->owner.word) {
	case OWNER_GIVING:
		return settle_giving(d, e);
	case OWNER_RECEIVING:
		return settle_receiving(d, e);
	case OWNER_HERE:
		return settle_here(d, e);
	case OWNER_AWAY:
	case OWNER_REFUSED:
		return destroy_found(d, e);
	case OWNER_NONE:
	case OWNER_IN_DOUBT:
	case OWNER_N:
	default:
		return 0;
	}
}

/* ---- the domain ended or stands still ---- */

static int restart_work(struct domd *d, void *arg, struct err *e)
{
	return domd_destroy_work(d, NULL, e) < 0 ? -1 : domd_build_work(d, arg, e);
}

/* arg: why, a literal. */
static void ended(struct domd *d, void *arg, const struct err *e)
{
	if (e)
		log_fail(e, "vm=%s: after the guest ended", d->vm);
	d->started_ms = d->domid != DOMD_NO_DOMAIN ? clock_mono_ms() : 0;
	domd_settle(d, e ? e->detail : arg);
	domd_leave_if_over(d);
	if (!e)		/* else the idle timer looks again */
		domd_look(d);
}

static const char *policy(const struct domd *d, const char *key, const char *otherwise)
{
	const char *v = json_string_value(json_object_get(d->config, key));
	return v ? v : otherwise;
}

static void act_on_end(struct domd *d, const char *action, char *why)
{
	struct err e = ERR_INIT;
	bool restart = !strcmp(action, "restart") && owner_may_run(&d->owner);
	int rc;

	if (!strcmp(action, "preserve") || d->owner.word == OWNER_IN_DOUBT) {
		domd_settle(d, why);
		return;
	}
	if (restart)
		rc = domd_work(d, "restart", restart_work, ended, why, &e);
	else
		rc = domd_work(d, "clean up", domd_destroy_work, ended, why, &e);
	if (rc < 0)
		log_fail(&e, "vm=%s: %s", d->vm, why);
	else if (restart)
		domd_enter(d, "building", why);
}

static void crashed(struct domd *d)
{
	static char why[] = "the guest crashed", soon[] = "the guest crashed as soon as it was started";
	const char *action = policy(d, "on_crash", "destroy");
	bool at_once = d->started_ms && clock_mono_ms() - d->started_ms < DOMD_CRASH_MS;

	if (at_once && !strcmp(action, "restart"))
		act_on_end(d, "destroy", soon);
	else
		act_on_end(d, action, why);
}

/* A suspend request may be obeyed after its move was given up: nobody waits for it then. */
static void stands_still(struct domd *d)
{
	struct err e = ERR_INIT;

	if (d->owner.word == OWNER_HERE && give_resume(d, &e) < 0)
		log_fail(&e, "vm=%s: resume", d->vm);
	domd_settle(d, "as Xen says");
}

void domd_look(struct domd *d)
{
	static char off[] = "the guest shut down", again[] = "the guest rebooted", left[] = "it is not ours";

	if (d->busy || d->receiving)
		return;
	if (d->owner.word == OWNER_RECEIVING && d->alive_fd < 0)	/* the disk did not take the refusal */
		receive_mover_gone(d);
	if (d->domid == DOMD_NO_DOMAIN || d->busy)
		return;
	if (d->owner.word == OWNER_AWAY || d->owner.word == OWNER_REFUSED) {
		act_on_end(d, "destroy", left);
		return;
	}
	if (d->owner.word == OWNER_GIVING && d->alive_fd < 0)	/* the disk did not take that either */
		give_mover_gone(d);
	switch (d->xen->look(d->xen->x, d->domid)) {
	case LIFE_POWEROFF:
		act_on_end(d, policy(d, "on_poweroff", "destroy"), off);
		break;
	case LIFE_REBOOT:
		act_on_end(d, policy(d, "on_reboot", "restart"), again);
		break;
	case LIFE_CRASHED:
		crashed(d);
		break;
	case LIFE_SUSPENDED:
		stands_still(d);
		break;
	case LIFE_GONE:
		domd_settle(d, "the domain is gone");
		domd_leave_if_over(d);
		break;
	case LIFE_RUNNING:
	case LIFE_PAUSED:
	default:
		domd_settle(d, "as Xen says");
	}
}

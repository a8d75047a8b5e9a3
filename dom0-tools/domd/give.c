/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving the VM to another host: the mover (hvmigrate send) reads its memory,
 * hvdomd decides what the record says.  Until give-commit the mover's death
 * gives the guest back; afterwards only a word does.
 */
#include <string.h>

#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "domd/domd.h"
#include "domd/domd_ctl.h"

enum { CAP_PERCENT_MAX = 10000 };

void give_restore_cap(struct domd *d)
{
	struct err e = ERR_INIT;

	if (d->busy || !d->note.capped)		/* busy: the guest is being built anew, without a cap */
		return;
	if (d->domid != DOMD_NO_DOMAIN && d->xen->cap_set(d->xen->x, d->domid, d->note.cap, &e) < 0) {
		log_fail(&e, "vm=%s: give the guest its full speed back", d->vm);
		return;
	}
	d->note.capped = false;
	if (note_save(&d->note, &e) < 0)
		log_fail(&e, "vm=%s: forget the throttle", d->vm);
}

int give_resume(struct domd *d, struct err *e)
{
	if (d->domid == DOMD_NO_DOMAIN || d->busy || d->xen->look(d->xen->x, d->domid) != LIFE_SUSPENDED)
		return 0;
	return d->xen->resume(d->xen->x, d->domid, e);
}

/* The guest goes on here: record first.  `giving` lets it run too, so only in-doubt has to wait for the disk. */
static int give_back(struct domd *d, const char *why, struct err *e)
{
	struct owner next = d->owner;
	int rc;

	*next.session = *next.peer = '\0';
	memcpy(d->given_back, d->owner.session, sizeof(d->given_back));
	if (owner_enter(&d->owner, OWNER_HERE, &next, why, e) < 0) {
		if (d->owner.word != OWNER_GIVING)
			return -1;
		log_fail(e, "vm=%s: %s", d->vm, why);
		*e = (struct err)ERR_INIT;
	}
	domd_forget_mover(d);
	give_restore_cap(d);
	rc = give_resume(d, e);
	domd_settle(d, why);
	domd_leave_if_over(d);
	return rc;
}

void give_mover_gone(struct domd *d)
{
	struct err e = ERR_INIT;

	domd_forget_mover(d);
	if (d->owner.word == OWNER_GIVING && give_back(d, "the mover is gone", &e) < 0)
		log_fail(&e, "vm=%s: take the guest back", d->vm);
}

static void on_alive(void *arg, unsigned events)
{
	char b;

	/* The mover never writes: whatever comes is the end. */
	if (events & LOOP_HUP || fd_read_full(((struct domd *)arg)->alive_fd, &b, 1) < 0)
		give_mover_gone(arg);
}

/* ERR_STATE unless the record names this session in one of the words. */
static int need(const struct domd *d, const json_t *in, unsigned words, const char **out_session, struct err *e)
{
	const char *session;

	if (js_text(in, "session", &session, e) < 0)
		return -1;
	if (!(BIT(d->owner.word) & words) || strcmp(d->owner.session, session))
		return err_set(e, ERR_STATE, "'%s' is %s%s%s, not being given away by session %s", d->vm,
			       owner_name(d->owner.word), *d->owner.session ? " in session " : "", d->owner.session,
			       session);
	*out_session = session;
	return 0;
}

static int may_begin(const struct domd *d, const char *session, struct err *e)
{
	const char *type = json_string_value(json_object_get(d->config, "type"));
	bool again = d->owner.word == OWNER_GIVING && !strcmp(d->owner.session, session);

	if (domd_need_domain(d, e) < 0 || domd_need_idle(d, e) < 0)
		return -1;
	if (d->owner.word != OWNER_HERE && !again)
		return err_set(e, d->owner.word == OWNER_GIVING ? ERR_BUSY : ERR_STATE, "'%s' is %s in session %s",
			       d->vm, owner_name(d->owner.word), d->owner.session);
	if (!again && d->xen->look(d->xen->x, d->domid) != LIFE_RUNNING) {
		err_set(e, ERR_STATE, "'%s' does not run, it is %s", d->vm, d->state);
		return err_remedy(e, "resume it first, or stop it and start it there");
	}
	if (!d->config || !type)
		return err_set(e, ERR_INTERNAL, "the configuration of '%s' is not known", d->vm);
	if (!strcmp(type, "pv")) {
		err_set(e, ERR_INCOMPATIBLE,
			"'%s' is a PV guest: Xen without shadow paging cannot track what it writes", d->vm);
		return err_remedy(e, "save it here and restore it there, or make it a PVH guest");
	}
	return 0;
}

int verb_give_begin(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	const char *session, *peer;
	struct owner next = d->owner;

	if (js_text(in, "session", &session, e) < 0 || js_text(in, "peer", &peer, e) < 0 ||
	    may_begin(d, session, e) < 0)
		return -1;
	AUTO_FD int fd = ctl_take_fd(c, 0);

	if (fd < 0)
		return err_set(e, ERR_USAGE, "give-begin needs the descriptor whose hang-up is the mover's death");
	if (owner_put(next.session, "session", session, e) < 0 || owner_put(next.peer, "peer", peer, e) < 0 ||
	    fd_set_nonblock(fd, true, e) < 0)
		return -1;
	if (d->owner.word == OWNER_HERE && owner_enter(&d->owner, OWNER_GIVING, &next, "give-begin", e) < 0)
		return -1;
	domd_forget_mover(d);
	d->alive_fd = fd_take(&fd);
	if (loop_watch(d->loop, d->alive_fd, LOOP_READ, on_alive, d, &d->alive, e) < 0) {
		give_mover_gone(d);
		return -1;
	}
	*out = json_pack("{s:O, s:i, s:s, s:I}", "config", d->config, "domid", d->domid, "uuid", d->owner.uuid,
			 "generation", (json_int_t)d->owner.generation);
	return 0;
}

/* What the cap was is on disk before it changes: it outlives this process. */
static int note_cap(struct domd *d, struct err *e)
{
	if (d->note.capped)
		return 0;
	if (d->xen->cap_get(d->xen->x, d->domid, &d->note.cap, e) < 0)
		return -1;
	d->note.capped = true;
	if (note_save(&d->note, e) == 0)
		return 0;
	d->note.capped = false;
	return -1;
}

int verb_throttle(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	const char *session;
	uint64_t cap;

	(void)c;
	(void)out;
	if (need(d, in, BIT(OWNER_GIVING), &session, e) < 0 || js_u64(in, "cap", CAP_PERCENT_MAX, &cap, e) < 0 ||
	    domd_need_domain(d, e) < 0 || domd_need_idle(d, e) < 0)
		return -1;
	if (!cap) {
		give_restore_cap(d);
		return 0;
	}
	return note_cap(d, e) < 0 ? -1 : d->xen->cap_set(d->xen->x, d->domid, (uint16_t)cap, e);
}

int verb_give_commit(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	const char *session;
	struct owner next = d->owner;

	(void)c;
	(void)out;
	if (need(d, in, BIT(OWNER_GIVING) | BIT(OWNER_IN_DOUBT), &session, e) < 0)
		return -1;
	if (d->owner.word == OWNER_IN_DOUBT)
		return 0;
	if (d->alive_fd < 0 || d->xen->look(d->xen->x, d->domid) != LIFE_SUSPENDED)
		return err_set(e, ERR_STATE, "'%s' does not stand still, so it cannot be handed over", d->vm);
	/* From here on the peer may write to the same disks. */
	if (d->xen->still(d->xen->x, d->config, e) < 0 ||
	    owner_enter(&d->owner, OWNER_IN_DOUBT, &next, "give-commit", e) < 0)
		return -1;
	domd_settle(d, "handed over; waiting for the peer's word");
	return 0;
}

static void destroyed(struct domd *d, void *arg, const struct err *e)
{
	if (e)
		log_fail(e, "vm=%s: remove the domain that was given away", d->vm);
	domd_settle(d, e ? e->detail : "given away");
	ctl_finish(arg, NULL, e);
	domd_leave_if_over(d);
}

int verb_give_done(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	const char *session;
	struct owner next = d->owner;

	(void)out;
	if (need(d, in, BIT(OWNER_IN_DOUBT) | BIT(OWNER_AWAY), &session, e) < 0)
		return -1;
	if (d->owner.word == OWNER_IN_DOUBT && owner_enter(&d->owner, OWNER_AWAY, &next, "give-done", e) < 0)
		return -1;
	domd_forget_mover(d);
	domd_work_call(d, c, "give-done", domd_destroy_work, destroyed);
	return 0;
}

int verb_give_abort(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	const char *session;
	bool not_taken = false;

	(void)c;
	(void)out;
	if (js_opt_bool(in, "not_taken", &not_taken, e) < 0 || js_text(in, "session", &session, e) < 0)
		return -1;
	if (d->owner.word == OWNER_HERE && !strcmp(d->given_back, session))
		return give_resume(d, e);
	if (need(d, in, BIT(OWNER_GIVING) | BIT(OWNER_IN_DOUBT), &session, e) < 0)
		return -1;
	if (d->owner.word == OWNER_IN_DOUBT && !not_taken) {
		err_set(e, ERR_IN_DOUBT, "'%s' was handed over and may run at '%s'", d->vm, d->owner.peer);
		return err_remedy(e, "hvapi migrate resolve %s", d->vm);
	}
	return give_back(d, not_taken ? "the peer did not take it" : "the move was given up", e);
}

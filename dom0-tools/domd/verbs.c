/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs that are not about a move, and the table of all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "domd/domd.h"
#include "domd/domd_ctl.h"

static int verb_status(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)c;
	(void)in;
	(void)e;
	*out = domd_status(arg);
	return 0;
}

/* The end of work for a verb that answers STATUS.  The guest may have ended meanwhile. */
void domd_answered(struct domd *d, void *arg, const struct err *e)
{
	domd_settle(d, e ? e->detail : "as asked");
	ctl_finish(arg, e ? NULL : domd_status(d), e);
	domd_leave_if_over(d);
	domd_look(d);
}

/* ---- create ---- */

static void started(struct domd *d, void *arg, const struct err *e)
{
	d->started_ms = e ? 0 : clock_mono_ms();
	domd_answered(d, arg, e);
}

/* Configuration and record for a domain that is about to be made here. */
int domd_claim(struct domd *d, const json_t *in, const char *why, struct err *e)
{
	struct owner next = { .word = OWNER_NONE };
	const char *uuid, *name;
	json_t *config;

	if (js_obj(in, "config", &config, e) < 0 || js_text(config, "uuid", &uuid, e) < 0 ||
	    js_text(config, "name", &name, e) < 0 || js_u64(in, "generation", INT64_MAX, &next.generation, e) < 0 ||
	    owner_put(next.uuid, "uuid", uuid, e) < 0 || domd_need_idle(d, e) < 0)
		return -1;
	if (strcmp(name, d->vm))
		return err_set(e, ERR_USAGE, "this hvdomd is for '%s', not for '%s'", d->vm, name);
	if (d->domid != DOMD_NO_DOMAIN)
		return err_set(e, ERR_STATE, "'%s' is %s", d->vm, d->state);
	if (!owner_may_claim(&d->owner, next.uuid)) {
		err_set(e, ERR_REFUSED, "'%s' is %s%s%s, so it may not run here", d->vm, owner_name(d->owner.word),
			*d->owner.peer ? ", other host: " : "", d->owner.peer);
		return err_remedy(e, "hvapi migrate resolve %s, or start it where it is", d->vm);
	}
	if (next.generation < d->owner.generation && !strcasecmp(d->owner.uuid, next.uuid))
		next.generation = d->owner.generation;
	return domd_keep_config(d, config, e) < 0 ? -1 : owner_enter(&d->owner, OWNER_HERE, &next, why, e);
}

static int verb_create(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;

	(void)out;
	if (domd_claim(d, in, "create", e) < 0) {
		domd_leave_if_over(d);
		return -1;
	}
	domd_enter(d, "building", "create");
	domd_work_call(d, c, "create", domd_build_work, started);
	return 0;
}

/* For verbs that need a domain and are not in the middle of a move. */
int domd_need_free(const struct domd *d, struct err *e)
{
	if (domd_need_domain(d, e) < 0 || domd_need_idle(d, e) < 0)
		return -1;
	if (d->owner.word == OWNER_HERE)
		return 0;
	err_set(e, ERR_BUSY, "'%s' is %s, in session %s", d->vm, owner_name(d->owner.word), d->owner.session);
	return err_remedy(e, "wait for the move to end, or cancel its job");
}

/* ---- one call of Xen each ---- */

static int shutdown_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	return d->xen->shutdown(d->xen->x, d->work_domid, e);
}

static int reboot_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	return d->xen->reboot(d->xen->x, d->work_domid, e);
}

/* The note keeps the hvdomd after a crash from taking the pause for one that a crash left. */
static int pause_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	d->note.paused = true;
	return note_save(&d->note, e) < 0 ? -1 : d->xen->pause(d->xen->x, d->work_domid, e);
}

static int unpause_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	d->note.paused = false;
	return note_save(&d->note, e) < 0 ? -1 : d->xen->unpause(d->xen->x, d->work_domid, e);
}

static int on_domain(struct domd *d, struct ctl_call *c, const char *what, domd_work_fn *fn, struct err *e)
{
	if (domd_need_free(d, e) < 0)
		return -1;
	domd_work_call(d, c, what, fn, domd_answered);
	return 0;
}

#define DOMAIN_VERB(name, what, fn)                                                                          \
	static int name(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)        \
	{                                                                                                    \
		(void)in;                                                                                    \
		(void)out;                                                                                   \
		return on_domain(arg, c, what, fn, e);                                                       \
	}

DOMAIN_VERB(verb_destroy, "destroy", domd_destroy_work)
DOMAIN_VERB(verb_shutdown, "shutdown", shutdown_work)
DOMAIN_VERB(verb_reboot, "reboot", reboot_work)
DOMAIN_VERB(verb_pause, "pause", pause_work)
DOMAIN_VERB(verb_unpause, "unpause", unpause_work)

static int verb_console(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	char path[DOMD_PATH_BYTES];

	(void)in;
	(void)out;
	if (domd_need_domain(d, e) < 0 || d->xen->console(d->xen->x, d->domid, path, sizeof(path), e) < 0)
		return -1;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(e, errno, "open the console '%s'", path);
	ctl_give_fd(c, fd);
	return 0;
}

const struct ctl_verb domd_verbs[] = {
	{ DOMD_STATUS, verb_status, "state of the VM" },
	{ DOMD_CREATE, verb_create, "build and start the domain" },
	{ DOMD_SHUTDOWN, verb_shutdown, "ask the guest to shut down" },
	{ DOMD_REBOOT, verb_reboot, "ask the guest to reboot" },
	{ DOMD_DESTROY, verb_destroy, "end the domain at once" },
	{ DOMD_PAUSE, verb_pause, "stop its vCPUs" },
	{ DOMD_UNPAUSE, verb_unpause, "let them run" },
	{ DOMD_SAVE, verb_save, "memory to a file, then end the domain" },
	{ DOMD_RESTORE, verb_restore, "start from such a file" },
	{ DOMD_CONSOLE, verb_console, "descriptor of the console" },
	{ DOMD_GIVE_BEGIN, verb_give_begin, "a mover starts to give the VM away" },
	{ DOMD_THROTTLE, verb_throttle, "slow the guest down while it is given" },
	{ DOMD_GIVE_COMMIT, verb_give_commit, "from here on the peer may have it" },
	{ DOMD_GIVE_DONE, verb_give_done, "the peer has it" },
	{ DOMD_GIVE_ABORT, verb_give_abort, "it stays" },
	{ DOMD_RECEIVE, verb_receive, "restore from a stream, paused" },
	{ DOMD_TAKE, verb_take, "it is ours: run it" },
	{ DOMD_REFUSE, verb_refuse, "it never will be" },
	{ NULL, NULL, NULL },
};

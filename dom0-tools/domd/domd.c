/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State, status and the life of the process: it starts for a VM, settles what
 * an earlier one left, and goes when nothing is left to hold.
 */
#include "domd/domd.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "base/record.h"
#include "domd/domd_ctl.h"

json_t *domd_status(const struct domd *d)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:s}", "vm", d->vm, "uuid", d->owner.uuid, "state", d->state,
			 "domid", d->domid, "generation", (json_int_t)d->owner.generation, "since_ms",
			 (json_int_t)d->since_ms, "reason", d->reason);
}

void domd_enter(struct domd *d, const char *state, const char *why)
{
	if (!strcmp(d->state, state))
		return;
	log_info("vm=%s: %s -> %s (%s)", d->vm, d->state, state, why);
	d->state = state;
	d->since_ms = clock_real_ms();
	snprintf(d->reason, sizeof(d->reason), "%s", why);
	if (!d->ctl)
		return;
	json_t *ev = domd_status(d);

	json_object_set_new(ev, "event", json_string("state"));
	ctl_publish(d->ctl, ev);
}

void domd_settle(struct domd *d, const char *why)
{
	static const char *const names[] = {
		[LIFE_GONE] = "none", [LIFE_RUNNING] = "running", [LIFE_PAUSED] = "paused", [LIFE_POWEROFF] = "shutdown",
		[LIFE_REBOOT] = "shutdown", [LIFE_SUSPENDED] = "suspended", [LIFE_CRASHED] = "crashed",
	};
	enum domd_life life = d->domid == DOMD_NO_DOMAIN ? LIFE_GONE : d->xen->look(d->xen->x, d->domid);

	if (life == LIFE_GONE)
		d->domid = DOMD_NO_DOMAIN;
	if (d->owner.word == OWNER_IN_DOUBT)
		domd_enter(d, "in-doubt", why);
	else if (d->owner.word == OWNER_AWAY && life == LIFE_GONE)
		domd_enter(d, "away", why);
	else if (d->owner.word == OWNER_RECEIVING)
		domd_enter(d, d->complete ? "ready" : "receiving", why);
	else
		domd_enter(d, names[life], why);
}

int domd_keep_config(struct domd *d, const json_t *config, struct err *e)
{
	char path[DOMD_PATH_BYTES + OWNER_TEXT_BYTES + 32];

	snprintf(path, sizeof(path), DOMD_CONFIG_FMT, d->data_dir, d->vm);
	if (record_save(path, config, e) < 0)
		return err_wrap(e, "keep the configuration of '%s'", d->vm);
	json_t *copy = json_deep_copy(config);

	json_decref(d->config);
	d->config = copy;
	return 0;
}

int domd_need_domain(const struct domd *d, struct err *e)
{
	if (d->domid != DOMD_NO_DOMAIN)
		return 0;
	return err_set(e, ERR_STATE, "'%s' has no domain: it is %s", d->vm, d->state);
}

/* ---- work off the loop ---- */

struct job {
	struct domd *d;
	int (*fn)(struct domd *d, void *arg, struct err *e);
	void (*done)(struct domd *d, void *arg, const struct err *e);
	void *arg;
	int rc;
	struct err err;
};

static void job_run(void *arg)
{
	struct job *j = arg;

	j->rc = j->fn(j->d, j->arg, &j->err);
}

static void job_done(void *arg)
{
	struct job *j = arg;

	j->d->busy = NULL;
	j->done(j->d, j->arg, j->rc < 0 ? &j->err : NULL);
	free(j);
}

int domd_work(struct domd *d, const char *what, int (*fn)(struct domd *d, void *arg, struct err *e),
	      void (*done)(struct domd *d, void *arg, const struct err *e), void *arg, struct err *e)
{
	if (d->busy) {
		err_set(e, ERR_BUSY, "'%s' is busy: %s is under way", d->vm, d->busy);
		return err_remedy(e, "wait until it is over and try again");
	}
	struct job *j = mem_alloc(sizeof(*j));

	*j = (struct job){ .d = d, .fn = fn, .done = done, .arg = arg };
	if (loop_work(d->loop, job_run, job_done, j, e) < 0) {
		free(j);
		return -1;
	}
	d->busy = what;
	return 0;
}

void domd_work_call(struct domd *d, struct ctl_call *c, const char *what,
		    int (*fn)(struct domd *d, void *arg, struct err *e),
		    void (*done)(struct domd *d, void *arg, const struct err *e))
{
	struct err e = ERR_INIT;
	struct ctl_call *later = ctl_defer(c);

	if (domd_work(d, what, fn, done, later, &e) < 0)
		ctl_finish(later, NULL, &e);
}

/* ---- the end of the process ---- */

static bool is_over(const struct domd *d)
{
	return !d->busy && !d->receiving && d->domid == DOMD_NO_DOMAIN && d->owner.word != OWNER_IN_DOUBT &&
	       d->owner.word != OWNER_RECEIVING;
}

static void on_idle(void *arg)
{
	struct domd *d = arg;

	if (is_over(d))
		loop_stop(d->loop, 0);
}

void domd_leave_if_over(struct domd *d)
{
	/* A moment for the reply and the event to be read. */
	if (is_over(d))
		loop_timer_set(d->idle, 500, 0);
}

void domd_forget_mover(struct domd *d)
{
	loop_unwatch(&d->alive);
	fd_close(&d->alive_fd);
}

/* ---- start ---- */

static int load_config(struct domd *d, struct err *e)
{
	char path[DOMD_PATH_BYTES + OWNER_TEXT_BYTES + 32];

	snprintf(path, sizeof(path), DOMD_CONFIG_FMT, d->data_dir, d->vm);
	if (record_load(path, &d->config, e) == 0)
		return 0;
	if (e->code != ERR_NOT_FOUND)
		return -1;
	*e = (struct err)ERR_INIT;
	return 0;
}

static int destroy_found(struct domd *d, struct err *e)
{
	if (d->domid != DOMD_NO_DOMAIN && d->xen->destroy(d->xen->x, d->domid, e) < 0)
		return -1;
	d->domid = DOMD_NO_DOMAIN;
	return 0;
}

/* A mover that an earlier hvdomd knew cannot be told from a dead one: the move is over, the guest is ours. */
static int settle_giving(struct domd *d, struct err *e)
{
	struct owner next = d->owner;

	*next.session = *next.peer = '\0';
	if (owner_enter(&d->owner, OWNER_HERE, &next, "hvdomd started anew", e) < 0)
		return -1;
	if (d->domid != DOMD_NO_DOMAIN && d->xen->look(d->xen->x, d->domid) == LIFE_SUSPENDED)
		return d->xen->resume(d->xen->x, d->domid, e);
	return 0;
}

/* What was received died with the process that received it. */
static int settle_receiving(struct domd *d, struct err *e)
{
	struct owner next = d->owner;

	return owner_enter(&d->owner, OWNER_REFUSED, &next, "hvdomd started anew", e) < 0 ? -1 : destroy_found(d, e);
}

/* Between a durable take and the unpause there may have been a crash; a suspend may have come after its move. */
static int settle_here(struct domd *d, struct err *e)
{
	if (d->domid == DOMD_NO_DOMAIN)
		return 0;
	switch (d->xen->look(d->xen->x, d->domid)) {
	case LIFE_SUSPENDED:
		return d->xen->resume(d->xen->x, d->domid, e);
	case LIFE_PAUSED:
		return *d->owner.session ? d->xen->unpause(d->xen->x, d->domid, e) : 0;
	default:
		return 0;
	}
}

static int settle_start(struct domd *d, struct err *e)
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

int domd_init(struct domd *d, struct loop *l, const struct domd_xen *xen, const char *data_dir, const char *vm,
	      struct err *e)
{
	*d = (struct domd){ .loop = l, .xen = xen, .domid = DOMD_NO_DOMAIN, .state = "none", .alive_fd = -1 };
	snprintf(d->vm, sizeof(d->vm), "%s", vm);
	snprintf(d->data_dir, sizeof(d->data_dir), "%s", data_dir);
	if (snprintf(d->boot_dir, sizeof(d->boot_dir), "%s/boot", data_dir) >= (int)sizeof(d->boot_dir))
		return err_set(e, ERR_LIMIT, "data folder '%s' is too long", data_dir);
	d->since_ms = clock_real_ms();
	d->idle = loop_timer_new(l, on_idle, d);
	if (owner_load(data_dir, vm, &d->owner, e) < 0 || load_config(d, e) < 0)
		return -1;
	if (*d->owner.uuid)
		d->domid = xen->find(xen->x, d->owner.uuid);
	if (settle_start(d, e) < 0)
		return err_wrap(e, "settle what was left of '%s'", vm);
	domd_settle(d, "found at start");
	loop_timer_set(d->idle, DOMD_IDLE_MS, DOMD_IDLE_MS);
	return 0;
}

int domd_serve(struct domd *d, const char *run_dir, struct err *e)
{
	char path[DOMD_PATH_BYTES + OWNER_TEXT_BYTES + 32];

	snprintf(path, sizeof(path), DOMD_SOCKET_FMT, run_dir, d->vm);
	return ctl_server_new(d->loop, path, 0660, DOMD_API_UID, domd_verbs, d, &d->ctl, e);
}

void domd_fini(struct domd *d)
{
	domd_forget_mover(d);
	ctl_server_free(d->ctl);
	loop_timer_free(&d->idle);
	json_decref(d->config);
	d->ctl = NULL;
	d->config = NULL;
}

/* ---- the domain ended or stands still ---- */

static int restart_work(struct domd *d, void *arg, struct err *e)
{
	int domid;

	(void)arg;
	if (destroy_found(d, e) < 0 || d->xen->create(d->xen->x, d->config, d->boot_dir, &domid, e) < 0)
		return -1;
	d->domid = domid;
	return d->xen->unpause(d->xen->x, domid, e);
}

static int clean_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	return destroy_found(d, e);
}

static void ended(struct domd *d, void *arg, const struct err *e)
{
	if (e)
		log_fail(e, "vm=%s: after the guest ended", d->vm);
	domd_settle(d, e ? e->detail : arg);
	domd_leave_if_over(d);
}

static const char *policy(const struct domd *d, const char *key, const char *otherwise)
{
	const char *v = json_string_value(json_object_get(d->config, key));
	return v ? v : otherwise;
}

static void act_on_end(struct domd *d, const char *action, const char *why)
{
	static char said[64];
	struct err e = ERR_INIT;
	int rc;

	snprintf(said, sizeof(said), "%s", why);
	if (!strcmp(action, "preserve")) {
		domd_settle(d, why);
		return;
	}
	if (!strcmp(action, "restart") && owner_may_run(&d->owner))
		rc = domd_work(d, "restart", restart_work, ended, said, &e);
	else
		rc = domd_work(d, "clean up", clean_work, ended, said, &e);
	if (rc < 0)
		log_fail(&e, "vm=%s: %s", d->vm, why);
}

void domd_look(struct domd *d)
{
	struct err e = ERR_INIT;

	if (d->domid == DOMD_NO_DOMAIN || d->busy || d->receiving)
		return;
	switch (d->xen->look(d->xen->x, d->domid)) {
	case LIFE_POWEROFF:
		act_on_end(d, policy(d, "on_poweroff", "destroy"), "the guest shut down");
		return;
	case LIFE_REBOOT:
		act_on_end(d, policy(d, "on_reboot", "restart"), "the guest rebooted");
		return;
	case LIFE_CRASHED:
		act_on_end(d, policy(d, "on_crash", "destroy"), "the guest crashed");
		return;
	case LIFE_SUSPENDED:
		/* Obeyed after its move was given up: nobody waits for it. */
		if (d->owner.word == OWNER_HERE && d->xen->resume(d->xen->x, d->domid, &e) < 0)
			log_fail(&e, "vm=%s: resume", d->vm);
		break;
	case LIFE_GONE:
		domd_settle(d, "the domain is gone");
		domd_leave_if_over(d);
		return;
	case LIFE_RUNNING:
	case LIFE_PAUSED:
	default:
		break;
	}
	domd_settle(d, "as Xen says");
}

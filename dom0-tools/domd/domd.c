/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State, status and the life of the process: it starts for a VM, works off
 * the loop, and goes when nothing is left to hold.
 */
#include "domd/domd.h"

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
	if (d->xen->changed)
		d->xen->changed(d->xen->x);
	if (!d->ctl)
		return;
	json_t *ev = domd_status(d);

	json_object_set_new(ev, "event", json_string("state"));
	ctl_publish(d->ctl, ev);
}

void domd_settle(struct domd *d, const char *why)
{
	static const char *const names[] = {
		[LIFE_GONE] = "none",
		[LIFE_RUNNING] = "running",
		[LIFE_PAUSED] = "paused",
		[LIFE_POWEROFF] = "shutdown",
		[LIFE_REBOOT] = "shutdown",
		[LIFE_SUSPENDED] = "suspended",
		[LIFE_CRASHED] = "crashed",
	};
	enum domd_life life = d->domid == DOMD_NO_DOMAIN ? LIFE_GONE : d->xen->look(d->xen->x, d->domid);

	if (life == LIFE_GONE) {
		d->domid = DOMD_NO_DOMAIN;
		d->complete = false;
	}
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

int domd_need_idle(const struct domd *d, struct err *e)
{
	if (!d->busy && !d->receiving)
		return 0;
	err_set(e, ERR_BUSY, "'%s' is busy: %s is under way", d->vm, d->busy ? d->busy : "receive");
	return err_remedy(e, "wait until it is over and try again");
}

/* ---- work off the loop ---- */

struct job {
	struct domd *d;
	domd_work_fn *fn;
	domd_done_fn *done;
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
	j->d->domid = j->d->work_domid;
	j->done(j->d, j->arg, j->rc < 0 ? &j->err : NULL);
	free(j);
}

int domd_work(struct domd *d, const char *what, domd_work_fn *fn, domd_done_fn *done, void *arg, struct err *e)
{
	if (domd_need_idle(d, e) < 0)
		return -1;
	struct job *j = mem_alloc(sizeof(*j));

	*j = (struct job){ .d = d, .fn = fn, .done = done, .arg = arg };
	d->work_domid = d->domid;
	if (loop_work(d->loop, job_run, job_done, j, e) < 0) {
		free(j);
		return -1;
	}
	d->busy = what;
	return 0;
}

void domd_work_call(struct domd *d, struct ctl_call *c, const char *what, domd_work_fn *fn, domd_done_fn *done)
{
	struct err e = ERR_INIT;
	struct ctl_call *later = ctl_defer(c);

	if (domd_work(d, what, fn, done, later, &e) < 0)
		ctl_finish(later, NULL, &e);
}

int domd_destroy_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	if (d->work_domid != DOMD_NO_DOMAIN && d->xen->destroy(d->xen->x, d->work_domid, e) < 0)
		return -1;
	d->work_domid = DOMD_NO_DOMAIN;
	return 0;
}

/* The note stands while the domain is not whole, so that a crash here leaves nothing half made to be run. */
int domd_build_work(struct domd *d, void *arg, struct err *e)
{
	struct err ignored = ERR_INIT;

	(void)arg;
	d->note.building = true;
	d->note.paused = d->note.capped = false;
	if (note_save(&d->note, e) < 0 ||
	    d->xen->create(d->xen->x, d->config, d->boot_dir, &d->work_domid, e) < 0)
		return -1;
	d->note.building = false;
	if (note_save(&d->note, e) == 0 && d->xen->unpause(d->xen->x, d->work_domid, e) == 0)
		return 0;
	if (domd_destroy_work(d, NULL, &ignored) < 0)
		log_fail(&ignored, "vm=%s: remove what was built", d->vm);
	return -1;
}

/* ---- the end of the process ---- */

static bool is_over(const struct domd *d)
{
	return !d->busy && !d->receiving && d->domid == DOMD_NO_DOMAIN && d->owner.word != OWNER_IN_DOUBT &&
	       d->owner.word != OWNER_RECEIVING;
}

/* Also looks again at what failed the last time. */
static void on_idle(void *arg)
{
	struct domd *d = arg;

	if (is_over(d)) {
		loop_stop(d->loop, 0);
		return;
	}
	loop_timer_set(d->idle, DOMD_IDLE_MS, 0);
	domd_look(d);
}

void domd_leave_if_over(struct domd *d)
{
	if (is_over(d))
		loop_timer_set(d->idle, DOMD_LEAVE_MS, 0);
}

void domd_forget_mover(struct domd *d)
{
	loop_unwatch(&d->alive);
	fd_close(&d->alive_fd);
}

/* ---- start and end ---- */

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

int domd_init(struct domd *d, struct loop *l, const struct domd_xen *xen, const char *data_dir, const char *vm,
	      struct err *e)
{
	*d = (struct domd){ .loop = l, .xen = xen, .domid = DOMD_NO_DOMAIN, .state = "none", .alive_fd = -1 };
	if (strlen(data_dir) > NOTE_PATH_BYTES / 2 || strlen(vm) >= OWNER_TEXT_BYTES)
		return err_set(e, ERR_LIMIT, "data folder or name of VM '%.40s' is too long", vm);
	snprintf(d->vm, sizeof(d->vm), "%s", vm);
	snprintf(d->data_dir, sizeof(d->data_dir), "%s", data_dir);
	snprintf(d->boot_dir, sizeof(d->boot_dir), "%s/boot", data_dir);
	d->since_ms = clock_real_ms();
	if (owner_load(data_dir, vm, &d->owner, e) < 0 || load_config(d, e) < 0)
		return -1;
	note_load(data_dir, vm, &d->note);
	if (*d->owner.uuid)
		d->domid = xen->find(xen->x, d->owner.uuid);
	if (domd_settle_start(d, e) < 0)
		return err_wrap(e, "settle what was left of '%s'", vm);
	domd_settle(d, "found at start");
	d->idle = loop_timer_new(l, on_idle, d);
	loop_timer_set(d->idle, DOMD_IDLE_MS, 0);
	return 0;
}

int domd_serve(struct domd *d, const char *run_dir, struct err *e)
{
	char path[DOMD_PATH_BYTES + OWNER_TEXT_BYTES + 32];

	snprintf(path, sizeof(path), DOMD_SOCKET_FMT, run_dir, d->vm);
	if (ctl_server_new(d->loop, path, 0660, DOMD_API_UID, domd_verbs, d, &d->ctl, e) < 0)
		return -1;
	domd_look(d);
	return 0;
}

void domd_fini(struct domd *d)
{
	domd_forget_mover(d);
	ctl_server_free(d->ctl);
	if (d->idle)
		loop_timer_free(&d->idle);
	if (!d->busy)		/* else its thread may still read it; the process ends */
		json_decref(d->config);
	d->ctl = NULL;
	d->config = NULL;
}

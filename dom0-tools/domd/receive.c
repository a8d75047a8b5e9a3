/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving a VM: libxl restores from the stream on one thread while another
 * prepares its devices; take or refuse decides, once and durable.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "domd/domd.h"
#include "domd/domd_ctl.h"

struct receiving {
	struct domd *d;
	struct ctl_call *call;		/* to be answered when both threads are over */
	json_t *config;
	int fd;				/* the stream */
	int threads;			/* that still run */
	bool cancel;			/* refuse came, or the other thread failed: read by the threads */
	int domid;
	int restore_rc, devices_rc;
	struct err restore_err, devices_err;
	uint64_t start_ms, devices_ms, restore_ms;
	struct ctl_call *refuse;	/* waits for the threads */
};

static bool is_cancelled(void *arg)
{
	return __atomic_load_n(&((struct receiving *)arg)->cancel, __ATOMIC_ACQUIRE);
}

/* Neither thread is of use without the other: libxl finds the end of its stream, the devices are told. */
static void cut_off(struct receiving *r)
{
	__atomic_store_n(&r->cancel, true, __ATOMIC_RELEASE);
	shutdown(r->fd, SHUT_RDWR);
}

static void restore_thread(void *arg)
{
	struct receiving *r = arg;
	const struct domd_xen *x = r->d->xen;

	r->restore_rc = x->restore(x->x, r->config, r->d->boot_dir, r->fd, false, &r->domid, &r->restore_err);
	r->restore_ms = clock_mono_ms();
	if (r->restore_rc < 0)
		cut_off(r);
}

static void devices_thread(void *arg)
{
	struct receiving *r = arg;
	const struct domd_xen *x = r->d->xen;

	r->devices_rc = x->prepare(x->x, r->config, is_cancelled, r, &r->devices_err);
	r->devices_ms = clock_mono_ms();
	if (r->devices_rc < 0)
		cut_off(r);
}

static void free_receiving(struct receiving *r)
{
	json_decref(r->config);
	fd_close(&r->fd);
	r->d->receiving = NULL;
	free(r);
}

static json_t *times_of(const struct receiving *r)
{
	return json_pack("{s:I, s:I}", "devices_ms", (json_int_t)(r->devices_ms - r->start_ms), "restore_ms",
			 (json_int_t)(r->restore_ms - r->start_ms));
}

/* Nothing of what came is left; answers a refuse that waits for it (arg, may be NULL). */
static void destroyed(struct domd *d, void *arg, const struct err *e)
{
	if (e)
		log_fail(e, "vm=%s: remove what was received", d->vm);
	d->complete = false;
	domd_settle(d, e ? e->detail : "not taken");
	if (arg)
		ctl_finish(arg, NULL, e);
	domd_leave_if_over(d);
}

static void remove_received(struct domd *d, struct ctl_call *refuse)
{
	struct err e = ERR_INIT;

	if (domd_work(d, "refuse", domd_destroy_work, destroyed, refuse, &e) == 0)
		return;
	log_fail(&e, "vm=%s: remove what was received", d->vm);
	if (refuse)
		ctl_finish(refuse, NULL, &e);
}

static void answer(struct receiving *r)
{
	struct domd *d = r->d;
	bool ok = r->restore_rc == 0 && r->devices_rc == 0 && d->owner.word == OWNER_RECEIVING;
	/* The one that failed first cuts the other off. */
	bool devices_first = r->devices_rc < 0 && r->devices_err.code != ERR_CANCELLED;
	const struct err *e = r->restore_rc < 0 && !devices_first ? &r->restore_err : &r->devices_err;
	struct err refused = ERR_INIT;

	if (d->owner.word != OWNER_RECEIVING) {
		err_set(&refused, ERR_CANCELLED, "'%s' was refused while it arrived", d->vm);
		e = &refused;
	}
	d->complete = ok;
	if (!ok) {
		ctl_finish(r->call, NULL, e);
		log_fail(e, "vm=%s: receive", d->vm);
		return;
	}
	domd_settle(d, "received");
	ctl_finish(r->call, json_pack("{s:i, s:o}", "domid", d->domid, "times", times_of(r)), NULL);
}

static void thread_over(struct receiving *r)
{
	struct domd *d = r->d;

	if (--r->threads)
		return;
	d->domid = r->restore_rc == 0 ? r->domid : DOMD_NO_DOMAIN;
	answer(r);
	struct ctl_call *refuse = r->refuse;
	bool gone = d->owner.word != OWNER_RECEIVING, whole = d->complete;

	free_receiving(r);
	if (gone || !whole)
		remove_received(d, refuse);
}

static void say_step(struct receiving *r, const char *step, uint64_t at_ms)
{
	ctl_publish(r->d->ctl, json_pack("{s:s, s:s, s:I}", "event", "receive", "step", step, "ms",
					 (json_int_t)(at_ms - r->start_ms)));
}

static void restore_over(void *arg)
{
	struct receiving *r = arg;

	if (r->restore_rc == 0)
		say_step(r, "memory", r->restore_ms);
	thread_over(r);
}

static void devices_over(void *arg)
{
	struct receiving *r = arg;

	if (r->devices_rc == 0)
		say_step(r, "devices", r->devices_ms);
	thread_over(r);
}

static int start_threads(struct receiving *r, struct err *e)
{
	r->start_ms = clock_mono_ms();
	if (loop_work(r->d->loop, restore_thread, restore_over, r, e) < 0)
		return -1;
	r->threads = 1;
	if (loop_work(r->d->loop, devices_thread, devices_over, r, &r->devices_err) == 0) {
		r->threads = 2;
		return 0;
	}
	r->devices_rc = -1;
	cut_off(r);
	return 0;
}

static void on_alive(void *arg, unsigned events)
{
	(void)events;
	receive_mover_gone(arg);
}

/* A new VM under an old name is one with another UUID. */
static bool holds_name(const struct domd *d, const char *uuid)
{
	switch (d->owner.word) {
	case OWNER_NONE:
	case OWNER_AWAY:
	case OWNER_REFUSED:
		return d->domid != DOMD_NO_DOMAIN;
	case OWNER_HERE:
		return d->domid != DOMD_NO_DOMAIN || !strcasecmp(d->owner.uuid, uuid);
	case OWNER_GIVING:
	case OWNER_IN_DOUBT:
	case OWNER_RECEIVING:
	case OWNER_N:
	default:
		return true;
	}
}

/* Never a session that the record names already, nor an older generation; one that was away was taken there. */
static int may_receive(const struct domd *d, const struct owner *next, struct err *e)
{
	bool back = d->owner.word == OWNER_AWAY && !strcasecmp(d->owner.uuid, next->uuid);

	if (domd_need_idle(d, e) < 0)
		return -1;
	if (d->owner.word != OWNER_NONE && !strcmp(d->owner.session, next->session))
		return err_set(e, ERR_STATE, "session %s of '%s' was %s already", next->session, d->vm,
			       owner_name(d->owner.word));
	if (holds_name(d, next->uuid))
		return err_set(e, ERR_EXISTS, "'%s' is %s on this host", d->vm, owner_name(d->owner.word));
	/* Generations of another VM that had the name say nothing of this one. */
	if (strcasecmp(d->owner.uuid, next->uuid) || next->generation >= d->owner.generation + (back ? 1 : 0))
		return 0;
	err_set(e, ERR_REFUSED, "'%s' comes with generation %llu, this host knows generation %llu", d->vm,
		(unsigned long long)next->generation, (unsigned long long)d->owner.generation);
	return err_remedy(e, "a copy that is older must not run; undefine it where it comes from");
}

static int read_receive(struct domd *d, const json_t *in, struct owner *next, json_t **config, struct err *e)
{
	const char *session, *peer, *uuid, *name;

	if (js_text(in, "session", &session, e) < 0 || js_text(in, "peer", &peer, e) < 0 ||
	    js_obj(in, "config", config, e) < 0 || js_text(*config, "uuid", &uuid, e) < 0 ||
	    js_text(*config, "name", &name, e) < 0 || js_u64(in, "generation", INT64_MAX, &next->generation, e) < 0)
		return -1;
	if (strcmp(name, d->vm))
		return err_set(e, ERR_USAGE, "this hvdomd is for '%s', not for '%s'", d->vm, name);
	if (owner_put(next->session, "session", session, e) < 0 || owner_put(next->peer, "peer", peer, e) < 0 ||
	    owner_put(next->uuid, "uuid", uuid, e) < 0)
		return -1;
	return may_receive(d, next, e);
}

static int watch_mover(struct domd *d, int *fd, struct err *e)
{
	domd_forget_mover(d);
	d->alive_fd = fd_take(fd);
	return loop_watch(d->loop, d->alive_fd, LOOP_READ, on_alive, d, &d->alive, e);
}

/* Durable first.  What still arrives is cut off and removed when its threads are over. */
static int refuse_now(struct domd *d, const char *why, struct err *e)
{
	struct owner next = d->owner;

	if (d->owner.word == OWNER_RECEIVING && owner_enter(&d->owner, OWNER_REFUSED, &next, why, e) < 0)
		return -1;
	domd_forget_mover(d);
	if (d->receiving)
		cut_off(d->receiving);
	return 0;
}

static int begin_receive(struct domd *d, const json_t *config, int *stream, int *alive, struct err *e)
{
	struct receiving *r;
	union { const json_t *in; json_t *out; } u = { .in = config };

	if (watch_mover(d, alive, e) < 0)
		return -1;
	r = mem_alloc(sizeof(*r));
	*r = (struct receiving){ .d = d, .config = json_incref(u.out), .fd = fd_take(stream), .domid = DOMD_NO_DOMAIN };
	d->receiving = r;
	d->complete = false;
	if (start_threads(r, e) == 0)
		return 0;
	free_receiving(r);
	return -1;
}

int verb_receive(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	struct owner next = { .word = OWNER_NONE };
	struct err ignored = ERR_INIT;
	json_t *config;

	(void)out;
	if (read_receive(d, in, &next, &config, e) < 0)
		return -1;
	AUTO_FD int stream = ctl_take_fd(c, 0);
	AUTO_FD int alive = ctl_take_fd(c, 1);

	if (stream < 0 || alive < 0)
		return err_set(e, ERR_USAGE, "receive needs two descriptors: the stream, and one whose hang-up is the "
			       "mover's death");
	d->note.building = d->note.paused = d->note.capped = false;
	if (note_save(&d->note, e) < 0 || domd_keep_config(d, config, e) < 0 ||
	    owner_enter(&d->owner, OWNER_RECEIVING, &next, "receive", e) < 0)
		return -1;
	if (begin_receive(d, config, &stream, &alive, e) < 0) {
		if (refuse_now(d, "it could not begin", &ignored) < 0)
			log_fail(&ignored, "vm=%s: refuse", d->vm);
		return -1;
	}
	d->receiving->call = ctl_defer(c);
	domd_settle(d, "receive");
	return 0;
}

/* ERR_STATE unless what this session sent is whole and waits. */
static int may_take(const struct domd *d, const char *session, struct err *e)
{
	if (d->owner.word != OWNER_RECEIVING || strcmp(d->owner.session, session) || !d->complete)
		return err_set(e, ERR_STATE, "'%s' is %s, not complete and waiting in session %s", d->vm,
			       owner_name(d->owner.word), session);
	if (d->xen->look(d->xen->x, d->domid) != LIFE_PAUSED)
		return err_set(e, ERR_STATE, "the domain that was received for '%s' is gone", d->vm);
	return 0;
}

int verb_take(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	struct owner next = d->owner;
	const char *session;
	uint64_t t0 = clock_mono_ms();

	(void)c;
	if (js_text(in, "session", &session, e) < 0)
		return -1;
	if (d->owner.word == OWNER_HERE && *session && !strcmp(d->owner.session, session))
		return 0;
	next.generation++;
	if (may_take(d, session, e) < 0 || owner_enter(&d->owner, OWNER_HERE, &next, "take", e) < 0)
		return -1;
	uint64_t t1 = clock_mono_ms();
	int rc = d->xen->unpause(d->xen->x, d->domid, e);

	d->started_ms = clock_mono_ms();
	d->complete = false;
	domd_forget_mover(d);
	/* It is ours whatever unpause said: the record decides, and the operator can unpause. */
	if (rc < 0)
		log_fail(e, "vm=%s: unpause after take", d->vm);
	d->xen->announce(d->xen->x, d->loop, d->config);
	domd_settle(d, "taken over");
	*out = json_pack("{s:{s:I, s:I}}", "times", "record_ms", (json_int_t)(t1 - t0), "unpause_ms",
			 (json_int_t)(d->started_ms - t1));
	return 0;
}

int verb_refuse(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	const char *session;
	bool ours;

	(void)out;
	if (js_text(in, "session", &session, e) < 0)
		return -1;
	ours = *session && !strcmp(d->owner.session, session);
	if (ours && d->owner.word == OWNER_HERE)
		return err_set(e, ERR_STATE, "'%s' was taken in session %s", d->vm, session);
	if (!ours || (d->owner.word != OWNER_RECEIVING && d->owner.word != OWNER_REFUSED))
		return err_set(e, ERR_REFUSED, "the record of '%s' does not name session %s as received", d->vm,
			       session);
	if (refuse_now(d, "refuse", e) < 0)
		return -1;
	if (d->receiving) {
		/* A second refuse meanwhile: the first one's answer is as good for the record. */
		if (!d->receiving->refuse)
			d->receiving->refuse = ctl_defer(c);
		return 0;
	}
	if (d->busy)		/* what came of it is being removed already */
		return 0;
	if (d->domid == DOMD_NO_DOMAIN) {
		domd_settle(d, "not taken");
		domd_leave_if_over(d);
		return 0;
	}
	remove_received(d, ctl_defer(c));
	return 0;
}

void receive_mover_gone(struct domd *d)
{
	struct err e = ERR_INIT;
	bool was_receiving = d->owner.word == OWNER_RECEIVING;

	domd_forget_mover(d);
	if (!was_receiving)
		return;
	if (refuse_now(d, "the mover is gone", &e) < 0)
		log_fail(&e, "vm=%s: refuse", d->vm);
	else if (!d->receiving && !d->busy)
		remove_received(d, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Actions of the target.  The guest itself is hvdomd's: here its memory is
 * unpacked and handed on, and the answers are carried.
 */
#include "migrate/recv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "domd/domd_ctl.h"
#include "hvapi/hvapid_ctl.h"
#include "migrate/guest/loader.h"
#include "migrate/owner.h"
#include "migrate/proc.h"

enum { RECV_SOCKET_BYTES = 1 << 20 };

struct receiver {
	const struct recv_setup *set;
	json_t *offer;
	json_t *ready_ms, *taken_ms;	/* what hvdomd said of its phases */
	struct loader *loader;
	struct ctl_client *hvapid;
	uint32_t cache_pages;
	int alive_fd;			/* hvdomd holds the other end: our death refuses */
	bool check_only;
	bool rejected;			/* hvdomd would not even begin to receive */
};

/* ---- checks ---- */

static bool has_error(const json_t *problems)
{
	size_t i;
	const json_t *p;

	json_array_foreach(problems, i, p) {
		const char *s = json_string_value(json_object_get(p, "severity"));

		if (!s || strcmp(s, "warning"))
			return true;
	}
	return false;
}

static void check_over(struct proc *p, const struct err *bad)
{
	struct receiver *r = p->own;
	struct err e = ERR_INIT;
	struct mig_event ev = { .kind = MIG_EV_DONE, .act = MIG_ACT_CHECK, .check_only = r->check_only };

	if (bad)
		e = *bad;
	else if (has_error(p->report.problems))
		err_set(&e, ERR_REFUSED, "the checks of this host found problems");
	if (bad)
		json_array_append_new(p->report.problems, js_from_err(bad));
	ev.err = e.code == ERR_NONE ? NULL : &e;
	ev.generation = (uint64_t)json_integer_value(json_object_get(r->offer, "generation"));
	proc_event(p, &ev);
}

static void offer_answered(void *arg, const json_t *ok, const struct err *bad)
{
	struct proc *p = arg;
	const char *domd = json_string_value(json_object_get(ok, "domd"));

	if (domd)
		snprintf(p->domd_path, sizeof(p->domd_path), "%s", domd);
	json_array_extend(p->report.problems, json_object_get(ok, "problems"));
	check_over(p, bad);
}

static void hvapid_gone(void *arg)
{
	struct proc *p = arg;
	struct receiver *r = p->own;

	ctl_client_free(r->hvapid);
	r->hvapid = NULL;
}

/* hvapid knows names, UUIDs and generations; it also starts the guest's hvdomd. */
static int ask_hvapid(struct proc *p, struct err *e)
{
	struct receiver *r = p->own;
	char path[PROC_PATH_BYTES + 16];
	AUTO_JSON json_t *args = json_pack("{s:s, s:s, s:b, s:O, s:O, s:s}", "session", p->session.session,
					   "peer", p->peer, "check_only",
					   r->check_only || has_error(p->report.problems), "vm",
					   json_object_get(r->offer, "vm"), "generation",
					   json_object_get(r->offer, "generation"), "unit", p->name);

	if (!args)
		return err_set(e, ERR_CORRUPT, "the OFFER lacks vm or generation");
	snprintf(path, sizeof(path), "%s/%s", p->run_dir, HVAPID_SOCKET);
	if (ctl_connect(path, &r->hvapid, e) < 0)
		return err_wrap(e, "ask hvapid for its part of the checks");
	if (ctl_client_attach(r->hvapid, p->loop, NULL, hvapid_gone, p, e) < 0)
		return -1;
	return ctl_send(r->hvapid, HVAPID_OFFER, args, NULL, 0, offer_answered, p, e);
}

static int read_offer(struct receiver *r, struct err *e)
{
	uint64_t cache = 0, generation;
	const char *name, *uuid;
	json_t *vm;

	if (!r->offer)
		return err_set(e, ERR_CORRUPT, "the OFFER is not JSON");
	if (js_opt_bool(r->offer, "check_only", &r->check_only, e) < 0 || js_obj(r->offer, "vm", &vm, e) < 0 ||
	    js_u64(r->offer, "generation", INT64_MAX, &generation, e) < 0 ||
	    js_opt_u64(r->offer, "cache_pages", CACHE_PAGES_MAX, &cache, e) < 0)
		return err_wrap(e, "OFFER");
	if (js_text(vm, "name", &name, e) < 0 || js_text(vm, "uuid", &uuid, e) < 0)
		return err_wrap(e, "OFFER, vm");
	if (!mig_vm_ok(name) || !mig_uuid_ok(uuid))	/* they name files here */
		return err_set(e, ERR_CORRUPT, "the OFFER's name '%.64s' or uuid '%.40s' is none", name, uuid);
	r->cache_pages = (uint32_t)cache;
	return 0;
}

static void act_check(struct proc *p, const struct mig_action *a)
{
	struct receiver *r = p->own;
	struct err e = ERR_INIT;

	(void)a;
	if (read_offer(r, &e) < 0) {
		check_over(p, &e);
		return;
	}
	snprintf(p->session.vm, sizeof(p->session.vm), "%s", json_string_value(json_object_get(
		 json_object_get(r->offer, "vm"), "name")) ?: "");
	snprintf(p->session.uuid, sizeof(p->session.uuid), "%s", json_string_value(json_object_get(
		 json_object_get(r->offer, "vm"), "uuid")) ?: "");
	r->set->check(r->offer, p->report.problems);
	if (ask_hvapid(p, &e) < 0)
		check_over(p, &e);
}

/* ---- receiving ---- */

static void on_progress(void *arg, const struct codec_counts *c)
{
	struct proc *p = arg;

	p->report.counts = *c;
	proc_progress(p);
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_STREAM_PROGRESS });
}

static void on_loaded(void *arg)
{
	proc_event(arg, &(struct mig_event){ .kind = MIG_EV_STREAM_DONE });
}

static void on_load_failed(void *arg, const struct err *why)
{
	proc_event(arg, &(struct mig_event){ .kind = MIG_EV_RECEIVE_FAILED, .err = why });
}

static const struct loader_ops loader_ops = { on_progress, on_loaded, on_load_failed };

static void receive_answered(void *arg, const json_t *ok, const struct err *bad)
{
	struct proc *p = arg;
	struct receiver *r = p->own;

	if (bad) {
		r->rejected = bad->code == ERR_REFUSED || bad->code == ERR_EXISTS || bad->code == ERR_STATE;
		proc_event(p, &(struct mig_event){ .kind = MIG_EV_RECEIVE_FAILED, .err = bad });
		return;
	}
	json_decref(r->ready_ms);
	r->ready_ms = json_incref(json_object_get(ok, "times"));
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_RECEIVE_READY });
}

static void act_start_receive(struct proc *p, const struct mig_action *a)
{
	struct receiver *r = p->own;
	struct err e = ERR_INIT;
	int pair[2], alive[2], bytes = RECV_SOCKET_BYTES;

	(void)a;
	if (fd_pair(pair, &e) < 0)
		goto failed;
	if (fd_pair(alive, &e) < 0) {
		fd_close(&pair[0]);
		fd_close(&pair[1]);
		goto failed;
	}
	r->alive_fd = alive[0];
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));	/* a smaller one only costs switches */
	if (loader_new(p->loop, p->link, pair[0], r->cache_pages, &loader_ops, p, &r->loader, &e) < 0) {
		fd_close(&pair[0]);
		fd_close(&pair[1]);
		fd_close(&alive[1]);
		goto failed;
	}
	const int fds[2] = { pair[1], alive[1] };

	proc_domd(p, DOMD_RECEIVE, json_pack("{s:s, s:s, s:O, s:O}", "session", p->session.session, "peer", p->peer,
					     "config", json_object_get(r->offer, "vm"), "generation",
					     json_object_get(r->offer, "generation")), fds, 2, receive_answered);
	fd_close(&pair[1]);
	fd_close(&alive[1]);
	return;
failed:
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_RECEIVE_FAILED, .err = &e });
}

static void act_end_stream(struct proc *p, const struct mig_action *a)
{
	struct receiver *r = p->own;

	loader_end(r->loader, a->msg.seq, a->msg.raw_bytes, a->msg.sum);
}

static void data(struct proc *p, uint64_t seq, struct buf batch)
{
	struct receiver *r = p->own;

	if (r->loader)
		loader_data(r->loader, seq, batch);
	else
		buf_fini(&batch);	/* nobody asked for it: the session ends such a line by its state's rules */
}

static void unlink_loader(struct proc *p)
{
	struct receiver *r = p->own;

	loader_forget_link(r->loader);
}

/* ---- the decision ---- */

static void stop_loading(struct receiver *r)
{
	loader_free(r->loader);
	r->loader = NULL;
}

static void take_answered(void *arg, const json_t *ok, const struct err *bad)
{
	struct proc *p = arg;
	struct receiver *r = p->own;

	json_decref(r->taken_ms);
	r->taken_ms = json_incref(json_object_get(ok, "times"));
	proc_done(p, MIG_ACT_TAKE, bad);
}

static void act_take(struct proc *p, const struct mig_action *a)
{
	(void)a;
	report_mark(&p->report, MARK_COMMITTED, clock_mono_ms());
	proc_domd(p, DOMD_TAKE, json_pack("{s:s}", "session", p->session.session), NULL, 0, take_answered);
}

PROC_ANSWER(refuse_answered, MIG_ACT_REFUSE)

static void act_refuse(struct proc *p, const struct mig_action *a)
{
	struct receiver *r = p->own;

	(void)a;
	stop_loading(r);
	/* Only this process can say take, and hvdomd refuses by itself when it goes: nothing to undo is nothing to
	 * ask. */
	if (r->rejected) {
		proc_done(p, MIG_ACT_REFUSE, NULL);
		return;
	}
	proc_domd(p, DOMD_REFUSE, json_pack("{s:s}", "session", p->session.session), NULL, 0, refuse_answered);
}

/* The record is hvdomd's, which is reached by the name that the record stands under. */
static void act_look(struct proc *p, const struct mig_action *a)
{
	struct owner_seen o = { .owner = MIG_OWNER_NONE };
	struct err e = ERR_INIT;
	int rc = owner_look(p->data_dir, a->msg.vm, &o, &e);

	/* Another VM has the name by now: its record says nothing of this one. */
	if (o.owner != MIG_OWNER_NONE && strcasecmp(o.uuid, a->msg.uuid))
		o = (struct owner_seen){ .owner = MIG_OWNER_NONE };

	snprintf(p->session.vm, sizeof(p->session.vm), "%s", a->msg.vm);
	snprintf(p->domd_path, sizeof(p->domd_path), DOMD_SOCKET_FMT, p->run_dir, a->msg.vm);
	proc_event(p, &(struct mig_event){
		.kind = MIG_EV_DONE, .act = MIG_ACT_LOOK, .err = rc < 0 ? &e : NULL,
		.owner = o.owner, .owner_session = o.session, .generation = o.generation,
		.other_peer = strcmp(o.peer, p->peer) != 0 });
}

/* hvdomd announces the guest's addresses right after it unpaused it; there is nothing to wait for here. */
static void act_announce(struct proc *p, const struct mig_action *a)
{
	(void)a;
	proc_done(p, MIG_ACT_ANNOUNCE, NULL);
}

/* ---- bodies ---- */

static json_t *body(struct proc *p, enum mig_type type)
{
	struct receiver *r = p->own;

	switch ((int)type) {
	case MIG_REFUSE:
		return json_pack("{s:O}", "problems", p->report.problems);
	case MIG_READY:
		return json_pack("{s:O}", "ms", r->ready_ms ? r->ready_ms : p->report.target);
	case MIG_TAKEN:
		return json_pack("{s:O, s:I}", "ms", r->taken_ms ? r->taken_ms : p->report.target, "real_ms",
				 (json_int_t)clock_real_ms());
	default:
		return NULL;
	}
}

static void seen(struct proc *p, const struct mig_msg *m)
{
	struct receiver *r = p->own;
	struct err e = ERR_INIT;

	if (m->type == MIG_STREAM_END)
		report_mark(&p->report, MARK_SENT, clock_mono_ms());
	if (m->type == MIG_OFFER && !r->offer &&
	    js_parse((const char *)m->body.p, m->body.len, &r->offer, &e) < 0)
		log_fail(&e, "OFFER of %s", p->peer);
}

static void receiver_fini(struct proc *p)
{
	struct receiver *r = p->own;

	stop_loading(r);
	fd_close(&r->alive_fd);
	ctl_client_free(r->hvapid);
	json_decref(r->offer);
	json_decref(r->ready_ms);
	json_decref(r->taken_ms);
}

static const struct proc_role role = {
	.role = MIG_ROLE_RECV,
	.act = {
		[MIG_ACT_CHECK] = act_check,
		[MIG_ACT_START_RECEIVE] = act_start_receive,
		[MIG_ACT_END_STREAM] = act_end_stream,
		[MIG_ACT_TAKE] = act_take,
		[MIG_ACT_REFUSE] = act_refuse,
		[MIG_ACT_LOOK] = act_look,
		[MIG_ACT_ANNOUNCE] = act_announce,
	},
	.body = body,
	.seen = seen,
	.data = data,
	.unlink = unlink_loader,
	.fini = receiver_fini,
};

int recv_run(struct loop *loop, const struct recv_setup *set)
{
	struct receiver r = { .set = set, .alive_fd = -1 };
	struct proc p = { 0 };
	struct session_params q = {
		.codecs = BIT(CODEC_NONE) | BIT(CODEC_ZLIB) | BIT(CODEC_ZSTD), .streams_max = 1,
		.policy = policy_defaults(),
	};
	struct proc_setup ps = {
		.run_dir = set->run_dir, .data_dir = set->data_dir, .session = set->unit, .peer = set->peer,
		.link_fd = set->link_fd,
	};
	struct err e = ERR_INIT;
	int rc = 1;

	if (proc_init(&p, loop, &role, &r, &ps, &q, &e) < 0) {
		log_fail(&e, "receive %s", set->unit);
	} else {
		proc_start(&p, &(struct mig_event){ .kind = MIG_EV_START });
		rc = loop_run(loop);
	}
	proc_fini(&p);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Actions of the source.  hvdomd owns the domain; what is done here with Xen
 * is reading its memory.
 */
#include "migrate/send.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "base/record.h"
#include "domd/domd_ctl.h"
#include "migrate/owner.h"
#include "migrate/proc.h"

enum { CACHE_PAGES_DEFAULT = 1 << 16 };

struct sender {
	const struct send_setup *set;
	struct saver *saver;
	struct saver_xen xen;
	json_t *vm;			/* the running configuration, from hvdomd */
	uint32_t domid;
	uint64_t generation;
	uint32_t cache_pages;
	int alive_fd;			/* hvdomd holds the other end: our death resumes the guest */
	bool check_only;
	uint64_t rate_bytes_s;
};

static json_t *with_session(struct proc *p)
{
	return json_pack("{s:s}", "session", p->session.session);
}

/* ---- giving ---- */

static int take_begin(struct sender *s, const json_t *ok, struct err *e)
{
	uint64_t domid;
	json_t *config;

	if (js_obj(ok, "config", &config, e) < 0 || js_u64(ok, "domid", UINT32_MAX, &domid, e) < 0 ||
	    js_u64(ok, "generation", INT64_MAX, &s->generation, e) < 0)
		return -1;
	s->domid = (uint32_t)domid;
	json_decref(s->vm);
	s->vm = json_incref(config);
	return s->set->make_xen(s->domid, &s->xen, e);
}

static void begin_answered(void *arg, const json_t *ok, const struct err *bad)
{
	struct proc *p = arg;
	struct sender *s = p->own;
	struct err e = ERR_INIT;
	struct mig_event ev = { .kind = MIG_EV_DONE, .act = MIG_ACT_GIVE_BEGIN };

	if (bad)
		e = *bad;
	else if (take_begin(s, ok, &e) == 0) {
		ev.vm = json_string_value(json_object_get(s->vm, "name"));
		ev.uuid = json_string_value(json_object_get(s->vm, "uuid"));
		ev.generation = s->generation;
		if (!ev.vm || !ev.uuid)
			err_set(&e, ERR_INTERNAL, "hvdomd gave a configuration without name or uuid");
	}
	ev.err = e.code == ERR_NONE ? NULL : &e;
	proc_event(p, &ev);
}

static void act_give_begin(struct proc *p, const struct mig_action *a)
{
	struct sender *s = p->own;
	struct err e = ERR_INIT;
	int pair[2];

	(void)a;
	if (fd_pair(pair, &e) < 0) {
		proc_done(p, MIG_ACT_GIVE_BEGIN, &e);
		return;
	}
	fd_close(&s->alive_fd);
	s->alive_fd = pair[0];
	proc_domd(p, DOMD_GIVE_BEGIN, json_pack("{s:s, s:s}", "session", p->session.session, "peer", p->peer),
		  &pair[1], 1, begin_answered);
	fd_close(&pair[1]);
}

PROC_ANSWER(throttle_answered, MIG_ACT_THROTTLE)
PROC_ANSWER(commit_answered, MIG_ACT_GIVE_COMMIT)
PROC_ANSWER(done_answered, MIG_ACT_GIVE_DONE)
PROC_ANSWER(abort_answered, MIG_ACT_GIVE_ABORT)

static void act_throttle(struct proc *p, const struct mig_action *a)
{
	if (!p->report.lowest_cap || a->cap_percent < p->report.lowest_cap)
		p->report.lowest_cap = a->cap_percent;
	proc_domd(p, DOMD_THROTTLE, json_pack("{s:s, s:i}", "session", p->session.session, "cap", (int)a->cap_percent),
		  NULL, 0, throttle_answered);
}

static void act_give_commit(struct proc *p, const struct mig_action *a)
{
	(void)a;
	proc_domd(p, DOMD_GIVE_COMMIT, with_session(p), NULL, 0, commit_answered);
}

static void act_give_done(struct proc *p, const struct mig_action *a)
{
	(void)a;
	report_mark(&p->report, MARK_TAKEN, clock_mono_ms());
	proc_domd(p, DOMD_GIVE_DONE, with_session(p), NULL, 0, done_answered);
}

static void act_give_abort(struct proc *p, const struct mig_action *a)
{
	json_t *args = with_session(p);

	if (a->not_taken)
		json_object_set_new(args, "not_taken", json_true());
	proc_domd(p, DOMD_GIVE_ABORT, args, NULL, 0, abort_answered);
}

/* ---- the stream ---- */

static void on_progress(void *arg, const struct saver_facts *f)
{
	struct proc *p = arg;

	p->report.counts = f->counts;
	proc_progress(p);
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_STREAM_PROGRESS });
}

static void on_round(void *arg, const struct policy_round *r, const struct saver_facts *f)
{
	struct proc *p = arg;

	p->report.counts = f->counts;
	report_round(&p->report, r);
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_STREAM_ROUND, .round = *r });
	proc_progress(p);
}

static void on_suspended(void *arg, uint64_t suspend_ms)
{
	struct proc *p = arg;
	uint64_t now = clock_mono_ms();

	report_mark(&p->report, MARK_SUSPENDING, now - suspend_ms);
	report_mark(&p->report, MARK_SUSPENDED, now);
	proc_event(p, &(struct mig_event){ .kind = MIG_EV_STREAM_SUSPENDED });
}

static void on_saved(void *arg, const struct saver_facts *f, uint64_t raw_bytes, uint64_t sum)
{
	struct proc *p = arg;

	p->report.counts = f->counts;
	report_mark(&p->report, MARK_SENT, clock_mono_ms());
	proc_event(p, &(struct mig_event){
		.kind = MIG_EV_STREAM_DONE, .batches = f->batches, .raw_bytes = raw_bytes, .sum = sum });
}

static void on_failed(void *arg, const struct err *why)
{
	proc_event(arg, &(struct mig_event){ .kind = MIG_EV_STREAM_FAILED, .err = why });
}

static void on_stopped(void *arg)
{
	proc_done(arg, MIG_ACT_STOP_STREAM, NULL);
}

static const struct saver_ops saver_ops = { on_progress, on_round, on_suspended, on_saved, on_failed, on_stopped };

static void act_start_stream(struct proc *p, const struct mig_action *a)
{
	struct sender *s = p->own;
	struct err e = ERR_INIT;

	mig_link_set_rate(p->link, s->rate_bytes_s);
	if (saver_new(p->loop, p->link, &s->xen, a->codec, s->cache_pages, &saver_ops, p, &s->saver, &e) < 0)
		proc_event(p, &(struct mig_event){ .kind = MIG_EV_STREAM_FAILED, .err = &e });
}

static void act_continue(struct proc *p, const struct mig_action *a)
{
	struct sender *s = p->own;

	(void)a;
	saver_answer(s->saver, SAVER_CONTINUE);
}

static void act_request_stop(struct proc *p, const struct mig_action *a)
{
	struct sender *s = p->own;

	(void)a;
	saver_answer(s->saver, SAVER_STOP);
}

static void act_stop_stream(struct proc *p, const struct mig_action *a)
{
	struct sender *s = p->own;

	(void)a;
	if (s->saver)
		saver_stop(s->saver);
	else
		proc_done(p, MIG_ACT_STOP_STREAM, NULL);
}

/* ---- bodies ---- */

/* A page cache for the whole guest, up to a limit. */
static uint32_t cache_for(const json_t *vm)
{
	uint64_t pages = (uint64_t)json_integer_value(json_object_get(vm, "memory_mib")) << 8;
	uint32_t slots = 1024;

	while (slots < pages && slots < CACHE_PAGES_DEFAULT)
		slots *= 2;
	return slots;
}

static json_t *offer_body(struct proc *p)
{
	struct sender *s = p->own;
	struct err e = ERR_INIT;
	json_t *o = s->set->offer_facts(s->vm, s->domid, &e);

	if (!o) {
		log_fail(&e, "session %s: facts of this host for the offer", p->session.session);
		o = json_object();
	}
	s->cache_pages = cache_for(s->vm);
	json_object_set_new(o, "check_only", json_boolean(s->check_only));
	json_object_set(o, "vm", s->vm);
	json_object_set(o, "uuid", json_object_get(s->vm, "uuid"));
	json_object_set_new(o, "generation", json_integer((json_int_t)s->generation));
	json_object_set_new(o, "cache_pages", json_integer(s->cache_pages));
	return o;
}

static json_t *body(struct proc *p, enum mig_type type)
{
	if (type == MIG_COMMIT)
		report_mark(&p->report, MARK_COMMITTED, clock_mono_ms());
	return type == MIG_OFFER ? offer_body(p) : NULL;
}

static void seen(struct proc *p, const struct mig_msg *m)
{
	AUTO_JSON json_t *o = NULL;
	struct err e = ERR_INIT;

	if (m->type == MIG_READY)
		report_mark(&p->report, MARK_READY, clock_mono_ms());
	if (m->type == MIG_TAKEN)
		report_mark(&p->report, MARK_TAKEN, clock_mono_ms());
	if (m->type != MIG_READY && m->type != MIG_TAKEN && m->type != MIG_REFUSE)
		return;
	if (js_parse((const char *)m->body.p, m->body.len, &o, &e) < 0)
		return;
	report_target(&p->report, o);
	json_t *problems = json_object_get(o, "problems");

	if (json_is_array(problems))
		json_array_extend(p->report.problems, problems);
}

static void sender_fini(struct proc *p)
{
	struct sender *s = p->own;

	if (s->saver && !saver_ended(s->saver))
		p->link = NULL;		/* a save that hangs in Xen still uses both; they go with the process */
	else
		saver_free(s->saver);
	json_decref(s->vm);
	fd_close(&s->alive_fd);
}

static const struct proc_role role = {
	.role = MIG_ROLE_SEND,
	.act = {
		[MIG_ACT_GIVE_BEGIN] = act_give_begin,
		[MIG_ACT_THROTTLE] = act_throttle,
		[MIG_ACT_GIVE_COMMIT] = act_give_commit,
		[MIG_ACT_GIVE_DONE] = act_give_done,
		[MIG_ACT_GIVE_ABORT] = act_give_abort,
		[MIG_ACT_START_STREAM] = act_start_stream,
		[MIG_ACT_CONTINUE] = act_continue,
		[MIG_ACT_REQUEST_STOP] = act_request_stop,
		[MIG_ACT_STOP_STREAM] = act_stop_stream,
	},
	.body = body,
	.seen = seen,
	.fini = sender_fini,
};

/* ---- start ---- */

static int codecs_of(const char *compress, uint16_t *out, struct err *e)
{
	static const struct {
		const char *name;
		uint16_t codecs;
	} known[] = {
		{ "auto", BIT(CODEC_NONE) | BIT(CODEC_ZLIB) | BIT(CODEC_ZSTD) },
		{ "none", BIT(CODEC_NONE) },
		{ "zlib", BIT(CODEC_ZLIB) },
		{ "zstd", BIT(CODEC_ZSTD) },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (!strcmp(known[i].name, compress)) {
			*out = known[i].codecs;
			return 0;
		}
	}
	return err_set(e, ERR_USAGE, "compress '%s' is not auto, none, zlib or zstd", compress);
}

static int read_spec(const json_t *spec, struct sender *s, struct session_params *q, struct err *e)
{
	const char *compress = "auto", *on_stall = NULL;
	uint64_t downtime = POLICY_DOWNTIME_MS_DEFAULT, rounds = POLICY_ROUNDS_DEFAULT;

	q->policy = policy_defaults();
	if (js_opt_text(spec, "compress", &compress, e) < 0 || js_opt_text(spec, "on_stall", &on_stall, e) < 0 ||
	    js_opt_u64(spec, "max_downtime_ms", POLICY_DOWNTIME_MS_MAX, &downtime, e) < 0 ||
	    js_opt_u64(spec, "max_rounds", POLICY_ROUNDS_LIMIT, &rounds, e) < 0 ||
	    js_opt_u64(spec, "rate_bytes_s", INT64_MAX, &s->rate_bytes_s, e) < 0 ||
	    js_opt_bool(spec, "check_only", &q->check_only, e) < 0 || js_opt_bool(spec, "resume", &q->resolve, e) < 0 ||
	    js_text(spec, "vm", &q->vm, e) < 0 || js_text(spec, "uuid", &q->uuid, e) < 0 ||
	    codecs_of(compress, &q->codecs, e) < 0)
		return -1;
	if (on_stall && policy_on_stall_parse(on_stall, &q->policy.on_stall, e) < 0)
		return -1;
	q->policy.max_downtime_ms = (uint32_t)downtime;
	q->policy.max_rounds = (uint32_t)rounds;
	q->streams_max = 1;
	s->check_only = q->check_only;
	return 0;
}

/* The first event: for a resolve, what the record says. */
static int start_event(struct proc *p, bool resolve, const char *vm, struct mig_event *ev, struct err *e)
{
	struct owner_seen o = { .owner = MIG_OWNER_NONE };

	*ev = (struct mig_event){ .kind = MIG_EV_START };
	if (!resolve)
		return 0;
	if (owner_look(p->data_dir, vm, &o, e) < 0)
		return -1;
	if (o.owner == MIG_OWNER_IN_DOUBT && strcmp(o.session, p->name))
		return err_set(e, ERR_STATE, "'%s' is in doubt in session %s, not in %s", vm, o.session, p->name);
	ev->owner = o.owner;
	ev->generation = o.generation;
	return 0;
}

static int setup(struct proc *p, struct loop *loop, struct sender *s, const struct send_setup *set,
		 struct mig_event *start, struct err *e)
{
	struct session_params q = { .session = set->session };
	struct proc_setup ps = {
		.run_dir = set->run_dir, .data_dir = set->data_dir, .session = set->session, .link_fd = set->link_fd,
	};

	if (read_spec(set->spec, s, &q, e) < 0 || js_text(set->spec, "peer", &ps.peer, e) < 0 ||
	    js_text(set->spec, "domd", &ps.domd_path, e) < 0 || js_text(set->spec, "address", &ps.address, e) < 0)
		return err_wrap(e, "spec");
	if (proc_init(p, loop, &role, s, &ps, &q, e) < 0)
		return -1;
	return start_event(p, q.resolve, q.vm, start, e);
}

int send_run(struct loop *loop, const struct send_setup *set)
{
	struct sender s = { .set = set, .alive_fd = -1 };
	struct proc p = { 0 };
	struct mig_event start;
	struct err e = ERR_INIT;
	int rc = 1;

	if (setup(&p, loop, &s, set, &start, &e) < 0) {
		log_fail(&e, "send session %s", set->session);
	} else {
		proc_start(&p, &start);
		rc = loop_run(loop);
	}
	proc_fini(&p);
	return rc;
}

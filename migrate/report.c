/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members that are not known are left out rather than filled with zeros, so a
 * reader can tell "none" from "not measured".
 */
#include "migrate/report.h"

#include "base/js.h"
#include "migrate/stream/press.h"

void report_init(struct report *r, uint64_t now_ms)
{
	*r = (struct report){ .started_ms = now_ms, .state = "starting" };
	r->round_log = json_array();
	r->target = json_object();
	r->problems = json_array();
}

void report_fini(struct report *r)
{
	json_decref(r->round_log);
	json_decref(r->target);
	json_decref(r->problems);
	r->round_log = r->target = r->problems = NULL;
}

void report_mark(struct report *r, enum report_mark m, uint64_t now_ms)
{
	if (!r->mark_ms[m])
		r->mark_ms[m] = now_ms;
}

static void put(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

void report_round(struct report *r, const struct policy_round *round)
{
	json_t *row = json_object();

	put(row, "round", round->number);
	put(row, "pages", round->sent_pages);
	put(row, "wire_bytes", round->wire_bytes);
	put(row, "ms", round->duration_ms);
	put(row, "left_pages", round->left_pages);
	if (json_array_size(r->round_log) < REPORT_ROUNDS_MAX)
		json_array_append(r->round_log, row);
	json_decref(row);
	if (!round->number)
		r->first_pages = round->sent_pages;
	r->round = round->number + 1;
}

void report_target(struct report *r, const json_t *said)
{
	json_t *ms = json_object_get(said, "ms");

	if (json_is_object(ms))
		json_object_update(r->target, ms);
}

static uint64_t pages_of(const struct codec_counts *c)
{
	return c->pages[PAGE_ZERO] + c->pages[PAGE_FULL] + c->pages[PAGE_DELTA];
}

static void put_counts(json_t *o, const struct report *r)
{
	put(o, "pages", pages_of(&r->counts));
	put(o, "raw_bytes", r->counts.raw_bytes);
	put(o, "wire_bytes", r->counts.wire_bytes);
}

/* A guess that only grows: what is left of a first copy, then of the rounds. */
static double percent(const struct report *r, const struct policy *p)
{
	if (r->mark_ms[MARK_SENT])
		return 100;
	if (!p->seen || !r->first_pages)
		return 0;
	double left = (double)p->left_bytes / ((double)r->first_pages * PAGE_BYTES);

	return left > 1 ? 0 : 100 * (1 - left);
}

json_t *report_progress(const struct report *r, const struct policy *p)
{
	json_t *o = json_pack("{s:s}", "state", r->state);

	put_counts(o, r);
	put(o, "round", r->round);
	json_object_set_new(o, "percent", json_integer((json_int_t)percent(r, p)));
	if (!p->seen)
		return o;
	put(o, "left_pages", p->left_bytes / PAGE_BYTES);
	put(o, "left_bytes", p->left_bytes);
	put(o, "rate_bytes_s", p->rate_bytes_s);
	put(o, "dirty_bytes_s", p->dirty_bytes_s);
	put(o, "predicted_downtime_ms", p->predicted_ms);
	put(o, "throttle_percent", p->cap_percent);
	return o;
}

static void put_span(json_t *o, const char *key, const struct report *r, enum report_mark from, enum report_mark to)
{
	if (r->mark_ms[from] && r->mark_ms[to])
		put(o, key, r->mark_ms[to] - r->mark_ms[from]);
}

static json_t *phases(const struct report *r)
{
	json_t *o = json_object();

	put_span(o, "suspend_ms", r, MARK_SUSPENDING, MARK_SUSPENDED);
	put_span(o, "rest_ms", r, MARK_SUSPENDED, MARK_SENT);
	put_span(o, "ready_ms", r, MARK_SENT, MARK_READY);
	put_span(o, "commit_ms", r, MARK_READY, MARK_COMMITTED);
	put_span(o, "take_ms", r, MARK_COMMITTED, MARK_TAKEN);
	return o;
}

json_t *report_final(const struct report *r, const struct session *s, enum mig_done outcome, const struct err *why,
		     uint64_t now_ms)
{
	static const char *const outcomes[] = {
		[MIG_DONE_MOVED] = "moved", [MIG_DONE_ABORTED] = "aborted", [MIG_DONE_CHECKED] = "checked",
		[MIG_DONE_ANSWERED] = "answered", [MIG_DONE_UNKNOWN] = "unknown",
	};
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:o, s:O, s:O, s:o, s:O, s:s}", "session", s->session,
			      "role", s->role == MIG_ROLE_SEND ? "send" : "receive", "vm", s->vm,
			      "outcome", outcomes[outcome],
			      "error", why && why->code != ERR_NONE ? js_from_err(why) : json_null(),
			      "problems", r->problems, "round_log", r->round_log, "phases", phases(r),
			      "target", r->target, "codec", press_name(s->codec));

	put(o, "total_ms", now_ms - r->started_ms);
	put(o, "rounds", r->round);
	put(o, "throttle_percent", r->lowest_cap);
	put_counts(o, r);
	put_span(o, "downtime_ms", r, MARK_SUSPENDED, MARK_TAKEN);
	return o;
}

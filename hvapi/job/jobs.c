/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs: rows and active objects.  Progress is written at most every
 * JOB_SAVE_MS; states at once.
 */
#include "hvapi/job/jobs.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "base/loop.h"
#include "hvapi/event/events.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/kinds.h"

struct job_watch {
	struct jobs *js;
	int64_t id;
	void (*fn)(void *arg, const struct job *j);
	void *arg;
	struct job_watch *next;
};

struct jobs {
	struct hvapid *h;
	struct store *store;
	struct job *first;		/* active */
	struct job_watch *watches;
	struct loop_timer *kick;
};

static const char *const states[JOB_STATE_N] = { "queued", "running", "in-doubt", "done", "failed", "cancelled" };

#define ROW "id, kind, vm, who, state, session, spec, progress, result, error, created_ms, started_ms, ended_ms"

/* ---- one job ---- */

bool job_over(const struct job *j)
{
	return j->state >= JOB_DONE;
}

struct job *job_hold(struct job *j)
{
	j->refs++;
	return j;
}

void job_put(struct job *j)
{
	if (--j->refs)
		return;
	if (j->kind->fini)
		j->kind->fini(j);
	json_decref(j->spec);
	json_decref(j->progress);
	json_decref(j->result);
	json_decref(j->error);
	free(j);
}

static json_t *or_null(json_t *v)
{
	return v ? json_incref(v) : json_null();
}

json_t *job_json(const struct job *j)
{
	json_t *o =
		json_pack("{so ss ss ss ss so so so sI sI sI}", "id", json_sprintf("%lld", (long long)j->id),
			  "kind", j->kind->name, "vm", j->vm, "who", j->who, "state", states[j->state], "progress",
			  j->progress ? json_incref(j->progress) : json_object(), "result", or_null(j->result),
			  "error", or_null(j->error), "created_ms", (json_int_t)j->created_ms, "started_ms",
			  (json_int_t)j->started_ms, "ended_ms", (json_int_t)j->ended_ms);
	json_t *peer = json_object_get(j->spec, "peer");

	if (peer)
		json_object_set(o, "peer", peer);
	return o;
}

static void save(struct job *j)
{
	struct err e = ERR_INIT;

	j->saved_ms = clock_mono_ms();
	if (store_run(j->h->store, &e,
		      "UPDATE jobs SET state = ?, session = ?, progress = ?, result = ?, error = ?, "
		      "started_ms = ?, ended_ms = ? WHERE id = ?",
		      "ssjjjiii", states[j->state], j->session, j->progress, j->result, j->error,
		      (int64_t)j->started_ms, (int64_t)j->ended_ms, j->id) < 0)
		log_fail(&e, "job %lld is not recorded", (long long)j->id);
}

static void tell(struct job *j)
{
	for (struct job_watch *w = j->h->jobs->watches, *next; w; w = next) {
		next = w->next;
		if (w->id == j->id)
			w->fn(w->arg, j);
	}
}

void job_progress(struct job *j, json_t *progress)
{
	json_decref(j->progress);
	j->progress = progress;
	if (job_over(j))
		return;
	if (clock_mono_ms() - j->saved_ms >= JOB_SAVE_MS)
		save(j);
	tell(j);
}

/* The only function that ends a job. */
static void end(struct job *j, enum job_state state)
{
	struct job **at = &j->h->jobs->first;
	struct events *ev = j->h->events;

	if (job_over(j))
		return;
	j->state = state;
	j->ended_ms = clock_real_ms();
	save(j);
	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	events_add(ev, "job.ended", j->vm, j->id,
		   json_pack("{ss ss sO*}", "kind", j->kind->name, "state", states[state], "error", j->error),
		   "%s of %s: %s%s%s", j->kind->name, j->vm, states[state], j->error ? ": " : "",
		   js_get_text(j->error, "detail"));
	tell(j);
	loop_timer_set(j->h->jobs->kick, 0, 0);
	job_put(j);
}

void job_done(struct job *j, json_t *result)
{
	if (job_over(j)) {
		json_decref(result);
		return;
	}
	json_decref(j->result);
	j->result = result;
	json_decref(j->error);
	j->error = NULL;
	end(j, JOB_DONE);
}

static void set_error(struct job *j, const struct err *e, const json_t *problems)
{
	json_decref(j->error);
	j->error = js_from_err(e);
	if (problems && json_array_size(problems))
		json_object_set_new(j->error, "problems", json_deep_copy(problems));
}

void job_fail(struct job *j, const struct err *e, const json_t *problems)
{
	if (job_over(j))
		return;
	set_error(j, e, problems);
	end(j, e->code == ERR_CANCELLED ? JOB_CANCELLED : JOB_FAILED);
}

void job_in_doubt(struct job *j, const struct err *e)
{
	if (j->state != JOB_RUNNING)
		return;
	set_error(j, e, NULL);
	j->state = JOB_IN_DOUBT;
	save(j);
	events_add(j->h->events, "job.in-doubt", j->vm, j->id, NULL, "%s of %s is in doubt: %s", j->kind->name,
		   j->vm, e->detail);
	tell(j);
}

int job_cancel(struct job *j, struct err *e)
{
	if (j->state == JOB_IN_DOUBT) {
		err_set(e, ERR_IN_DOUBT, "the move of '%s' is in doubt and cannot be cancelled", j->vm);
		return err_remedy(e, "POST /v1/vms/%s/resolve ends the doubt", j->vm);
	}
	if (j->state == JOB_QUEUED) {
		struct err why = ERR_INIT;

		err_set(&why, ERR_CANCELLED, "cancelled before it began");
		job_fail(j, &why, NULL);
		return 0;
	}
	if (j->kind->cancel(j, e) < 0)
		return -1;
	j->cancelling = true;
	return 0;
}

/* ---- all of them ---- */

struct job *jobs_of_vm(struct jobs *js, const char *vm)
{
	struct job *j = js->first;

	while (j && strcmp(j->vm, vm))
		j = j->next;
	return j;
}

struct job *jobs_of_session(struct jobs *js, const char *session)
{
	struct job *j = js->first;

	while (j && strcmp(j->session, session))
		j = j->next;
	return j;
}

struct job *jobs_active(struct jobs *js, int64_t id)
{
	struct job *j = js->first;

	while (j && j->id != id)
		j = j->next;
	return j;
}

unsigned jobs_count_active(const struct jobs *js)
{
	unsigned n = 0;

	for (const struct job *j = js->first; j; j = j->next)
		n++;
	return n;
}

static void run(struct job *j)
{
	j->state = JOB_RUNNING;
	j->started_ms = clock_real_ms();
	save(j);
	events_add(j->h->events, "job.started", j->vm, j->id, NULL, "%s of %s", j->kind->name, j->vm);
	tell(j);
	j->kind->start(j);
}

/* Starts what is queued; of the limited kinds only so many at a time, oldest first. */
static void start_queued(void *arg)
{
	struct jobs *js = arg;
	unsigned busy = 0;

	for (struct job *j = js->first; j; j = j->next)
		busy += j->kind->limited && j->state == JOB_RUNNING;
	for (struct job *j = js->first, *next; j; j = next) {
		next = j->next;
		if (j->state != JOB_QUEUED || (j->kind->limited && busy >= JOBS_STARTING_MAX))
			continue;
		busy += j->kind->limited;
		run(j);
		/* The list may have changed: begin again. */
		loop_timer_set(js->kick, 0, 0);
		return;
	}
}

static struct job *job_new(struct hvapid *h, const struct job_kind *kind, int64_t id)
{
	struct job *j = mem_alloc(sizeof(*j));

	*j = (struct job){ .h = h, .kind = kind, .id = id, .refs = 1 };
	return j;
}

static void append(struct jobs *js, struct job *j)
{
	struct job **at = &js->first;

	while (*at)
		at = &(*at)->next;
	*at = j;
}

static void set_text(char out[JOB_TEXT_BYTES], const char *s)
{
	size_t n = strnlen(s, JOB_TEXT_BYTES - 1);

	memcpy(out, s, n);
	out[n] = '\0';
}

int jobs_add(struct jobs *js, const struct job_kind *kind, const char *vm, const char *who, const char *session,
	     const json_t *spec, struct job **out, struct err *e)
{
	struct job *held = jobs_of_vm(js, vm), *j;
	uint64_t now = clock_real_ms();

	if (held) {
		err_set(e, ERR_BUSY, "job %lld (%s, %s) holds VM '%s'", (long long)held->id, held->kind->name,
			states[held->state], vm);
		return err_remedy(e, "wait for it, or cancel it: DELETE /v1/jobs/%lld", (long long)held->id);
	}
	if (store_run(js->store, e,
		      "INSERT INTO jobs(kind, vm, who, state, session, spec, created_ms, started_ms, ended_ms) "
		      "VALUES(?, ?, ?, 'queued', ?, ?, ?, 0, 0)",
		      "ssssji", kind->name, vm, who, session, spec, (int64_t)now) < 0)
		return -1;
	j = job_new(js->h, kind, store_last_id(js->store));
	set_text(j->vm, vm);
	set_text(j->who, who);
	set_text(j->session, session);
	j->spec = json_deep_copy(spec);
	j->created_ms = now;
	append(js, j);
	if (j->id % 64 == 0 && store_run(js->store, e, "DELETE FROM jobs WHERE ended_ms > 0 AND id <= ?", "i",
					 j->id - JOBS_ROWS_MAX) < 0)
		log_fail(e, "old jobs stay");
	loop_timer_set(js->kick, 0, 0);
	*out = j;
	return 0;
}

static const struct job_kind *kind_of(const char *name)
{
	for (size_t i = 0; job_kinds[i]; i++)
		if (!strcmp(job_kinds[i]->name, name))
			return job_kinds[i];
	return NULL;
}

static json_t *col_json(sqlite3_stmt *row, int col)
{
	const char *s = store_text(row, col);

	return *s ? json_loads(s, JSON_DECODE_ANY, NULL) : NULL;
}

/* A row as an object; NULL for a kind this version does not have. */
static struct job *load(struct hvapid *h, sqlite3_stmt *row)
{
	const struct job_kind *kind = kind_of(store_text(row, 1));
	struct job *j;

	if (!kind)
		return NULL;
	j = job_new(h, kind, store_i64(row, 0));
	set_text(j->vm, store_text(row, 2));
	set_text(j->who, store_text(row, 3));
	for (enum job_state s = JOB_QUEUED; s < JOB_STATE_N; s++)
		if (!strcmp(states[s], store_text(row, 4)))
			j->state = s;
	set_text(j->session, store_text(row, 5));
	j->spec = col_json(row, 6);
	j->progress = col_json(row, 7);
	j->result = col_json(row, 8);
	j->error = col_json(row, 9);
	j->created_ms = (uint64_t)store_i64(row, 10);
	j->started_ms = (uint64_t)store_i64(row, 11);
	j->ended_ms = (uint64_t)store_i64(row, 12);
	return j;
}

static int load_active(void *arg, sqlite3_stmt *row)
{
	struct jobs *js = arg;
	struct job *j = load(js->h, row);

	if (j)
		append(js, j);
	return 0;
}

int jobs_open(struct hvapid *h, struct store *s, struct jobs **out, struct err *e)
{
	struct jobs *js = mem_alloc(sizeof(*js));

	js->h = h;
	js->store = s;
	js->kick = loop_timer_new(h->loop, start_queued, js);
	if (store_each(s, load_active, js, e, "SELECT " ROW " FROM jobs WHERE ended_ms = 0 ORDER BY id", "") < 0) {
		jobs_stop(js);
		jobs_free(js);
		return -1;
	}
	*out = js;
	return 0;
}

int jobs_resume(struct jobs *js, struct err *e)
{
	(void)e;
	for (struct job *j = js->first, *next; j; j = next) {
		next = j->next;
		if (j->state == JOB_QUEUED)
			continue;
		j->resumed = true;
		log_info("job %lld (%s of %s) goes on", (long long)j->id, j->kind->name, j->vm);
		job_hold(j);
		(j->kind->resume ? j->kind->resume : j->kind->start)(j);
		job_put(j);
	}
	loop_timer_set(js->kick, 0, 0);
	return 0;
}

void jobs_stop(struct jobs *js)
{
	struct job *j;

	if (!js)
		return;
	while ((j = js->first) != NULL) {
		js->first = j->next;
		save(j);
		j->state = JOB_CANCELLED;	/* here only, not in the row */
		job_put(j);
	}
	loop_timer_stop(js->kick);
}

void jobs_free(struct jobs *js)
{
	if (!js)
		return;
	while (js->watches) {
		struct job_watch *w = js->watches;

		jobs_unwatch(&w);
	}
	loop_timer_free(&js->kick);
	free(js);
}

static int take_row(void *arg, sqlite3_stmt *row)
{
	struct { struct jobs *js; json_t *list; } *a = arg;
	struct job *live = jobs_active(a->js, store_i64(row, 0)), *j = live ? job_hold(live) : load(a->js->h, row);

	if (!j)
		return 0;
	json_array_append_new(a->list, job_json(j));
	/* A loaded one never ran: nothing of its kind to free. */
	if (!live)
		j->run = NULL;
	job_put(j);
	return 0;
}

int jobs_json(struct jobs *js, int64_t id, json_t **out, struct err *e)
{
	AUTO_JSON json_t *list = json_array();
	struct { struct jobs *js; json_t *list; } a = { js, list };

	if (store_each(js->store, take_row, &a, e, "SELECT " ROW " FROM jobs WHERE id = ?", "i", id) < 0)
		return -1;
	if (!json_array_size(list)) {
		err_set(e, ERR_NOT_FOUND, "there is no job %lld", (long long)id);
		return err_remedy(e, "GET /v1/jobs lists them; the oldest are forgotten");
	}
	*out = json_incref(json_array_get(list, 0));
	return 0;
}

int jobs_list(struct jobs *js, const char *vm, const char *state, const char *kind, uint64_t limit, json_t **out,
	      struct err *e)
{
	AUTO_JSON json_t *list = json_array();
	struct { struct jobs *js; json_t *list; } a = { js, list };

	if (store_each(js->store, take_row, &a, e, "SELECT " ROW " FROM jobs WHERE (?1 IS NULL OR vm = ?1) AND "
		       "(?2 IS NULL OR state = ?2 OR (?2 = 'active' AND ended_ms = 0)) AND (?3 IS NULL OR kind = ?3) "
		       "ORDER BY id DESC LIMIT ?4", "sssi", vm, state, kind, (int64_t)limit) < 0)
		return -1;
	*out = json_incref(list);
	return 0;
}

void jobs_domd_changed(struct jobs *js, const char *vm)
{
	struct job *j = jobs_of_vm(js, vm);

	if (!j || j->state == JOB_QUEUED || !j->kind->domd)
		return;
	job_hold(j);
	j->kind->domd(j);
	job_put(j);
}

static void ended(struct job *j, bool known)
{
	if (j->state == JOB_QUEUED || !j->kind->unit_ended)
		return;
	job_hold(j);
	j->kind->unit_ended(j, known);
	job_put(j);
}

void jobs_unit_ended(struct jobs *js, const char *session)
{
	struct job *j = jobs_of_session(js, session);

	if (j)
		ended(j, true);
}

void jobs_sessions_known(struct jobs *js, const json_t *running)
{
	for (struct job *j = js->first, *next; j; j = next) {
		bool there = false;
		size_t i;
		json_t *v;

		next = j->next;
		json_array_foreach(running, i, v)
			there = there || !strcmp(json_string_value(v), j->session);
		if (!there && j->session[0])
			ended(j, false);
	}
}

struct job_watch *jobs_watch(struct jobs *js, int64_t id, void (*fn)(void *arg, const struct job *j), void *arg)
{
	struct job_watch *w = mem_alloc(sizeof(*w));

	*w = (struct job_watch){ .js = js, .id = id, .fn = fn, .arg = arg, .next = js->watches };
	js->watches = w;
	return w;
}

void jobs_unwatch(struct job_watch **w)
{
	struct job_watch **at;

	if (!*w)
		return;
	for (at = &(*w)->js->watches; *at != *w; at = &(*at)->next)
		;
	*at = (*w)->next;
	free(*w);
	*w = NULL;
}

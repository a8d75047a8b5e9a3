/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job is followed by the host's stream of its changes, so nothing is polled
 * and a cut connection is simply opened again.
 */
#include "hvapi/cli/job.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/js.h"
#include "hvapi/cli/api.h"
#include "hvapi/cli/cmd.h"
#include "hvapi/cli/out.h"
#include "hvapi/cli/sse.h"

enum {
	BAR_CELLS = 24,
	FOLLOW_TRIES = 40,		/* of a connection that was cut: hvapid starts anew within seconds */
	FOLLOW_WAIT_MS = 500,
};

struct watch {
	struct cli *c;
	json_t *job;			/* as it was last told */
	char line[256];			/* last progress line, so that none is printed twice */
};

static double number_of(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static void put_bar(struct buf *b, double percent)
{
	int full = (int)(percent * BAR_CELLS / 100);

	buf_printf(b, "[");
	for (int i = 0; i < BAR_CELLS; i++)
		buf_printf(b, "%s", i < full ? "#" : ".");
	buf_printf(b, "] ");
}

/* Before the memory is sent a move's figures are all zero and say nothing. */
static bool before_precopy(const char *state)
{
	static const char *const early[] = { "idle", "begin", "hello", "offer" };

	for (size_t i = 0; i < ARRAY_LEN(early); i++)
		if (!strcmp(state, early[i]))
			return true;
	return false;
}

static void describe_move(const json_t *p, struct buf *b)
{
	if (number_of(p, "round") > 0)
		buf_printf(b, "  round %.0f", number_of(p, "round"));
	if (json_object_get(p, "left_pages"))
		buf_printf(b, "  %.0f pages left", number_of(p, "left_pages"));
	if (json_object_get(p, "rate_bytes_s"))
		buf_printf(b, "  %.1f MiB/s", number_of(p, "rate_bytes_s") / (1 << 20));
	if (json_object_get(p, "predicted_downtime_ms"))
		buf_printf(b, "  predicted downtime %.0f ms", number_of(p, "predicted_downtime_ms"));
	if (number_of(p, "throttle_percent") > 0)
		buf_printf(b, "  throttled to %.0f %%", number_of(p, "throttle_percent"));
}

/* "precopy  round 3  412 pages left  21.4 MiB/s  predicted downtime 180 ms" */
static void describe(const struct watch *w, struct buf *b)
{
	const json_t *p = json_object_get(w->job, "progress");
	const char *state = js_get_text(json_object_get(p, "state") ? p : w->job, "state");

	if (w->c->terminal && json_object_get(p, "percent"))
		put_bar(b, number_of(p, "percent"));
	buf_printf(b, "%s", state);
	if (!before_precopy(state))
		describe_move(p, b);
}

static void show(struct watch *w)
{
	AUTO_BUF struct buf b = { 0 };

	if (w->c->json)
		return;
	describe(w, &b);
	if (!strcmp(w->line, (const char *)b.p))
		return;
	snprintf(w->line, sizeof(w->line), "%s", (const char *)b.p);
	if (w->c->terminal)
		fprintf(stderr, "\r\033[K%s", w->line);
	else
		fprintf(stderr, "%s %s: %s\n", js_get_text(w->job, "kind"), js_get_text(w->job, "vm"), w->line);
	fflush(stderr);
}

static bool ended(const json_t *job)
{
	const char *s = js_get_text(job, "state");
	return *s && strcmp(s, "queued") && strcmp(s, "running");
}

static int on_event(void *arg, const json_t *job)
{
	struct watch *w = arg;

	json_decref(w->job);
	w->job = json_deep_copy(job);
	show(w);
	return ended(job);
}

/* The job's own error; its problems go where those of an answer go. */
static int job_error(const struct cli *c, const json_t *job, struct err *e)
{
	const json_t *bad = json_object_get(job, "error");

	api_keep_problems(c->api, bad);
	if (json_is_object(bad))
		js_to_err(bad, e);
	else
		err_set(e, ERR_PEER, "job %s: %s", js_get_text(job, "id"), js_get_text(job, "state"));
	return -1;
}

static void print_result(const struct cli *c, const json_t *job)
{
	static const struct {
		const char *key;
		const char *label;
		const char *unit;
	} lines[] = {
		{ "total_ms", "total time", "ms" },
		{ "downtime_ms", "downtime", "ms" },
		{ "rounds", "rounds", "" },
		{ "pages", "pages sent", "" },
		{ "raw_bytes", "memory stream", "bytes" },
		{ "wire_bytes", "on the wire", "bytes" },
	};
	const json_t *r = json_object_get(job, "result");

	if (c->json) {
		out_json(job);
		return;
	}
	printf("%s %s: %s\n", js_get_text(job, "kind"), js_get_text(job, "vm"), js_get_text(job, "state"));
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		if (json_is_number(json_object_get(r, lines[i].key)))
			printf("  %-16s %.0f %s\n", lines[i].label, number_of(r, lines[i].key), lines[i].unit);
	}
}

/* Follows until the job has ended; *out is its last form.  A connection that is cut is made again: hvapid may be
 * started anew, the job goes on. */
static int follow(struct cli *c, const char *id, json_t **out, struct err *e)
{
	AUTO_FREE char *path = out_path("jobs", id, NULL);
	struct watch w = { .c = c };
	int rc = 0;

	for (unsigned tries = 0; tries < FOLLOW_TRIES; tries++) {
		struct sse events = { .fn = on_event, .arg = &w };

		rc = api_stream(c->api, path, "text/event-stream", sse_bytes, &events, e);
		sse_fini(&events);
		if (w.job && ended(w.job))
			break;
		if (rc < 0 && (e->code != ERR_NET || !w.job))
			break;
		(void)poll(NULL, 0, FOLLOW_WAIT_MS);
	}
	if (c->terminal && !c->json && *w.line)
		fprintf(stderr, "\n");
	if (w.job && ended(w.job)) {
		*e = (struct err)ERR_INIT;
		*out = w.job;
		return 0;
	}
	json_decref(w.job);
	return rc < 0 ? -1 : err_set(e, ERR_NET, "%s does not say how job %s goes on", api_host(c->api), id);
}

int job_wait(struct cli *c, const char *id, json_t **out, struct err *e)
{
	AUTO_JSON json_t *job = NULL;

	if (follow(c, id, &job, e) < 0)
		return -1;
	if (strcmp(js_get_text(job, "state"), "done"))
		return job_error(c, job, e);
	*out = json_incref(job);
	return 0;
}

int job_watch(struct cli *c, const char *id, struct err *e)
{
	AUTO_JSON json_t *job = NULL;

	if (job_wait(c, id, &job, e) < 0)
		return -1;
	print_result(c, job);
	return 0;
}

int job_started(struct cli *c, const json_t *answer, struct err *e)
{
	const json_t *job = json_object_get(answer, "job");
	const char *id = js_get_text(job, "id");

	if (!c->no_wait)
		return job_watch(c, id, e);
	out_done(c, job, "job %s started", id);
	return 0;
}

static const struct table_col job_cols[] = {
	{ "ID", "id", TABLE_TEXT },
	{ "KIND", "kind", TABLE_TEXT },
	{ "VM", "vm", TABLE_TEXT },
	{ "STATE", "state", TABLE_TEXT },
	{ "CREATED", "created_ms", TABLE_TIME_MS },
	{ "BY", "who", TABLE_TEXT },
	{ "ERROR", "error.detail", TABLE_TEXT },
	{ NULL, NULL, TABLE_TEXT },
};

static int list(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "GET", "/v1/jobs", NULL, &answer, e) < 0)
		return -1;
	out_list(c, answer, "jobs", job_cols);
	return 0;
}

static int show_one(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("jobs", argv[0], NULL);
	AUTO_JSON json_t *job = NULL;

	if (api_call(c->api, "GET", path, NULL, &job, e) < 0)
		return -1;
	out_json(job);
	return 0;
}

static int watch_one(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return job_watch(c, argv[0], e);
}

static int cancel(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("jobs", argv[0], NULL);
	AUTO_JSON json_t *answer = NULL;
	struct err ignored = ERR_INIT;
	json_t *job = NULL;

	if (api_call(c->api, "DELETE", path, NULL, &answer, e) < 0)
		return -1;
	if (!c->no_wait && follow(c, argv[0], &job, &ignored) == 0) {
		const char *state = js_get_text(job, "state");

		out_done(c, job, "job %s: %s", argv[0], state);
		json_decref(job);
		return 0;
	}
	out_done(c, answer, "job %s is asked to end", argv[0]);
	return 0;
}

const struct cmd cmds_job[] = {
	{ "job", "list", "", 0, 0, NULL, false, list, "long work of the host, newest first" },
	{ "job", "show", "ID", 1, 1, NULL, false, show_one, "all that is known of a job, as JSON" },
	{ "job", "watch", "ID", 1, 1, NULL, false, watch_one, "follow a job until it ends" },
	{ "job", "cancel", "ID", 1, 1, NULL, false, cancel, "end a job; a move leaves the guest where it was" },
	{ NULL, NULL, NULL, 0, 0, NULL, false, NULL, NULL },
};

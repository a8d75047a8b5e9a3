/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/jobs, and one job as a stream of its changes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "hvapi/api/routes.h"
#include "hvapi/http/sse.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/jobs.h"

void api_jobs_list(struct req *r)
{
	uint64_t limit = 50;
	json_t *list;
	struct err e = ERR_INIT;

	if (req_query_u64(r, "limit", JOBS_LIST_MAX, &limit, &e) < 0 ||
	    jobs_list(r->h->jobs, req_query(r, "vm"), req_query(r, "state"), req_query(r, "kind"), limit, &list,
		      &e) < 0)
		req_fail(r, &e);
	else
		req_json(r, 200, json_pack("{so}", "jobs", list));
}

static int job_id(struct req *r, int64_t *out, struct err *e)
{
	const char *s = r->par.v[0];
	char *end;
	long long v = strtoll(s, &end, 10);

	if (*end || *s < '0' || *s > '9' || strlen(s) > 18) {
		err_set(e, ERR_NOT_FOUND, "there is no job '%s'", s);
		return err_remedy(e, "jobs are numbers: GET /v1/jobs lists them");
	}
	*out = v;
	return 0;
}

/* ---- the stream ---- */

struct stream {
	struct sse *sse;
	struct job_watch *watch;
};

static void closed(void *arg)
{
	struct stream *s = arg;

	jobs_unwatch(&s->watch);
	free(s);
}

static void send(struct sse *to, const json_t *o)
{
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);

	if (text)
		sse_send(to, 0, "job", text);
}

static void changed(void *arg, const struct job *j)
{
	struct stream *s = arg;
	json_t *o = job_json(j);

	send(s->sse, o);
	json_decref(o);
	if (job_over(j))
		sse_end(s->sse);
}

static void stream(struct req *r, int64_t id, const json_t *o)
{
	struct stream *s = mem_alloc(sizeof(*s));

	s->sse = sse_open(r, closed, s);
	if (!s->sse) {
		free(s);
		return;
	}
	send(s->sse, o);
	if (jobs_active(r->h->jobs, id))
		s->watch = jobs_watch(r->h->jobs, id, changed, s);
	else
		sse_end(s->sse);
}

void api_jobs_get(struct req *r)
{
	int64_t id;
	json_t *o;
	struct err e = ERR_INIT;

	if (job_id(r, &id, &e) < 0 || jobs_json(r->h->jobs, id, &o, &e) < 0) {
		req_fail(r, &e);
	} else if (req_wants_events(r)) {
		stream(r, id, o);
		json_decref(o);
	} else {
		req_json(r, 200, o);
	}
}

void api_jobs_cancel(struct req *r)
{
	json_t *o = NULL;
	struct job *j;
	int64_t id;
	struct err e = ERR_INIT;

	if (job_id(r, &id, &e) < 0 || jobs_json(r->h->jobs, id, &o, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	j = jobs_active(r->h->jobs, id);
	if (!j) {
		err_set(&e, ERR_STATE, "job %lld has ended", (long long)id);
		err_remedy(&e, "GET /v1/jobs/%lld tells how", (long long)id);
	}
	if (!j || job_cancel(j, &e) < 0)
		req_fail(r, &e);
	else if (jobs_active(r->h->jobs, id))
		api_answer_job(r, j);
	else if (jobs_json(r->h->jobs, id, &o, &e) == 0)	/* it was only queued */
		req_json(r, 202, json_pack("{so}", "job", o));
	json_decref(o);
}

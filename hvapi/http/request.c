/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's way: found and authorised by its first line, before a byte of
 * its body is taken; then the body within its limit; then the handler.
 *
 * Who has no role here is told so for every path, whether it exists or not.
 */
#include "hvapi/http/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "hvapi/http/http_priv.h"
#include "hvapi/http/problem.h"

struct req *req_new(struct http *s, struct MHD_Connection *c, const struct who *who)
{
	struct req *r = mem_alloc(sizeof(*r));

	*r = (struct req){ .h = s->c.h, .http = s, .who = *who, .conn = c, .refs = 1, .file_fd = -1, .next = s->reqs };
	if (s->reqs)
		s->reqs->prev = r;
	s->reqs = r;
	return r;
}

struct req *req_hold(struct req *r)
{
	r->refs++;
	return r;
}

void req_release(struct req *r)
{
	if (--r->refs)
		return;
	if (r->prev)
		r->prev->next = r->next;
	else
		r->http->reqs = r->next;
	if (r->next)
		r->next->prev = r->prev;
	loop_timer_free(&r->deadline);
	if (r->answer)
		MHD_destroy_response(r->answer);
	upgrade_drop(r->pump);
	if (r->file_path)
		(void)unlink(r->file_path);
	free(r->file_path);
	fd_close(&r->file_fd);
	json_decref(r->body);
	buf_fini(&r->raw);
	free(r);
}

/* ---- answers ---- */

void req_answer(struct req *r, int status, struct MHD_Response *answer)
{
	if (r->answer) {
		MHD_destroy_response(answer);
		return;
	}
	r->answer = answer;
	r->status = status;
	loop_timer_free(&r->deadline);
	if (r->suspended) {
		r->suspended = false;
		MHD_resume_connection(r->conn);
		http_kick(r->http);
	}
}

enum MHD_Result req_queue(struct req *r)
{
	int hundreds = r->status / 100;

	if (r->last)
		MHD_add_response_header(r->answer, MHD_HTTP_HEADER_CONNECTION, "close");
	r->http->counts[hundreds > 0 && hundreds < 6 ? hundreds : 5]++;
	return MHD_queue_response(r->conn, (unsigned)r->status, r->answer);
}

static struct MHD_Response *response_of(const void *p, size_t n, const char *type)
{
	union { const void *in; void *out; } u = { .in = p };	/* copied by the library */
	struct MHD_Response *m = MHD_create_response_from_buffer(n, u.out, MHD_RESPMEM_MUST_COPY);

	if (!m)
		abort();	/* as in base/buf.h: a host without memory */
	if (type)
		MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(m, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return m;
}

static void answer_json(struct req *r, int status, const json_t *o, const char *type)
{
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);

	if (text)
		req_answer(r, status, response_of(text, strlen(text), type));
	else
		req_answer(r, 500, response_of("", 0, NULL));
}

void req_json(struct req *r, int status, json_t *o)
{
	answer_json(r, status, o, "application/json");
	json_decref(o);
}

void req_empty(struct req *r, int status)
{
	req_answer(r, status, response_of("", 0, NULL));
}

void req_text(struct req *r, const char *content_type, const struct buf *text)
{
	req_answer(r, 200, response_of(text->p, text->len, content_type));
}

static void problem(struct req *r, int status, const struct err *e, const json_t *problems)
{
	AUTO_JSON json_t *o = problem_json(e, status, problems);

	if (status >= 500)
		log_warn("%s asked %s: %s", r->who.name, r->route ? r->route->pattern : "?", e->detail);
	answer_json(r, status, o, PROBLEM_CONTENT_TYPE);
}

void req_fail(struct req *r, const struct err *e)
{
	problem(r, problem_status(e->code), e, NULL);
}

void req_fail_status(struct req *r, int status, const struct err *e)
{
	problem(r, status, e, NULL);
}

void req_problems(struct req *r, const struct err *e, const json_t *problems)
{
	problem(r, problem_status(e->code), e, problems);
}

/* ---- what was asked ---- */

const char *req_query(const struct req *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, name);
}

const char *req_header(const struct req *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

int req_query_u64(const struct req *r, const char *name, uint64_t max, uint64_t *out, struct err *e)
{
	const char *s = req_query(r, name);
	uint64_t v;
	char *end;

	if (!s)
		return 0;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || *end || errno || v > max)
		return err_set(e, ERR_USAGE, "query parameter %s='%.40s' is no number from 0 to %llu", name, s,
			       (unsigned long long)max);
	*out = v;
	return 0;
}

bool req_wants_events(const struct req *r)
{
	const char *accept = req_header(r, MHD_HTTP_HEADER_ACCEPT);

	return accept && strstr(accept, "text/event-stream");
}

static bool type_is(const struct req *r, const char *want)
{
	const char *t = req_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
	size_t n = strlen(want);

	return t && !strncasecmp(t, want, n) && (t[n] == '\0' || t[n] == ';' || t[n] == ' ');
}

/* ---- first line and headers ---- */

static void deny(struct req *r)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_DENIED, "not allowed");
	req_fail(r, &e);
}

static void not_routed(struct req *r, enum route_found found, const char *allow, const char *method)
{
	struct err e = ERR_INIT;

	if (found == ROUTE_BAD_NAME) {
		err_set(&e, ERR_USAGE, "a name in the path is not 1 to %d of letters, digits, '.', '_', '-'",
			ROUTE_PARAM_BYTES - 1);
		err_remedy(&e, "names do not start with '.' or '-'");
		req_fail(r, &e);
	} else if (found == ROUTE_NO_METHOD) {
		err_set(&e, ERR_USAGE, "%.16s is not possible here", method);
		err_remedy(&e, "this path takes %s", allow);
		req_fail_status(r, 405, &e);
		MHD_add_response_header(r->answer, MHD_HTTP_HEADER_ALLOW, allow);
	} else {
		err_set(&e, ERR_NOT_FOUND, "there is no such path");
		err_remedy(&e, "GET /v1/openapi.json lists the paths there are");
		req_fail(r, &e);
	}
}

static uint64_t body_max(const struct req *r)
{
	switch (r->route->body) {
	case BODY_FILE:
		return REQ_FILE_BYTES_MAX;
	case BODY_VM:
		return type_is(r, "text/x-xlcfg") ? REQ_CFG_BYTES_MAX : REQ_JSON_BYTES_MAX;
	case BODY_JSON:
		return REQ_JSON_BYTES_MAX;
	default:
		return 0;
	}
}

static void too_large(struct req *r)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_LIMIT, "the body is larger than %llu bytes, the limit of this request",
		(unsigned long long)body_max(r));
	err_remedy(&e, body_max(r) ? "send less than that" : "send no body with it");
	req_fail_status(r, 413, &e);
}

static void check_type(struct req *r)
{
	static const char *const wants[] = {
		[BODY_JSON] = "application/json",
		[BODY_VM] = "application/json or text/x-xlcfg",
		[BODY_FILE] = "application/octet-stream",
	};
	struct err e = ERR_INIT;

	if (r->route->body == BODY_FILE ? type_is(r, "application/octet-stream") : type_is(r, "application/json"))
		return;
	if (r->route->body == BODY_VM && type_is(r, "text/x-xlcfg"))
		return;
	err_set(&e, ERR_USAGE, "content type '%.60s' is not taken here",
		req_header(r, MHD_HTTP_HEADER_CONTENT_TYPE) ?: "(none)");
	err_remedy(&e, "send %s", wants[r->route->body]);
	req_fail_status(r, 415, &e);
}

static int open_file(struct req *r, struct err *e)
{
	r->file_path = mem_printf("%s/.upload-XXXXXX", r->http->upload_dir);
	r->file_fd = mkostemp(r->file_path, O_CLOEXEC);
	if (r->file_fd >= 0)
		return 0;
	err_sys(e, errno, "temporary file in %s", r->http->upload_dir);
	free(r->file_path);
	r->file_path = NULL;
	return -1;
}

void req_begin(struct req *r, const char *method, const char *url)
{
	char allow[ROUTE_ALLOW_BYTES];
	enum route_found found;
	const char *length = req_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
	bool has_body = (length && strcmp(length, "0")) || req_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING);
	struct err e = ERR_INIT;

	r->at_once = length && strtoull(length, NULL, 10) > REQ_DRAIN_BYTES_MAX;
	if (r->who.role == API_NONE) {
		deny(r);
		return;
	}
	found = route_find(r->http->c.routes, method, url, &r->route, &r->par, allow);
	if (found != ROUTE_OK)
		not_routed(r, found, allow, method);
	else if (r->who.role < r->route->role)
		deny(r);
	else if (length && strtoull(length, NULL, 10) > body_max(r))
		too_large(r);
	else if (has_body && r->route->body != BODY_NONE)
		check_type(r);
	if (!r->answer && r->route->body == BODY_FILE && open_file(r, &e) < 0)
		req_fail(r, &e);
}

/* ---- body ---- */

bool req_body(struct req *r, const char *p, size_t n)
{
	struct err e = ERR_INIT;
	int rc;

	r->file_bytes += n;
	if (r->answer)
		return (r->drained_bytes += n) <= REQ_DRAIN_BYTES_MAX;
	if (r->file_bytes > body_max(r)) {
		too_large(r);
		return true;
	}
	if (r->route->body != BODY_FILE) {
		buf_put(&r->raw, p, n);
		return true;
	}
	rc = fd_write_full(r->file_fd, p, n);
	if (rc < 0) {
		err_sys(&e, -rc, "write the upload");
		req_fail(r, &e);
	}
	return true;
}

/* JSON bodies are objects; none at all is an empty one. */
static int parse_body(struct req *r, struct err *e)
{
	if (r->route->body == BODY_VM && type_is(r, "text/x-xlcfg"))
		return 0;
	if (r->route->body == BODY_JSON && !r->raw.len) {
		r->body = json_object();
		return 0;
	}
	if (js_parse((const char *)r->raw.p, r->raw.len, &r->body, e) < 0) {
		e->code = ERR_USAGE;
		err_wrap(e, "the body is not JSON");
		return err_remedy(e, "send one JSON object");
	}
	if (!json_is_object(r->body))
		return err_set(e, ERR_USAGE, "the body must be a JSON object");
	return 0;
}

static void too_late(void *arg)
{
	struct req *r = arg;
	struct err e = ERR_INIT;

	err_set(&e, ERR_TIMEOUT, "no result within %d s; it may still come", REQ_ANSWER_MS_MAX / 1000);
	err_remedy(&e, "look at the object's state before trying again");
	req_fail(r, &e);
}

void req_run(struct req *r)
{
	struct err e = ERR_INIT;

	if (r->begun)
		return;		/* woken without an answer: goes on waiting */
	r->begun = true;
	if ((r->route->body == BODY_JSON || r->route->body == BODY_VM) && parse_body(r, &e) < 0) {
		req_fail(r, &e);
		return;
	}
	r->route->fn(r);
	if (r->answer)
		return;
	r->deadline = loop_timer_new(r->http->c.loop, too_late, r);
	loop_timer_set(r->deadline, REQ_ANSWER_MS_MAX, 0);
}

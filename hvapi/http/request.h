/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request from its first line to its answer.
 *
 * A handler answers by exactly one of the req_* calls below, at once or later;
 * until then the connection is suspended, for REQ_ANSWER_MS_MAX at most.
 * Whoever answers later holds a reference (req_hold) from before the handler
 * returns until he is done.  An answer to an answered request is dropped.
 */
#ifndef HVAPI_HTTP_REQUEST_H
#define HVAPI_HTTP_REQUEST_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "hvapi/http/route.h"

struct MHD_Connection;
struct MHD_Response;
struct hvapid;
struct http;
struct loop_timer;
struct pump;

enum {
	REQ_JSON_BYTES_MAX = 256 << 10,
	REQ_CFG_BYTES_MAX = 64 << 10,
	REQ_FILE_BYTES_MAX = 512 << 20,
	REQ_DRAIN_BYTES_MAX = 1 << 20,	/* of a refused body: read and dropped, so that the client reads the answer */
	REQ_ANSWER_MS_MAX = 120000,
};

/* Who asks, proven by hvtls or by the unix socket. */
struct who {
	char name[ROUTE_PARAM_BYTES];
	enum api_role role;
	int fd;			/* of the connection; the HTTP library's */
	bool known;		/* the HTTP library has announced the connection */
	struct who *next;
};

struct req {
	struct hvapid *h;
	struct http *http;
	const struct route *route;
	struct who who;
	struct route_params par;
	json_t *body;		/* BODY_JSON, and BODY_VM as JSON; never NULL for the former */
	struct buf raw;		/* BODY_VM as xl.cfg: its text */
	int file_fd;		/* BODY_FILE: all of it, at offset 0 .. file_bytes */
	char *file_path;	/* temporary name; removed with the request unless taken (set NULL) */
	uint64_t file_bytes, drained_bytes;
	/* private */
	struct MHD_Connection *conn;
	struct MHD_Response *answer;
	int status;
	unsigned refs;
	bool suspended, begun;
	bool last;		/* the connection ends with this answer */
	bool at_once;		/* answer without waiting for the body */
	struct loop_timer *deadline;
	struct pump *pump;	/* an upgrade whose 101 has not been sent */
	struct req *prev, *next;
};

const char *req_query(const struct req *r, const char *name);	/* NULL: absent */
/* Number from the query; *out untouched if absent. */
MUSTUSE int req_query_u64(const struct req *r, const char *name, uint64_t max, uint64_t *out, struct err *e);
bool req_wants_events(const struct req *r);		/* Accept: text/event-stream */
const char *req_header(const struct req *r, const char *name);

struct req *req_hold(struct req *r);
void req_release(struct req *r);

void req_json(struct req *r, int status, json_t *o);		/* takes the reference */
void req_empty(struct req *r, int status);
void req_text(struct req *r, const char *content_type, const struct buf *text);
void req_fail(struct req *r, const struct err *e);
void req_fail_status(struct req *r, int status, const struct err *e);
void req_problems(struct req *r, const struct err *e, const json_t *problems);	/* borrowed */
/* Switches the connection to raw bytes to and from fd (taken); ends with either. */
void req_upgrade(struct req *r, const char *protocol, int fd);

/* Lower half: the answer is r's (taken). */
void req_answer(struct req *r, int status, struct MHD_Response *answer);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/events: what happened, and, as Server-Sent Events, what happens.
 */
#include "hvapi/event/events.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/js.h"
#include "hvapi/api/routes.h"
#include "hvapi/http/sse.h"
#include "hvapi/hvapid.h"

struct stream {
	struct sse *sse;
	struct event_watch *watch;
};

static void closed(void *arg)
{
	struct stream *s = arg;

	events_unwatch(&s->watch);
	free(s);
}

static void send(void *arg, const json_t *event)
{
	struct stream *s = arg;
	AUTO_FREE char *text = json_dumps(event, JSON_COMPACT);
	const char *type = json_string_value(json_object_get(event, "type"));

	if (text)
		sse_send(s->sse, (uint64_t)json_integer_value(json_object_get(event, "id")), type ? type : "event",
			 text);
}

static void stream(struct req *r, const json_t *missed)
{
	struct stream *s = mem_alloc(sizeof(*s));
	size_t i;
	json_t *event;

	s->sse = sse_open(r, closed, s);
	if (!s->sse) {
		free(s);
		return;
	}
	json_array_foreach(missed, i, event)
		send(s, event);
	s->watch = events_watch(r->h->events, req_query(r, "vm"), send, s);
}

/* Where a stream goes on: Last-Event-ID, else since, else now. */
static int stream_since(struct req *r, uint64_t *since, struct err *e)
{
	const char *last = req_header(r, "Last-Event-ID");
	char *end;

	if (!last)
		return 0;
	*since = strtoull(last, &end, 10);
	if (*last < '0' || *last > '9' || *end)
		return err_set(e, ERR_USAGE, "Last-Event-ID '%.40s' is no number", last);
	return 0;
}

void api_events_list(struct req *r)
{
	bool live = req_wants_events(r), newest = !req_query(r, "since");
	uint64_t since = live ? events_last_id(r->h->events) : 0, limit = live ? EVENTS_LIST_MAX : 100;
	AUTO_JSON json_t *list = NULL;
	struct err e = ERR_INIT;

	if (req_query_u64(r, "since", INT64_MAX, &since, &e) < 0 || (live && stream_since(r, &since, &e) < 0) ||
	    req_query_u64(r, "limit", EVENTS_LIST_MAX, &limit, &e) < 0 ||
	    events_list(r->h->events, since, limit, newest && !live, req_query(r, "vm"), &list, &e) < 0)
		req_fail(r, &e);
	else if (live)
		stream(r, list);
	else
		req_json(r, 200,
			 json_pack("{sO sI}", "events", list, "last", (json_int_t)events_last_id(r->h->events)));
}

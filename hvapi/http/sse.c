/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection sleeps (suspended) while there is nothing to send.  A client
 * that is gone shows only when we write, so a comment goes out every
 * SSE_PING_MS.  A client over the limit sits on a full socket where the
 * library would wait for ever: its socket is shut, which wakes the library.
 */
#include "hvapi/http/sse.h"

#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "hvapi/http/http_priv.h"

struct sse {
	struct http *s;
	struct MHD_Connection *conn;
	struct buf out;
	bool suspended, ended, cut;
	void (*closed)(void *arg);
	void *arg;
	struct loop_timer *ping;
	struct sse *next;
};

static void wake(struct sse *s)
{
	if (!s->suspended)
		return;
	s->suspended = false;
	MHD_resume_connection(s->conn);
	http_kick(s->s);
}

/* Called by the library when the socket takes more. */
static ssize_t give(void *arg, uint64_t pos, char *p, size_t max)
{
	struct sse *s = arg;
	size_t n = s->out.len < max ? s->out.len : max;

	(void)pos;
	if (s->cut)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n) {
		memcpy(p, s->out.p, n);
		buf_consume(&s->out, n);
		return (ssize_t)n;
	}
	if (s->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	s->suspended = true;
	MHD_suspend_connection(s->conn);
	return 0;
}

/* Called by the library when the answer goes, for whatever reason. */
static void gone(void *arg)
{
	struct sse *s = arg, **at = &s->s->sses;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (s->closed)
		s->closed(s->arg);
	loop_timer_free(&s->ping);
	buf_fini(&s->out);
	free(s);
}

static void put(struct sse *s, const struct buf *text)
{
	if (s->ended || s->cut)
		return;
	if (s->out.len + text->len > SSE_BYTES_MAX) {
		log_warn("a client reads events too slowly: dropped at %d bytes", SSE_BYTES_MAX);
		s->cut = true;
		shutdown(MHD_get_connection_info(s->conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd, SHUT_RDWR);
	} else {
		buf_put(&s->out, text->p, text->len);
	}
	wake(s);
}

static void ping(void *arg)
{
	AUTO_BUF struct buf b = { 0 };

	buf_printf(&b, ": still here\n\n");
	put(arg, &b);
}

struct sse *sse_open(struct req *r, void (*closed)(void *arg), void *arg)
{
	struct sse *s;
	struct MHD_Response *m;

	if (r->answer)
		return NULL;
	s = mem_alloc(sizeof(*s));
	*s = (struct sse){ .s = r->http, .conn = r->conn, .closed = closed, .arg = arg, .next = r->http->sses };
	m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, give, s, gone);
	if (!m)
		abort();	/* as in base/buf.h */
	r->http->sses = s;
	MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
	MHD_add_response_header(m, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	s->ping = loop_timer_new(r->http->c.loop, ping, s);
	loop_timer_set(s->ping, SSE_PING_MS, SSE_PING_MS);
	req_answer(r, 200, m);
	return s;
}

void sse_send(struct sse *s, uint64_t id, const char *event, const char *data)
{
	AUTO_BUF struct buf b = { 0 };

	if (id)
		buf_printf(&b, "id: %llu\n", (unsigned long long)id);
	buf_printf(&b, "event: %s\ndata: %s\n\n", event, data);
	put(s, &b);
}

void sse_end(struct sse *s)
{
	s->ended = true;
	wake(s);
}

void sse_end_all(struct http *h)
{
	for (struct sse *s = h->sses; s; s = s->next) {
		s->cut = true;
		wake(s);
	}
}

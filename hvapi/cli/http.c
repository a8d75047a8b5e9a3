/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer comes from a host whose certificate is pinned; it is still
 * parsed as foreign bytes, with limits.
 */
#include "hvapi/cli/http.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fd.h"

enum { READ_BYTES = 64 << 10 };

/* What has arrived and is not used yet, in front of the stream. */
struct source {
	const struct http_stream *s;
	struct buf in;
};

struct sink {
	int (*fn)(void *arg, const void *p, size_t n);
	void *arg;
	struct http_response *r;
	bool ended;		/* fn has had enough */
};

void http_response_fini(struct http_response *r)
{
	buf_fini(&r->body);
}

static int write_all(const struct http_stream *s, const void *p, size_t n, struct err *e)
{
	const uint8_t *at = p;

	while (n) {
		ssize_t w = s->write(s->arg, at, n);
		if (w <= 0)
			return err_sys(e, w < 0 ? (int)-w : EPIPE, "send the request");
		at += w;
		n -= (size_t)w;
	}
	return 0;
}

static int send_body_fd(const struct http_stream *s, const struct http_request *q, struct err *e)
{
	uint8_t part[READ_BYTES];

	for (uint64_t left = q->body_fd_bytes; left;) {
		size_t n = left < sizeof(part) ? (size_t)left : sizeof(part);
		int rc = fd_read_full(q->body_fd, part, n);

		if (rc < 0)
			return err_sys(e, -rc, "read the file to send");
		if (write_all(s, part, n, e) < 0)
			return -1;
		left -= n;
	}
	return 0;
}

static int send_request(const struct http_stream *s, const char *host, const struct http_request *q, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };
	uint64_t body_bytes = q->body_fd > 0 ? q->body_fd_bytes : q->body.len;

	buf_printf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: %s\r\n", q->method, q->path, host,
		   q->accept ? q->accept : "application/json");
	if (q->upgrade)
		buf_printf(&b, "Connection: Upgrade\r\nUpgrade: %s\r\n", q->upgrade);
	else
		buf_printf(&b, "Connection: close\r\n");
	if (q->content_type)
		buf_printf(&b, "Content-Type: %s\r\n", q->content_type);
	if (q->content_type || strcmp(q->method, "GET"))
		buf_printf(&b, "Content-Length: %llu\r\n", (unsigned long long)body_bytes);
	buf_printf(&b, "\r\n");
	if (q->body_fd <= 0)
		buf_put(&b, q->body.p, q->body.len);
	if (write_all(s, b.p, b.len, e) < 0)
		return -1;
	return q->body_fd > 0 ? send_body_fd(s, q, e) : 0;
}

/* Reads some more; *out_end when the stream is over. */
static int fill(struct source *c, bool *out_end, struct err *e)
{
	buf_reserve(&c->in, READ_BYTES);
	ssize_t n = c->s->read(c->s->arg, c->in.p + c->in.len, READ_BYTES);

	if (n < 0)
		return err_sys(e, (int)-n, "read the answer");
	c->in.len += (size_t)n;
	*out_end = n == 0;
	return 0;
}

/* Takes one line (without CR LF) out of the source; the text ends with a NUL. */
static int take_line(struct source *c, struct buf *line, struct err *e)
{
	for (;;) {
		const uint8_t *nl = c->in.len ? memchr(c->in.p, '\n', c->in.len) : NULL;
		bool end;

		if (nl) {
			size_t n = (size_t)(nl - c->in.p), keep = n && nl[-1] == '\r' ? n - 1 : n;

			line->len = 0;
			buf_put(line, c->in.p, keep);
			buf_put_u8(line, 0);
			buf_consume(&c->in, n + 1);
			return 0;
		}
		if (c->in.len > HTTP_HEAD_BYTES_MAX)
			return err_set(e, ERR_LIMIT, "a header line of over %d bytes", HTTP_HEAD_BYTES_MAX);
		if (fill(c, &end, e) < 0)
			return -1;
		if (end)
			return err_set(e, ERR_NET, "the host closed the connection before it answered");
	}
}

struct head {
	bool chunked;
	bool has_length;
	uint64_t length;
};

static int take_header(const char *line, struct head *h, struct http_response *r, struct err *e)
{
	const char *colon = strchr(line, ':');

	if (!colon)
		return err_set(e, ERR_CORRUPT, "the answer has a header without a colon");
	size_t name = (size_t)(colon - line);
	const char *value = colon + 1 + strspn(colon + 1, " \t");

	if (name == 14 && !strncasecmp(line, "Content-Length", name)) {
		char *end;

		errno = 0;
		h->length = strtoull(value, &end, 10);
		if (!isdigit((unsigned char)*value) || *end || errno)
			return err_set(e, ERR_CORRUPT, "the answer's Content-Length is no number");
		h->has_length = true;
	} else if (name == 17 && !strncasecmp(line, "Transfer-Encoding", name)) {
		h->chunked = !strcasecmp(value, "chunked");
	} else if (name == 12 && !strncasecmp(line, "Content-Type", name)) {
		size_t n = strcspn(value, "; ");

		n = n < HTTP_TYPE_BYTES ? n : HTTP_TYPE_BYTES - 1;
		memcpy(r->content_type, value, n);
		r->content_type[n] = '\0';
	}
	return 0;
}

static int take_head(struct source *c, struct http_response *r, struct head *h, struct err *e)
{
	AUTO_BUF struct buf line = { 0 };
	size_t total = 0;

	if (take_line(c, &line, e) < 0)
		return -1;
	const char *text = (const char *)line.p;

	if (strncmp(text, "HTTP/1.1 ", 9) || strlen(text) < 12)
		return err_set(e, ERR_CORRUPT, "the answer is not HTTP/1.1");
	for (int i = 9; i < 12; i++) {
		if (!isdigit((unsigned char)text[i]))
			return err_set(e, ERR_CORRUPT, "the answer's status is no number");
		r->status = r->status * 10 + (text[i] - '0');
	}
	if (r->status < 100 || r->status > 599)
		return err_set(e, ERR_CORRUPT, "the answer's status is %d", r->status);
	for (;;) {
		if (take_line(c, &line, e) < 0)
			return -1;
		if (line.len == 1)
			return 0;
		total += line.len;
		if (total > HTTP_HEAD_BYTES_MAX)
			return err_set(e, ERR_LIMIT, "headers of over %d bytes", HTTP_HEAD_BYTES_MAX);
		if (take_header((const char *)line.p, h, r, e) < 0)
			return -1;
	}
}

/* Gives n bytes (or, with n == UINT64_MAX, all up to the end) of the source to the sink. */
static int pass_bytes(struct source *c, uint64_t n, struct sink *k, struct err *e)
{
	while (n && !k->ended) {
		bool end = false;

		if (!c->in.len && fill(c, &end, e) < 0)
			return -1;
		if (end)
			return n == UINT64_MAX ? 0 : err_set(e, ERR_NET, "the answer was cut short");
		size_t part = c->in.len < n ? c->in.len : (size_t)n;

		if (k->fn)
			k->ended = k->fn(k->arg, c->in.p, part) != 0;
		else if (k->r->body.len + part > HTTP_BODY_BYTES_MAX)
			return err_set(e, ERR_LIMIT, "an answer of over %d bytes", HTTP_BODY_BYTES_MAX);
		else
			buf_put(&k->r->body, c->in.p, part);
		buf_consume(&c->in, part);
		if (n != UINT64_MAX)
			n -= part;
	}
	return 0;
}

static int pass_chunks(struct source *c, struct sink *k, struct err *e)
{
	AUTO_BUF struct buf line = { 0 };

	while (!k->ended) {
		if (take_line(c, &line, e) < 0)
			return -1;
		char *end;
		uint64_t n = strtoull((const char *)line.p, &end, 16);

		if (!isxdigit(line.p[0]) || (*end && *end != ';') || n > HTTP_BODY_BYTES_MAX)
			return err_set(e, ERR_CORRUPT, "the answer has a bad chunk length");
		if (pass_bytes(c, n, k, e) < 0)
			return -1;
		if (!k->ended && take_line(c, &line, e) < 0)
			return -1;
		if (!n)
			return 0;
	}
	return 0;
}

/* By status: 101 and 204 have none, whatever their headers say. */
static int take_body(struct source *c, const struct head *h, struct sink *k, struct err *e)
{
	int status = k->r->status;

	if (status < 200 || status > 299)
		k->fn = NULL;
	if (status == 101)
		buf_put(&k->r->body, c->in.p, c->in.len);
	if (status == 101 || status == 204)
		return 0;
	if (h->chunked)
		return pass_chunks(c, k, e);
	return pass_bytes(c, h->has_length ? h->length : UINT64_MAX, k, e);
}

int http_do(const struct http_stream *s, const char *host, const struct http_request *q,
	    int (*on_body)(void *arg, const void *p, size_t n), void *arg, struct http_response *out, struct err *e)
{
	struct source c = { .s = s };
	struct head h = { 0 };
	struct http_response r = { 0 };
	struct sink k = { .fn = on_body, .arg = arg, .r = &r };
	int rc = -1;

	if (send_request(s, host, q, e) == 0 && take_head(&c, &r, &h, e) == 0)
		rc = take_body(&c, &h, &k, e);
	buf_fini(&c.in);
	if (rc < 0)
		http_response_fini(&r);
	else
		*out = r;
	return rc;
}

void http_escape(struct buf *b, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *text; text++) {
		if (strchr(plain, *text))
			buf_put_u8(b, (uint8_t)*text);
		else
			buf_printf(b, "%%%02X", (unsigned char)*text);
	}
	buf_printf(b, "%s", "");
}

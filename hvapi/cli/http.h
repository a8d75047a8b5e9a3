/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CLI's HTTP/1.1 client: one request at a time over a byte stream that
 * somebody else opened (TLS to a host, or the unix socket on it).
 *
 * Own code because what Debian offers brings its own TLS stack with it
 * (libcurl: OpenSSL or GnuTLS and twenty libraries more), and the image and
 * the pinning are built on mbedTLS.  It speaks to hvapid only: Content-Length
 * and chunked bodies, no redirects, no pipelining.
 */
#ifndef HVAPI_CLI_HTTP_H
#define HVAPI_CLI_HTTP_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	HTTP_HEAD_BYTES_MAX = 16 << 10,
	HTTP_BODY_BYTES_MAX = 64 << 20,
	HTTP_TYPE_BYTES = 64,
};

/* A connected byte stream.  Both block; bytes moved, 0 at the end (read), or -errno. */
struct http_stream {
	ssize_t (*read)(void *arg, void *p, size_t n);
	ssize_t (*write)(void *arg, const void *p, size_t n);
	void *arg;
};

struct http_request {
	const char *method;
	const char *path;		/* with the query, already escaped */
	const char *content_type;	/* NULL: no body */
	const char *accept;		/* NULL: application/json */
	const char *upgrade;		/* protocol to switch to, or NULL */
	struct span body;
	int body_fd;			/* body_fd_bytes are read from here instead, if > 0 */
	uint64_t body_fd_bytes;
};

struct http_response {
	int status;
	char content_type[HTTP_TYPE_BYTES];
	struct buf body;		/* empty if it went to on_body; after 101: bytes read too far */
};

void http_response_fini(struct http_response *r);

/* Sends the request and reads the answer.  on_body, if not NULL, gets the body of a 2xx answer as it comes; a result
 * other than 0 ends the reading (not an error).  Errors of the API are answers, not errors here. */
MUSTUSE int http_do(const struct http_stream *s, const char *host, const struct http_request *q,
		    int (*on_body)(void *arg, const void *p, size_t n), void *arg,
		    struct http_response *out, struct err *e);

/* Appends text, percent-escaped for one path segment or query value. */
void http_escape(struct buf *b, const char *text);

#endif

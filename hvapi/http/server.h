/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server: libmicrohttpd driven by our loop.  It listens nowhere; it
 * is given connections whose other end is already known.
 */
#ifndef HVAPI_HTTP_SERVER_H
#define HVAPI_HTTP_SERVER_H

#include <stdint.h>

#include "base/err.h"
#include "hvapi/http/request.h"

enum { HTTP_CONNS_MAX = 256, HTTP_HEAD_BYTES_MAX = 32 << 10 };

struct http_config {
	struct loop *loop;
	struct hvapid *h;		/* for handlers */
	const struct route *routes;
	const char *upload_dir;		/* temporary files of BODY_FILE; copied */
	unsigned idle_s;		/* a connection that moves nothing for so long is closed */
};

MUSTUSE int http_new(const struct http_config *c, struct http **out, struct err *e);
void http_free(struct http *s);

/* Takes fd, also on failure. */
MUSTUSE int http_add(struct http *s, int fd, const char *name, enum api_role role, struct err *e);
/* Listens at path; root, and the user hvapid itself runs as, are admin. */
MUSTUSE int http_listen(struct http *s, const char *path, struct err *e);

/* Ends every connection of that party, which is trusted no more; the one that r came by ends after its answer. */
void http_cut(struct http *s, const char *name, struct req *r);

/* Answers given, by hundreds of their status: out[4] are the 4xx. */
void http_counts(const struct http *s, uint64_t out[6]);

#endif

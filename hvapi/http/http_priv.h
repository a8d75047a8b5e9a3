/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of http/ share and nobody else includes.
 */
#ifndef HVAPI_HTTP_HTTP_PRIV_H
#define HVAPI_HTTP_HTTP_PRIV_H

#include <microhttpd.h>

#include "base/loop.h"
#include "hvapi/http/server.h"

struct sse;

struct http {
	struct http_config c;
	char *upload_dir;
	struct MHD_Daemon *mhd;
	struct loop_src *src;		/* the library's epoll descriptor */
	struct loop_timer *timer;	/* what its time-outs ask for */
	int listen_fd;
	char *listen_path;
	struct loop_src *listen_src;
	struct who *whos;		/* of every connection, from before the library knows it */
	struct req *reqs;
	struct sse *sses;
	struct pump *pumps;
	uint64_t counts[6];
};

/* Lets the library look again, soon and from the loop. */
void http_kick(struct http *s);

/* request.c: first look (may answer), a piece of the body, all there. */
struct req *req_new(struct http *s, struct MHD_Connection *c, const struct who *who);
void req_begin(struct req *r, const char *method, const char *url);
/* False: more than any limit allows; the connection is to be cut. */
bool req_body(struct req *r, const char *p, size_t n);
void req_run(struct req *r);
/* Gives the answer to the library if there is one. */
enum MHD_Result req_queue(struct req *r);

/* At the end of the server. */
void sse_end_all(struct http *s);
void upgrade_end_all(struct http *s);
/* The client went before the 101 was sent. */
void upgrade_drop(struct pump *p);

#endif

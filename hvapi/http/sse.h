/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-Sent Events: an answer without end.  Text that the client has not
 * taken yet is kept up to SSE_BYTES_MAX; then the client is dropped (it comes
 * back with Last-Event-ID and misses nothing).
 */
#ifndef HVAPI_HTTP_SSE_H
#define HVAPI_HTTP_SSE_H

#include "hvapi/http/request.h"

enum { SSE_BYTES_MAX = 1 << 20, SSE_PING_MS = 15000 };

struct sse;

/* Answers r with a stream.  closed(arg) runs once, when the client is gone or the server ends it; s is dead then.
 * NULL if r was answered already. */
struct sse *sse_open(struct req *r, void (*closed)(void *arg), void *arg);
/* One event; id 0: none.  data is one line.  May drop the client, but calls `closed` only later, from the loop. */
void sse_send(struct sse *s, uint64_t id, const char *event, const char *data);
/* Ends the stream once what is in it was sent. */
void sse_end(struct sse *s);

#endif

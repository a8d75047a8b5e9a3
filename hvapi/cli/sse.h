/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-Sent Events taken apart: bytes in as they come, the JSON of each
 * event's data out.
 */
#ifndef HVAPI_CLI_SSE_H
#define HVAPI_CLI_SSE_H

#include <jansson.h>

#include "base/buf.h"

enum { SSE_EVENT_BYTES_MAX = 1 << 20 };

struct sse {
	struct buf in;			/* not yet taken apart */
	/* One event; data is borrowed.  Not 0: enough. */
	int (*fn)(void *arg, const json_t *data);
	void *arg;
};

/* For api_stream, arg is the struct sse.  Ends the stream when fn has enough or an event is over the limit; data that
 * is no JSON is passed over. */
int sse_bytes(void *arg, const void *p, size_t n);
void sse_fini(struct sse *s);

#endif

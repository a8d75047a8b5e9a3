/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host may answer to the CLI: the first byte says in how large pieces
 * and to what kind of request, the rest is the answer.  Its body then goes
 * through the reader of event streams.
 * sources: hvapi/cli/http.c hvapi/cli/sse.c dom0-tools/base/buf.c dom0-tools/base/err.c dom0-tools/base/fd.c
 * sources: dom0-tools/base/js.c
 */
#include <stdbool.h>
#include <string.h>

#include "hvapi/cli/http.h"
#include "hvapi/cli/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct answer {
	const uint8_t *p;
	size_t left, step;
};

static ssize_t give(void *arg, void *p, size_t n)
{
	struct answer *a = arg;
	size_t part = n < a->step ? n : a->step;

	part = part < a->left ? part : a->left;
	if (part)
		memcpy(p, a->p, part);
	a->p += part;
	a->left -= part;
	return (ssize_t)part;
}

static ssize_t swallow(void *arg, const void *p, size_t n)
{
	(void)arg, (void)p;
	return (ssize_t)n;
}

static int on_event(void *arg, const json_t *data)
{
	unsigned *events = arg;

	if (!json_is_object(data) && !json_is_array(data))
		__builtin_trap();
	return ++*events > 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (!n)
		return 0;
	struct answer a = { .p = p + 1, .left = n - 1, .step = (size_t)(p[0] & 0x7f) + 1 };
	struct http_stream s = { give, swallow, &a };
	struct http_request q = { .method = "GET", .path = "/" };
	struct http_response r = { 0 };
	struct err e = ERR_INIT;
	unsigned count = 0;
	struct sse events = { .fn = on_event, .arg = &count };
	bool stream = p[0] & 0x80;
	int rc = http_do(&s, "h", &q, stream ? sse_bytes : NULL, &events, &r, &e);

	if (rc == 0 && (r.status < 100 || r.status > 599 || e.code != ERR_NONE))
		__builtin_trap();
	if (rc < 0 && (e.code == ERR_NONE || !*e.detail || r.body.p))
		__builtin_trap();
	http_response_fini(&r);
	sse_fini(&events);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapid writes each event's data as one line, so lines are not joined; ids,
 * names and comments (its pings) are of no use here.
 */
#include "hvapi/cli/sse.h"

#include <string.h>

#include "base/js.h"

static int take_line(struct sse *s, const char *p, size_t n)
{
	static const char key[] = "data:";
	const size_t skip = sizeof(key) - 1;
	AUTO_JSON json_t *data = NULL;
	struct err ignored = ERR_INIT;

	if (n <= skip || memcmp(p, key, skip) || js_parse(p + skip, n - skip, &data, &ignored) < 0)
		return 0;
	return s->fn(s->arg, data);
}

int sse_bytes(void *arg, const void *p, size_t n)
{
	struct sse *s = arg;

	buf_put(&s->in, p, n);
	for (;;) {
		const uint8_t *nl = s->in.len ? memchr(s->in.p, '\n', s->in.len) : NULL;

		if (!nl)
			return s->in.len > SSE_EVENT_BYTES_MAX;
		size_t len = (size_t)(nl - s->in.p);

		if (take_line(s, (const char *)s->in.p, len) != 0)
			return 1;
		buf_consume(&s->in, len + 1);
	}
}

void sse_fini(struct sse *s)
{
	buf_fini(&s->in);
}

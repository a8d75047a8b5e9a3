/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's bytes: the handshake with two exports, then requests.  Whatever
 * comes, answers stay bounded, what is chosen exists, and a request that is
 * let through keeps the rules of the export.
 * sources: dom0-tools/blkd/nbd_opt.c dom0-tools/blkd/nbd_msg.c dom0-tools/base/buf.c
 * sources: dom0-tools/base/err.c dom0-tools/base/rd.c
 */
#include <stdlib.h>

#include "blkd/nbd_msg.h"
#include "blkd/nbd_opt.h"

enum { EXPORTS = 2, ANSWER_MAX = 8192 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const char *name(void *arg, unsigned i)
{
	(void)arg;
	return i ? "b" : "a";
}

static const char *description(void *arg, unsigned i)
{
	(void)arg, (void)i;
	return "text";
}

static void facts(void *arg, unsigned i, struct nbd_facts *out)
{
	(void)arg;
	*out = (struct nbd_facts){ .bytes = 1 << 20, .block_min_bytes = 512, .block_preferred_bytes = 4096,
				   .read_only = i == 1, .has_dirty = i == 0 };
}

static const struct nbd_exports exports = { .n = EXPORTS, .name = name, .description = description, .facts = facts };

static void requests(const struct nbd_nego *g, const uint8_t *p, size_t n)
{
	struct nbd_terms t = { .structured = g->structured, .read_only = g->export == 1, .contexts = g->contexts };
	uint8_t head[NBD_HEAD_BYTES_MAX];
	struct nbd_request q;
	struct err e = ERR_INIT;

	while (n >= NBD_REQUEST_BYTES && nbd_request_decode(p, &q, &e) == 0) {
		uint32_t payload = nbd_request_payload(&q);
		int rc = nbd_request_check(&q, &t);

		if (payload > NBD_PAYLOAD_BYTES_MAX)
			abort();
		if (rc == 0 && t.read_only && (q.type == NBD_CMD_WRITE || q.type == NBD_CMD_TRIM))
			abort();
		if (rc == 0 && q.type == NBD_CMD_BLOCK_STATUS && !t.structured)
			abort();
		if (nbd_put_error(head, q.cookie, nbd_error(rc)) > sizeof(head))
			abort();
		if (n - NBD_REQUEST_BYTES < payload)
			return;
		p += NBD_REQUEST_BYTES + payload;
		n -= NBD_REQUEST_BYTES + payload;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf out = { 0 };
	struct nbd_nego g;
	struct err e = ERR_INIT;
	enum nbd_nego_step step;
	size_t used;

	nbd_nego_init(&g, &exports);
	do {
		out.len = 0;
		step = nbd_nego_step(&g, p, n, &used, &out, &e);
		if (used > n || out.len > ANSWER_MAX)
			abort();
		p += used;
		n -= used;
	} while (step == NBD_NEGO_MORE && used);
	if (step == NBD_NEGO_GO) {
		if (g.export >= EXPORTS || (g.contexts && !g.structured) ||
		    (g.export == 1 && g.contexts & BIT(NBD_CONTEXT_DIRTY)))
			abort();
		requests(&g, p, n);
	}
	buf_fini(&out);
	return 0;
}

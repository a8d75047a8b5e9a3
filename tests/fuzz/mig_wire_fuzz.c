/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from the line: what decodes must encode again, and mean the same.
 * sources: migrate/mig_wire.c dom0-tools/base/buf.c dom0-tools/base/err.c dom0-tools/base/rd.c
 */
#include <string.h>

#include "base/rd.h"
#include "migrate/mig_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void again(const struct mig_msg *m)
{
	AUTO_BUF struct buf b = { 0 };
	struct err e = ERR_INIT;
	struct mig_hdr h;
	struct mig_msg back;
	struct rd r;

	if (mig_encode(m, &b, &e) < 0)
		abort();
	r = rd_of(b.p, b.len);
	if (mig_hdr_decode(&r, &h, &e) < 0 || mig_body_decode(&h, r.p, &back, &e) < 0)
		abort();
	if (back.body.len != m->body.len || (m->body.len && memcmp(back.body.p, m->body.p, m->body.len)))
		abort();
	back.body = m->body;
	if (memcmp(&back, m, sizeof(back)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rd r = rd_of(p, n);

	while (rd_left(&r)) {
		struct err e = ERR_INIT;
		struct mig_hdr h;
		struct mig_msg m;
		const uint8_t *body;

		if (mig_hdr_decode(&r, &h, &e) < 0)
			break;
		body = rd_bytes(&r, h.len_bytes);
		if (!body || mig_body_decode(&h, body, &m, &e) < 0)
			break;
		again(&m);
	}
	return 0;
}

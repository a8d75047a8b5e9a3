/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairing messages from a stranger, into the decoder and then into both
 * machines: first byte picks which, the rest arrives in two pieces.  What
 * decodes must encode to the same bytes.
 * sources: dom0-tools/link/pair.c dom0-tools/link/pair_wire.c dom0-tools/link/pair_code.c
 * sources: dom0-tools/link/identity.c dom0-tools/link/role.c dom0-tools/base/buf.c dom0-tools/base/clock.c
 * sources: dom0-tools/base/err.c dom0-tools/base/fd.c dom0-tools/base/rd.c
 */
#include <string.h>

#include "link/pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static bool find(void *arg, const uint8_t id[PAIR_ID_BYTES], struct pair_offer *out)
{
	(void)arg;
	*out = (struct pair_offer){ .secret = { id[0] }, .role = id[0] & 1 ? ROLE_PEER : ROLE_ADMIN };
	return id[1] < 0x80;
}

static void failed(void *arg, const uint8_t id[PAIR_ID_BYTES])
{
	(void)arg;
	(void)id;
}

static int pin(void *arg, const struct pair_result *r, const uint8_t id[PAIR_ID_BYTES], bool try, struct err *e)
{
	(void)arg;
	(void)id;
	(void)e;
	/* Nobody without the code gets this far. */
	if (!try || !name_is_valid(r->name))
		abort();
	return 0;
}

static int fill_random(void *arg, uint8_t *p, size_t n)
{
	(void)arg;
	memset(p, 5, n);
	return 0;
}

static const struct pair_hooks hooks = { find, failed, pin, fill_random };

static void decode_encode(const uint8_t *p, size_t n)
{
	struct rd r = rd_of(p, n);
	struct pair_msg m;
	struct span body;
	struct err e = ERR_INIT;
	AUTO_BUF struct buf b = { 0 };

	if (pair_decode(&r, &m, &body, &e) != PAIR_GOT_MSG || m.type == PAIR_REFUSE)
		return;		/* a refusal's text is cleaned */
	pair_encode(&m, &b);
	if (b.len != n - rd_left(&r) || memcmp(b.p, p, b.len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const uint8_t secret[PAIR_SECRET_BYTES] = { 1 };
	struct pair_setup s = { .kind = PAIR_HOST, .name = "me", .secret = secret, .hooks = &hooks };
	struct pair m;
	struct err e = ERR_INIT;
	size_t cut;

	if (n < 2)
		return 0;
	decode_encode(p + 2, n - 2);
	s.side = p[0] & 1 ? PAIR_DIALER : PAIR_LISTENER;
	if (pair_init(&m, &s, &e) == 0) {
		cut = p[1] < n - 2 ? p[1] : n - 2;
		if (pair_feed(&m, p + 2, cut, &e) == PAIR_STEP_MORE && n - 2 > cut)
			(void)pair_feed(&m, p + 2 + cut, n - 2 - cut, &e);
	}
	pair_fini(&m);
	return 0;
}

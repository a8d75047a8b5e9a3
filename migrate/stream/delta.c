/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Word-wise because guests write words: a byte-wise code would save little
 * and cost a branch a byte.
 */
#include "migrate/stream/delta.h"

#include <string.h>

#include "migrate/stream/stream_fmt.h"

/* Two changed stretches closer than this are one run: a run costs 4 bytes, a word 8. */
enum { RUN_HDR_BYTES = 4 };

int page_is_zero(const uint64_t *page)
{
	/* Most pages that are not zero show it in the first words. */
	for (int i = 0; i < PAGE_WORDS; i += 8) {
		uint64_t any = page[i] | page[i + 1] | page[i + 2] | page[i + 3] |
			       page[i + 4] | page[i + 5] | page[i + 6] | page[i + 7];
		if (any)
			return 0;
	}
	return 1;
}

static void put_le16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

int delta_encode(const uint64_t *old, const uint64_t *now, uint8_t out[DELTA_BYTES_MAX])
{
	unsigned len = 0, i = 0, done = 0;

	while (i < PAGE_WORDS) {
		if (old[i] == now[i]) {
			i++;
			continue;
		}
		unsigned start = i;
		while (i < PAGE_WORDS && old[i] != now[i])
			i++;
		unsigned words = i - start;
		if (len + RUN_HDR_BYTES + words * 8 > DELTA_BYTES_MAX)
			return -1;
		put_le16(out + len, start - done);
		put_le16(out + len + 2, words);
		memcpy(out + len + RUN_HDR_BYTES, now + start, words * 8ul);
		len += RUN_HDR_BYTES + words * 8;
		done = i;
	}
	return (int)len;
}

int delta_apply(struct rd *r, size_t bytes, uint64_t *page, struct err *e)
{
	const uint8_t *body = rd_bytes(r, bytes);
	struct rd d = rd_of(body, body ? bytes : 0);
	size_t at = 0;

	if (!body)
		return err_set(e, ERR_CORRUPT, "delta of %zu bytes cut short", bytes);
	while (rd_left(&d)) {
		size_t skip = rd_le16(&d), words = rd_le16(&d);

		at += skip;
		if (d.bad || at + words > PAGE_WORDS)
			return err_set(e, ERR_CORRUPT, "delta leaves its page");
		rd_copy(&d, page + at, words * 8);
		if (d.bad)
			return err_set(e, ERR_CORRUPT, "delta run of %zu words cut short", words);
		at += words;
	}
	return 0;
}

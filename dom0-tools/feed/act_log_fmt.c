/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding and decoding of the activity log's blocks.  What is read is as
 * foreign as any file: counts are checked before anything is copied.
 */
#include "feed/act_log_fmt.h"

#include <string.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/rd.h"

enum { CRC_OFF = 4 };

static void put(uint8_t *raw, struct buf *b)
{
	memcpy(raw, b->p, b->len);
	buf_fini(b);
}

static uint32_t checksum(const uint8_t raw[ACT_LOG_BLOCK_BYTES])
{
	static const uint8_t none[4];
	uLong crc = crc32(0, raw, CRC_OFF);

	crc = crc32(crc, none, sizeof(none));
	return (uint32_t)crc32(crc, raw + CRC_OFF + 4, ACT_LOG_BLOCK_BYTES - CRC_OFF - 4);
}

void act_log_seal(uint8_t raw[ACT_LOG_BLOCK_BYTES], const struct act_log_block *b)
{
	struct buf h = { 0 };
	uint32_t crc;

	memset(raw, 0, ACT_LOG_BLOCK_HEAD);
	buf_put_le32(&h, b->magic);
	buf_put_le32(&h, 0);
	buf_put_le64(&h, b->seq);
	buf_put_le64(&h, b->feed_id);
	buf_put_le32(&h, b->number);
	buf_put_le32(&h, b->incarnation);
	buf_put_le64(&h, b->floor);
	put(raw, &h);
	crc = checksum(raw);
	buf_put_le32(&h, crc);
	put(raw + CRC_OFF, &h);
}

bool act_log_unseal(const uint8_t raw[ACT_LOG_BLOCK_BYTES], uint32_t magic, struct act_log_block *out)
{
	struct rd r = rd_of(raw, ACT_LOG_BLOCK_HEAD);
	uint32_t crc;

	out->magic = rd_le32(&r);
	crc = rd_le32(&r);
	out->seq = rd_le64(&r);
	out->feed_id = rd_le64(&r);
	out->number = rd_le32(&r);
	out->incarnation = rd_le32(&r);
	out->floor = rd_le64(&r);
	return out->magic == magic && crc == checksum(raw);
}

void act_log_head_encode(uint8_t raw[ACT_LOG_BLOCK_BYTES], const struct act_log_head *h)
{
	struct buf b = { 0 };

	memset(raw, 0, ACT_LOG_BLOCK_BYTES);
	buf_put_le32(&b, h->extent_shift);
	buf_put_le32(&b, h->n_disks);
	buf_put_le32(&b, h->n_consumers);
	buf_put_le32(&b, 0);
	for (unsigned i = 0; i < h->n_disks; i++) {
		buf_put_le64(&b, h->disks[i].bytes);
		buf_put(&b, h->disks[i].key, ACT_LOG_KEY_BYTES);
	}
	for (unsigned i = 0; i < h->n_consumers; i++)
		buf_put(&b, h->consumers[i], ACT_LOG_NAME_BYTES);
	put(raw + ACT_LOG_BLOCK_HEAD, &b);
}

static bool get_text(struct rd *r, char *to, size_t n)
{
	rd_copy(r, to, n);
	return to[0] && memchr(to, 0, n);
}

bool act_log_head_decode(const uint8_t raw[ACT_LOG_BLOCK_BYTES], struct act_log_head *out)
{
	struct rd r = rd_of(raw + ACT_LOG_BLOCK_HEAD, ACT_LOG_BLOCK_BYTES - ACT_LOG_BLOCK_HEAD);
	bool ok = true;

	memset(out, 0, sizeof(*out));
	out->extent_shift = rd_le32(&r);
	out->n_disks = rd_le32(&r);
	out->n_consumers = rd_le32(&r);
	rd_skip(&r, 4);
	if (out->n_disks > ACT_LOG_DISKS_MAX || out->n_consumers > ACT_LOG_CONSUMERS_MAX)
		return false;
	for (unsigned i = 0; i < out->n_disks; i++) {
		out->disks[i].bytes = rd_le64(&r);
		ok = get_text(&r, out->disks[i].key, ACT_LOG_KEY_BYTES) && ok;
	}
	for (unsigned i = 0; i < out->n_consumers; i++)
		ok = get_text(&r, out->consumers[i], ACT_LOG_NAME_BYTES) && ok;
	return ok && !r.bad;
}

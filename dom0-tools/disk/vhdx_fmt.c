/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX structures from and to the file's bytes.
 */
#include "disk/vhdx_fmt.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/rd.h"
#include "disk/crc32c.h"

/* A GUID as it is written, as its bytes stand in the file. */
#define GUID(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7) \
	{ (a) & 0xff, (a) >> 8 & 0xff, (a) >> 16 & 0xff, (a) >> 24 & 0xff, (b) & 0xff, (b) >> 8, (c) & 0xff, (c) >> 8, \
	  d0, d1, d2, d3, d4, d5, d6, d7 }
#define DEFINE(name, ...) const uint8_t name[VHDX_GUID_BYTES] = GUID(__VA_ARGS__)

DEFINE(vhdx_guid_bat, 0x2dc27766, 0xf623, 0x4200, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08);
DEFINE(vhdx_guid_metadata, 0x8b7ca206, 0x4790, 0x4b9a, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e);
DEFINE(vhdx_guid_params, 0xcaa16737, 0xfa36, 0x4d43, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b);
DEFINE(vhdx_guid_size, 0x2fa54224, 0xcd1b, 0x4876, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8);
DEFINE(vhdx_guid_disk_id, 0xbeca12ab, 0xb2e6, 0x4523, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46);
DEFINE(vhdx_guid_logical, 0x8141bf1d, 0xa96f, 0x4709, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f);
DEFINE(vhdx_guid_physical, 0xcda348c7, 0x445d, 0x4471, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56);
DEFINE(vhdx_guid_locator, 0xa8d35f2d, 0xb30b, 0x454d, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c);
DEFINE(vhdx_guid_locator_vhdx, 0xb04aefb7, 0xd19e, 0x4a81, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13);
const uint8_t vhdx_guid_none[VHDX_GUID_BYTES];
const char vhdx_sign[VHDX_ID_SIGN_BYTES + 1] = "vhdxfile";
const char vhdx_meta_sign[VHDX_ID_SIGN_BYTES + 1] = "metadata";

/* Where the digits of byte i of the file stand in the text. */
static const uint8_t guid_at[VHDX_GUID_BYTES] = { 7, 5, 3, 1, 12, 10, 17, 15, 20, 22, 25, 27, 29, 31, 33, 35 };

void vhdx_guid_text(const uint8_t *id, char out[VHDX_GUID_TEXT_BYTES])
{
	static const char hex[] = "0123456789abcdef";

	memcpy(out, "{00000000-0000-0000-0000-000000000000}", VHDX_GUID_TEXT_BYTES);
	for (int i = 0; i < VHDX_GUID_BYTES; i++) {
		out[guid_at[i]] = hex[id[i] >> 4];
		out[guid_at[i] + 1] = hex[id[i] & 15];
	}
}

static int digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

bool vhdx_guid_parse(const char *text, uint8_t out[VHDX_GUID_BYTES])
{
	static const char form[] = "{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}";

	if (strlen(text) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == 'x' ? !isxdigit((unsigned char)text[i]) : text[i] != form[i])
			return false;
	for (int i = 0; i < VHDX_GUID_BYTES; i++)
		out[i] = (uint8_t)(digit(text[guid_at[i]]) << 4 | digit(text[guid_at[i] + 1]));
	return true;
}

void vhdx_put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

void vhdx_put_le32(uint8_t *p, uint32_t v)
{
	vhdx_put_le16(p, (uint16_t)v);
	vhdx_put_le16(p + 2, (uint16_t)(v >> 16));
}

void vhdx_put_le64(uint8_t *p, uint64_t v)
{
	vhdx_put_le32(p, (uint32_t)v);
	vhdx_put_le32(p + 4, (uint32_t)(v >> 32));
}

uint32_t vhdx_sum(const uint8_t *p, size_t n)
{
	static const uint8_t zeroes[4];
	uint32_t crc = crc32c(0, p, 4);

	crc = crc32c(crc, zeroes, 4);
	return crc32c(crc, p + 8, n - 8);
}

void vhdx_sum_set(uint8_t *p, size_t n)
{
	vhdx_put_le32(p + 4, vhdx_sum(p, n));
}

bool vhdx_header_decode(const uint8_t *raw, struct vhdx_header *out)
{
	struct rd r = rd_of(raw, VHDX_HEADER_BYTES);
	uint32_t sum;

	if (memcmp(rd_bytes(&r, 4), "head", 4))
		return false;
	sum = rd_le32(&r);
	out->sequence = rd_le64(&r);
	rd_copy(&r, out->file_id, VHDX_GUID_BYTES);
	rd_copy(&r, out->data_id, VHDX_GUID_BYTES);
	rd_copy(&r, out->log_id, VHDX_GUID_BYTES);
	out->log_version = rd_le16(&r);
	out->version = rd_le16(&r);
	out->log_bytes = rd_le32(&r);
	out->log_off = rd_le64(&r);
	return sum == vhdx_sum(raw, VHDX_HEADER_BYTES);
}

void vhdx_header_encode(const struct vhdx_header *h, uint8_t raw[VHDX_HEADER_BYTES])
{
	memset(raw, 0, VHDX_HEADER_BYTES);
	memcpy(raw, "head", 4);
	vhdx_put_le64(raw + 8, h->sequence);
	memcpy(raw + 16, h->file_id, VHDX_GUID_BYTES);
	memcpy(raw + 32, h->data_id, VHDX_GUID_BYTES);
	memcpy(raw + 48, h->log_id, VHDX_GUID_BYTES);
	vhdx_put_le16(raw + 64, h->log_version);
	vhdx_put_le16(raw + 66, h->version);
	vhdx_put_le32(raw + 68, h->log_bytes);
	vhdx_put_le64(raw + 72, h->log_off);
	vhdx_sum_set(raw, VHDX_HEADER_BYTES);
}

uint32_t vhdx_entry_head_bytes(uint32_t descriptors)
{
	uint64_t n = VHDX_LOG_HEAD_BYTES + (uint64_t)descriptors * VHDX_DESC_BYTES;

	n = (n + VHDX_LOG_SECTOR - 1) / VHDX_LOG_SECTOR * VHDX_LOG_SECTOR;
	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

bool vhdx_entry_decode(const uint8_t *p, uint32_t max, struct vhdx_entry *out)
{
	struct rd r = rd_of(p, VHDX_LOG_HEAD_BYTES);

	if (max < VHDX_LOG_SECTOR || memcmp(rd_bytes(&r, 4), "loge", 4))
		return false;
	rd_skip(&r, 4);
	out->bytes = rd_le32(&r);
	out->tail = rd_le32(&r);
	out->sequence = rd_le64(&r);
	out->descriptors = rd_le32(&r);
	rd_skip(&r, 4);
	rd_copy(&r, out->log_id, VHDX_GUID_BYTES);
	out->flushed_bytes = rd_le64(&r);
	out->file_bytes = rd_le64(&r);
	return out->bytes % VHDX_LOG_SECTOR == 0 && out->bytes <= max && out->sequence &&
	       out->tail % VHDX_LOG_SECTOR == 0 && vhdx_entry_head_bytes(out->descriptors) <= out->bytes;
}

void vhdx_entry_encode(const struct vhdx_entry *n, uint8_t raw[VHDX_LOG_HEAD_BYTES])
{
	memset(raw, 0, VHDX_LOG_HEAD_BYTES);
	memcpy(raw, "loge", 4);
	vhdx_put_le32(raw + 8, n->bytes);
	vhdx_put_le32(raw + 12, n->tail);
	vhdx_put_le64(raw + 16, n->sequence);
	vhdx_put_le32(raw + 24, n->descriptors);
	memcpy(raw + 32, n->log_id, VHDX_GUID_BYTES);
	vhdx_put_le64(raw + 48, n->flushed_bytes);
	vhdx_put_le64(raw + 56, n->file_bytes);
}

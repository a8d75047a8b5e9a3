/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes the fixed structures of a VHD file: footer, header,
 * geometry, names.  Knows no file; what fits together across structures is
 * decided in vhd.c.
 */
#include "disk/vhd_fmt.h"

#include <endian.h>
#include <string.h>

#include "base/rd.h"

enum {
	FOOTER_SUM_AT = 64,
	HEADER_SUM_AT = 36,
	HEADER_LOCATORS_AT = 576,
};

static void put16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

static uint32_t sum_of(const uint8_t *raw, size_t n, size_t sum_at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		if (i < sum_at || i >= sum_at + 4)
			sum += raw[i];
	return ~sum;
}

/* The cookie and the checksum: is it such a structure at all, and whole? */
static int check_frame(const uint8_t *raw, size_t n, size_t sum_at, const char *cookie, const char *what,
		       uint64_t at, struct err *e)
{
	struct rd r = rd_of(raw + sum_at, 4);
	uint32_t want = sum_of(raw, n, sum_at);
	uint32_t have = rd_be32(&r);

	if (memcmp(raw, cookie, 8))
		return err_set(e, ERR_CORRUPT, "%s at byte %llu: no cookie '%s'", what, (unsigned long long)at, cookie);
	if (have != want)
		return err_set(e, ERR_CORRUPT, "%s at byte %llu: checksum 0x%08x, its bytes give 0x%08x", what,
			       (unsigned long long)at, have, want);
	return 0;
}

static int footer_check(const struct vhd_footer *f, uint32_t version, uint32_t type, unsigned long long at,
			struct err *e)
{
	if (version != VHD_VERSION)
		return err_set(e, ERR_CORRUPT, "footer at byte %llu: version 0x%08x, known is 0x%08x", at, version,
			       VHD_VERSION);
	if ((f->features & ~(uint32_t)VHD_FEATURE_TEMPORARY) != VHD_FEATURE_RESERVED)
		return err_set(e, ERR_CORRUPT, "footer at byte %llu: features 0x%08x, known are 2 and 3", at,
			       f->features);
	if (type < VHD_FIXED || type > VHD_DIFFERENCING)
		return err_set(e, ERR_CORRUPT, "footer at byte %llu: disk type %u, known are 2, 3 and 4", at, type);
	if (f->saved > 1)
		return err_set(e, ERR_CORRUPT, "footer at byte %llu: saved state %u, known are 0 and 1", at, f->saved);
	if (!f->current_bytes || f->current_bytes % VHD_SECTOR)
		return err_set(e, ERR_CORRUPT, "footer at byte %llu: current size %llu is no number of sectors", at,
			       (unsigned long long)f->current_bytes);
	if (f->current_bytes > VHD_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "footer at byte %llu: current size %llu, limit %llu", at,
			       (unsigned long long)f->current_bytes, VHD_BYTES_MAX);
	if (type != VHD_FIXED && (f->header_off % VHD_SECTOR || f->header_off < VHD_FOOTER_BYTES))
		return err_set(e, ERR_CORRUPT, "footer at byte %llu: header offset %llu", at,
			       (unsigned long long)f->header_off);
	return 0;
}

int vhd_footer_decode(const uint8_t *raw, uint64_t at, struct vhd_footer *out, struct err *e)
{
	struct rd r = rd_of(raw, VHD_FOOTER_BYTES);
	struct vhd_footer f = { 0 };
	uint32_t version, type;

	if (check_frame(raw, VHD_FOOTER_BYTES, FOOTER_SUM_AT, "conectix", "footer", at, e) < 0)
		return -1;
	rd_skip(&r, 8);
	f.features = rd_be32(&r);
	version = rd_be32(&r);
	f.header_off = rd_be64(&r);
	f.time_s = rd_be32(&r);
	f.app = rd_be32(&r);
	f.app_version = rd_be32(&r);
	f.host = rd_be32(&r);
	f.original_bytes = rd_be64(&r);
	f.current_bytes = rd_be64(&r);
	f.cylinders = rd_be16(&r);
	f.heads = rd_u8(&r);
	f.spt = rd_u8(&r);
	type = rd_be32(&r);
	rd_skip(&r, 4);
	rd_copy(&r, f.id, sizeof(f.id));
	f.saved = rd_u8(&r);
	r = rd_of(raw + VHD_GROWN_AT, 8);
	f.grown_from = rd_be64(&r);
	if (footer_check(&f, version, type, at, e) < 0)
		return -1;
	f.type = (enum vhd_type)type;
	*out = f;
	return 0;
}

void vhd_footer_encode(const struct vhd_footer *f, uint8_t *raw)
{
	memcpy(raw, "conectix", 8);
	put32(raw + 8, f->features);
	put32(raw + 12, VHD_VERSION);
	put64(raw + 16, f->header_off);
	put32(raw + 24, f->time_s);
	put32(raw + 28, f->app);
	put32(raw + 32, f->app_version);
	put32(raw + 36, f->host);
	put64(raw + 40, f->original_bytes);
	put64(raw + 48, f->current_bytes);
	put16(raw + 56, f->cylinders);
	raw[58] = f->heads;
	raw[59] = f->spt;
	put32(raw + 60, f->type);
	memcpy(raw + 68, f->id, sizeof(f->id));
	raw[84] = f->saved;
	put64(raw + VHD_GROWN_AT, f->grown_from);
	put32(raw + FOOTER_SUM_AT, sum_of(raw, VHD_FOOTER_BYTES, FOOTER_SUM_AT));
}

static int header_check(const struct vhd_header *h, uint64_t next, uint32_t version, unsigned long long at,
			struct err *e)
{
	uint32_t size = h->block_bytes;

	if (next != VHD_NO_OFFSET)
		return err_set(e, ERR_CORRUPT, "header at byte %llu: next structure at 0x%llx, known is none", at,
			       (unsigned long long)next);
	if (version != VHD_VERSION)
		return err_set(e, ERR_CORRUPT, "header at byte %llu: version 0x%08x, known is 0x%08x", at, version,
			       VHD_VERSION);
	if (size & (size - 1) || size < VHD_BLOCK_BYTES_MIN || size > VHD_BLOCK_BYTES_MAX)
		return err_set(e, ERR_CORRUPT, "header at byte %llu: block size %u is no power of two of %d to %d", at,
			       size, VHD_BLOCK_BYTES_MIN, VHD_BLOCK_BYTES_MAX);
	if (!h->entries || h->entries > VHD_ENTRIES_MAX)
		return err_set(e, ERR_CORRUPT, "header at byte %llu: %u table entries, allowed are 1 to %u", at,
			       h->entries, VHD_ENTRIES_MAX);
	if (h->table_off % VHD_SECTOR || h->table_off < VHD_FOOTER_BYTES)
		return err_set(e, ERR_CORRUPT, "header at byte %llu: table offset %llu", at,
			       (unsigned long long)h->table_off);
	return 0;
}

int vhd_header_decode(const uint8_t *raw, uint64_t at, struct vhd_header *out, struct err *e)
{
	struct rd r = rd_of(raw, VHD_HEADER_BYTES);
	struct vhd_header h = { 0 };
	uint32_t version;
	uint64_t next;

	if (check_frame(raw, VHD_HEADER_BYTES, HEADER_SUM_AT, "cxsparse", "header", at, e) < 0)
		return -1;
	rd_skip(&r, 8);
	next = rd_be64(&r);
	h.table_off = rd_be64(&r);
	version = rd_be32(&r);
	h.entries = rd_be32(&r);
	h.block_bytes = rd_be32(&r);
	rd_skip(&r, 4);
	rd_copy(&r, h.parent_id, sizeof(h.parent_id));
	h.parent_time_s = rd_be32(&r);
	rd_skip(&r, 4);
	rd_copy(&r, h.parent_name, sizeof(h.parent_name));
	for (int i = 0; i < VHD_LOCATORS; i++) {
		h.locators[i].code = rd_be32(&r);
		h.locators[i].space = rd_be32(&r);
		h.locators[i].bytes = rd_be32(&r);
		rd_skip(&r, 4);
		h.locators[i].off = rd_be64(&r);
	}
	if (header_check(&h, next, version, at, e) < 0)
		return -1;
	*out = h;
	return 0;
}

void vhd_header_encode(const struct vhd_header *h, uint8_t *raw)
{
	memcpy(raw, "cxsparse", 8);
	put64(raw + 8, VHD_NO_OFFSET);
	put64(raw + 16, h->table_off);
	put32(raw + 24, VHD_VERSION);
	put32(raw + 28, h->entries);
	put32(raw + 32, h->block_bytes);
	memcpy(raw + 40, h->parent_id, sizeof(h->parent_id));
	put32(raw + 56, h->parent_time_s);
	memcpy(raw + 64, h->parent_name, sizeof(h->parent_name));
	for (int i = 0; i < VHD_LOCATORS; i++) {
		uint8_t *p = raw + HEADER_LOCATORS_AT + 24 * i;

		put32(p, h->locators[i].code);
		put32(p + 4, h->locators[i].space);
		put32(p + 8, h->locators[i].bytes);
		put64(p + 16, h->locators[i].off);
	}
	put32(raw + HEADER_SUM_AT, sum_of(raw, VHD_HEADER_BYTES, HEADER_SUM_AT));
}

void vhd_set_size(struct vhd_footer *f, uint64_t bytes)
{
	uint64_t sectors = bytes / VHD_SECTOR < VHD_CHS_MAX ? bytes / VHD_SECTOR : VHD_CHS_MAX;
	uint64_t spt = 17, heads, tracks;

	if (sectors >= 65535ull * 16 * 63) {
		spt = 255;
		heads = 16;
	} else {
		tracks = sectors / spt;
		heads = (tracks + 1023) / 1024 < 4 ? 4 : (tracks + 1023) / 1024;
		if (heads > 16 || tracks >= heads * 1024) {
			spt = 31;
			heads = 16;
		}
		if (spt == 31 && sectors / spt >= heads * 1024)
			spt = 63;
	}
	tracks = sectors / spt;
	f->current_bytes = bytes;
	f->cylinders = (uint16_t)(tracks / heads);
	f->heads = (uint8_t)heads;
	f->spt = (uint8_t)spt;
}

uint64_t vhd_guest_bytes(const struct vhd_footer *f)
{
	uint64_t chs = (uint64_t)f->cylinders * f->heads * f->spt;

	if (f->app != VHD_APP_VPC && f->app != VHD_APP_QEMU)
		return f->current_bytes;
	/* The largest geometry says only "at least so large"; one beyond the file's own size says nothing. */
	if (!chs || chs >= VHD_CHS_MAX || chs * VHD_SECTOR > f->current_bytes)
		return f->current_bytes;
	return chs * VHD_SECTOR;
}

static size_t utf8_put(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

void vhd_name_decode(const uint8_t *p, size_t n, bool big_endian, char *out, size_t out_bytes)
{
	struct rd r = rd_of(p, n);
	size_t len = 0;

	while (rd_left(&r) >= 2) {
		uint32_t c = big_endian ? rd_be16(&r) : rd_le16(&r);
		char text[4];
		size_t k;

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xdc00 && rd_left(&r) >= 2) {
			struct rd next = r;
			uint32_t low = big_endian ? rd_be16(&next) : rd_le16(&next);

			if (low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
				r = next;
			}
		}
		if (c >= 0xd800 && c < 0xe000)
			c = 0xfffd;
		k = utf8_put(c, text);
		if (len + k >= out_bytes)
			break;
		memcpy(out + len, text, k);
		len += k;
	}
	out[len] = '\0';
}

/* The next character of *s, or -1. */
static int32_t utf8_take(const char **s)
{
	const uint8_t *p = (const uint8_t *)*s;
	int more = p[0] < 0x80 ? 0 : p[0] >= 0xc2 && p[0] < 0xe0 ? 1 : p[0] >= 0xe0 && p[0] < 0xf0 ? 2
		 : p[0] >= 0xf0 && p[0] < 0xf5 ? 3 : -1;
	static const uint8_t mask[] = { 0x7f, 0x1f, 0x0f, 0x07 };
	int32_t c;

	if (more < 0)
		return -1;
	c = p[0] & mask[more];
	for (int i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return -1;
		c = c << 6 | (p[i] & 0x3f);
	}
	*s += more + 1;
	return c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? -1 : c;
}

int vhd_name_encode(const char *name, bool big_endian, uint8_t *out, size_t max)
{
	size_t len = 0;

	while (*name) {
		int32_t c = utf8_take(&name);
		uint16_t unit[2];
		int n = 1;

		if (c < 0)
			return -1;
		unit[0] = (uint16_t)c;
		if (c >= 0x10000) {
			unit[0] = (uint16_t)(0xd800 + ((c - 0x10000) >> 10));
			unit[1] = (uint16_t)(0xdc00 + ((c - 0x10000) & 0x3ff));
			n = 2;
		}
		for (int i = 0; i < n; i++, len += 2) {
			uint16_t v = big_endian ? htobe16(unit[i]) : htole16(unit[i]);

			if (len + 2 > max)
				return -1;
			memcpy(out + len, &v, 2);
		}
	}
	return (int)len;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a VHDX that the log cannot protect: the two headers, of which
 * the valid one with the higher sequence number counts, and the two copies of
 * the region table.
 */
#include "disk/vhdx_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"
#include "base/rd.h"

int vhdx_random_id(uint8_t id[VHDX_GUID_BYTES])
{
	if (getrandom(id, VHDX_GUID_BYTES, 0) != VHDX_GUID_BYTES)
		return -EIO;
	id[7] = (uint8_t)((id[7] & 0x0f) | 0x40);	/* version 4, variant 1 */
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	return 0;
}

static int check_header(const struct vhdx *v, struct err *e)
{
	const struct vhdx_header *h = &v->h;
	const char *name = blob_name(v->b);

	if (h->version != VHDX_VERSION)
		return err_set(e, ERR_INCOMPATIBLE, "'%s': header version %u, not %d", name, h->version, VHDX_VERSION);
	if (h->log_version != VHDX_LOG_VERSION)
		return err_set(e, ERR_INCOMPATIBLE, "'%s': log version %u, not %d", name, h->log_version,
			       VHDX_LOG_VERSION);
	if (h->sequence > UINT64_MAX / 2)
		return err_set(e, ERR_CORRUPT, "'%s': header sequence number %llu leaves no room to count on", name,
			       (unsigned long long)h->sequence);
	if (!h->log_bytes || h->log_bytes % VHDX_MIB || h->log_off % VHDX_MIB || !h->log_off ||
	    h->log_off > blob_bytes(v->b) || h->log_bytes > blob_bytes(v->b) - h->log_off)
		return err_set(e, ERR_CORRUPT, "'%s': log of %u bytes at byte %llu: not in the file's %llu, or no "
			       "whole MiB", name, h->log_bytes, (unsigned long long)h->log_off,
			       (unsigned long long)blob_bytes(v->b));
	if (h->log_bytes > VHDX_LOG_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "'%s': log of %u bytes, limit %d", name, h->log_bytes,
			       VHDX_LOG_BYTES_MAX);
	return 0;
}

static int find_current(struct vhdx *v, struct err *e)
{
	uint8_t raw[2][VHDX_HEADER_BYTES];
	struct vhdx_header h[2];

	for (int i = 0; i < 2; i++) {
		uint64_t at = VHDX_HEADER_AT + (uint64_t)i * VHDX_HEADER_STEP;
		int rc = blob_read(v->b, at, raw[i], VHDX_HEADER_BYTES);

		if (rc)
			return err_sys(e, -rc, "read '%s': header %d", blob_name(v->b), i + 1);
		v->head_bad[i] = !vhdx_header_decode(raw[i], &h[i]);
	}
	if (v->head_bad[0] && v->head_bad[1])
		return err_set(e, ERR_CORRUPT, "'%s': neither header (at byte %d, %d) has a right checksum",
			       blob_name(v->b), VHDX_HEADER_AT, VHDX_HEADER_AT + VHDX_HEADER_STEP);
	if (!v->head_bad[0] && !v->head_bad[1] && h[0].sequence == h[1].sequence &&
	    memcmp(raw[0], raw[1], VHDX_HEADER_BYTES))
		return err_set(e, ERR_CORRUPT, "'%s': both headers have sequence number %llu, but they differ",
			       blob_name(v->b), (unsigned long long)h[0].sequence);
	v->current = v->head_bad[0] || (!v->head_bad[1] && h[1].sequence > h[0].sequence);
	v->h = h[v->current];
	memcpy(v->ids[0], v->h.data_id, VHDX_GUID_BYTES);
	return check_header(v, e);
}

int vhdx_find_header(struct vhdx *v, struct err *e)
{
	uint8_t sign[VHDX_ID_SIGN_BYTES];
	int rc;

	if (blob_bytes(v->b) < VHDX_MIB)
		return err_set(e, ERR_CORRUPT, "'%s': %llu bytes are too few for a VHDX", blob_name(v->b),
			       (unsigned long long)blob_bytes(v->b));
	rc = blob_read(v->b, 0, sign, sizeof(sign));
	if (rc)
		return err_sys(e, -rc, "read '%s': file identifier", blob_name(v->b));
	if (memcmp(sign, vhdx_sign, sizeof(sign)))
		return err_set(e, ERR_CORRUPT, "'%s': no file identifier '%s' at byte 0", blob_name(v->b), vhdx_sign);
	v->file_bytes = blob_bytes(v->b);
	return find_current(v, e);
}

static bool table_good(const uint8_t *raw)
{
	struct rd r = rd_of(raw, VHDX_REGION_HEAD_BYTES);

	return !memcmp(rd_bytes(&r, 4), "regi", 4) && rd_le32(&r) == vhdx_sum(raw, VHDX_TABLE_BYTES);
}

static int check_region(const struct vhdx *v, uint32_t i, const struct vhdx_extent *x, struct err *e)
{
	if (x->off % VHDX_MIB || x->bytes % VHDX_MIB || !x->off || !x->bytes || x->off > v->file_bytes ||
	    x->bytes > v->file_bytes - x->off)
		return err_set(e, ERR_CORRUPT, "'%s': region %u: %llu bytes at byte %llu: not in the file's %llu, or "
			       "no whole MiB", blob_name(v->b), i, (unsigned long long)x->bytes,
			       (unsigned long long)x->off, (unsigned long long)v->file_bytes);
	return 0;
}

static int take_region(struct vhdx *v, uint32_t i, struct rd *r, struct err *e)
{
	const uint8_t *id = rd_bytes(r, VHDX_GUID_BYTES);
	struct vhdx_extent x = { .off = rd_le64(r) }, *known = NULL;
	char text[VHDX_GUID_TEXT_BYTES];
	uint32_t flags;

	x.bytes = rd_le32(r);
	flags = rd_le32(r);
	vhdx_guid_text(id, text);
	if (!memcmp(id, vhdx_guid_bat, VHDX_GUID_BYTES))
		known = &v->bat_at;
	else if (!memcmp(id, vhdx_guid_metadata, VHDX_GUID_BYTES))
		known = &v->meta_at;
	else if (flags & VHDX_REGION_REQUIRED)
		return err_set(e, ERR_INCOMPATIBLE, "'%s': required region %s is not known", blob_name(v->b), text);
	if (check_region(v, i, &x, e) < 0)
		return -1;
	if (known && known->bytes)
		return err_set(e, ERR_CORRUPT, "'%s': region %s is there twice", blob_name(v->b), text);
	if (known)
		*known = x;
	v->regions[v->n_regions++] = x;
	return 0;
}

static int take_regions(struct vhdx *v, const uint8_t *raw, struct err *e)
{
	struct rd r = rd_of(raw, VHDX_TABLE_BYTES);
	uint32_t n;

	rd_skip(&r, 8);
	n = rd_le32(&r);
	rd_skip(&r, 4);
	if (n > VHDX_TABLE_ENTRIES_MAX)
		return err_set(e, ERR_CORRUPT, "'%s': region table with %u entries, limit %d", blob_name(v->b), n,
			       VHDX_TABLE_ENTRIES_MAX);
	v->regions = mem_alloc((n + 1) * sizeof(*v->regions));
	for (uint32_t i = 0; i < n; i++)
		if (take_region(v, i, &r, e) < 0)
			return -1;
	v->regions[v->n_regions++] = (struct vhdx_extent){ v->h.log_off, v->h.log_bytes };
	if (!v->bat_at.bytes || !v->meta_at.bytes)
		return err_set(e, ERR_CORRUPT, "'%s': the region table names no %s", blob_name(v->b),
			       v->bat_at.bytes ? "metadata" : "BAT");
	if (v->bat_at.bytes > VHDX_BAT_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "'%s': BAT of %llu bytes, limit %d", blob_name(v->b),
			       (unsigned long long)v->bat_at.bytes, VHDX_BAT_BYTES_MAX);
	return 0;
}

int vhdx_load_regions(struct vhdx *v, struct err *e)
{
	AUTO_FREE uint8_t *raw = mem_alloc(2 * VHDX_TABLE_BYTES);
	uint8_t *use;

	for (int i = 0; i < 2; i++) {
		uint64_t at = VHDX_REGIONS_AT + (uint64_t)i * VHDX_TABLE_BYTES;
		int rc = blob_read(v->b, at, raw + i * VHDX_TABLE_BYTES, VHDX_TABLE_BYTES);

		if (rc)
			return err_sys(e, -rc, "read '%s': region table %d", blob_name(v->b), i + 1);
		v->regions_bad[i] = !table_good(raw + i * VHDX_TABLE_BYTES);
	}
	if (v->regions_bad[0] && v->regions_bad[1])
		return err_set(e, ERR_CORRUPT, "'%s': neither region table (at byte %d, %d) has a right checksum",
			       blob_name(v->b), VHDX_REGIONS_AT, VHDX_REGIONS_AT + VHDX_TABLE_BYTES);
	use = raw + (v->regions_bad[0] ? VHDX_TABLE_BYTES : 0);
	return take_regions(v, use, e);
}

static int write_other(struct vhdx *v)
{
	uint8_t raw[VHDX_HEADER_BYTES];
	int to = !v->current, rc;

	v->h.sequence++;
	vhdx_header_encode(&v->h, raw);
	rc = blob_write(v->b, VHDX_HEADER_AT + (uint64_t)to * VHDX_HEADER_STEP, raw, sizeof(raw));
	if (!rc)
		rc = blob_flush(v->b);
	if (!rc) {
		v->current = to;
		v->head_bad[to] = false;
	}
	return rc;
}

int vhdx_write_headers(struct vhdx *v)
{
	int rc = write_other(v);

	if (!rc)
		rc = write_other(v);
	if (rc)
		v->failed = true;
	return rc;
}

int vhdx_start(struct vhdx *v)
{
	int rc;

	if (blob_read_only(v->b))
		return -EROFS;
	if (v->failed)
		return -EIO;
	if (atomic_load(&v->started))
		return 0;
	rc = v->file_id_new ? 0 : vhdx_random_id(v->h.file_id);
	if (!rc)
		rc = vhdx_random_id(v->ids[1]);
	if (rc)
		return rc;
	memcpy(v->h.data_id, v->ids[1], VHDX_GUID_BYTES);
	rc = vhdx_write_headers(v);
	if (!rc) {
		v->flushed_bytes = blob_bytes(v->b);
		atomic_store(&v->started, true);
	}
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata region: what the disk is (size, sectors, blocks), and the
 * parent locator of a differencing image.
 */
#include "disk/vhdx_state.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/rd.h"
#include "disk/vhd_fmt.h"

struct item {
	uint32_t off, bytes;		/* in the region */
};

enum item_kind { PARAMS, SIZE, DISK_ID, LOGICAL, PHYSICAL, LOCATOR, ITEM_N };

/* In the order of the enum; bytes: what it must have, 0: that depends. */
static const struct {
	const char *name;
	const uint8_t *id;
	uint32_t bytes;
} known[ITEM_N] = {
	[PARAMS] = { "file parameters", vhdx_guid_params, 8 },
	[SIZE] = { "virtual disk size", vhdx_guid_size, 8 },
	[DISK_ID] = { "virtual disk id", vhdx_guid_disk_id, 16 },
	[LOGICAL] = { "logical sector size", vhdx_guid_logical, 4 },
	[PHYSICAL] = { "physical sector size", vhdx_guid_physical, 4 },
	[LOCATOR] = { "parent locator", vhdx_guid_locator, 0 },
};

static int take_item(const struct vhdx *v, struct rd *r, struct item *items, struct err *e)
{
	const uint8_t *id = rd_bytes(r, VHDX_GUID_BYTES);
	struct item it = { .off = rd_le32(r) };
	uint32_t flags;
	char text[VHDX_GUID_TEXT_BYTES];
	int k = 0;

	it.bytes = rd_le32(r);
	flags = rd_le32(r);
	rd_skip(r, 4);
	vhdx_guid_text(id, text);
	while (k < ITEM_N && memcmp(id, known[k].id, VHDX_GUID_BYTES))
		k++;
	if ((k == ITEM_N || flags & VHDX_META_USER) && flags & VHDX_REQUIRED)
		return err_set(e, ERR_INCOMPATIBLE, "'%s': required metadata item %s is not known", blob_name(v->b),
			       text);
	if (k == ITEM_N || flags & VHDX_META_USER)
		return 0;
	if (items[k].bytes)
		return err_set(e, ERR_CORRUPT, "'%s': metadata: two items '%s'", blob_name(v->b), known[k].name);
	if (it.bytes > VHDX_ITEM_BYTES_MAX || it.off < VHDX_TABLE_BYTES || it.off > v->meta_at.bytes ||
	    it.bytes > v->meta_at.bytes - it.off || !it.bytes || (known[k].bytes && it.bytes < known[k].bytes))
		return err_set(e, ERR_CORRUPT, "'%s': metadata item '%s': %u bytes at %u of the region",
			       blob_name(v->b),
			       known[k].name, it.bytes, it.off);
	items[k] = it;
	return 0;
}

static int load_table(const struct vhdx *v, struct item *items, struct err *e)
{
	AUTO_FREE uint8_t *raw = mem_alloc(VHDX_TABLE_BYTES);
	int rc = vhdx_read(v, v->meta_at.off, raw, VHDX_TABLE_BYTES);
	struct rd r = rd_of(raw, VHDX_TABLE_BYTES);
	unsigned n;

	if (rc)
		return err_sys(e, -rc, "read '%s': metadata table", blob_name(v->b));
	if (memcmp(rd_bytes(&r, VHDX_ID_SIGN_BYTES), vhdx_meta_sign, VHDX_ID_SIGN_BYTES))
		return err_set(e, ERR_CORRUPT, "'%s': no '%s' at byte %llu", blob_name(v->b), vhdx_meta_sign,
			       (unsigned long long)v->meta_at.off);
	rd_skip(&r, 2);
	n = rd_le16(&r);
	rd_skip(&r, VHDX_META_HEAD_BYTES - 12);
	if (n > VHDX_TABLE_ENTRIES_MAX)
		return err_set(e, ERR_CORRUPT, "'%s': metadata table with %u entries, limit %d", blob_name(v->b), n,
			       VHDX_TABLE_ENTRIES_MAX);
	for (unsigned i = 0; i < n; i++)
		if (take_item(v, &r, items, e) < 0)
			return -1;
	for (int k = 0; k < LOCATOR; k++)
		if (!items[k].bytes)
			return err_set(e, ERR_CORRUPT, "'%s': metadata: no item '%s'", blob_name(v->b), known[k].name);
	return 0;
}

/* The known value of up to 16 bytes. */
static int read_item(const struct vhdx *v, const struct item *items, enum item_kind k, uint8_t out[16], struct err *e)
{
	int rc = vhdx_read(v, v->meta_at.off + items[k].off, out, known[k].bytes);

	return rc ? err_sys(e, -rc, "read '%s': metadata item '%s'", blob_name(v->b), known[k].name) : 0;
}

static bool is_sector(uint32_t n)
{
	return n == 512 || n == 4096;
}

static int check_geometry(struct vhdx *v, uint64_t bytes, struct err *e)
{
	const char *name = blob_name(v->b);

	if (v->block_bytes & (v->block_bytes - 1) || v->block_bytes < VHDX_BLOCK_BYTES_MIN ||
	    v->block_bytes > VHDX_BLOCK_BYTES_MAX)
		return err_set(e, ERR_CORRUPT, "'%s': block size %u: no power of two of %d to %d", name, v->block_bytes,
			       VHDX_BLOCK_BYTES_MIN, VHDX_BLOCK_BYTES_MAX);
	if (!is_sector(v->sector_bytes) || !is_sector(v->physical_bytes))
		return err_set(e, ERR_CORRUPT, "'%s': sectors of %u (logical) and %u (physical) bytes: 512 or 4096",
			       name, v->sector_bytes, v->physical_bytes);
	if (!bytes || bytes % v->sector_bytes || bytes > VHDX_BYTES_MAX)
		return err_set(e, ERR_CORRUPT, "'%s': disk of %llu bytes: no sectors, or more than %llu", name,
			       (unsigned long long)bytes, VHDX_BYTES_MAX);
	v->block_shift = (unsigned)__builtin_ctz(v->block_bytes);
	v->sector_shift = (unsigned)__builtin_ctz(v->sector_bytes);
	v->ratio_shift = VHDX_CHUNK_SHIFT + v->sector_shift - v->block_shift;
	atomic_store(&v->bytes, bytes);
	return 0;
}

static int load_values(struct vhdx *v, const struct item *items, struct err *e)
{
	uint8_t params[16], size[16], logical[16], physical[16];
	uint32_t flags;
	struct rd r;

	if (read_item(v, items, PARAMS, params, e) < 0 || read_item(v, items, SIZE, size, e) < 0 ||
	    read_item(v, items, LOGICAL, logical, e) < 0 || read_item(v, items, PHYSICAL, physical, e) < 0)
		return -1;
	r = rd_of(params, 8);
	v->block_bytes = rd_le32(&r);
	flags = rd_le32(&r);
	v->differencing = flags & VHDX_HAS_PARENT;
	v->fixed = !v->differencing && flags & VHDX_LEAVE_ALLOCATED;
	r = rd_of(logical, 4);
	v->sector_bytes = rd_le32(&r);
	r = rd_of(physical, 4);
	v->physical_bytes = rd_le32(&r);
	v->size_at = v->meta_at.off + items[SIZE].off;
	r = rd_of(size, 8);
	return check_geometry(v, rd_le64(&r), e);
}

/* Windows' path as ours: slashes, and no "./" in front. */
static void take_path(struct vhdx *v, const char *path)
{
	char *to = v->parent_name;

	snprintf(v->parent_name, sizeof(v->parent_name), "%s", path);
	for (char *p = to; *p; p++)
		if (*p == '\\')
			*p = '/';
	if (!strncmp(to, "./", 2))
		memmove(to, to + 2, strlen(to + 2) + 1);
}

/* A pair of the locator.  Of the paths the absolute one of our own kind is what create() was told. */
static int take_pair(struct vhdx *v, const char *key, const char *value, bool *linked, struct err *e)
{
	if (!strcmp(key, "parent_linkage")) {
		*linked = vhdx_guid_parse(value, v->parent_id);
		if (!*linked)
			return err_set(e, ERR_CORRUPT, "'%s': parent locator: parent_linkage '%.60s' is no GUID",
				       blob_name(v->b), value);
	} else if (!strcmp(key, "relative_path") && v->parent_name[0] != '/') {
		take_path(v, value);
	} else if (!strcmp(key, "absolute_win32_path") && (!v->parent_name[0] || value[0] == '\\')) {
		take_path(v, value);
	} else if (!strcmp(key, "volume_path") && !v->parent_name[0]) {
		take_path(v, value);
	}
	return 0;
}

static int take_locator(struct vhdx *v, const uint8_t *raw, uint32_t bytes, struct err *e)
{
	struct rd r = rd_of(raw, bytes);
	const uint8_t *type = rd_bytes(&r, VHDX_GUID_BYTES);
	bool linked = false;
	char text[VHDX_GUID_TEXT_BYTES];
	unsigned n;

	rd_skip(&r, 2);
	n = rd_le16(&r);
	if (r.bad)
		return err_set(e, ERR_CORRUPT, "'%s': parent locator of %u bytes", blob_name(v->b), bytes);
	vhdx_guid_text(type, text);
	if (memcmp(type, vhdx_guid_locator_vhdx, VHDX_GUID_BYTES))
		return err_set(e, ERR_INCOMPATIBLE, "'%s': parent locator of type %s is not known",
			       blob_name(v->b), text);
	for (unsigned i = 0; i < n; i++) {
		uint32_t key_off = rd_le32(&r), value_off = rd_le32(&r);
		uint32_t key_n = rd_le16(&r), value_n = rd_le16(&r);
		char key[64], value[DISK_NAME_BYTES];

		if (r.bad || key_off > bytes || key_n > bytes - key_off || value_off > bytes ||
		    value_n > bytes - value_off)
			return err_set(e, ERR_CORRUPT, "'%s': parent locator: pair %u is not inside it",
				       blob_name(v->b), i);
		vhd_name_decode(raw + key_off, key_n, false, key, sizeof(key));
		vhd_name_decode(raw + value_off, value_n, false, value, sizeof(value));
		if (take_pair(v, key, value, &linked, e) < 0)
			return -1;
	}
	return linked ? 0 : err_set(e, ERR_CORRUPT, "'%s': parent locator: no parent_linkage", blob_name(v->b));
}

static int load_locator(struct vhdx *v, const struct item *it, struct err *e)
{
	AUTO_FREE uint8_t *raw = mem_alloc(it->bytes);
	int rc;

	if (!it->bytes)
		return err_set(e, ERR_CORRUPT, "'%s': the disk has a parent, but metadata has no parent locator",
			       blob_name(v->b));
	rc = vhdx_read(v, v->meta_at.off + it->off, raw, it->bytes);
	if (rc)
		return err_sys(e, -rc, "read '%s': parent locator", blob_name(v->b));
	return take_locator(v, raw, it->bytes, e);
}

int vhdx_load_metadata(struct vhdx *v, struct err *e)
{
	struct item items[ITEM_N] = { { 0 } };

	if (v->meta_at.bytes < VHDX_TABLE_BYTES)
		return err_set(e, ERR_CORRUPT, "'%s': metadata region of %llu bytes", blob_name(v->b),
			       (unsigned long long)v->meta_at.bytes);
	if (load_table(v, items, e) < 0 || load_values(v, items, e) < 0)
		return -1;
	return v->differencing ? load_locator(v, &items[LOCATOR], e) : 0;
}

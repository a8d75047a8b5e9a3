/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new VHDX in an empty blob.  The file identifier is written last, so that
 * what a power cut leaves of a file half made is no VHDX.
 *
 *	1 MiB log, 2 MiB metadata, 3 MiB BAT with room to grow, blocks
 */
#include "disk/vhdx_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "disk/vhd_fmt.h"

enum {
	LOG_AT = 1 * VHDX_MIB, META_AT = 2 * VHDX_MIB, BAT_AT = 3 * VHDX_MIB,
	ITEMS_AT = VHDX_TABLE_BYTES,	/* in the metadata region */
	LOCATOR_MAX = 4096,
	BAT_PART = 64 << 10,
};

struct plan {
	bool fixed, differencing;
	uint32_t block_bytes, sector_bytes;
	unsigned block_shift, ratio_shift;
	uint64_t bytes, blocks, bat_bytes, end;
	uint8_t meta[ITEMS_AT + LOCATOR_MAX + 4096];
	uint32_t items, items_end;	/* in meta */
};

static int kind_of(const struct layer_create *c, struct plan *p, struct err *e)
{
	const char *kind = c->kind ? c->kind : "";

	p->fixed = !strcmp(kind, "fixed");
	p->differencing = !strcmp(kind, "differencing");
	if (!p->fixed && !p->differencing && strcmp(kind, "dynamic"))
		return err_set(e, ERR_USAGE, "a VHDX is fixed, dynamic or differencing, not '%s'", kind);
	if (p->differencing && !c->parent_id)
		return err_set(e, ERR_USAGE, "a differencing VHDX needs its parent's id");
	if (p->differencing && (!c->parent_name || !c->parent_name[0]))
		return err_set(e, ERR_USAGE, "a differencing VHDX needs its parent's name");
	return 0;
}

static int check_wish(const struct layer_create *c, struct plan *p, struct err *e)
{
	p->block_bytes = c->block_bytes ? c->block_bytes : VHDX_BLOCK_BYTES;
	p->sector_bytes = c->sector_bytes ? c->sector_bytes : DISK_SECTOR;
	p->bytes = c->bytes;
	if (p->sector_bytes != 512 && p->sector_bytes != 4096)
		return err_set(e, ERR_USAGE, "sectors of %u bytes: a VHDX has 512 or 4096", p->sector_bytes);
	if (!p->bytes || p->bytes % p->sector_bytes)
		return err_set(e, ERR_USAGE, "size %llu is no number of %u-byte sectors", (unsigned long long)p->bytes,
			       p->sector_bytes);
	if (p->bytes > VHDX_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "size %llu, a VHDX holds %llu at most", (unsigned long long)p->bytes,
			       VHDX_BYTES_MAX);
	if (p->block_bytes & (p->block_bytes - 1) || p->block_bytes < VHDX_BLOCK_BYTES_MIN ||
	    p->block_bytes > VHDX_BLOCK_BYTES_MAX)
		return err_set(e, ERR_USAGE, "block size %u: a power of two of %d to %d is allowed", p->block_bytes,
			       VHDX_BLOCK_BYTES_MIN, VHDX_BLOCK_BYTES_MAX);
	return 0;
}

static int lay_out(struct plan *p, struct err *e)
{
	uint64_t need;

	p->block_shift = (unsigned)__builtin_ctz(p->block_bytes);
	p->ratio_shift = VHDX_CHUNK_SHIFT + (unsigned)__builtin_ctz(p->sector_bytes) - p->block_shift;
	p->blocks = (p->bytes + p->block_bytes - 1) >> p->block_shift;
	need = 8 * vhdx_bat_need(p->blocks, p->ratio_shift, p->differencing);
	if (need > VHDX_BAT_BYTES_MAX)
		return err_set(e, ERR_LIMIT,
			       "size %llu in blocks of %u: a BAT of %llu bytes, limit %d: use larger blocks",
			       (unsigned long long)p->bytes, p->block_bytes, (unsigned long long)need,
			       VHDX_BAT_BYTES_MAX);
	p->bat_bytes = 2 * need > VHDX_BAT_ROOM_BYTES ? vhdx_round(2 * need, VHDX_MIB) : VHDX_BAT_ROOM_BYTES;
	if (p->bat_bytes > VHDX_BAT_BYTES_MAX)
		p->bat_bytes = VHDX_BAT_BYTES_MAX;
	p->end = BAT_AT + p->bat_bytes + (p->fixed ? p->blocks << p->block_shift : 0);
	return 0;
}

/* A metadata item of n bytes; where they go. */
static uint8_t *add_item(struct plan *p, const uint8_t *id, uint32_t n, uint32_t flags)
{
	uint8_t *at = p->meta + VHDX_META_HEAD_BYTES + p->items * VHDX_ENTRY_BYTES;
	uint8_t *value = p->meta + p->items_end;

	memcpy(at, id, VHDX_GUID_BYTES);
	vhdx_put_le32(at + 16, p->items_end);
	vhdx_put_le32(at + 20, n);
	vhdx_put_le32(at + 24, flags | VHDX_REQUIRED);
	p->items_end += (n + 7) / 8 * 8;
	p->items++;
	return value;
}

struct locator {
	uint8_t raw[LOCATOR_MAX];
	uint32_t pairs, end;
};

/* Returns -1 when it does not fit or is no UTF-8. */
static int put_text(struct locator *k, const char *text, uint32_t *off, uint32_t *bytes)
{
	int n = vhd_name_encode(text, false, k->raw + k->end, sizeof(k->raw) - k->end);

	if (n <= 0)
		return -1;
	*off = k->end;
	*bytes = (uint32_t)n;
	k->end += (uint32_t)n;
	return 0;
}

static int put_pair(struct locator *k, const char *key, const char *before, const char *value)
{
	AUTO_FREE char *text = mem_printf("%s%s", before, value);
	uint8_t *at = k->raw + VHDX_LOCATOR_HEAD_BYTES + k->pairs * VHDX_LOCATOR_ENTRY_BYTES;
	uint32_t off, n;

	for (char *s = text; *s; s++)
		if (*s == '/')
			*s = '\\';
	if (put_text(k, key, &off, &n) < 0)
		return -1;
	vhdx_put_le32(at, off);
	vhdx_put_le16(at + 8, (uint16_t)n);
	if (put_text(k, text, &off, &n) < 0)
		return -1;
	vhdx_put_le32(at + 4, off);
	vhdx_put_le16(at + 10, (uint16_t)n);
	k->pairs++;
	return 0;
}

/* parent_linkage, and the path: relative always (an absolute one: its last part, as if beside the child). */
static int put_locator(struct plan *p, const struct layer_create *c, struct err *e)
{
	struct locator k = { .end = VHDX_LOCATOR_HEAD_BYTES + 3 * VHDX_LOCATOR_ENTRY_BYTES };
	bool absolute = c->parent_name[0] == '/';
	const char *beside = absolute ? strrchr(c->parent_name, '/') + 1 : c->parent_name;
	char id[VHDX_GUID_TEXT_BYTES];
	int rc;

	vhdx_guid_text(c->parent_id, id);
	rc = put_pair(&k, "parent_linkage", "", id);
	if (!rc && *beside)
		rc = put_pair(&k, "relative_path", "./", beside);
	if (!rc && absolute)
		rc = put_pair(&k, "absolute_win32_path", "", c->parent_name);
	if (rc || strlen(c->parent_name) >= DISK_NAME_BYTES)
		return err_set(e, ERR_LIMIT, "parent's name '%.200s': no UTF-8, or too long", c->parent_name);
	memcpy(k.raw, vhdx_guid_locator_vhdx, VHDX_GUID_BYTES);
	vhdx_put_le16(k.raw + 18, (uint16_t)k.pairs);
	memcpy(add_item(p, vhdx_guid_locator, k.end, 0), k.raw, k.end);
	return 0;
}

static int fill_metadata(struct plan *p, const struct layer_create *c, struct err *e)
{
	uint8_t id[VHDX_GUID_BYTES], *at;

	if (vhdx_random_id(id))
		return err_sys(e, EIO, "random bytes for the disk's id");
	p->items_end = ITEMS_AT;
	memcpy(p->meta, vhdx_meta_sign, VHDX_ID_SIGN_BYTES);
	at = add_item(p, vhdx_guid_params, 8, 0);
	vhdx_put_le32(at, p->block_bytes);
	vhdx_put_le32(at + 4, p->differencing ? VHDX_HAS_PARENT : p->fixed ? VHDX_LEAVE_ALLOCATED : 0);
	vhdx_put_le64(add_item(p, vhdx_guid_size, 8, VHDX_META_DISK), p->bytes);
	memcpy(add_item(p, vhdx_guid_disk_id, 16, VHDX_META_DISK), id, sizeof(id));
	vhdx_put_le32(add_item(p, vhdx_guid_logical, 4, VHDX_META_DISK), p->sector_bytes);
	vhdx_put_le32(add_item(p, vhdx_guid_physical, 4, VHDX_META_DISK), VHDX_PHYSICAL_SECTOR);
	if (p->differencing && put_locator(p, c, e) < 0)
		return -1;
	vhdx_put_le16(p->meta + 10, (uint16_t)p->items);
	return 0;
}

static void put_region(uint8_t *raw, int i, const uint8_t *id, uint64_t off, uint64_t bytes)
{
	uint8_t *at = raw + VHDX_REGION_HEAD_BYTES + i * VHDX_ENTRY_BYTES;

	memcpy(at, id, VHDX_GUID_BYTES);
	vhdx_put_le64(at + 16, off);
	vhdx_put_le32(at + 24, (uint32_t)bytes);
	vhdx_put_le32(at + 28, VHDX_REGION_REQUIRED);
}

static int write_regions(struct blob *b, const struct plan *p)
{
	AUTO_FREE uint8_t *raw = mem_alloc(VHDX_TABLE_BYTES);
	int rc = 0;

	memcpy(raw, "regi", 4);
	vhdx_put_le32(raw + 8, 2);
	put_region(raw, 0, vhdx_guid_bat, BAT_AT, p->bat_bytes);
	put_region(raw, 1, vhdx_guid_metadata, META_AT, VHDX_MIB);
	vhdx_sum_set(raw, VHDX_TABLE_BYTES);
	for (uint64_t i = 0; i < 2 && !rc; i++)
		rc = blob_write(b, VHDX_REGIONS_AT + i * VHDX_TABLE_BYTES, raw, VHDX_TABLE_BYTES);
	return rc;
}

static int write_headers(struct blob *b)
{
	struct vhdx_header h = { .version = VHDX_VERSION, .log_bytes = VHDX_MIB, .log_off = LOG_AT };
	uint8_t raw[VHDX_HEADER_BYTES];
	int rc = vhdx_random_id(h.file_id);

	if (!rc)
		rc = vhdx_random_id(h.data_id);
	for (uint64_t i = 0; i < 2 && !rc; i++) {
		h.sequence = i + 1;
		vhdx_header_encode(&h, raw);
		rc = blob_write(b, VHDX_HEADER_AT + i * VHDX_HEADER_STEP, raw, sizeof(raw));
	}
	return rc;
}

/* A fixed disk's blocks, one behind the other. */
static int write_bat(struct blob *b, const struct plan *p)
{
	AUTO_FREE uint8_t *raw = mem_alloc(BAT_PART);
	uint64_t ratio = 1ull << p->ratio_shift, n = vhdx_bat_need(p->blocks, p->ratio_shift, false);
	uint64_t off = BAT_AT + p->bat_bytes;
	int rc = 0;

	for (uint64_t i = 0; i < n && !rc;) {
		uint64_t first = i;

		for (; i < n && i - first < BAT_PART / 8; i++) {
			bool bitmap = i % (ratio + 1) == ratio;

			vhdx_put_le64(raw + 8 * (i - first), bitmap ? 0 : off | VHDX_PRESENT);
			off += bitmap ? 0 : p->block_bytes;
		}
		rc = blob_write(b, BAT_AT + 8 * first, raw, 8 * (i - first));
	}
	return rc;
}

static int write_sign(struct blob *b)
{
	static const char creator[] = "hvapi";
	uint8_t raw[VHDX_ID_SIGN_BYTES + VHDX_CREATOR_BYTES] = { 0 };

	memcpy(raw, vhdx_sign, VHDX_ID_SIGN_BYTES);
	for (size_t i = 0; creator[i]; i++)
		raw[VHDX_ID_SIGN_BYTES + 2 * i] = (uint8_t)creator[i];
	return blob_write(b, 0, raw, sizeof(raw));
}

static int write_all(struct blob *b, const struct plan *p)
{
	int rc = blob_set_bytes(b, p->end);

	if (!rc && p->fixed)
		rc = write_bat(b, p);
	if (!rc)
		rc = blob_write(b, META_AT, p->meta, p->items_end);
	if (!rc)
		rc = write_regions(b, p);
	if (!rc)
		rc = write_headers(b);
	if (!rc)
		rc = blob_flush(b);
	if (!rc)
		rc = write_sign(b);
	return rc ? rc : blob_flush(b);
}

int vhdx_create(struct blob *b, const struct layer_create *c, struct err *e)
{
	AUTO_FREE struct plan *p = mem_alloc(sizeof(*p));
	int rc;

	if (kind_of(c, p, e) < 0 || check_wish(c, p, e) < 0 || lay_out(p, e) < 0 || fill_metadata(p, c, e) < 0)
		return -1;
	rc = write_all(b, p);
	return rc ? err_sys(e, -rc, "create '%s'", blob_name(b)) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new VHD in an empty blob.  The creator written is Windows': programs that
 * take the size from the geometry for some creators (QEMU) then take what the
 * footer says, to the byte.
 */
#include "disk/vhd_state.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"
#include "base/clock.h"

enum { TABLE_CHUNK = 64 << 10 };

struct plan {
	struct vhd_footer f;
	struct vhd_header h;
	uint8_t locator[2][VHD_LOCATOR_BYTES_MAX];
	uint64_t end;
};

static int kind_of(const struct layer_create *c, struct vhd_footer *f, struct err *e)
{
	static const struct { const char *name; enum vhd_type type; } kinds[] = {
		{ "fixed", VHD_FIXED }, { "dynamic", VHD_DYNAMIC }, { "differencing", VHD_DIFFERENCING },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (c->kind && !strcmp(c->kind, kinds[i].name)) {
			f->type = kinds[i].type;
			return 0;
		}
	return err_set(e, ERR_USAGE, "a VHD is fixed, dynamic or differencing, not '%s'", c->kind ? c->kind : "");
}

static int check_wish(const struct layer_create *c, const struct vhd_footer *f, struct err *e)
{
	uint32_t block = c->block_bytes;

	if (!c->bytes || c->bytes % VHD_SECTOR)
		return err_set(e, ERR_USAGE, "size %llu is no number of %d-byte sectors", (unsigned long long)c->bytes,
			       VHD_SECTOR);
	if (c->bytes > VHD_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "size %llu, a VHD holds %llu at most: use vhdx",
			       (unsigned long long)c->bytes, VHD_BYTES_MAX);
	if (c->sector_bytes && c->sector_bytes != VHD_SECTOR)
		return err_set(e, ERR_USAGE, "sectors of %u bytes: a VHD has %d, use vhdx", c->sector_bytes,
			       VHD_SECTOR);
	if (block && f->type == VHD_FIXED)
		return err_set(e, ERR_USAGE, "block size %u: a fixed VHD has none", block);
	if (block && (block & (block - 1) || block < VHD_BLOCK_BYTES_MIN || block > VHD_BLOCK_BYTES_MAX))
		return err_set(e, ERR_USAGE, "block size %u: a power of two of %d to %d is allowed", block,
			       VHD_BLOCK_BYTES_MIN, VHD_BLOCK_BYTES_MAX);
	if (f->type == VHD_DIFFERENCING && !c->parent_id)
		return err_set(e, ERR_USAGE, "a differencing VHD needs its parent's id");
	return 0;
}

static int new_footer(struct plan *p, const struct layer_create *c, struct err *e)
{
	struct vhd_footer *f = &p->f;

	f->features = VHD_FEATURE_RESERVED;
	f->header_off = f->type == VHD_FIXED ? VHD_NO_OFFSET : VHD_FOOTER_BYTES;
	f->time_s = (uint32_t)(clock_real_ms() / 1000 - VHD_EPOCH_S);
	f->app = VHD_APP_WIN;
	f->app_version = VHD_APP_VERSION;
	f->host = VHD_HOST_WINDOWS;
	f->original_bytes = c->bytes;
	vhd_set_size(f, c->bytes);
	if (getrandom(f->id, sizeof(f->id), 0) != (ssize_t)sizeof(f->id))
		return err_sys(e, errno, "random bytes for the image's id");
	f->id[6] = (uint8_t)((f->id[6] & 0x0f) | 0x40);	/* UUID version 4, variant 1 */
	f->id[8] = (uint8_t)((f->id[8] & 0x3f) | 0x80);
	return 0;
}

/* The path as Windows writes it, little-endian, with `before` in front.  Fits: the header's copy was no longer. */
static int put_locator(struct plan *p, int i, uint32_t code, const char *before, const char *path)
{
	AUTO_FREE char *text = mem_printf("%s%s", before, path);
	struct vhd_locator *loc = &p->h.locators[i];
	int n;

	for (char *s = text; *s; s++)
		if (*s == '/')
			*s = '\\';
	n = vhd_name_encode(text, false, p->locator[i], VHD_LOCATOR_BYTES_MAX);
	if (n <= 0)
		return -1;
	*loc = (struct vhd_locator){ .code = code, .bytes = (uint32_t)n, .off = p->end };
	loc->space = (uint32_t)vhd_round((uint64_t)n, VHD_SECTOR);
	p->end += loc->space;
	return 0;
}

static int new_parent(struct plan *p, const struct layer_create *c, struct err *e)
{
	const char *name = c->parent_name ? c->parent_name : "", *slash = strrchr(name, '/');
	uint64_t s = c->parent_time_ms / 1000;
	bool absolute = name[0] == '/';
	int rc;

	memcpy(p->h.parent_id, c->parent_id, sizeof(p->h.parent_id));
	p->h.parent_time_s = s > VHD_EPOCH_S ? (uint32_t)(s - VHD_EPOCH_S) : 0;
	if (!*name)
		return 0;
	if (vhd_name_encode(name, true, p->h.parent_name, VHD_NAME_BYTES - 2) < 0)
		return err_set(e, ERR_LIMIT, "parent's name '%.200s': no UTF-8, or more than %d UTF-16 units", name,
			       VHD_NAME_BYTES / 2 - 1);
	rc = put_locator(p, 0, VHD_LOC_RELATIVE, "./", absolute ? slash + 1 : name);
	if (!rc && absolute)
		rc = put_locator(p, 1, VHD_LOC_ABSOLUTE, "", name);
	return rc ? err_set(e, ERR_LIMIT, "parent's name '%.200s' does not fit a locator", name) : 0;
}

static int new_header(struct plan *p, const struct layer_create *c, struct err *e)
{
	struct vhd_header *h = &p->h;

	h->block_bytes = c->block_bytes ? c->block_bytes : VHD_BLOCK_BYTES;
	h->entries = (uint32_t)((c->bytes + h->block_bytes - 1) / h->block_bytes);
	p->end = VHD_FOOTER_BYTES + VHD_HEADER_BYTES;
	if (p->f.type == VHD_DIFFERENCING && new_parent(p, c, e) < 0)
		return -1;
	h->table_off = vhd_round(p->end, VHD_DATA_ALIGN);
	p->end = h->table_off + vhd_table_bytes(h->entries);
	return 0;
}

static int write_table(struct blob *b, const struct vhd_header *h)
{
	AUTO_FREE uint8_t *chunk = mem_alloc(TABLE_CHUNK);
	uint64_t left = vhd_table_bytes(h->entries), off = h->table_off;
	int rc = 0;

	memset(chunk, 0xff, TABLE_CHUNK);
	while (left && !rc) {
		size_t n = left < TABLE_CHUNK ? left : TABLE_CHUNK;

		rc = blob_write(b, off, chunk, n);
		off += n;
		left -= n;
	}
	return rc;
}

static int write_sparse(struct blob *b, const struct plan *p, const uint8_t *footer)
{
	uint8_t header[VHD_HEADER_BYTES] = { 0 };
	int rc;

	vhd_header_encode(&p->h, header);
	rc = blob_write(b, p->f.header_off, header, sizeof(header));
	for (int i = 0; i < 2 && !rc; i++)
		if (p->h.locators[i].code)
			rc = blob_write(b, p->h.locators[i].off, p->locator[i], p->h.locators[i].bytes);
	if (!rc)
		rc = write_table(b, &p->h);
	return rc ? rc : blob_write(b, 0, footer, VHD_FOOTER_BYTES);
}

int vhd_create(struct blob *b, const struct layer_create *c, struct err *e)
{
	AUTO_FREE struct plan *p = mem_alloc(sizeof(*p));
	uint8_t footer[VHD_FOOTER_BYTES] = { 0 };
	int rc;

	if (kind_of(c, &p->f, e) < 0 || check_wish(c, &p->f, e) < 0 || new_footer(p, c, e) < 0)
		return -1;
	p->end = c->bytes;
	if (p->f.type != VHD_FIXED && new_header(p, c, e) < 0)
		return -1;
	vhd_footer_encode(&p->f, footer);
	rc = blob_set_bytes(b, p->end + VHD_FOOTER_BYTES);
	if (!rc && p->f.type != VHD_FIXED)
		rc = write_sparse(b, p, footer);
	if (!rc)
		rc = blob_write(b, p->end, footer, sizeof(footer));
	if (!rc)
		rc = blob_flush(b);
	return rc ? err_sys(e, -rc, "create '%s'", blob_name(b)) : 0;
}

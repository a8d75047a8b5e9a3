/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a VHD larger, so that a power cut at any write leaves the old size, the
 * new one or (fixed) one between.
 *
 *	dynamic: entries for the new blocks, in place when nothing lies behind
 *	the table, else a whole new table at the end of the file; flush; one
 *	sector of the header names it; flush; footer at the end; flush; its copy.
 *
 *	fixed: in steps, each a longer file with the new footer at its end, which
 *	names the old one; flush; zeroes over the old; flush; the new without.
 */
#include "disk/vhd_state.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

static int io_err(const struct vhd *v, int rc, const char *what, struct err *e)
{
	return rc ? err_sys(e, -rc, "resize '%s': %s", blob_name(v->b), what) : 0;
}

static int write_flush(struct vhd *v, uint64_t off, const void *p, size_t n)
{
	int rc = blob_write(v->b, off, p, n);

	return rc ? rc : blob_flush(v->b);
}

/* ---- fixed ---------------------------------------------------------------------------------- */

/* Zeroes the old footer, which the one at `at` (in raw_footer) names, and forgets it. */
static int forget_old(struct vhd *v, uint64_t at)
{
	int rc = blob_zero(v->b, v->f.grown_from, VHD_FOOTER_BYTES);

	if (!rc)
		rc = blob_flush(v->b);
	if (rc)
		return rc;
	v->f.grown_from = 0;
	vhd_footer_encode(&v->f, v->raw_footer);
	return write_flush(v, at, v->raw_footer, VHD_FOOTER_BYTES);
}

int vhd_finish_growth(struct vhd *v, struct err *e)
{
	uint64_t from = v->f.grown_from;
	uint8_t raw[VHD_FOOTER_BYTES];
	struct err ignored = ERR_INIT;
	struct vhd_footer old;
	int rc;

	if (!from || from % VHD_SECTOR || from > v->f.current_bytes - VHD_FOOTER_BYTES)
		return 0;
	rc = blob_read(v->b, from, raw, sizeof(raw));
	if (rc)
		return io_err(v, rc, "read the old footer", e);
	if (vhd_footer_decode(raw, from, &old, &ignored) < 0 || old.type != VHD_FIXED ||
	    memcmp(old.id, v->f.id, sizeof(old.id)))
		return 0;
	if (blob_read_only(v->b))
		return err_set(e, ERR_REFUSED, "'%s': growth was cut short: open it for writing once to finish it",
			       blob_name(v->b));
	return io_err(v, forget_old(v, blob_bytes(v->b) - VHD_FOOTER_BYTES), "zero the old footer", e);
}

static int grow_fixed_step(struct vhd *v, struct vhd_footer f, uint64_t bytes)
{
	uint64_t old = blob_bytes(v->b) - VHD_FOOTER_BYTES;
	int rc = 0;

	f.grown_from = bytes > old ? old : 0;
	vhd_set_size(&f, bytes);
	if (bytes > old)
		rc = blob_set_bytes(v->b, bytes + VHD_FOOTER_BYTES);
	else
		bytes = old;		/* the file is long enough: the footer stays where it is */
	if (rc)
		return rc;
	v->f = f;
	vhd_footer_encode(&v->f, v->raw_footer);
	rc = write_flush(v, bytes, v->raw_footer, VHD_FOOTER_BYTES);
	if (!rc && f.grown_from)
		rc = forget_old(v, bytes);
	v->failed = rc != 0;		/* two footers, and who knows which counts */
	return rc;
}

static int grow_fixed(struct vhd *v, const struct vhd_footer *f, uint64_t bytes, struct err *e)
{
	uint64_t room = (blob_bytes(v->b) - VHD_FOOTER_BYTES) / VHD_SECTOR * VHD_SECTOR;
	int rc = 0;

	do {
		room = bytes > room + VHD_GROW_STEP_BYTES ? room + VHD_GROW_STEP_BYTES : bytes;
		rc = grow_fixed_step(v, *f, room);
	} while (!rc && room < bytes);
	return io_err(v, rc, "move the footer", e);
}

/* ---- dynamic -------------------------------------------------------------------------------- */

/* Where the next structure after the table begins. */
static uint64_t behind_table(const struct vhd *v)
{
	const struct vhd_table *t = atomic_load(&v->table);
	uint64_t next = v->end;

	if (v->f.header_off > v->h.table_off && v->f.header_off < next)
		next = v->f.header_off;
	for (int i = 0; i < VHD_LOCATORS; i++) {
		uint64_t off = v->h.locators[i].off;

		if (vhd_locator_space(v, i) && off > v->h.table_off && off < next)
			next = off;
	}
	for (uint32_t i = 0; i < t->n; i++) {
		uint64_t off = (uint64_t)atomic_load(&t->e[i].sector) * VHD_SECTOR;

		if (off > v->h.table_off && off < next)
			next = off;
	}
	return next;
}

/* Other programs keep things of their own behind the table (XenServer its batmap): then it is not ours to grow into. */
static bool free_behind(struct vhd *v, uint32_t entries)
{
	uint64_t off = v->h.table_off + vhd_table_bytes(v->h.entries);
	uint64_t to = v->h.table_off + vhd_table_bytes(entries);
	uint8_t raw[VHD_SECTOR];

	if (to > behind_table(v))
		return false;
	for (; off < to; off += sizeof(raw))
		if (blob_read(v->b, off, raw, sizeof(raw)) || (raw[0] != 0 && raw[0] != 0xff) ||
		    memcmp(raw, raw + 1, sizeof(raw) - 1))
			return false;
	return true;
}

/* The table from the sector of entry `from` on, at table_off. */
static int write_table(struct vhd *v, uint64_t table_off, uint32_t from, uint32_t entries)
{
	const struct vhd_table *t = atomic_load(&v->table);
	uint32_t bat[VHD_BAT_SECTOR_ENTRIES];
	int rc = 0;

	for (from -= from % VHD_BAT_SECTOR_ENTRIES; from < entries && !rc; from += VHD_BAT_SECTOR_ENTRIES) {
		vhd_bat_sector(t, from, bat);
		rc = blob_write(v->b, table_off + 4ull * from, bat, sizeof(bat));
	}
	return rc ? rc : blob_flush(v->b);
}

static int move_table(struct vhd *v, uint32_t entries, uint64_t *table_off)
{
	uint64_t at = vhd_round(v->end, VHD_DATA_ALIGN), bytes = vhd_table_bytes(entries);
	int rc = vhd_extend(v, at + bytes);

	if (!rc)
		rc = write_table(v, at, 0, entries);
	if (rc)
		return rc;
	v->end = at + bytes;
	v->tail_used = false;
	*table_off = at;
	return 0;
}

/* Names the table in the file: all that changes is in the header's first sector. */
static int write_header(struct vhd *v, uint64_t table_off, uint32_t entries)
{
	int rc;

	v->h.table_off = table_off;
	v->h.entries = entries;
	vhd_header_encode(&v->h, v->raw_header);
	rc = write_flush(v, v->f.header_off, v->raw_header, VHD_SECTOR);
	v->failed = rc != 0;
	return rc;
}

static void grow_memory(struct vhd *v, uint32_t entries)
{
	struct vhd_table *old = atomic_load(&v->table), *t = vhd_table_new(entries);

	for (uint32_t i = 0; i < old->n; i++) {
		atomic_store(&t->e[i].sector, atomic_load(&old->e[i].sector));
		atomic_store(&t->e[i].bits, atomic_load(&old->e[i].bits));
	}
	t->old = old;
	atomic_store(&v->table, t);
}

static int grow_table(struct vhd *v, uint32_t entries, struct err *e)
{
	uint64_t table_off = v->h.table_off;
	int rc = free_behind(v, entries) ? write_table(v, table_off, v->h.entries, entries)
					 : move_table(v, entries, &table_off);

	if (!rc)
		rc = write_header(v, table_off, entries);
	if (rc)
		return io_err(v, rc, "grow the table", e);
	grow_memory(v, entries);
	return 0;
}

static int grow_sparse(struct vhd *v, struct vhd_footer f, uint64_t bytes, struct err *e)
{
	uint32_t entries = vhd_blocks(v, bytes);
	uint8_t raw[VHD_FOOTER_BYTES];
	int rc;

	if (entries > v->h.entries && grow_table(v, entries, e) < 0)
		return -1;
	vhd_set_size(&f, bytes);
	memcpy(raw, v->raw_footer, sizeof(raw));
	vhd_footer_encode(&f, raw);
	rc = write_flush(v, blob_bytes(v->b) - VHD_FOOTER_BYTES, raw, sizeof(raw));
	if (!rc)
		rc = write_flush(v, 0, raw, sizeof(raw));
	if (rc)
		return io_err(v, rc, "write the footers", e);
	v->f = f;
	memcpy(v->raw_footer, raw, sizeof(raw));
	return 0;
}

int vhd_resize(void *l, uint64_t bytes, struct err *e)
{
	struct vhd *v = l;
	struct vhd_footer f = v->f;
	uint64_t now = atomic_load(&v->bytes);

	if (blob_read_only(v->b))
		return err_set(e, ERR_REFUSED, "'%s' is open read-only", blob_name(v->b));
	if (v->failed)
		return err_set(e, ERR_IO, "'%s': an earlier change failed half way: detach and check it",
			       blob_name(v->b));
	if (bytes % VHD_SECTOR)
		return err_set(e, ERR_USAGE, "size %llu is no number of %d-byte sectors", (unsigned long long)bytes,
			       VHD_SECTOR);
	if (bytes > VHD_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "size %llu, a VHD holds %llu at most: convert it to vhdx",
			       (unsigned long long)bytes, VHD_BYTES_MAX);
	if (bytes < now)
		return err_set(e, ERR_REFUSED, "size %llu is less than the %llu that '%s' has: data would be cut off",
			       (unsigned long long)bytes, (unsigned long long)now, blob_name(v->b));
	if (bytes == now)
		return 0;
	/* From here on the size is what the footer says, whoever made the image. */
	f.app = VHD_APP_WIN;
	f.app_version = VHD_APP_VERSION;
	f.host = VHD_HOST_WINDOWS;
	if ((v->f.type == VHD_FIXED ? grow_fixed(v, &f, bytes, e) : grow_sparse(v, f, bytes, e)) < 0)
		return -1;
	atomic_store(&v->bytes, bytes);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A larger disk: the BAT entries of the new part are made empty (or get their
 * blocks, on a fixed disk), then the metadata's size changes.
 */
#include "disk/vhdx_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static int refuse(const struct vhdx *v, uint64_t bytes, struct err *e)
{
	unsigned long long now = atomic_load(&v->bytes);

	if (bytes % v->sector_bytes)
		return err_set(e, ERR_USAGE, "size %llu is no number of %u-byte sectors", (unsigned long long)bytes,
			       v->sector_bytes);
	if (bytes < now)
		return err_set(e, ERR_REFUSED, "'%s': shrinking from %llu to %llu bytes would lose data",
			       blob_name(v->b),
			       now, (unsigned long long)bytes);
	if (bytes > VHDX_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "size %llu, a VHDX holds %llu at most", (unsigned long long)bytes,
			       VHDX_BYTES_MAX);
	if (vhdx_blocks(v, bytes) > vhdx_bat_room(v)) {
		err_set(e, ERR_LIMIT, "'%s': the BAT has room for %llu bytes", blob_name(v->b),
			(unsigned long long)(vhdx_bat_room(v) << v->block_shift));
		return err_remedy(e, "convert the image to a new one, which gets room for more");
	}
	return 0;
}

/* What an earlier, unfinished growth left behind the disk's end goes: memory has zeroes there. */
static int clear_entries(struct vhdx *v, struct vhdx_txn *t, uint64_t from, uint64_t to)
{
	uint8_t now[VHDX_LOG_SECTOR], want[VHDX_LOG_SECTOR];
	int rc = 0;

	for (uint64_t at = 8 * from / VHDX_LOG_SECTOR * VHDX_LOG_SECTOR; at < 8 * to && !rc; at += VHDX_LOG_SECTOR) {
		bool fresh;

		rc = vhdx_read(v, v->bat_at.off + at, now, sizeof(now));
		vhdx_bat_sector(v, at, want);
		if (rc || !memcmp(now, want, sizeof(now)))
			continue;
		if (t->n == VHDX_TXN_SECTORS)
			rc = vhdx_txn_commit(t);
		if (!rc)
			memcpy(vhdx_txn_sector(t, v->bat_at.off + at, &fresh), want, sizeof(want));
	}
	return rc ? rc : vhdx_txn_commit(t);
}

/* The 8 bytes of the size, which may lie across two sectors. */
static int set_size(struct vhdx *v, struct vhdx_txn *t, uint64_t bytes)
{
	uint8_t raw[8];
	int rc = 0;

	vhdx_put_le64(raw, bytes);
	for (unsigned i = 0; i < sizeof(raw) && !rc; i++) {
		uint64_t at = v->size_at + i, sector = at / VHDX_LOG_SECTOR * VHDX_LOG_SECTOR;
		bool fresh;
		uint8_t *p = vhdx_txn_sector(t, sector, &fresh);

		if (fresh)
			rc = vhdx_read(v, sector, p, VHDX_LOG_SECTOR);
		p[at - sector] = raw[i];
	}
	return rc ? rc : vhdx_txn_commit(t);
}

/* What the last block has behind the disk's old end must not come to light. */
static int zero_rest(struct vhdx *v, uint64_t now)
{
	uint64_t in = now & (v->block_bytes - 1), entry;

	if (!in)
		return 0;
	entry = atomic_load(&v->bat[vhdx_bat_of(v, now >> v->block_shift)]);
	if (VHDX_BAT_STATE(entry) < VHDX_PRESENT)
		return 0;
	return blob_zero(v->b, VHDX_BAT_OFF(entry) + in, v->block_bytes - in);
}

static int grow(struct vhdx *v, uint64_t bytes)
{
	AUTO_FREE struct vhdx_txn *t = mem_alloc(sizeof(*t));
	uint64_t now = atomic_load(&v->bytes), from = vhdx_blocks(v, now), to = vhdx_blocks(v, bytes);
	int rc;

	t->v = v;
	rc = vhdx_start(v);
	if (!rc)
		rc = clear_entries(v, t, vhdx_bat_of(v, from), vhdx_bat_need(to, v->ratio_shift, v->differencing));
	if (!rc && v->fixed && to > from)
		rc = vhdx_alloc_blocks(v, from, to - 1);
	if (!rc)
		rc = zero_rest(v, now);
	if (!rc)
		rc = blob_flush(v->b);
	if (!rc)
		rc = set_size(v, t, bytes);
	if (!rc)
		rc = vhdx_log_close(v);
	if (!rc)
		atomic_store(&v->bytes, bytes);
	return rc;
}

int vhdx_resize(void *l, uint64_t bytes, struct err *e)
{
	struct vhdx *v = l;
	int rc;

	if (refuse(v, bytes, e) < 0)
		return -1;
	rc = bytes == atomic_load(&v->bytes) ? 0 : grow(v, bytes);
	return rc ? err_sys(e, -rc, "resize '%s'", blob_name(v->b)) : 0;
}

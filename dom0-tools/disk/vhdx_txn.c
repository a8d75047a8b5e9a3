/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of BAT, bitmaps and metadata: through the log, so that after a power
 * cut all sectors of a transaction are old or all are new.
 *
 * The flush that makes an entry durable makes durable too what the entries
 * before it put in place: from then on it is itself the oldest that is needed.
 */
#include "disk/vhdx_state.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

uint8_t *vhdx_txn_sector(struct vhdx_txn *t, uint64_t off, bool *fresh)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->off[i] != off)
			continue;
		*fresh = false;
		return t->data[i];
	}
	*fresh = true;
	if (t->n == VHDX_TXN_SECTORS)
		return NULL;
	t->off[t->n] = off;
	return t->data[t->n++];
}

static uint32_t entry_bytes(const struct vhdx_txn *t)
{
	return vhdx_entry_head_bytes(t->n) + t->n * VHDX_LOG_SECTOR;
}

/* The entry's bytes; raw is zeroed. */
static void build(const struct vhdx_txn *t, uint8_t *raw)
{
	struct vhdx *v = t->v;
	struct vhdx_entry n = {
		.bytes = entry_bytes(t), .tail = v->log_tail, .descriptors = t->n, .sequence = v->log_sequence,
		.flushed_bytes = v->flushed_bytes, .file_bytes = v->flushed_bytes,
	};

	memcpy(n.log_id, v->log_id, VHDX_GUID_BYTES);
	vhdx_entry_encode(&n, raw);
	for (unsigned i = 0; i < t->n; i++) {
		uint8_t *desc = raw + VHDX_LOG_HEAD_BYTES + i * VHDX_DESC_BYTES;
		uint8_t *data = raw + vhdx_entry_head_bytes(t->n) + i * VHDX_LOG_SECTOR;

		memcpy(desc, "desc", 4);
		memcpy(desc + 4, t->data[i] + VHDX_LOG_SECTOR - 4, 4);
		memcpy(desc + 8, t->data[i], 8);
		vhdx_put_le64(desc + 16, t->off[i]);
		vhdx_put_le64(desc + 24, n.sequence);
		memcpy(data, "data", 4);
		vhdx_put_le32(data + 4, (uint32_t)(n.sequence >> 32));
		memcpy(data + 8, t->data[i] + 8, VHDX_LOG_SECTOR - 12);
		vhdx_put_le32(data + VHDX_LOG_SECTOR - 4, (uint32_t)n.sequence);
	}
	vhdx_sum_set(raw, n.bytes);
}

static int write_entry(struct vhdx *v, const uint8_t *raw, uint32_t bytes)
{
	uint32_t first = v->h.log_bytes - v->log_head;
	int rc;

	if (first > bytes)
		first = bytes;
	rc = blob_write(v->b, v->h.log_off + v->log_head, raw, first);
	if (!rc && first < bytes)
		rc = blob_write(v->b, v->h.log_off, raw + first, bytes - first);
	return rc ? rc : blob_flush(v->b);
}

/* A new log, which no header names yet. */
static int begin_log(struct vhdx *v)
{
	v->log_head = v->log_tail = 0;
	v->log_sequence = 1;
	return vhdx_random_id(v->log_id);
}

static int make_durable(struct vhdx_txn *t)
{
	struct vhdx *v = t->v;
	uint32_t bytes = entry_bytes(t);
	AUTO_FREE uint8_t *raw = mem_alloc(bytes);
	int rc = atomic_load(&v->log_open) ? 0 : begin_log(v);

	if (rc)
		return rc;
	build(t, raw);
	rc = write_entry(v, raw, bytes);
	if (rc)
		return rc;
	v->log_tail = v->log_head;
	v->log_head = (v->log_head + bytes) % v->h.log_bytes;
	v->log_sequence++;
	if (atomic_load(&v->log_open))
		return 0;
	memcpy(v->h.log_id, v->log_id, VHDX_GUID_BYTES);
	rc = vhdx_write_headers(v);
	if (!rc)
		atomic_store(&v->log_open, true);
	return rc;
}

int vhdx_txn_commit(struct vhdx_txn *t)
{
	struct vhdx *v = t->v;
	int rc;

	if (v->failed)
		return -EIO;
	rc = t->n ? make_durable(t) : 0;
	for (unsigned i = 0; i < t->n && !rc; i++)
		rc = blob_write(v->b, t->off[i], t->data[i], VHDX_LOG_SECTOR);
	if (rc)
		v->failed = true;
	t->n = 0;
	return rc;
}

int vhdx_log_close(struct vhdx *v)
{
	int rc;

	if (!atomic_load(&v->log_open))
		return 0;
	if (v->failed)
		return -EIO;
	rc = blob_flush(v->b);
	if (rc) {
		v->failed = true;
		return rc;
	}
	memset(v->h.log_id, 0, VHDX_GUID_BYTES);
	rc = vhdx_write_headers(v);
	if (!rc)
		atomic_store(&v->log_open, false);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: what a log that was not closed says about the file.
 *
 * The active sequence is the run of entries (each valid, each one number above
 * the one before) whose last entry has the highest number and whose tail is
 * itself in the run; from that tail on it is applied.  First it is read into
 * patches; a writable file gets them written, of a read-only one every later
 * read goes through them.
 */
#include "disk/vhdx_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/rd.h"

enum verdict { UNKNOWN, BAD, GOOD };

struct log {
	uint8_t *p;			/* twice, one behind the other, so that no entry is in two pieces */
	uint32_t bytes;
	uint8_t *verdicts;		/* of an entry at each sector */
	uint64_t summed;		/* bytes that went through the checksum */
	const uint8_t *id;
};

struct run {
	uint32_t start;			/* the tail of its last entry */
	struct vhdx_entry last;		/* sequence 0: there is none */
};

/* The entry at `at`, if it is valid. */
static bool entry_at(struct log *g, uint32_t at, struct vhdx_entry *out)
{
	uint8_t *known = &g->verdicts[at / VHDX_LOG_SECTOR];
	const uint8_t *p = g->p + at;
	struct rd r = rd_of(p + 4, 4);

	if (*known == BAD || !vhdx_entry_decode(p, g->bytes, out) || out->tail >= g->bytes ||
	    memcmp(out->log_id, g->id, VHDX_GUID_BYTES)) {
		*known = BAD;
		return false;
	}
	if (*known == UNKNOWN) {
		g->summed += out->bytes;
		*known = g->summed <= (uint64_t)VHDX_LOG_CRC_TIMES * g->bytes &&
			 rd_le32(&r) == vhdx_sum(p, out->bytes) ?
				 GOOD : BAD;
	}
	return *known == GOOD;
}

/* The run of entries from `at` on; its bytes.  *last: its last entry. */
static uint32_t run_from(struct log *g, uint32_t at, struct vhdx_entry *last)
{
	struct vhdx_entry n;
	uint32_t bytes = 0;

	while (entry_at(g, (at + bytes) % g->bytes, &n)) {
		if (n.bytes > g->bytes - bytes || (bytes && n.sequence != last->sequence + 1))
			break;
		*last = n;
		bytes += n.bytes;
		if (bytes == g->bytes)
			break;
	}
	return bytes;
}

/* True if an entry of the run from `at` starts at `tail`. */
static bool starts_in_run(struct log *g, uint32_t at, uint32_t bytes, uint32_t tail)
{
	struct vhdx_entry n;

	for (uint32_t done = 0; done < bytes; done += n.bytes) {
		if ((at + done) % g->bytes == tail)
			return true;
		if (!entry_at(g, (at + done) % g->bytes, &n))
			break;
	}
	return false;
}

static struct run find_run(struct log *g)
{
	struct run best = { 0 };
	uint32_t at = 0;

	while (at < g->bytes) {
		struct vhdx_entry last = { 0 };
		uint32_t bytes = run_from(g, at, &last);
		bool whole = bytes && starts_in_run(g, at, bytes, last.tail);

		if (whole && last.sequence > best.last.sequence)
			best = (struct run){ .start = last.tail, .last = last };
		at += whole ? bytes : VHDX_LOG_SECTOR;
	}
	return best;
}

/* Something of this log was written, whole or torn. */
static bool has_traces(const struct log *g)
{
	for (uint32_t at = 0; at < g->bytes; at += VHDX_LOG_SECTOR)
		if (!memcmp(g->p + at, "loge", 4) && !memcmp(g->p + at + 32, g->id, VHDX_GUID_BYTES))
			return true;
	return false;
}

static int check_patch(const struct vhdx *v, const struct vhdx_patch *c, struct err *e)
{
	uint64_t log_end = v->h.log_off + v->h.log_bytes;

	if (c->off % VHDX_LOG_SECTOR || c->bytes % VHDX_LOG_SECTOR || c->off < VHDX_MIB || c->off > v->file_bytes ||
	    c->bytes > v->file_bytes - c->off || (c->off < log_end && v->h.log_off < c->off + c->bytes))
		return err_set(e, ERR_CORRUPT, "'%s': the log changes %llu bytes at byte %llu, where it must not",
			       blob_name(v->b), (unsigned long long)c->bytes, (unsigned long long)c->off);
	return 0;
}

/* The data sector of a data descriptor, put together again. */
static uint8_t *whole_sector(const uint8_t *desc, const uint8_t *data, uint64_t sequence)
{
	struct rd r = rd_of(data, VHDX_LOG_SECTOR);
	uint64_t high, low;
	uint8_t *out;

	if (memcmp(rd_bytes(&r, 4), "data", 4))
		return NULL;
	high = rd_le32(&r);
	rd_skip(&r, VHDX_LOG_SECTOR - 12);
	low = rd_le32(&r);
	if ((high << 32 | low) != sequence)
		return NULL;
	out = mem_alloc(VHDX_LOG_SECTOR);
	memcpy(out, desc + 8, 8);
	memcpy(out + 8, data + 8, VHDX_LOG_SECTOR - 12);
	memcpy(out + VHDX_LOG_SECTOR - 4, desc + 4, 4);
	return out;
}

/* One descriptor; *data_at: the next data sector of the entry, in its bytes. */
static int take_descriptor(struct vhdx *v, const uint8_t *p, const struct vhdx_entry *n, uint32_t i, uint32_t *data_at,
			   struct err *e)
{
	const uint8_t *desc = p + VHDX_LOG_HEAD_BYTES + (uint64_t)i * VHDX_DESC_BYTES;
	bool zero = !memcmp(desc, "zero", 4), data = !memcmp(desc, "desc", 4);
	struct rd r = rd_of(desc + 8, VHDX_DESC_BYTES - 8);
	struct vhdx_patch c = { .bytes = VHDX_LOG_SECTOR };
	uint64_t word = rd_le64(&r);
	bool good;

	c.off = rd_le64(&r);
	good = (zero || data) && rd_le64(&r) == n->sequence;
	if (zero)
		c.bytes = word;
	if (good && data) {
		c.p = *data_at + VHDX_LOG_SECTOR <= n->bytes ? whole_sector(desc, p + *data_at, n->sequence) : NULL;
		*data_at += VHDX_LOG_SECTOR;
		good = c.p;
	}
	if (!good)
		return err_set(e, ERR_CORRUPT, "'%s': log entry %llu: descriptor %u is damaged", blob_name(v->b),
			       (unsigned long long)n->sequence, i);
	if (v->n_patches % 64 == 0)
		v->patches = mem_realloc(v->patches, (v->n_patches + 64) * sizeof(*v->patches));
	v->patches[v->n_patches++] = c;
	return check_patch(v, &c, e);
}

static int take_run(struct vhdx *v, struct log *g, const struct run *run, struct err *e)
{
	struct vhdx_entry n = { 0 };
	uint32_t at = run->start;

	if (run->last.flushed_bytes > blob_bytes(v->b))
		return err_set(e, ERR_CORRUPT, "'%s': the log knows %llu bytes of the file, it has %llu: cut short",
			       blob_name(v->b), (unsigned long long)run->last.flushed_bytes,
			       (unsigned long long)blob_bytes(v->b));
	if (run->last.file_bytes > VHDX_FILE_BYTES_MAX)
		return err_set(e, ERR_CORRUPT, "'%s': the log wants a file of %llu bytes", blob_name(v->b),
			       (unsigned long long)run->last.file_bytes);
	if (run->last.file_bytes > v->file_bytes)
		v->file_bytes = run->last.file_bytes;
	while (n.sequence != run->last.sequence) {
		uint32_t data_at;

		if (!entry_at(g, at, &n))
			return err_set(e, ERR_INTERNAL, "'%s': log entry at %u is gone", blob_name(v->b), at);
		data_at = vhdx_entry_head_bytes(n.descriptors);
		for (uint32_t i = 0; i < n.descriptors; i++)
			if (take_descriptor(v, g->p + at, &n, i, &data_at, e) < 0)
				return -1;
		at = (at + n.bytes) % g->bytes;
	}
	return 0;
}

static int apply(struct vhdx *v)
{
	int rc = v->file_bytes > blob_bytes(v->b) ? blob_set_bytes(v->b, v->file_bytes) : 0;

	for (uint32_t i = 0; i < v->n_patches && !rc; i++) {
		const struct vhdx_patch *c = &v->patches[i];

		rc = c->p ? blob_write(v->b, c->off, c->p, c->bytes) : blob_zero(v->b, c->off, c->bytes);
	}
	return rc ? rc : blob_flush(v->b);
}

/* The file's id changes before the file does; the log is named until all of it is in place. */
static int apply_all(struct vhdx *v, struct err *e)
{
	int rc = vhdx_random_id(v->h.file_id);

	if (!rc)
		rc = vhdx_write_headers(v);
	if (!rc)
		rc = apply(v);
	if (!rc) {
		memset(v->h.log_id, 0, VHDX_GUID_BYTES);
		rc = vhdx_write_headers(v);
	}
	if (rc)
		return err_sys(e, -rc, "replay the log of '%s'", blob_name(v->b));
	v->file_id_new = true;
	return 0;
}

static int replay(struct vhdx *v, struct log *g, struct err *e)
{
	int rc = blob_read(v->b, v->h.log_off, g->p, g->bytes);
	struct run run;

	if (rc)
		return err_sys(e, -rc, "read the log of '%s'", blob_name(v->b));
	memcpy(g->p + g->bytes, g->p, g->bytes);
	run = find_run(g);
	if (g->summed > (uint64_t)VHDX_LOG_CRC_TIMES * g->bytes)
		return err_set(e, ERR_CORRUPT, "'%s': the log's entries lie on one another", blob_name(v->b));
	if (!run.last.sequence && has_traces(g)) {
		err_set(e, ERR_CORRUPT, "'%s': the log is in use, but has no whole sequence of entries",
			blob_name(v->b));
		return err_remedy(e, "restore the image from a copy, or repair it with the program that wrote it");
	}
	if (run.last.sequence && take_run(v, g, &run, e) < 0)
		return -1;
	return blob_read_only(v->b) ? 0 : apply_all(v, e);
}

int vhdx_replay(struct vhdx *v, struct err *e)
{
	struct log g = { .bytes = v->h.log_bytes };
	uint8_t id[VHDX_GUID_BYTES];
	int rc;

	if (!memcmp(v->h.log_id, vhdx_guid_none, VHDX_GUID_BYTES))
		return 0;
	memcpy(id, v->h.log_id, VHDX_GUID_BYTES);
	g.id = id;
	g.p = mem_alloc(2 * (size_t)g.bytes);
	g.verdicts = mem_alloc(g.bytes / VHDX_LOG_SECTOR);
	rc = replay(v, &g, e);
	free(g.p);
	free(g.verdicts);
	return rc;
}

int vhdx_read(const struct vhdx *v, uint64_t off, void *p, size_t n)
{
	uint64_t blob = blob_bytes(v->b), have = blob > off ? blob - off : 0;
	size_t from_blob = have < n ? (size_t)have : n;
	int rc = from_blob ? blob_read(v->b, off, p, from_blob) : 0;

	if (rc || off + n > (blob > v->file_bytes ? blob : v->file_bytes))
		return rc ? rc : -EINVAL;
	memset((uint8_t *)p + from_blob, 0, n - from_blob);
	for (uint32_t i = 0; i < v->n_patches && blob_read_only(v->b); i++) {
		const struct vhdx_patch *c = &v->patches[i];
		uint64_t from = c->off > off ? c->off : off;
		uint64_t to = c->off + c->bytes < off + n ? c->off + c->bytes : off + n;

		if (from >= to)
			continue;
		if (c->p)
			memcpy((uint8_t *)p + (from - off), c->p + (from - c->off), to - from);
		else
			memset((uint8_t *)p + (from - off), 0, to - from);
	}
	return 0;
}

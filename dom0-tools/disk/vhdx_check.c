/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks a VHDX over: copies that open found damaged, tables in the file against
 * those in memory, space at the end that belongs to nothing, a parent without
 * a name.  What is worse does not open in the first place.
 */
#include "disk/vhdx_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

struct looking {
	struct vhdx *v;
	bool repair;			/* and the image may be changed */
	layer_problem_fn *fn;
	void *arg;
	int left;
};

static void PRINTF_LIKE(3, 4) problem(struct looking *k, bool fixed, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	k->left += !fixed;
	if (k->fn)
		k->fn(k->arg, fixed, text);
}

static int io_err(const struct vhdx *v, int rc, const char *what, struct err *e)
{
	return err_sys(e, -rc, "check '%s': %s", blob_name(v->b), what);
}

/* The session's start, which every repair needs, writes both. */
static int look_at_headers(struct looking *k, bool repair, struct err *e)
{
	struct vhdx *v = k->v;
	bool bad[2] = { v->head_bad[0], v->head_bad[1] };
	int rc = repair ? vhdx_start(v) : 0;

	if (rc)
		return io_err(v, rc, "begin to change it", e);
	k->repair = repair;
	for (int i = 0; i < 2; i++)
		if (bad[i])
			problem(k, repair, "header %d has no right checksum", i + 1);
	return 0;
}

static int look_at_regions(struct looking *k, struct err *e)
{
	struct vhdx *v = k->v;
	AUTO_FREE uint8_t *raw = mem_alloc(2 * VHDX_TABLE_BYTES);
	int good = v->regions_bad[0], other = !good;
	int rc = blob_read(v->b, VHDX_REGIONS_AT, raw, 2 * VHDX_TABLE_BYTES);

	if (rc)
		return io_err(v, rc, "read the region tables", e);
	if (!memcmp(raw, raw + VHDX_TABLE_BYTES, VHDX_TABLE_BYTES))
		return 0;
	if (k->repair)
		rc = blob_write(v->b, VHDX_REGIONS_AT + (uint64_t)other * VHDX_TABLE_BYTES,
				raw + good * VHDX_TABLE_BYTES, VHDX_TABLE_BYTES);
	if (!rc && k->repair)
		rc = blob_flush(v->b);
	if (rc)
		return io_err(v, rc, "write a region table", e);
	problem(k, k->repair, "region table %d %s", other + 1,
		v->regions_bad[other] ? "has no right checksum" : "is not as table 1");
	v->regions_bad[other] = v->regions_bad[other] && !k->repair;
	return 0;
}

static int look_at_bat(struct looking *k, struct err *e)
{
	struct vhdx *v = k->v;
	uint64_t n = vhdx_bat_need(vhdx_blocks(v, atomic_load(&v->bytes)), v->ratio_shift, v->differencing);
	uint64_t ratio = 1ull << v->ratio_shift;
	uint8_t in_file[VHDX_LOG_SECTOR], in_memory[VHDX_LOG_SECTOR];

	for (uint64_t at = 0; at < 8 * n; at += VHDX_LOG_SECTOR) {
		int rc = vhdx_read(v, v->bat_at.off + at, in_file, sizeof(in_file));
		bool same = true;

		if (rc)
			return io_err(v, rc, "read the BAT", e);
		vhdx_bat_sector(v, at, in_memory);
		for (uint64_t i = at / 8; i < n && i < (at + VHDX_LOG_SECTOR) / 8; i++)
			if (v->differencing || i % (ratio + 1) != ratio)
				same = same && !memcmp(in_file + (8 * i - at), in_memory + (8 * i - at), 8);
		if (!same)
			problem(k, false, "BAT entries from %llu on are not what was read at open",
				(unsigned long long)(at / 8));
	}
	return 0;
}

/* Space that is prepared is no problem while it is ours to give. */
static int look_at_end(struct looking *k, struct err *e)
{
	struct vhdx *v = k->v;
	uint64_t have = blob_bytes(v->b), rest = have > v->ready_end ? have - v->ready_end : 0;
	bool fix = k->repair && !atomic_load(&v->log_open);
	int rc = rest && fix ? vhdx_trim(v) : 0;

	if (rc)
		return io_err(v, rc, "cut the end off", e);
	if (rest)
		problem(k, fix, "%llu bytes at the end of the file belong to nothing", (unsigned long long)rest);
	return 0;
}

int vhdx_check(void *l, bool repair, layer_problem_fn *fn, void *arg, struct err *e)
{
	struct looking k = { .v = l, .fn = fn, .arg = arg };
	struct vhdx *v = l;

	if (look_at_headers(&k, repair, e) < 0)
		return -1;
	if (memcmp(v->h.log_id, vhdx_guid_none, VHDX_GUID_BYTES) && !atomic_load(&v->log_open))
		problem(&k, false, "the log is not replayed: open the image for writing");
	if (v->failed)
		problem(&k, false, "a change of the tables failed: close the image and open it again");
	if (look_at_regions(&k, e) < 0 || look_at_bat(&k, e) < 0 || look_at_end(&k, e) < 0)
		return -1;
	if (v->differencing && !v->parent_name[0])
		problem(&k, false, "nothing says what the parent is called");
	return k.left;
}

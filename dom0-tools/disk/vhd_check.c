/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks a VHD over: what open found (and put right), what the file has now
 * against what is in memory, and what open lets pass.
 */
#include "disk/vhd_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct looking {
	struct vhd *v;
	bool repair;
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

static int io_err(const struct vhd *v, int rc, const char *what, struct err *e)
{
	return err_sys(e, -rc, "check '%s': %s", blob_name(v->b), what);
}

/* The footers as open found them, then as they are. */
static int look_at_footers(struct looking *k, struct err *e)
{
	struct vhd *v = k->v;
	bool fixed = !blob_read_only(v->b);
	const char *how = fixed ? ": restored when opened" : "";
	uint64_t places[2] = { blob_bytes(v->b) - VHD_FOOTER_BYTES, 0 };
	uint8_t raw[VHD_FOOTER_BYTES];

	if (v->end_bad)
		problem(k, fixed, "the footer at the end was missing or damaged%s", how);
	if (v->front_bad)
		problem(k, fixed, "the footer's copy at byte 0 was damaged or old%s", how);
	for (int i = 0; i < (v->f.type == VHD_FIXED ? 1 : 2); i++) {
		int rc = blob_read(v->b, places[i], raw, sizeof(raw));

		if (rc)
			return io_err(v, rc, "read a footer", e);
		if (!memcmp(raw, v->raw_footer, sizeof(raw)) || (!fixed && (i ? v->front_bad : v->end_bad)))
			continue;
		rc = k->repair && fixed ? blob_write(v->b, places[i], v->raw_footer, sizeof(raw)) : 0;
		if (rc)
			return io_err(v, rc, "write a footer", e);
		problem(k, k->repair && fixed, "the footer at byte %llu is not what was read at open",
			(unsigned long long)places[i]);
	}
	v->end_bad = v->end_bad && !fixed;
	v->front_bad = v->front_bad && !fixed;
	return 0;
}

/* Prepared blocks are no problem while they are ours to give. */
static int look_at_tail(struct looking *k, struct err *e)
{
	struct vhd *v = k->v;
	uint64_t tail = blob_bytes(v->b) - VHD_FOOTER_BYTES;
	bool fix = k->repair && !blob_read_only(v->b);
	int rc = 0;

	if (v->end_bad || !v->tail_used || v->ready_n || tail <= v->end)
		return 0;
	if (fix)
		rc = vhd_trim(v);
	if (rc)
		return io_err(v, rc, "cut the end off", e);
	problem(k, fix, "%llu bytes behind the last block belong to nothing", (unsigned long long)(tail - v->end));
	return 0;
}

static int look_at_table(struct looking *k, struct err *e)
{
	struct vhd *v = k->v;
	const struct vhd_table *t = atomic_load(&v->table);
	uint32_t in_memory[VHD_BAT_SECTOR_ENTRIES], in_file[VHD_BAT_SECTOR_ENTRIES];
	uint32_t blocks = vhd_blocks(v, v->f.current_bytes);

	for (uint32_t i = 0; i < t->n; i += VHD_BAT_SECTOR_ENTRIES) {
		uint32_t n = t->n - i < VHD_BAT_SECTOR_ENTRIES ? t->n - i : VHD_BAT_SECTOR_ENTRIES;
		int rc = blob_read(v->b, v->h.table_off + 4ull * i, in_file, sizeof(in_file));

		if (rc)
			return io_err(v, rc, "read the table", e);
		vhd_bat_sector(t, i, in_memory);
		if (memcmp(in_memory, in_file, 4 * n))
			problem(k, false, "table entries %u to %u are not what was read at open", i, i + n - 1);
		for (uint32_t past = i < blocks ? blocks : i; past < i + n; past++)
			if (atomic_load(&t->e[past].sector))
				problem(k, false, "table entry %u has a block, but the disk ends before it", past);
	}
	return 0;
}

static void look_at_parent(struct looking *k)
{
	static const uint8_t none[DISK_ID_BYTES];
	struct vhd *v = k->v;
	char name[DISK_NAME_BYTES];

	if (v->f.type != VHD_DIFFERENCING)
		return;
	if (!memcmp(v->h.parent_id, none, sizeof(none)))
		problem(k, false, "the parent's id is all zeroes");
	for (int i = 0; i < VHD_LOCATORS; i++)
		if (v->h.locators[i].code && !vhd_locator_space(v, i))
			problem(k, false, "parent locator %d: %u bytes at byte %llu are not in the file", i,
				v->h.locators[i].bytes, (unsigned long long)v->h.locators[i].off);
	vhd_parent_name(v, name);
	if (!name[0])
		problem(k, false, "nothing says what the parent is called");
}

int vhd_check(void *l, bool repair, layer_problem_fn *fn, void *arg, struct err *e)
{
	struct looking k = { .v = l, .repair = repair, .fn = fn, .arg = arg };

	if (look_at_footers(&k, e) < 0)
		return -1;
	if (k.v->f.type == VHD_FIXED)
		return k.left;
	if (look_at_tail(&k, e) < 0 || look_at_table(&k, e) < 0)
		return -1;
	look_at_parent(&k);
	return k.left;
}

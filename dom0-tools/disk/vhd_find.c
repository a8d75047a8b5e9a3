/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which footer of a VHD file counts.
 *
 * The one at the end does; a dynamic disk has a copy at 0 for when the end was
 * torn.  Sector 0 of a fixed disk belongs to its guest, who may write a footer
 * of his own there: so before sector 0 is believed, a footer of a fixed disk
 * is searched from the end back over zeroes, which is what growth that was cut
 * short leaves behind.  Nothing that the guest writes lies behind that footer.
 * When both are found, nobody can say which one a guest made: refused.
 */
#include "disk/vhd_state.h"

#include <string.h>

#include "base/buf.h"

enum { SCAN_BYTES = 64 << 10 };

static int read_at(struct vhd *v, uint64_t off, void *p, size_t n, struct err *e)
{
	int rc = blob_read(v->b, off, p, n);

	return rc ? err_sys(e, -rc, "read '%s' at byte %llu", blob_name(v->b), (unsigned long long)off) : 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

/* The last sector before *off that is not zero, into *off and raw; *off 0 when there is none near. */
static int scan_back(struct vhd *v, uint64_t *off, uint8_t *raw, struct err *e)
{
	AUTO_FREE uint8_t *chunk = mem_alloc(SCAN_BYTES);
	uint64_t from = *off, stop = from > VHD_GROW_STEP_BYTES ? from - VHD_GROW_STEP_BYTES : 0;

	*off = 0;
	while (from > stop) {
		size_t n = from - stop < SCAN_BYTES ? from - stop : SCAN_BYTES;

		if (read_at(v, from - n, chunk, n, e) < 0)
			return -1;
		for (size_t at = all_zero(chunk, n) ? 0 : n; at >= VHD_SECTOR; at -= VHD_SECTOR) {
			if (all_zero(chunk + at - VHD_SECTOR, VHD_SECTOR))
				continue;
			memcpy(raw, chunk + at - VHD_SECTOR, VHD_SECTOR);
			*off = from - n + at - VHD_SECTOR;
			return 0;
		}
		from -= n;
	}
	return 0;
}

/* 1: found, 0: not, -1: e. */
static int find_lost_fixed(struct vhd *v, const uint8_t *end, uint64_t end_off, struct err *e)
{
	struct err ignored = ERR_INIT;
	uint64_t off = end_off;
	struct vhd_footer f;

	if (!all_zero(end, VHD_FOOTER_BYTES) || end_off % VHD_SECTOR)
		return 0;
	if (scan_back(v, &off, v->raw_footer, e) < 0)
		return -1;
	if (!off || vhd_footer_decode(v->raw_footer, off, &f, &ignored) < 0 || f.type != VHD_FIXED ||
	    f.current_bytes != off)
		return 0;
	v->f = f;
	v->lost_off = off;
	return 1;
}

/* The end is no footer and end_err says why. */
static int find_elsewhere(struct vhd *v, const uint8_t *end, const uint8_t *front, uint64_t end_off,
			  const struct err *end_err, struct err *e)
{
	struct err ignored = ERR_INIT;
	int rc = find_lost_fixed(v, end, end_off, e);
	struct vhd_footer f;
	bool sparse;

	if (rc < 0)
		return -1;
	v->end_bad = true;
	sparse = vhd_footer_decode(front, 0, &f, &ignored) == 0 && f.type != VHD_FIXED;
	if (rc && sparse)
		return err_set(e, ERR_CORRUPT, "'%s': no footer at the end, one of a fixed disk at byte %llu and "
			       "one of another disk at byte 0: a guest has written one of them",
			       blob_name(v->b), (unsigned long long)v->lost_off);
	if (rc)
		return 0;
	if (!sparse) {
		*e = *end_err;
		return err_wrap(e, "'%s'", blob_name(v->b));
	}
	v->f = f;
	memcpy(v->raw_footer, front, VHD_FOOTER_BYTES);
	return 0;
}

int vhd_find_footer(struct vhd *v, struct err *e)
{
	uint64_t bytes = blob_bytes(v->b), end_off = bytes - VHD_FOOTER_BYTES;
	uint8_t end[VHD_FOOTER_BYTES], front[VHD_FOOTER_BYTES];
	struct err end_err = ERR_INIT;

	if (bytes < VHD_FOOTER_BYTES + VHD_SECTOR)
		return err_set(e, ERR_CORRUPT, "'%s': %llu bytes are too few for a VHD", blob_name(v->b),
			       (unsigned long long)bytes);
	if (read_at(v, end_off, end, sizeof(end), e) < 0 || read_at(v, 0, front, sizeof(front), e) < 0)
		return -1;
	if (vhd_footer_decode(end, end_off, &v->f, &end_err) < 0)
		return find_elsewhere(v, end, front, end_off, &end_err, e);
	memcpy(v->raw_footer, end, sizeof(end));
	v->front_bad = v->f.type != VHD_FIXED && memcmp(front, end, sizeof(end));
	if (end_off % VHD_SECTOR)
		v->end_bad = true;	/* right bytes, wrong place */
	return 0;
}

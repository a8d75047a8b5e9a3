/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a VHD image, brings a writable one in order (a footer that a power cut
 * tore is written again from the other copy), and lists its operations.
 */
#include "disk/vhd.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "disk/vhd_state.h"

/* Names of disk types. */
static const char *const kinds[] = {
	[VHD_FIXED] = "fixed",
	[VHD_DYNAMIC] = "dynamic",
	[VHD_DIFFERENCING] = "differencing",
};

static void vhd_info(const void *l, struct layer_info *out)
{
	const struct vhd *v = l;

	*out = (struct layer_info){
		.format = "vhd",
		.kind = kinds[v->f.type],
		.bytes = atomic_load(&v->bytes),
		.sector_bytes = VHD_SECTOR,
		.physical_bytes = VHD_SECTOR,
		.block_bytes = v->h.block_bytes,
	};
	memcpy(out->id, v->f.id, sizeof(out->id));
	out->used_bytes = atomic_load(&v->used_blocks) * v->h.block_bytes;
	if (v->f.type == VHD_FIXED || out->used_bytes > out->bytes)
		out->used_bytes = out->bytes;
	if (v->f.type == VHD_DIFFERENCING)
		memcpy(out->parent_id, v->h.parent_id, sizeof(out->parent_id));
	vhd_parent_name(v, out->parent_name);
}

/* Gives back what was prepared and not used; a failure only leaves a longer file. */
static void vhd_close(void *l)
{
	struct vhd *v = l;

	if (v->extended && (v->ready_n || v->tail_used) && vhd_trim(v))
		v->ready_n = 0;
	vhd_table_free(atomic_load(&v->table));
	free(v);
}

static const struct layer_ops vhd_ops = {
	.info = vhd_info,
	.map = vhd_map,
	.alloc = vhd_alloc,
	.written = vhd_written,
	.dirty = vhd_dirty,
	.sync = vhd_sync,
	.resize = vhd_resize,
	.check = vhd_check,
	.close = vhd_close,
};

static int io_err(const struct vhd *v, int rc, const char *what, struct err *e)
{
	return rc ? err_sys(e, -rc, "%s of '%s'", what, blob_name(v->b)) : 0;
}

/* Growth that was cut short never happened: the file ends behind its footer again. */
static int open_fixed(struct vhd *v, struct err *e)
{
	uint64_t room = blob_bytes(v->b) - VHD_FOOTER_BYTES;

	if (v->lost_off) {
		room = v->lost_off;
		if (!blob_read_only(v->b) &&
		    io_err(v, blob_set_bytes(v->b, room + VHD_FOOTER_BYTES), "restore the end", e) < 0)
			return -1;
	}
	if (v->f.current_bytes > room)
		return err_set(e, ERR_CORRUPT, "'%s': current size %llu, but the file has room for %llu: cut short",
			       blob_name(v->b), (unsigned long long)v->f.current_bytes,
			       (unsigned long long)room);
	return vhd_finish_growth(v, e);
}

static int repair_footers(struct vhd *v, struct err *e)
{
	int rc = 0;

	if (v->end_bad)
		rc = vhd_trim(v);
	if (!rc && v->front_bad)
		rc = blob_write(v->b, 0, v->raw_footer, VHD_FOOTER_BYTES);
	if (!rc && v->front_bad)
		rc = blob_flush(v->b);
	return io_err(v, rc, "restore the footers", e);
}

static int open_sparse(struct vhd *v, struct err *e)
{
	uint64_t limit = blob_bytes(v->b) - (v->end_bad ? 0 : VHD_FOOTER_BYTES);

	if (vhd_load(v, limit, e) < 0)
		return -1;
	v->tail_used = blob_bytes(v->b) != v->end + VHD_FOOTER_BYTES;
	if ((v->end_bad || v->front_bad) && !blob_read_only(v->b))
		return repair_footers(v, e);
	return 0;
}

static int open_in(struct vhd *v, struct err *e)
{
	if (vhd_find_footer(v, e) < 0)
		return -1;
	if (v->f.saved && !blob_read_only(v->b)) {
		err_set(e, ERR_REFUSED, "'%s' is part of a saved virtual machine (saved state 1)", blob_name(v->b));
		return err_remedy(e, "resume or delete the saved state where it was made, or use the image read-only");
	}
	if ((v->f.type == VHD_FIXED ? open_fixed(v, e) : open_sparse(v, e)) < 0)
		return -1;
	v->type = v->f.type;
	atomic_store(&v->bytes, vhd_guest_bytes(&v->f));
	return 0;
}

static int vhd_open(struct blob *b, struct layer *out, struct err *e)
{
	struct vhd *v = mem_alloc(sizeof(*v));

	v->b = b;
	if (open_in(v, e) < 0) {
		v->extended = false;
		vhd_close(v);
		return -1;
	}
	*out = (struct layer){ .ops = &vhd_ops, .l = v };
	return 0;
}

/* A footer at the end is nearly sure, one at the front only where sector 0 can be no guest's. */
static int vhd_probe(struct blob *b)
{
	AUTO_FREE struct vhd *v = mem_alloc(sizeof(*v));
	struct err ignored = ERR_INIT;

	v->b = b;
	if (vhd_find_footer(v, &ignored) < 0)
		return 0;
	return v->end_bad ? 60 : 90;
}

const struct layer_format vhd_format = {
	.name = "vhd",
	.suffix = ".vhd",
	.probe = vhd_probe,
	.open = vhd_open,
	.create = vhd_create,
};

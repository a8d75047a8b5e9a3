/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a VHDX image (a writable one gets its log replayed, of a read-only one
 * the log is looked through) and lists its operations.
 */
#include "disk/vhdx.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "disk/vhdx_state.h"

static void vhdx_info(const void *l, struct layer_info *out)
{
	const struct vhdx *v = l;

	*out = (struct layer_info){
		.format = "vhdx",
		.kind = v->differencing ? "differencing" : v->fixed ? "fixed" : "dynamic",
		.bytes = atomic_load(&v->bytes),
		.sector_bytes = v->sector_bytes,
		.physical_bytes = v->physical_bytes,
		.block_bytes = v->fixed ? 0 : v->block_bytes,
	};
	memcpy(out->id, v->ids[atomic_load(&v->started)], DISK_ID_BYTES);
	memcpy(out->parent_id, v->parent_id, DISK_ID_BYTES);
	memcpy(out->parent_name, v->parent_name, DISK_NAME_BYTES);
	out->used_bytes = atomic_load(&v->used_blocks) << v->block_shift;
	if (out->used_bytes > out->bytes)
		out->used_bytes = out->bytes;
}

static void vhdx_free(struct vhdx *v)
{
	while (v->all_pieces) {
		struct vhdx_piece *p = v->all_pieces;

		v->all_pieces = p->next;
		free(p);
	}
	for (uint32_t i = 0; i < v->n_patches; i++)
		free(v->patches[i].p);
	free(v->patches);
	free(v->regions);
	free(v->pieces);
	free(v->bat);
	free(v);
}

/* Gives back what was prepared and not used; a failure only leaves a longer file. */
static void vhdx_close(void *l)
{
	struct vhdx *v = l;

	if (v->grown && vhdx_trim(v))
		v->grown = false;
	vhdx_free(v);
}

static const struct layer_ops vhdx_ops = {
	.info = vhdx_info,
	.map = vhdx_map,
	.alloc = vhdx_alloc,
	.written = vhdx_written,
	.dirty = vhdx_dirty,
	.sync = vhdx_sync,
	.resize = vhdx_resize,
	.check = vhdx_check,
	.close = vhdx_close,
};

static int vhdx_open(struct blob *b, struct layer *out, struct err *e)
{
	struct vhdx *v = mem_alloc(sizeof(*v));

	v->b = b;
	if (vhdx_find_header(v, e) < 0 || vhdx_replay(v, e) < 0 || vhdx_load_regions(v, e) < 0 ||
	    vhdx_load_metadata(v, e) < 0 || vhdx_load_bat(v, e) < 0) {
		vhdx_free(v);
		return -1;
	}
	*out = (struct layer){ .ops = &vhdx_ops, .l = v };
	return 0;
}

/* The first bytes are the guest's on a raw disk, so a header must be there too. */
static int vhdx_probe(struct blob *b)
{
	AUTO_FREE struct vhdx *v = mem_alloc(sizeof(*v));
	struct err ignored = ERR_INIT;

	v->b = b;
	return vhdx_find_header(v, &ignored) < 0 ? 0 : 95;
}

const struct layer_format vhdx_format = {
	.name = "vhdx",
	.suffix = ".vhdx",
	.probe = vhdx_probe,
	.open = vhdx_open,
	.create = vhdx_create,
};

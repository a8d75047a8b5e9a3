/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our numbers of the block interface against Xen's own headers.  No code: if
 * this compiles they agree.  (x86_32's layout is not in the headers of a
 * 64-bit build; the same fields with 4-byte alignment stand in for it.)
 */
#include "xen/blkif_fmt.h"

#include <stddef.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/io/ring.h>
#include <xen/io/blkif.h>
#include <xen/io/xenbus.h>

#define SAME(a, b) _Static_assert((int)(a) == (int)(b), #a)

SAME(BLKIF_READ, BLKIF_OP_READ);
SAME(BLKIF_WRITE, BLKIF_OP_WRITE);
SAME(BLKIF_BARRIER, BLKIF_OP_WRITE_BARRIER);
SAME(BLKIF_FLUSH, BLKIF_OP_FLUSH_DISKCACHE);
SAME(BLKIF_DISCARD, BLKIF_OP_DISCARD);
SAME(BLKIF_INDIRECT, BLKIF_OP_INDIRECT);
SAME(BLKIF_OKAY, BLKIF_RSP_OKAY);
SAME(BLKIF_FAILED, BLKIF_RSP_ERROR);
SAME(BLKIF_UNSUPPORTED, BLKIF_RSP_EOPNOTSUPP);
SAME(BLKIF_SEGS_MAX, BLKIF_MAX_SEGMENTS_PER_REQUEST);
SAME(BLKIF_SEG_BYTES, sizeof(struct blkif_request_segment));
SAME(BLKIF_INFO_CDROM, VDISK_CDROM);
SAME(BLKIF_INFO_REMOVABLE, VDISK_REMOVABLE);
SAME(BLKIF_INFO_READ_ONLY, VDISK_READONLY);

SAME(BLKIF_REQ_PROD_AT, offsetof(struct blkif_sring, req_prod));
SAME(BLKIF_REQ_EVENT_AT, offsetof(struct blkif_sring, req_event));
SAME(BLKIF_RSP_PROD_AT, offsetof(struct blkif_sring, rsp_prod));
SAME(BLKIF_RSP_EVENT_AT, offsetof(struct blkif_sring, rsp_event));
SAME(BLKIF_SLOTS_AT, offsetof(struct blkif_sring, ring));

SAME(4, offsetof(struct blkif_request_segment, first_sect));
SAME(5, offsetof(struct blkif_request_segment, last_sect));

#ifdef __x86_64__
SAME(BLKIF_SLOT64_BYTES, sizeof(union blkif_sring_entry));
SAME(BLKIF_RSP64_BYTES, sizeof(struct blkif_response));
SAME(8, offsetof(struct blkif_request, id));
SAME(16, offsetof(struct blkif_request, sector_number));
SAME(24, offsetof(struct blkif_request, seg));
SAME(24, offsetof(struct blkif_request_discard, nr_sectors));
SAME(2, offsetof(struct blkif_request_indirect, nr_segments));
SAME(8, offsetof(struct blkif_request_indirect, id));
SAME(16, offsetof(struct blkif_request_indirect, sector_number));
SAME(28, offsetof(struct blkif_request_indirect, indirect_grefs));
SAME(8, offsetof(struct blkif_response, operation));
SAME(10, offsetof(struct blkif_response, status));
#endif

typedef uint64_t u64_on_32 __attribute__((aligned(4)));
struct request_32 {
	uint8_t op, n_segs;
	uint16_t handle;
	u64_on_32 id, sector;
	struct blkif_request_segment seg[BLKIF_SEGS_MAX];
};
struct indirect_32 {
	uint8_t op, real;
	uint16_t n_segs;
	u64_on_32 id, sector;
	uint16_t handle;
	uint32_t refs[BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST];
};
struct response_32 {
	u64_on_32 id;
	uint8_t op;
	int16_t status;
};
SAME(BLKIF_SLOT32_BYTES, sizeof(struct request_32));
SAME(BLKIF_RSP32_BYTES, sizeof(struct response_32));
SAME(4, offsetof(struct request_32, id));
SAME(12, offsetof(struct request_32, sector));
SAME(20, offsetof(struct request_32, seg));
SAME(24, offsetof(struct indirect_32, refs));

SAME(XB_INITIALISING, XenbusStateInitialising);
SAME(XB_INIT_WAIT, XenbusStateInitWait);
SAME(XB_INITIALISED, XenbusStateInitialised);
SAME(XB_CONNECTED, XenbusStateConnected);
SAME(XB_CLOSING, XenbusStateClosing);
SAME(XB_CLOSED, XenbusStateClosed);

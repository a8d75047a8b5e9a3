/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of Xen's block interface (xen/io/blkif.h, ring.h, xenbus.h) for
 * those who may not include Xen's headers; blkif_fmt.c checks them against
 * the headers at compile time.  Little-endian.
 *
 * A ring of 2^order pages that both sides write:
 *
 *	 0          4          8          12         16        64
 *	+----------+----------+----------+----------+---------+--------+--------+--
 *	| req_prod | req_event| rsp_prod | rsp_event| private | slot 0 | slot 1 | ...
 *	+----------+----------+----------+----------+---------+--------+--------+--
 *
 * A slot holds a request, later the response to some request:
 *
 *	              x86_64                               x86_32
 *	read, write   op 0 n_segs 1 handle 2 id 8          ... id 4
 *	              sector 16 segs 24                    sector 12 segs 20
 *	discard       op 0 flag 1 handle 2 id 8            ... id 4
 *	              sector 16 n_sectors 24               sector 12 n_sectors 20
 *	indirect      op 6 real op 1 n_segs 2 (16 bit)     ... id 4
 *	              id 8 sector 16 handle 24 refs 28     sector 12 handle 20 refs 24
 *	response      id 0 op 8 status 10; 16 bytes        12 bytes
 *
 *	segment       ref 0 (32 bit) first_sect 4 last_sect 5; 8 bytes
 *
 * Sectors on the ring are 512 bytes whatever the disk's sector is: that is
 * what Linux's two ends do, and Xen's headers say so since 4.20.
 */
#ifndef XEN_BLKIF_FMT_H
#define XEN_BLKIF_FMT_H

enum blkif_op {
	BLKIF_READ = 0,
	BLKIF_WRITE = 1,
	BLKIF_BARRIER = 2,		/* not offered */
	BLKIF_FLUSH = 3,
	BLKIF_DISCARD = 5,
	BLKIF_INDIRECT = 6,
};

enum blkif_status { BLKIF_OKAY = 0, BLKIF_FAILED = -1, BLKIF_UNSUPPORTED = -2 };

enum {
	BLKIF_PAGE_BYTES = 4096,
	BLKIF_SECTOR_BYTES = 512,
	BLKIF_PAGE_SECTORS = BLKIF_PAGE_BYTES / BLKIF_SECTOR_BYTES,
	BLKIF_SEGS_MAX = 11,		/* in the request itself */
	BLKIF_SEG_BYTES = 8,

	BLKIF_REQ_PROD_AT = 0,
	BLKIF_REQ_EVENT_AT = 4,
	BLKIF_RSP_PROD_AT = 8,
	BLKIF_RSP_EVENT_AT = 12,
	BLKIF_SLOTS_AT = 64,

	BLKIF_SLOT64_BYTES = 112,
	BLKIF_SLOT32_BYTES = 108,
	BLKIF_RSP64_BYTES = 16,
	BLKIF_RSP32_BYTES = 12,

	BLKIF_INFO_CDROM = 1,
	BLKIF_INFO_REMOVABLE = 2,
	BLKIF_INFO_READ_ONLY = 4,
};

#define BLKIF_PROTOCOL_64 "x86_64-abi"
#define BLKIF_PROTOCOL_32 "x86_32-abi"

enum xb_state {
	XB_UNKNOWN = 0,			/* no such node */
	XB_INITIALISING = 1,
	XB_INIT_WAIT = 2,
	XB_INITIALISED = 3,
	XB_CONNECTED = 4,
	XB_CLOSING = 5,
	XB_CLOSED = 6,
	XB_STATE_END
};

#endif

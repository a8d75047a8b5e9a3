/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VHD file format, version 1.0, after Microsoft's published specification
 * (Virtual Hard Disk Image Format Specification, October 2006).  Its numbers
 * and its drawing are here and nowhere else.  All integers are big-endian.
 *
 *   fixed        | data of the guest ...                        | footer |
 *
 *   dynamic,     | footer | header | locators | BAT | block | block | ... | footer |
 *   differencing 0        512      1536       any sector                    last 512 bytes
 *
 *   block        | bitmap: a bit a sector, first sector = high bit, whole sectors | data |
 *                  set: the sector is here; clear: zeroes (dynamic), the parent's (differencing)
 *   BAT          one 32-bit number a block: the sector where its bitmap starts, all ones: no block
 *
 * Footer (512 bytes):                          Header (1024 bytes):
 *    0  8 cookie "conectix"                       0   8 cookie "cxsparse"
 *    8  4 features (bit 1 always set)             8   8 next structure: all ones
 *   12  4 version                                16   8 table (BAT) offset
 *   16  8 header offset, all ones if fixed       24   4 version
 *   24  4 time, seconds since 2000               28   4 table entries
 *   28  4 creator application                    32   4 block size, a power of two
 *   32  4 creator version                        36   4 checksum
 *   36  4 creator host                           40  16 parent's unique id
 *   40  8 original size                          56   4 parent's time
 *   48  8 current size                           60   4 reserved
 *   56  4 geometry: cylinders 2 heads 1 spt 1    64 512 parent's name, UTF-16 big-endian
 *   60  4 disk type                             576 192 eight parent locators of 24 bytes:
 *   64  4 checksum                                      code 4, space 4, length 4, reserved 4, offset 8
 *   68 16 unique id                             768 256 reserved
 *   84  1 saved state
 *   85    reserved
 *
 * While a fixed disk grows, the last 8 reserved bytes of its footer (ours, zero
 * at all other times) say where the old footer stands that is still to be zeroed.
 *
 * A checksum is the complement of the sum of all bytes but its own.  Bytes
 * that are reserved are kept as they are when a structure is rewritten.
 */
#ifndef DISK_VHD_FMT_H
#define DISK_VHD_FMT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/layer.h"

enum {
	VHD_SECTOR = 512,
	VHD_FOOTER_BYTES = 512,
	VHD_HEADER_BYTES = 1024,
	VHD_BAT_SECTOR_ENTRIES = VHD_SECTOR / 4,
	VHD_DATA_ALIGN = 4096,		/* of the data of blocks that we allocate */
	VHD_BLOCK_BYTES = 2 << 20,	/* default */
	VHD_BLOCK_BYTES_MIN = 512 << 10,
	VHD_BLOCK_BYTES_MAX = 256 << 20,
	VHD_GROWN_AT = 504,		/* in the footer, 8 bytes */
	VHD_LOCATORS = 8,
	VHD_LOCATOR_BYTES_MAX = 2048,	/* of a locator's data that is looked at */
	VHD_NAME_BYTES = 512,		/* parent's name in the header */
	VHD_VERSION = 0x00010000,
	VHD_FEATURE_TEMPORARY = 1,
	VHD_FEATURE_RESERVED = 2,	/* always set */
	VHD_EPOCH_S = 946684800,	/* 2000-01-01 00:00 UTC */
};
#define VHD_BYTES_MAX (2040ull << 30)	/* what 32-bit sector numbers of the BAT leave room for */
#define VHD_ENTRIES_MAX ((uint32_t)(VHD_BYTES_MAX / VHD_BLOCK_BYTES_MIN))
#define VHD_NO_OFFSET UINT64_MAX
#define VHD_BAT_FREE UINT32_MAX
#define VHD_CHS_MAX (65535ull * 16 * 255)	/* sectors; larger disks carry this geometry */

/* Four letters as the 32-bit number that stands in the file. */
#define VHD_CODE(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define VHD_APP_VPC VHD_CODE('v', 'p', 'c', ' ')	/* these two: the geometry is the size */
#define VHD_APP_QEMU VHD_CODE('q', 'e', 'm', 'u')
#define VHD_APP_WIN VHD_CODE('w', 'i', 'n', ' ')	/* what we write: QEMU and all others then read current size */
#define VHD_APP_VERSION 0x000a0000u
#define VHD_HOST_WINDOWS VHD_CODE('W', 'i', '2', 'k')
#define VHD_LOC_RELATIVE VHD_CODE('W', '2', 'r', 'u')	/* UTF-16 little-endian, backslashes */
#define VHD_LOC_ABSOLUTE VHD_CODE('W', '2', 'k', 'u')

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

struct vhd_footer {
	uint32_t features;
	uint64_t header_off;
	uint32_t time_s;		/* since 2000 */
	uint32_t app, app_version, host;
	uint64_t original_bytes, current_bytes;
	uint16_t cylinders;
	uint8_t heads, spt;
	enum vhd_type type;
	uint8_t id[DISK_ID_BYTES];
	uint8_t saved;
	uint64_t grown_from;		/* see the drawing; 0: nothing to do */
};

struct vhd_locator {
	uint32_t code;
	uint32_t space;			/* bytes; sectors by the specification, but Windows writes bytes: read both */
	uint32_t bytes;
	uint64_t off;
};

struct vhd_header {
	uint64_t table_off;
	uint32_t entries;
	uint32_t block_bytes;
	uint8_t parent_id[DISK_ID_BYTES];
	uint32_t parent_time_s;
	uint8_t parent_name[VHD_NAME_BYTES];	/* as in the file */
	struct vhd_locator locators[VHD_LOCATORS];
};

/* `at`: where the bytes stand in the file, for messages.  Every field is checked that can be by itself; the saved
 * state may be 1. */
MUSTUSE int vhd_footer_decode(const uint8_t *raw, uint64_t at, struct vhd_footer *out, struct err *e);
MUSTUSE int vhd_header_decode(const uint8_t *raw, uint64_t at, struct vhd_header *out, struct err *e);
/* Put the fields and the checksum into raw; reserved bytes there stay. */
void vhd_footer_encode(const struct vhd_footer *f, uint8_t *raw);
void vhd_header_encode(const struct vhd_header *h, uint8_t *raw);

/* Geometry of a disk of that size (appendix of the specification). */
void vhd_set_size(struct vhd_footer *f, uint64_t bytes);
/* The size that the guest sees: by geometry for creators that go by it, by current size for all others. */
uint64_t vhd_guest_bytes(const struct vhd_footer *f);

/* Bytes of the bitmap in front of a block. */
static inline uint32_t vhd_bitmap_bytes(uint32_t block_bytes)
{
	uint32_t bytes = block_bytes / VHD_SECTOR / 8;

	return (bytes + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
}

/* UTF-16 up to a zero or n bytes, to UTF-8 in out (cut between characters; broken surrogates become U+FFFD). */
void vhd_name_decode(const uint8_t *p, size_t n, bool big_endian, char *out, size_t out_bytes);
/* Returns the bytes written (no zero at the end), or -1 when `max` bytes do not hold it or it is no UTF-8. */
int vhd_name_encode(const char *name, bool big_endian, uint8_t *out, size_t max);

#endif

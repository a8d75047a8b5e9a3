/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VHDX file format, version 1, after Microsoft's specification [MS-VHDX].
 * Its numbers and its drawing are here and nowhere else.  Integers are
 * little-endian; places and lengths of regions and blocks are whole MiB.
 *
 *   0      64K     128K    192K     256K     1M and on, in any order
 *   | file | header | header | region | region | log | metadata | BAT | payload and bitmap blocks ...
 *   | id   | 1      | 2      | table 1| table 2|
 *
 * Header (4 KiB):                        Region table (64 KiB), metadata table (64 KiB):
 *    0  4 "head"                            0 4 "regi"          0 8 "metadata"
 *    4  4 CRC-32C of all 4 KiB              4 4 CRC-32C         8 2 reserved
 *    8  8 sequence number, higher wins      8 4 entries        10 2 entries
 *   16 16 file write GUID                  12 4 reserved       12 20 reserved
 *   32 16 data write GUID                  16 32 an entry:     32 32 an entry:
 *   48 16 log GUID, zeroes: log is empty      0 16 GUID           0 16 GUID
 *   64  2 log version 66 2 version           16 8 file offset    16 4 offset in the region
 *   68  4 log bytes   72 8 log offset        24 4 bytes          20 4 bytes
 *                                            28 4 1: required    24 4 1: user 2: disk 4: required
 *
 * Log: a ring of entries, each some 4 KiB sectors, that says what 4 KiB of the file are to become:
 *   | header 64, descriptors of 32 ... | a data sector for each data descriptor ...
 *   header:  0 4 "loge"  4 4 CRC-32C of the entry  8 4 bytes  12 4 tail: where the oldest needed entry starts
 *           16 8 sequence number  24 4 descriptors  32 16 log GUID  48 8 flushed file size  56 8 file size
 *   zero:    0 4 "zero"  8 8 bytes  16 8 file offset  24 8 sequence number
 *   data:    0 4 "desc"  4 4 last 4 bytes  8 8 first 8 bytes  16 8 file offset  24 8 sequence number
 *   sector:  0 4 "data"  4 4 sequence number, high half  8 4084 the bytes between  4092 4 low half
 *
 * BAT: for each chunk (2^23 sectors of the disk) `ratio` payload entries, then one for the chunk's bitmap block:
 *   bits 0-2 state, 20-63 place in the file in MiB.  Bitmap block: 1 MiB, a bit a sector of the chunk, low bit first;
 *   set: the sector is here, clear: it is the parent's.  It counts for PARTIALLY_PRESENT blocks only.
 */
#ifndef DISK_VHDX_FMT_H
#define DISK_VHDX_FMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	VHDX_GUID_BYTES = 16,
	VHDX_GUID_TEXT_BYTES = 39,	/* {8-4-4-4-12} and a NUL */
	VHDX_MIB = 1 << 20,
	VHDX_ID_SIGN_BYTES = 8,
	VHDX_CREATOR_BYTES = 512,
	VHDX_HEADER_BYTES = 4096,
	VHDX_HEADER_AT = 64 << 10,	/* the second one 64 KiB behind */
	VHDX_HEADER_STEP = 64 << 10,
	VHDX_REGIONS_AT = 192 << 10,
	VHDX_TABLE_BYTES = 64 << 10,	/* region and metadata tables */
	VHDX_TABLE_ENTRIES_MAX = 2047,
	VHDX_ENTRY_BYTES = 32,		/* of both tables */
	VHDX_REGION_HEAD_BYTES = 16,
	VHDX_META_HEAD_BYTES = 32,
	VHDX_VERSION = 1,
	VHDX_LOG_VERSION = 0,
	VHDX_LOG_SECTOR = 4096,
	VHDX_LOG_HEAD_BYTES = 64,
	VHDX_DESC_BYTES = 32,
	VHDX_LOG_BYTES_MAX = 64 << 20,	/* ours; it is read whole */
	VHDX_LOG_CRC_TIMES = 8,		/* a log may make us sum up its bytes so often */
	VHDX_BAT_BYTES_MAX = 256 << 20,	/* ours; it is kept in memory */
	VHDX_BITMAPS_BYTES_MAX = 512 << 20,	/* ours: bitmaps kept in memory, for 2 TiB of partly present blocks */
	VHDX_BLOCK_BYTES = 32 << 20,	/* default */
	VHDX_BLOCK_BYTES_MIN = 1 << 20,
	VHDX_BLOCK_BYTES_MAX = 256 << 20,
	VHDX_BITMAP_BYTES = 1 << 20,	/* of a bitmap block */
	VHDX_CHUNK_SECTORS = 1 << 23,
	VHDX_ITEM_BYTES_MAX = 1 << 20,	/* of a metadata item */
	VHDX_LOCATOR_HEAD_BYTES = 20,
	VHDX_LOCATOR_ENTRY_BYTES = 12,
	VHDX_BAT_ROOM_BYTES = 4 << 20,	/* new files: the BAT gets at least this, or twice what it needs, to grow */
	VHDX_PHYSICAL_SECTOR = 4096,	/* of new files */
};
#define VHDX_BYTES_MAX (64ull << 40)
#define VHDX_FILE_BYTES_MAX (1ull << 62)

enum vhdx_state {			/* of a block, in its BAT entry */
	VHDX_NOT_PRESENT = 0,
	VHDX_UNDEFINED = 1,
	VHDX_ZERO = 2,
	VHDX_UNMAPPED = 3,
	VHDX_PRESENT = 6,		/* payload: fully */
	VHDX_PARTIAL = 7,
};

enum { VHDX_META_USER = 1, VHDX_META_DISK = 2, VHDX_REQUIRED = 4, VHDX_REGION_REQUIRED = 1 };
enum { VHDX_LEAVE_ALLOCATED = 1, VHDX_HAS_PARENT = 2 };	/* file parameters, second word */

/* The entry's words. */
#define VHDX_BAT_STATE(e) ((enum vhdx_state)((e) & 7))
#define VHDX_BAT_OFF(e) ((e) >> 20 << 20)

extern const uint8_t vhdx_guid_bat[VHDX_GUID_BYTES], vhdx_guid_metadata[VHDX_GUID_BYTES];
extern const uint8_t vhdx_guid_params[VHDX_GUID_BYTES], vhdx_guid_size[VHDX_GUID_BYTES];
extern const uint8_t vhdx_guid_disk_id[VHDX_GUID_BYTES], vhdx_guid_logical[VHDX_GUID_BYTES];
extern const uint8_t vhdx_guid_physical[VHDX_GUID_BYTES], vhdx_guid_locator[VHDX_GUID_BYTES];
extern const uint8_t vhdx_guid_locator_vhdx[VHDX_GUID_BYTES], vhdx_guid_none[VHDX_GUID_BYTES];
extern const char vhdx_sign[VHDX_ID_SIGN_BYTES + 1], vhdx_meta_sign[VHDX_ID_SIGN_BYTES + 1];

struct vhdx_header {
	uint64_t sequence;
	uint8_t file_id[VHDX_GUID_BYTES], data_id[VHDX_GUID_BYTES], log_id[VHDX_GUID_BYTES];
	uint16_t log_version, version;
	uint32_t log_bytes;
	uint64_t log_off;
};

struct vhdx_entry {			/* of the log */
	uint32_t bytes, tail, descriptors;
	uint64_t sequence, flushed_bytes, file_bytes;
	uint8_t log_id[VHDX_GUID_BYTES];
};

/* {lower-case} text of a GUID as it stands in the file, and back (either case); false: it is none. */
void vhdx_guid_text(const uint8_t *id, char out[VHDX_GUID_TEXT_BYTES]);
bool vhdx_guid_parse(const char *text, uint8_t out[VHDX_GUID_BYTES]);

/* True if signature and checksum of the 4 KiB are right; the fields are not judged. */
bool vhdx_header_decode(const uint8_t *raw, struct vhdx_header *out);
void vhdx_header_encode(const struct vhdx_header *h, uint8_t raw[VHDX_HEADER_BYTES]);

/* The checksum of n bytes whose own checksum is at byte 4. */
uint32_t vhdx_sum(const uint8_t *p, size_t n);
/* Puts it there. */
void vhdx_sum_set(uint8_t *p, size_t n);

/* An entry's header, in max bytes that follow it; false: none, or its lengths are wrong.  Not the checksum. */
bool vhdx_entry_decode(const uint8_t *p, uint32_t max, struct vhdx_entry *out);
void vhdx_entry_encode(const struct vhdx_entry *n, uint8_t raw[VHDX_LOG_HEAD_BYTES]);
/* Bytes of the sectors with header and descriptors. */
uint32_t vhdx_entry_head_bytes(uint32_t descriptors);

void vhdx_put_le16(uint8_t *p, uint16_t v);
void vhdx_put_le32(uint8_t *p, uint32_t v);
void vhdx_put_le64(uint8_t *p, uint64_t v);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file system is on a block device and what is its label: read from the
 * superblock itself, for the three that hvinit mounts.
 *
 *	XFS        0: "XFSB"                       108: label, 12 bytes, NUL-padded
 *	FAT12/16   510: 55 AA   54: "FAT1"          43: label, 11 bytes, blank-padded
 *	FAT32      510: 55 AA   82: "FAT32   "      71: label, 11 bytes, blank-padded
 *	ISO9660    32769: "CD001" (32768: 1)     32808: label, 32 bytes, blank-padded
 */
#ifndef INIT_LABEL_H
#define INIT_LABEL_H

#include <stddef.h>
#include <stdint.h>

enum {
	LABEL_PROBE_BYTES = 34 << 10,	/* of the start of the device; fewer are fine */
	LABEL_BYTES = 33,		/* with the NUL */
};

struct label {
	const char *fs;			/* "xfs", "vfat", "iso9660", or "" */
	char text[LABEL_BYTES];		/* printable ASCII; "" if none */
};

/* Looks at the first n bytes of a device.  Never fails: what is not known is "". */
void label_probe(const uint8_t *p, size_t n, struct label *out);

#endif

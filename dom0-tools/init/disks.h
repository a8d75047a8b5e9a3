/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block devices of this machine, from sysfs and their superblocks, and
 * the links below /dev/disk that udev would make:
 *
 *	by-id/virtio-SERIAL   by-id/ata-MODEL_SERIAL   by-id/wwn-0x...   by-id/nvme-MODEL_SERIAL   by-id/nvme-eui...
 *	(with -partN for partitions)      by-label/LABEL
 */
#ifndef INIT_DISKS_H
#define INIT_DISKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "init/label.h"

enum { DISKS_MAX = 128, DISK_IDS_MAX = 2, DISK_ID_BYTES = 128 };

struct disk {
	char name[32];			/* "vda", "sda1" */
	char serial[64];		/* "" if it has none; of the whole disk for a partition */
	char ids[DISK_IDS_MAX][DISK_ID_BYTES];	/* names in by-id, without -partN */
	uint64_t bytes;
	unsigned part;			/* partition number; 0: the whole disk */
	bool read_only;
	bool in_use;			/* has partitions or holders (a whole disk that is not free) */
	struct label label;
};

struct disks {
	struct disk v[DISKS_MAX];
	unsigned n;
	bool scsi;			/* there are buses that find disks late */
};

/* Reads everything anew.  `sys` and `dev` are "/sys" and "/dev" (tests: folders). */
void disks_scan(struct disks *d, const char *sys, const char *dev);
/* Makes the links anew; those to devices that are gone go. */
MUSTUSE int disks_link(const struct disks *d, const char *dev, struct err *e);
/* True if the first and last MiB of /dev/NAME are all zero; an error means: do not touch it. */
MUSTUSE int disks_is_empty(const char *dev, const struct disk *d, bool *out, struct err *e);

#endif

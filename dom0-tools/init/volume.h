/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two volumes hvinit looks for: HVAPI with host.json, and the data volume
 * (XFS, label HVDATA).
 *
 * A file system is made only with permission, only on a whole disk that
 * nobody else could mean (named in host.json, or the only one whose serial
 * starts with "hvdata"), and only if that disk is empty.
 */
#ifndef INIT_VOLUME_H
#define INIT_VOLUME_H

#include "base/err.h"
#include "init/disks.h"
#include "init/host_cfg.h"

#define VOLUME_CONFIG_LABEL "HVAPI"
#define VOLUME_DATA_LABEL "HVDATA"
#define VOLUME_DATA_SERIAL "hvdata"

enum { VOLUME_DATA_BYTES_MIN = 300 << 20 };	/* what mkfs.xfs accepts */

/* Mounts each volume HVAPI read-only below `run_dir` until one has a host.json, and reads it into c.
 * ERR_NOT_FOUND if there is none. */
MUSTUSE int volume_read_config(const struct disks *ds, const char *run_dir, struct host_cfg *c, struct err *e);

enum volume_plan { VOLUME_MOUNT, VOLUME_MAKE };

/* Decides what becomes the data volume; pure.  VOLUME_MAKE: if it is empty.  ERR_NOT_FOUND: nothing that could
 * be it (a disk may still appear); other errors say what the operator should do. */
MUSTUSE int volume_choose_data(const struct disks *ds, const struct host_cfg *c, enum volume_plan *out_plan,
			       const struct disk **out_disk, struct err *e);

/* Mounts /dev/NAME (or, with NULL, memory) as the data folder.  It is fine if something is mounted there. */
MUSTUSE int volume_mount_data(const char *dev_name, const char *data_dir, struct err *e);

#endif

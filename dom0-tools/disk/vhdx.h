/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX images: fixed, dynamic and differencing, as one layer of a disk.
 * Sectors of 512 or 4096 bytes, at most 64 TiB.  See vhdx_fmt.h for the format.
 */
#ifndef DISK_VHDX_H
#define DISK_VHDX_H

#include "disk/layer.h"

extern const struct layer_format vhdx_format;

#endif

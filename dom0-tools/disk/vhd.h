/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHD images: fixed, dynamic and differencing, as one layer of a disk.
 * Sectors of 512 bytes, at most 2040 GiB.  See vhd_fmt.h for the format.
 */
#ifndef DISK_VHD_H
#define DISK_VHD_H

#include "disk/layer.h"

extern const struct layer_format vhd_format;

#endif

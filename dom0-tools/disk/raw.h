/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw images: byte n of the disk is byte n of the blob.  Sectors of 512 bytes;
 * bytes behind the last whole sector are no part of the disk.
 */
#ifndef DISK_RAW_H
#define DISK_RAW_H

#include "disk/layer.h"

extern const struct layer_format raw_format;

#endif

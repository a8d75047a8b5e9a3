/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli), the checksum of every VHDX structure.
 */
#ifndef DISK_CRC32C_H
#define DISK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of p[0..n), continuing `crc`: 0 at the start, then what the call before returned. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif

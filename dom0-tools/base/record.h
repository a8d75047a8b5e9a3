/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One small JSON object on disk that survives a power cut whole: written by
 * fd_write_file, with a CRC-32 of the rest in the member "crc".  Used for
 * what must be right before somebody acts on it (who owns a VM, a step of a
 * hand-over).
 */
#ifndef BASE_RECORD_H
#define BASE_RECORD_H

#include <jansson.h>

#include "base/err.h"

enum {
	RECORD_BYTES_MAX = 1 << 20,
	RECORD_MODE = 0640,		/* the group reads: hvapid looks, the owner decides */
};

/* Durable when it returns 0.  `o` is borrowed; a member "crc" of it is replaced. */
MUSTUSE int record_save(const char *path, const json_t *o, struct err *e);
/* ERR_NOT_FOUND if there is none, ERR_CORRUPT if the checksum does not fit.  *out is without "crc". */
MUSTUSE int record_load(const char *path, json_t **out, struct err *e);

#endif

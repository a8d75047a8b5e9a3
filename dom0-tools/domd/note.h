/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hvdomd is in the middle of, for the hvdomd that comes after a crash of
 * this one: DATA/vm/VM/note.json.  Unlike the owner record it says nothing of
 * who may run the VM, and means nothing once the domain is gone.
 */
#ifndef DOMD_NOTE_H
#define DOMD_NOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { NOTE_PATH_BYTES = 384 };

struct note {
	char path[NOTE_PATH_BYTES];
	bool building;			/* a paused domain is half made */
	bool paused;			/* the operator paused it */
	bool capped;			/* by throttle; cap is what it was before */
	uint16_t cap;
};

/* None, or one that cannot be read, is an empty one. */
void note_load(const char *data_dir, const char *vm, struct note *out);
/* An empty note has no file. */
MUSTUSE int note_save(const struct note *n, struct err *e);

#endif

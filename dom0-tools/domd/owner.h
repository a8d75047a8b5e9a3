/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of who owns a VM (drawing in domd_ctl.h).  This is the only code
 * that writes it, and every change goes through owner_enter, which is durable
 * when it returns.
 */
#ifndef DOMD_OWNER_H
#define DOMD_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum owner_word {
	OWNER_NONE, OWNER_HERE, OWNER_GIVING, OWNER_IN_DOUBT, OWNER_AWAY, OWNER_RECEIVING, OWNER_REFUSED, OWNER_N
};

enum { OWNER_TEXT_BYTES = 128, OWNER_PATH_BYTES = 384 };

struct owner {
	char path[OWNER_PATH_BYTES];
	char vm[OWNER_TEXT_BYTES], uuid[OWNER_TEXT_BYTES];
	enum owner_word word;
	uint64_t generation;
	char session[OWNER_TEXT_BYTES], peer[OWNER_TEXT_BYTES];
};

const char *owner_name(enum owner_word w);

/* Reads the record of a VM; none is OWNER_NONE.  The VM's folder is made if it is not there. */
MUSTUSE int owner_load(const char *data_dir, const char *vm, struct owner *out, struct err *e);

/* Writes the new word with the members of `next` (vm and path stay).  ERR_STATE for a way that the drawing does not
 * have, or a generation that falls for one UUID; o is as before on failure.  Durable on success. */
MUSTUSE int owner_enter(struct owner *o, enum owner_word to, const struct owner *next, const char *why, struct err *e);

/* Copies a text of a request into a member; ERR_LIMIT naming the key if it does not fit. */
MUSTUSE int owner_put(char out[OWNER_TEXT_BYTES], const char *key, const char *value, struct err *e);

/* True if the record lets the VM run here. */
bool owner_may_run(const struct owner *o);
/* True if a domain of this UUID may be made here from nothing. */
bool owner_may_claim(const struct owner *o, const char *uuid);

#endif

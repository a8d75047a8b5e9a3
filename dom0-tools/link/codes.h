/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one-time codes that this host has shown and that are still good:
 * DATA/host/codes.json, a durable record.  The secrets are kept as they are,
 * because a proof by HMAC needs them; the folder is closed to everybody else.
 */
#ifndef LINK_CODES_H
#define LINK_CODES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "link/pair.h"

enum {
	CODES_MAX = 16,
	CODE_ATTEMPTS_MAX = 3,		/* wrong proofs by somebody who knew the code's id; then it is burnt */
	CODE_TTL_S = 600,		/* unless the caller says otherwise */
	CODE_TTL_S_MAX = 7 * 86400,
};

struct code {
	struct pair_offer offer;
	uint8_t id[PAIR_ID_BYTES];
	uint64_t expires_ms;		/* 0: when it is used */
	unsigned attempts_left;
};

struct codes;

MUSTUSE int codes_open(const char *path, struct codes **out, struct err *e);
void codes_free(struct codes *c);

/* Keeps a new code; id and attempts are filled in.  Durable on return. */
MUSTUSE int codes_add(struct codes *c, const struct pair_offer *offer, uint64_t expires_ms, struct err *e);
/* The live code of that id, borrowed until the next change; NULL if there is none (any more). */
const struct code *codes_find(struct codes *c, const uint8_t id[PAIR_ID_BYTES]);
/* A live code of that role that never expires; NULL if there is none. */
const struct code *codes_lasting(struct codes *c, enum role role);
/* Takes it out of the list, durable on return. */
MUSTUSE int codes_spend(struct codes *c, const uint8_t id[PAIR_ID_BYTES], struct err *e);
/* Counts a wrong proof; true if that burnt the code. */
bool codes_failed(struct codes *c, const uint8_t id[PAIR_ID_BYTES]);

#endif

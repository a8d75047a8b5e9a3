/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is trusted: a list of names with the fingerprint of a key, kept as one
 * durable record (DATA/host/pins.json).  Names are unique and so are
 * fingerprints.
 */
#ifndef LINK_PINS_H
#define LINK_PINS_H

#include <stdint.h>
#include <jansson.h>

#include "base/err.h"
#include "link/addr.h"
#include "link/identity.h"
#include "link/role.h"

enum { PINS_MAX = 256, PIN_ADDRESS_BYTES = ADDR_HOST_BYTES + 8 };

struct pin {
	char name[IDENTITY_NAME_BYTES];
	uint8_t fingerprint[FINGERPRINT_BYTES];
	enum role role;
	char address[PIN_ADDRESS_BYTES];	/* "host:port" of a host; "" if it is not known or there is none */
	uint64_t not_after_ms;			/* end of the certificate seen last */
};

struct pins;

/* A missing file is an empty list. */
MUSTUSE int pins_open(const char *path, struct pins **out, struct err *e);
void pins_free(struct pins *p);

/* Borrowed until the next change; NULL if there is none. */
const struct pin *pins_by_name(const struct pins *p, const char *name);
const struct pin *pins_by_fingerprint(const struct pins *p, const uint8_t fp[FINGERPRINT_BYTES]);
const struct pin *pins_at(const struct pins *p, unsigned i);	/* NULL behind the last */
unsigned pins_count(const struct pins *p, enum role role);

/* Whether pins_put would go: ERR_EXISTS if the name is another key's, ERR_LIMIT. */
MUSTUSE int pins_check(const struct pins *p, const struct pin *pin, struct err *e);
/* Adds, or replaces the entry of the same key.  Durable on return; unchanged on failure. */
MUSTUSE int pins_put(struct pins *p, const struct pin *pin, struct err *e);
MUSTUSE int pins_remove(struct pins *p, const char *name, struct err *e);

/* PEER of docs/interfaces.md; caller's reference. */
json_t *pin_json(const struct pin *pin);

#endif

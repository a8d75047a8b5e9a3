/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pairing, as a machine: bytes in, bytes out, no sockets and no files
 * (pair_wire.h has the drawing).  hvtls runs it at both ends, the CLI as
 * dialer.  What it may look up and do is in `struct pair_hooks`.
 */
#ifndef LINK_PAIR_H
#define LINK_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "link/pair_wire.h"

enum { PAIR_IN_BYTES_MAX = 2 * (PAIR_BODY_BYTES_MAX + PAIR_HEAD_BYTES) };

/* A code as the listener keeps it. */
struct pair_offer {
	uint8_t secret[PAIR_SECRET_BYTES];
	enum role role;			/* of who uses it */
	char name[IDENTITY_NAME_BYTES];	/* he gets, or "" for his own */
};

/* The other side, as it is to be pinned. */
struct pair_result {
	char name[IDENTITY_NAME_BYTES];
	uint8_t fingerprint[FINGERPRINT_BYTES];
	enum role role;			/* it gets here; a host that was dialled is a peer */
	enum role role_there;		/* we got there (dialer), or ROLE_NONE */
	enum pair_kind kind;
	uint16_t port;			/* it listens at, 0: none */
};

struct pair_hooks {
	/* Listener: the live code of that id; false: there is none. */
	bool (*find)(void *arg, const uint8_t id[PAIR_ID_BYTES], struct pair_offer *out);
	/* Listener: somebody knew the id but not the code. */
	void (*failed)(void *arg, const uint8_t id[PAIR_ID_BYTES]);
	/* Pins r; with `try` only tells whether that would go.  Listener: also spends the code `id`, durable before
	 * it returns.  ERR_EXISTS: the name is another's. */
	int (*pin)(void *arg, const struct pair_result *r, const uint8_t id[PAIR_ID_BYTES], bool try, struct err *e);
	/* Fills with random bytes. */
	int (*random)(void *arg, uint8_t *p, size_t n);
};

enum pair_side { PAIR_DIALER, PAIR_LISTENER };
enum pair_step { PAIR_STEP_MORE, PAIR_STEP_DONE, PAIR_STEP_FAILED };

struct pair_setup {
	enum pair_side side;
	enum pair_kind kind;		/* ours */
	const char *name;		/* ours */
	uint16_t port;			/* we listen at, 0: none */
	uint8_t own[FINGERPRINT_BYTES], other[FINGERPRINT_BYTES];	/* as seen in this TLS handshake */
	const uint8_t *secret;		/* dialer: the code */
	const char *call_it;		/* dialer: what to call the host, NULL: what it calls itself */
	const struct pair_hooks *hooks;
	void *arg;
};

struct pair {
	enum pair_side side;
	const struct pair_hooks *hooks;
	void *arg;
	int state;			/* of pair.c */
	struct buf in, out;		/* out: to be sent; the owner consumes it */
	struct pair_offer offer;	/* the code in use */
	uint8_t id[PAIR_ID_BYTES];
	uint8_t dialer[FINGERPRINT_BYTES], listener[FINGERPRINT_BYTES];
	struct pair_msg mine;		/* our HELLO */
	struct buf hello[2];		/* bodies: the dialer's, the listener's */
	struct pair_result result;	/* valid from DONE on; the listener's from `pin` on */
	bool pinned;
};

/* A dialer has its HELLO in p->out afterwards. */
MUSTUSE int pair_init(struct pair *p, const struct pair_setup *s, struct err *e);
void pair_fini(struct pair *p);			/* idempotent; wipes the code */

/* Takes bytes from the peer; p->out may have grown, also after FAILED (a refusal, to be sent if it goes).
 * FAILED: e says why, in words for the person who typed the code. */
enum pair_step pair_feed(struct pair *p, const void *bytes, size_t n, struct err *e);

#endif

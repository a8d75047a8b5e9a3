/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairing, version 1: ALPN "hv-pair/1".  Two parties whose certificates
 * nobody knows yet prove to each other that they know the one-time code, then
 * pin each other's key.  Every number is defined here and nowhere else;
 * integers are little-endian.
 *
 *    dialer                                   listener (shows the code)
 *      HELLO  nonce, code id, name   -->
 *                                    <--  HELLO  nonce, name
 *      PROOF  mac                    -->         checks it, spends the code, pins the dialer
 *                                    <--  GRANT  mac, role, name given
 *      checks it, pins the listener
 *      DONE                          -->
 *                                               REFUSE ends it at any step, both ways
 *
 *    0     2      3
 *    +-----+------+----------+    HELLO   version u8, kind u8, port u16, nonce[32], code id[8],
 *    | len | type | body     |            name: length u8, bytes
 *    +-----+------+----------+    PROOF   mac[32]
 *      len counts the body        GRANT   role u8, name: length u8, bytes; mac[32]
 *                                 DONE    nothing
 *                                 REFUSE  why u8, text: length u8, bytes
 *
 *    mac = HMAC-SHA256(key = the code's 15 bytes,
 *                      label with NUL | fingerprint of dialer | of listener |
 *                      body of dialer's HELLO | body of listener's HELLO | GRANT without its mac)
 *
 * The labels differ, so a proof cannot be sent back; nonces make each run
 * new; the fingerprints are those each end saw in the TLS handshake, so with
 * somebody in the middle the two ends compute different macs.  The dialer
 * proves first: who only listens learns a mac over 120 random bits.  The code
 * id (pair_code.h) lets the listener find the code, so that strangers cannot
 * use up the attempts of codes they do not know.
 */
#ifndef LINK_PAIR_WIRE_H
#define LINK_PAIR_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rd.h"
#include "link/identity.h"
#include "link/pair_code.h"
#include "link/role.h"

#define PAIR_ALPN "hv-pair/1"
#define PAIR_LABEL_DIALER "hv-pair/1 dialer"
#define PAIR_LABEL_LISTENER "hv-pair/1 listener"

enum {
	PAIR_VERSION = 1,
	PAIR_HEAD_BYTES = 3,
	PAIR_BODY_BYTES_MAX = 256,
	PAIR_NONCE_BYTES = 32,
	PAIR_MAC_BYTES = 32,
	PAIR_TEXT_BYTES = 128,		/* of a refusal, with NUL */
};

enum pair_type { PAIR_HELLO = 1, PAIR_PROOF, PAIR_GRANT, PAIR_DONE, PAIR_REFUSE, PAIR_TYPE_END };
enum pair_kind { PAIR_HOST = 1, PAIR_OPERATOR = 2 };

/* Why it ended; the numbers never change. */
enum pair_why {
	PAIR_WHY_CODE = 1,		/* no such code: never was, spent, expired, or attempts used up */
	PAIR_WHY_PROOF = 2,		/* the mac is wrong: somebody in the middle */
	PAIR_WHY_KIND = 3,		/* a host with an operator's code or the other way round */
	PAIR_WHY_NAME = 4,		/* the name is taken by another */
	PAIR_WHY_PROTOCOL = 5,
	PAIR_WHY_LOCAL = 6,		/* the other side failed (disk, limit) */
};

struct pair_msg {
	enum pair_type type;
	union {
		struct {
			uint8_t version;
			enum pair_kind kind;
			uint16_t port;
			uint8_t nonce[PAIR_NONCE_BYTES];
			uint8_t code_id[PAIR_ID_BYTES];
			char name[IDENTITY_NAME_BYTES];
		} hello;
		uint8_t proof[PAIR_MAC_BYTES];
		struct {
			enum role role;
			char name[IDENTITY_NAME_BYTES];
			uint8_t mac[PAIR_MAC_BYTES];
		} grant;
		struct {
			enum pair_why why;
			char text[PAIR_TEXT_BYTES];	/* printable */
		} refuse;
	};
};

/* Appends the frame. */
void pair_encode(const struct pair_msg *m, struct buf *b);

enum pair_got { PAIR_GOT_MSG, PAIR_GOT_PART, PAIR_GOT_BAD };

/* One message from the front of r.  MSG: *out_body is its raw body (borrowed), r stands behind it.  PART: it is not
 * all there yet, r untouched.  BAD: e says what is wrong. */
MUSTUSE enum pair_got pair_decode(struct rd *r, struct pair_msg *out, struct span *out_body, struct err *e);

#endif

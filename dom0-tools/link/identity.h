/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are on the line: a P-256 key and a self-signed certificate, of a
 * host (DATA/host) or of an operator (his configuration folder).
 *
 *    DIR/key.der    the private key, never leaves this process      mode 0600
 *    DIR/cert.der   CN and DNS name = name, valid for 10 years      mode 0600
 *
 * A party is known by its *fingerprint*: SHA-256 of the public key
 * (SubjectPublicKeyInfo, DER), in hex.  Not of the certificate: the key is
 * what a peer proves to hold, and so a renewed certificate of the same key
 * needs no new pairing.  The certificate only carries the key, a name for
 * people, and the time after which it is no longer accepted.
 */
#ifndef LINK_IDENTITY_H
#define LINK_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#include "base/err.h"

enum {
	FINGERPRINT_BYTES = 32,
	FINGERPRINT_TEXT_BYTES = 65,	/* hex and NUL */
	IDENTITY_NAME_BYTES = 64,	/* with NUL */
	IDENTITY_DAYS = 3653,
	IDENTITY_DER_BYTES_MAX = 4096,
	IDENTITY_SKEW_S = 86400,	/* valid from a day ago: clocks of two hosts differ */
};

/* Counted references, because a renewal meets connections that still use the old certificate. */
struct identity {
	unsigned refs;
	char name[IDENTITY_NAME_BYTES];
	uint8_t fingerprint[FINGERPRINT_BYTES];
	char fingerprint_text[FINGERPRINT_TEXT_BYTES];
	uint64_t not_after_ms;
	mbedtls_pk_context key;
	mbedtls_x509_crt cert;
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context rng;
};

/* Loads what is in dir; ERR_NOT_FOUND if there is no key. */
MUSTUSE int identity_load(const char *dir, struct identity **out, struct err *e);
/* Loads, and makes key and certificate first where they are missing.  dir is made (mode 0700).  Durable on return.
 * A key or certificate that cannot be read is an error, never replaced. */
MUSTUSE int identity_open(const char *dir, const char *name, struct identity **out, struct err *e);
/* A new certificate for the key that is there, under `name`; the fingerprint stays. */
MUSTUSE int identity_renew(const char *dir, const char *name, struct identity **out, struct err *e);
/* Makes a certificate with the given times (seconds since 1970), for identity_open and for tests. */
MUSTUSE int identity_write_cert(const char *dir, const char *name, int64_t from_s, int64_t until_s, struct err *e);

struct identity *identity_get(struct identity *id);	/* one more reference */
void identity_put(struct identity *id);			/* NULL is fine */

/* Fingerprint of a public key. */
MUSTUSE int fingerprint_of(const mbedtls_pk_context *key, uint8_t out[FINGERPRINT_BYTES], struct err *e);
void fingerprint_text(const uint8_t fp[FINGERPRINT_BYTES], char out[FINGERPRINT_TEXT_BYTES]);
/* Accepts upper and lower case; ERR_USAGE otherwise. */
MUSTUSE int fingerprint_parse(const char *text, uint8_t out[FINGERPRINT_BYTES], struct err *e);

/* Milliseconds since 1970 of a certificate's end. */
uint64_t cert_not_after_ms(const mbedtls_x509_crt *crt);
/* 1 to 63 letters, digits, '.', '_', '-', the first a letter or digit. */
bool name_is_valid(const char *name);

/* An mbedTLS failure as an error: "what: -0x2700". */
int err_tls(struct err *e, enum err_code code, int rc, const char *what);

#endif

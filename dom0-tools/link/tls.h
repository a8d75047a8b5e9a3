/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TLS connection over a socket, as steps that never wait by themselves:
 * on a non-blocking socket they say what they wait for, on a blocking one
 * they block.  TLS 1.2 only, P-256, two AEAD suites, no tickets, no
 * renegotiation, certificates on both sides.
 *
 * Trust is the caller's judgement: no authority signs anything.  The library
 * proves that the peer holds the key of the certificate it shows and that the
 * certificate is sound and in its time; then `judge` decides, inside the
 * handshake, so a peer that is refused gets an alert and never a connection.
 */
#ifndef LINK_TLS_H
#define LINK_TLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "link/identity.h"

enum {
	TLS_RECORD_BYTES_MAX = 16384,	/* plain bytes of one record */
	TLS_ALPN_BYTES = 32,
};

enum tls_side { TLS_SERVER, TLS_CLIENT };
enum tls_step { TLS_DONE, TLS_WANT_READ, TLS_WANT_WRITE, TLS_FAILED };

struct tls_peer {
	uint8_t fingerprint[FINGERPRINT_BYTES];
	uint64_t not_after_ms;
};

/* True: the peer may speak `alpn` (NULL if it asked for none) with us.  False with the reason in *why. */
typedef bool tls_judge_fn(void *arg, const char *alpn, const struct tls_peer *peer, struct err *why);

struct tls_setup {
	enum tls_side side;
	int fd;				/* connected; taken on success */
	struct identity *id;		/* a reference is taken */
	const char *const *alpn;	/* ends with NULL, must stay valid; the server's is in order of preference */
	bool gcm_first;			/* for kernel TLS; else ChaCha20-Poly1305, which mbedTLS does faster */
	tls_judge_fn *judge;
	void *arg;
};

/* What the kernel needs to go on with the connection. */
struct tls_keys {
	bool gcm;			/* AES-128-GCM was agreed on and the rest is valid */
	uint8_t client_key[16], server_key[16];
	uint8_t client_salt[4], server_salt[4];
};

struct tls;

MUSTUSE int tls_new(const struct tls_setup *s, struct tls **out, struct err *e);
void tls_free(struct tls *t);			/* closes the socket; NULL is fine */
int tls_fd(const struct tls *t);
int tls_take_fd(struct tls *t);			/* ownership to the caller; of t only tls_free may follow */

/* FAILED: e says why.  ERR_DENIED: one side refused the other.  ERR_CORRUPT: that was no TLS of ours.
 * ERR_NET: the connection went. */
enum tls_step tls_handshake(struct tls *t, struct err *e);

/* After the handshake. */
const struct tls_peer *tls_peer(const struct tls *t);
const char *tls_alpn(const struct tls *t);	/* never NULL */
const char *tls_suite(const struct tls *t);
const struct tls_keys *tls_keys(const struct tls *t);
/* No byte behind the handshake has been taken from the socket. */
bool tls_is_drained(const struct tls *t);

/* Bytes moved, or -EAGAIN, or another -errno after which only tls_free is of use.  tls_read gives 0 at the peer's
 * close_notify, -ECONNRESET when the stream ended without one.  A tls_write that gave -EAGAIN must be repeated with
 * the same bytes. */
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n);
/* Sends close_notify: no more writes; reading goes on.  0, -EAGAIN, or another -errno. */
int tls_end(struct tls *t);
size_t tls_pending(const struct tls *t);	/* decrypted bytes that tls_read gives at once */
/* The last -EAGAIN waits for the socket to become writable (else readable). */
bool tls_wants_write(const struct tls *t);

#endif

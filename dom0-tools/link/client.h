/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's end of a TLS connection, for the CLI: blocking and simple.
 *
 * DIR holds his own key and self-signed certificate (key.der, cert.der, mode
 * 0600), made at the first enrolment.  A host is known by the fingerprint of
 * its public key (identity.h); no name and no authority is asked.  Use from
 * one thread.  SIGPIPE is not raised.
 */
#ifndef LINK_CLIENT_H
#define LINK_CLIENT_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "link/identity.h"

enum {
	CLIENT_CONNECT_MS = 10000,	/* for each address a name has */
	CLIENT_HANDSHAKE_MS = 15000,	/* also the whole of an enrolment after connecting */
	CLIENT_ROLE_BYTES = 16,
	CLIENT_DEFAULT_PORT = 8443,
};

struct client_keys;			/* own key and certificate */
struct client_conn;

struct client_enrolled {
	char host_name[IDENTITY_NAME_BYTES];	/* what the host calls itself */
	char fingerprint[FINGERPRINT_TEXT_BYTES];
	char role[CLIENT_ROLE_BYTES];		/* what the code made of us there: admin, operator, viewer */
};

/* ERR_NOT_FOUND, with the remedy, if nobody enrolled from here yet. */
MUSTUSE int client_keys_load(const char *dir, struct client_keys **out, struct err *e);
void client_keys_free(struct client_keys *k);	/* NULL is fine; not while a connection uses it */

/* Makes the key in `dir` (which exists) if there is none, then proves the one-time code to the host and has the host
 * prove it too.  address: "host:port", "[v6]:port", or without port.  my_name: what the host shall call us unless the
 * code says otherwise.  Blocks; errors say whether the code, the host or the line was wrong. */
MUSTUSE int client_enroll(const char *dir, const char *address, const char *code, const char *my_name,
			  struct client_enrolled *out, struct err *e);

/* Connects and shakes hands; blocks.  ERR_REFUSED: the host at that address has another key than `fingerprint`.
 * ERR_DENIED: the host does not know us (any more). */
MUSTUSE int client_connect(struct client_keys *k, const char *address, const char *fingerprint, const char *alpn,
			   struct client_conn **out, struct err *e);

/* Bytes moved (write: maybe fewer than n), or -errno; read gives 0 at the clean end of the stream and -ECONNRESET if
 * the connection ended without one.  They block, unless the socket was made non-blocking: then -EAGAIN; a write that
 * gave -EAGAIN must be repeated with the same bytes. */
ssize_t client_read(struct client_conn *c, void *p, size_t n);
ssize_t client_write(struct client_conn *c, const void *p, size_t n);
/* The socket, for poll; stays the connection's.  Before waiting on it ask client_pending: decrypted bytes that
 * client_read returns at once do not make the socket readable. */
int client_fd(const struct client_conn *c);
size_t client_pending(const struct client_conn *c);
/* Says goodbye without waiting, closes, frees; NULL is fine. */
void client_close(struct client_conn *c);

#endif

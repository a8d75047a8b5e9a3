/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection on its way: connecting, shaking hands, perhaps pairing, all
 * within one deadline, then handed over or ended.  Incoming and outgoing ones
 * are the same machine.
 */
#ifndef LINK_ATTEMPT_H
#define LINK_ATTEMPT_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/loop.h"
#include "link/pair.h"
#include "link/tls.h"

enum {
	ATTEMPT_MS = 10000,		/* from the first packet to the end of handshake or pairing */
	ATTEMPT_LINGER_MS = 1000,	/* for a refused peer to read why */
};

struct attempt;

struct attempt_setup {
	struct loop *l;
	struct identity *id;
	enum tls_side side;
	int fd;				/* server: the accepted socket, taken in any case; client: -1 */
	const struct sockaddr *to;	/* client */
	socklen_t to_len;
	const char *const *alpn;	/* stays valid */
	bool gcm_first;
	uint64_t limit_ms;
	tls_judge_fn *judge;
	/* Comes once after attempt_new (handshake done, or e), and once more after each attempt_pair and
	 * attempt_linger; never inside these calls.  May free the attempt. */
	void (*done)(void *arg, struct attempt *a, const struct err *e);
	void *arg;			/* of both */
};

MUSTUSE int attempt_new(const struct attempt_setup *s, struct attempt **out, struct err *e);
void attempt_free(struct attempt *a);		/* closes; NULL is fine */

/* After `done` without error. */
struct tls *attempt_tls(struct attempt *a);	/* borrowed */
struct tls *attempt_take_tls(struct attempt *a);	/* the caller's; a is only to be freed */
/* False until the socket was connected: another address may be tried. */
bool attempt_was_connected(const struct attempt *a);

/* Goes on with pairing on the connection; `own` and `other` of s are filled in here. */
MUSTUSE int attempt_pair(struct attempt *a, struct pair_setup *s, struct err *e);
const struct pair_result *attempt_pair_result(const struct attempt *a);

/* After an error of the server side: sends no more and waits shortly for the peer to hang up, so that it can read the
 * alert.  False: nothing to wait for. */
bool attempt_linger(struct attempt *a);

#endif

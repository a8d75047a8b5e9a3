/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits, on the loop, until a unix socket is there and takes connections:
 * that is how daemons of others (xenstored) and ours say that they are ready.
 */
#ifndef INIT_WAIT_SOCKET_H
#define INIT_WAIT_SOCKET_H

#include "base/err.h"
#include "base/loop.h"

struct wait_socket;

enum { WAIT_SOCKET_RETRY_MS = 10 };	/* between bind and listen the socket is there and refuses */

/* The folder of `path` must exist.  ready is called once, never before this returns. */
MUSTUSE int wait_socket_start(struct loop *l, const char *path, void (*ready)(void *arg), void *arg,
			      struct wait_socket **out, struct err *e);
void wait_socket_free(struct wait_socket *w);	/* NULL is fine; may be called inside ready */

#endif

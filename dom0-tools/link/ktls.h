/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel TLS: after the handshake the kernel goes on with the record layer,
 * and whoever holds the socket reads and writes plain bytes.
 */
#ifndef LINK_KTLS_H
#define LINK_KTLS_H

#include <stdbool.h>

#include "base/err.h"
#include "link/tls.h"

/* Whether this kernel has it, with AES-128-GCM: tried on a connection to itself.  Takes a
 * millisecond, or seconds when modules have to be loaded. */
bool ktls_probe(void);

/* The socket's next record in each direction is number 1 (0 was Finished), as after a full handshake from whose
 * socket nothing more was read.  On failure with *out_untouched the socket is as before and TLS may go on without
 * the kernel; otherwise it is of no more use. */
MUSTUSE int ktls_enable(int fd, enum tls_side side, const struct tls_keys *keys, bool *out_untouched, struct err *e);

#endif

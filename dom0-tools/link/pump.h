/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries plain bytes between a worker's socket pair and a TLS connection,
 * where the kernel does not do it (ktls.h).
 *
 *    worker ── pair ── pump ── TLS ── the other host
 *
 * - Bounded: one record of each direction is held; a side that does not read
 *   stops the other from being read.
 * - Half close: shutdown(SHUT_WR) of the worker becomes close_notify and the
 *   end of our TCP stream; the peer's close_notify becomes end of file.
 * - A connection that ended without close_notify, or broke, closes the pair
 *   both ways after all that came has been handed over: the worker reads end
 *   of file, and where a clean end lets it go on writing, writing now fails
 *   with EPIPE and poll shows POLLHUP.
 */
#ifndef LINK_PUMP_H
#define LINK_PUMP_H

#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "link/tls.h"

enum {
	PUMP_TURNS_MAX = 16,		/* records each way before others get their turn */
	PUMP_LINGER_MS = 3000,		/* for the peer's goodbye after ours, once the worker is gone */
};

struct pump;

/* Takes t on success; *out_fd is the worker's end (blocking), the caller's.  on_end comes once, with clean false if
 * the TLS side was cut; the pump is freed right after it.  Never inside this call. */
MUSTUSE int pump_new(struct loop *l, struct tls *t, void (*on_end)(void *arg, struct pump *p, bool clean), void *arg,
		     int *out_fd, struct pump **out, struct err *e);
/* Cuts; on_end is not called.  NULL is fine. */
void pump_free(struct pump *p);

#endif

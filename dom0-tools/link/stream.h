/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For workers: one way to read and to end the descriptor that hvtls hands
 * out, whether it is a kernel TLS socket or one end of a pump's pair.  In
 * kernel TLS the peer's goodbye is a control record, on which plain read()
 * fails with EIO; and shutdown() alone sends none.
 */
#ifndef LINK_STREAM_H
#define LINK_STREAM_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* As read(): bytes, 0 at the end of the stream (clean or not), or -errno. */
ssize_t stream_read(int fd, void *p, size_t n);
/* No more from this side: close_notify where it is kernel TLS, then shutdown(SHUT_WR).  Blocks as a write does. */
MUSTUSE int stream_end(int fd, struct err *e);

#endif

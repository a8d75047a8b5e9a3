/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hvblkd gives up before the first request: it handles bytes of guests
 * and clients and needs no more than the files that are open.
 */
#ifndef BLKD_SANDBOX_H
#define BLKD_SANDBOX_H

#include "base/err.h"

/* no_new_privs and the system call filter, for all threads of the process; images and sockets are open, threads
 * started.  What is not allowed fails with EPERM. */
MUSTUSE int sandbox_enter(struct err *e);

#endif

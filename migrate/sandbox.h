/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hvmigrate may ask of the kernel: it reads bytes of a peer, so it gets
 * no more than its work needs.
 */
#ifndef MIGRATE_SANDBOX_H
#define MIGRATE_SANDBOX_H

#include "base/err.h"

/* no_new_privs and a filter of system calls, for this thread and all it starts.  What is not allowed answers EPERM. */
MUSTUSE int sandbox_enter(struct err *e);

#endif

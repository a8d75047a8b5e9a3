/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hvtls may ask of the kernel once it runs: it faces the network and
 * holds the host key, so it keeps network, its own folder, and nothing else.
 */
#ifndef LINK_SANDBOX_H
#define LINK_SANDBOX_H

#include <sys/types.h>

#include "base/err.h"

/* "101", "101:100", or a name of the user list.  Makes `dir` (mode 0700) theirs first.  Root only; gives up every
 * capability with it. */
MUSTUSE int sandbox_become(const char *user, const char *dir, struct err *e);
/* no_new_privs and the system call filter; not undone.  Call when everything that needs more is open. */
MUSTUSE int sandbox_enter(struct err *e);

#endif

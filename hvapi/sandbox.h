/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hvapid gives up before it talks to anybody.
 */
#ifndef HVAPI_SANDBOX_H
#define HVAPI_SANDBOX_H

#include "base/err.h"

/* Becomes user `uid_text` ("102" or "102:100", as root only; NULL: stays), without new privileges from programs. */
MUSTUSE int hvapid_become(const char *uid_text, struct err *e);
/* Only the system calls of files, sockets, the loop and threads from here on; others fail with EPERM. */
MUSTUSE int hvapid_filter(struct err *e);

#endif

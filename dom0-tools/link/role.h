/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pinned party may be.  The numbers go over the pairing wire and never
 * change.
 */
#ifndef LINK_ROLE_H
#define LINK_ROLE_H

#include "base/err.h"

enum role { ROLE_NONE = 0, ROLE_PEER = 1, ROLE_ADMIN = 2, ROLE_OPERATOR = 3, ROLE_VIEWER = 4, ROLE_END };

const char *role_name(enum role r);		/* "peer"; "none" for ROLE_NONE */
MUSTUSE int role_parse(const char *text, enum role *out, struct err *e);

#endif

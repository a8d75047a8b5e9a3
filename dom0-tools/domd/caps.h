/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvdomd must be root for libxl (privcmd, xenstore, hot-plug programs), but
 * not all that root is.  What it starts inherits the lack.
 */
#ifndef DOMD_CAPS_H
#define DOMD_CAPS_H

#include "base/err.h"

/* Gives up, for good, what neither libxl nor we need.  Call before threads are made. */
MUSTUSE int caps_drop(struct err *e);

#endif

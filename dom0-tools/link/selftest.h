/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvtls --self-test-ktls: a handshake with itself, kernel TLS at both ends,
 * then blocks of 1 to 200000 bytes each way, compared.  For the appliance,
 * whose kernel has it where the build machine's does not.
 */
#ifndef LINK_SELFTEST_H
#define LINK_SELFTEST_H

#include "base/err.h"

enum { SELFTEST_SKIP = 77 };

/* 0 passed, SELFTEST_SKIP (this kernel has no kernel TLS), or -1.  `dir` is for a throw-away key.  Blocks; prints. */
int selftest_ktls(const char *dir, struct err *e);

#endif

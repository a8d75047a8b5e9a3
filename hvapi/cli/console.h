/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's console on this terminal, over the API.
 */
#ifndef HVAPI_CLI_CONSOLE_H
#define HVAPI_CLI_CONSOLE_H

#include "base/err.h"

struct api;

/* Blocks until Ctrl-], the end of standard input (when it is no terminal) or the end of the console. */
MUSTUSE int console_run(struct api *a, const char *path, struct err *e);

#endif

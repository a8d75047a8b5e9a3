/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors as clients see them: RFC 9457 problems.
 */
#ifndef HVAPI_HTTP_PROBLEM_H
#define HVAPI_HTTP_PROBLEM_H

#include <jansson.h>

#include "base/err.h"

#define PROBLEM_CONTENT_TYPE "application/problem+json"

/* The HTTP status that an error code gets unless the caller knows better. */
int problem_status(enum err_code code);
/* problems: list of PROBLEM to go with it (borrowed), or NULL.  Caller's reference. */
json_t *problem_json(const struct err *e, int status, const json_t *problems);

#endif

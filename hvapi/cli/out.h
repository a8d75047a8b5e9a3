/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing the answer of a command: JSON when asked, else a table.
 */
#ifndef HVAPI_CLI_OUT_H
#define HVAPI_CLI_OUT_H

#include <jansson.h>

#include "hvapi/cli/cmd.h"
#include "hvapi/cli/table.h"

void out_json(const json_t *v);
/* The rows of answer's member `list`. */
void out_list(const struct cli *c, const json_t *answer, const char *list, const struct table_col *cols);
void out_one(const struct cli *c, const json_t *answer, const struct table_col *cols);
/* A sentence for people; as JSON the answer itself. */
void out_done(const struct cli *c, const json_t *answer, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "/v1/vms/NAME/verb" with NAME escaped; verb may be NULL.  Caller frees. */
char *out_path(const char *collection, const char *name, const char *verb) MUSTUSE;

#endif

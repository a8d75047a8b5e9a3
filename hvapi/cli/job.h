/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs as the CLI sees them: printed, or watched until they end with progress
 * on the terminal (a bar) or in the log (a line a change).
 */
#ifndef HVAPI_CLI_JOB_H
#define HVAPI_CLI_JOB_H

#include <jansson.h>

#include "base/err.h"

struct cli;

/* What to do with the answer {"job": JOB} of a request: with --no-wait print the job, else watch it. */
MUSTUSE int job_started(struct cli *c, const json_t *answer, struct err *e);
/* Follows the job until it ends; *out is its last form, and its failure an error. */
MUSTUSE int job_wait(struct cli *c, const char *id, json_t **out, struct err *e);
/* Follows the job until it ends; its failure is an error. */
MUSTUSE int job_watch(struct cli *c, const char *id, struct err *e);

#endif

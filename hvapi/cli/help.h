/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the CLI says about itself: help, completion, the man page, and errors.
 */
#ifndef HVAPI_CLI_HELP_H
#define HVAPI_CLI_HELP_H

#include <stdbool.h>
#include <stdio.h>
#include <jansson.h>

#include "base/err.h"

struct cmd;

/* All commands, or those of one noun if there is such a noun. */
void help_all(FILE *to, const char *noun);
void help_one(FILE *to, const struct cmd *c);
/* "hvapi: not-found: ...", the numbered problems, and the remedy; as JSON if asked. */
void help_error(FILE *to, const struct err *e, const json_t *problems, bool json);
/* A numbered list of problems: code, detail, remedy. */
void help_problems(FILE *to, const json_t *problems);
/* A bash completion script, from the table of commands (completion.c). */
void help_completion(FILE *to);
/* The man page hvapi(1) in mdoc, from the same table (man.c). */
void help_man(FILE *to);

#endif

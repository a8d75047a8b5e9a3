/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapid's part of the checks when a VM is offered: name, UUID, generation,
 * boot files.  No side effects.
 */
#ifndef HVAPI_JOB_OFFER_H
#define HVAPI_JOB_OFFER_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

struct hvapid;

/* vm: checked (vm_check).  A list of PROBLEM, caller's reference. */
json_t *offer_problems(struct hvapid *h, const json_t *vm, uint64_t generation);
/* Is one of them an error, not a warning? */
bool offer_refused(const json_t *problems);
void offer_problem(json_t *problems, const char *code, const char *severity, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hvdomds of this host, one a VM that runs, arrives, leaves or is in
 * doubt: found by their sockets in RUN/domd, kept connected, and asked for
 * the running state, which is nowhere else.
 */
#ifndef HVAPI_VM_DOMDS_H
#define HVAPI_VM_DOMDS_H

#include <stdbool.h>
#include <jansson.h>

#include "base/err.h"

struct domds;
struct loop;

/* changed(arg, vm): its hvdomd came, went or said something new.  disk(arg, vm, event): an event of its hvblkd
 * (blkd/hvblkd_ctl.h), as hvdomd passes it on. */
MUSTUSE int domds_new(struct loop *l, const char *run, void (*changed)(void *arg, const char *vm),
		       void (*disk)(void *arg, const char *vm, const json_t *event), void *arg,
		      struct domds **out, struct err *e);
void domds_free(struct domds *d);

/* One is being started: its socket will come. */
void domds_expect(struct domds *d, const char *vm);
/* hvinit says that it has ended for good. */
void domds_ended(struct domds *d, const char *vm);
/* hvinit's whole list came (running: names): forget those that are not in it. */
void domds_known(struct domds *d, const json_t *running);

/* There is one, as far as known. */
bool domds_has(const struct domds *d, const char *vm);
/* It answers and has told its STATUS. */
bool domds_up(const struct domds *d, const char *vm);
/* STATUS as last told (borrowed), NULL if none was. */
const json_t *domds_status(const struct domds *d, const char *vm);
/* STATUS.state; "stopped" without hvdomd or domain, "unknown" while it does not answer. */
const char *domds_state(const struct domds *d, const char *vm);
/* No domain of that name is here: "stopped", or what is left of one that moved away or never came.  That may be an
 * earlier VM of the name; whether this one may be made is for the owner record to say. */
bool domds_idle(const struct domds *d, const char *vm);
/* Path of its socket; caller frees. */
char *domds_path(const struct domds *d, const char *vm) MUSTUSE;

/* As ctl_send.  A STATUS in the answer is taken over before fn runs. */
MUSTUSE int domds_send(struct domds *d, const char *vm, const char *verb, const json_t *args,
		       void (*fn)(void *arg, const json_t *ok, const struct err *e), void *arg, struct err *e);

#endif

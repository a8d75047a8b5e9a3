/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of jobs there are.
 */
#ifndef HVAPI_JOB_KINDS_H
#define HVAPI_JOB_KINDS_H

#include "hvapi/job/jobs.h"

struct ctl_call;
struct req;
struct vm;

extern const struct job_kind job_start, job_restore;	/* start.c */
extern const struct job_kind job_save;			/* save.c */
extern const struct job_kind job_migrate, job_check;	/* send.c */
extern const struct job_kind job_receive;		/* receive.c */
extern const struct job_kind *const job_kinds[];	/* NULL at the end */

/* start.c: may this VM be started here and now?  Restore: from what was saved. */
MUSTUSE int start_allowed(struct hvapid *h, struct vm *v, bool restore, struct err *e);

/* send.c: the VM runs and no job holds it. */
MUSTUSE int send_allowed(struct hvapid *h, const struct vm *v, struct err *e);
/* In doubt: starts hvmigrate again if it does not run, and makes it ask. */
MUSTUSE int send_ask_again(struct job *j, struct err *e);
/* In doubt: the operator's word. */
MUSTUSE int send_claim(struct job *j, bool taken, struct err *e);

/* receive.c: a host wants to send; the descriptor of `accept` goes to a new hvmigrate.  The call is answered later
 * unless this returns -1. */
MUSTUSE int receive_accept(struct hvapid *h, struct ctl_call *c, const json_t *in, struct err *e);
/* hvmigrate asks for hvapid's part of the checks, and for a hvdomd.  0: answered by *out, or later. */
MUSTUSE int receive_offer(struct hvapid *h, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
/* Rows that an earlier life reserved and no job holds. */
void receive_clean_up(struct hvapid *h);

/* A random name for a session or unit. */
void job_session_name(char out[33]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One hvmigrate seen from here, whichever side it is: its socket, its
 * progress, its report.
 */
#ifndef HVAPI_JOB_FOLLOW_H
#define HVAPI_JOB_FOLLOW_H

#include <stdbool.h>

#include "hvapi/ctl_link.h"
#include "hvapi/job/jobs.h"

struct follow {
	struct job *j;
	struct ctl_link link;
	bool watching;
	bool cancel;			/* to be said as soon as it is reached */
	/* A final report came (borrowed), of any outcome; ends the job. */
	void (*report)(struct job *j, const json_t *report);
	/* hvmigrate is gone and left none. */
	void (*lost)(struct job *j);
	/* Its state event said so. */
	void (*in_doubt)(struct job *j, const char *why);
};

/* Follows RUN/migrate/SESSION.sock: hvmigrate runs, or will in a moment. */
void follow_watch(struct follow *s, struct job *j);
void follow_stop(struct follow *s);
/* hvmigrate has ended: its report, or `lost`.  May end the job. */
void follow_ended(struct follow *s);
/* Reads and removes the report; false if there is none. */
bool follow_take_report(struct follow *s);
/* Now, or when it is reached. */
MUSTUSE int follow_cancel(struct follow *s, struct err *e);
MUSTUSE int follow_send(struct follow *s, const char *verb, const json_t *args, struct err *e);

#endif

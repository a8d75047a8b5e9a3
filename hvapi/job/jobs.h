/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long work.  A job is a row that outlives this process and, while it is
 * active, an object with a kind that drives it.  One active job at most holds
 * a VM.  After a restart each active row is given back to its kind (`resume`).
 *
 *   queued -> running -> done | failed | cancelled
 *                     -> in-doubt -> done | failed        a move whose outcome is not known
 */
#ifndef HVAPI_JOB_JOBS_H
#define HVAPI_JOB_JOBS_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "base/err.h"
#include "base/store.h"

struct hvapid;
struct jobs;
struct job;
struct job_watch;

enum { JOBS_ROWS_MAX = 2000, JOBS_LIST_MAX = 500, JOBS_STARTING_MAX = 2, JOB_TEXT_BYTES = 64, JOB_SAVE_MS = 2000 };

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_IN_DOUBT, JOB_DONE, JOB_FAILED, JOB_CANCELLED, JOB_STATE_N };

/* What drives a job.  start and cancel are required. */
struct job_kind {
	const char *name;
	bool limited;				/* counts for JOBS_STARTING_MAX */
	void (*start)(struct job *j);
	void (*resume)(struct job *j);		/* NULL: start again */
	int (*cancel)(struct job *j, struct err *e);	/* 0: under way */
	void (*domd)(struct job *j);		/* the VM's hvdomd came, went or changed */
	/* migrate/SESSION is not there (known: hvinit said that it ended). */
	void (*unit_ended)(struct job *j, bool known);
	void (*fini)(struct job *j);		/* frees j->run */
};

struct job {
	struct hvapid *h;
	const struct job_kind *kind;
	int64_t id;
	char vm[JOB_TEXT_BYTES], who[JOB_TEXT_BYTES], session[JOB_TEXT_BYTES];
	enum job_state state;
	json_t *spec, *progress, *result, *error;	/* error, result: NULL until there is one */
	uint64_t created_ms, started_ms, ended_ms, saved_ms;
	bool cancelling, resumed;
	void *run;				/* the kind's */
	unsigned refs;
	struct job *next;
};

MUSTUSE int jobs_open(struct hvapid *h, struct store *s, struct jobs **out, struct err *e);
/* End of the process: writes what is active and lets go of it; answers that still come change nothing. */
void jobs_stop(struct jobs *js);
void jobs_free(struct jobs *js);	/* after the last watcher */
/* Gives the active rows of an earlier life to their kinds; call once, when everything else is up. */
MUSTUSE int jobs_resume(struct jobs *js, struct err *e);

/* Makes a job and starts it soon from the loop.  ERR_BUSY naming the job that holds the VM.  spec borrowed. */
MUSTUSE int jobs_add(struct jobs *js, const struct job_kind *kind, const char *vm, const char *who, const char *session,
		     const json_t *spec, struct job **out, struct err *e);
struct job *jobs_of_vm(struct jobs *js, const char *vm);	/* the active one, or NULL */
struct job *jobs_of_session(struct jobs *js, const char *session);
struct job *jobs_active(struct jobs *js, int64_t id);
unsigned jobs_count_active(const struct jobs *js);

MUSTUSE int jobs_json(struct jobs *js, int64_t id, json_t **out, struct err *e);
/* Newest first.  Each filter may be NULL; state may be "active". */
MUSTUSE int jobs_list(struct jobs *js, const char *vm, const char *state, const char *kind, uint64_t limit,
		      json_t **out, struct err *e);

void jobs_domd_changed(struct jobs *js, const char *vm);
void jobs_unit_ended(struct jobs *js, const char *session);
/* hvinit's list came: names of the sessions that run. */
void jobs_sessions_known(struct jobs *js, const json_t *running);

/* For kinds.  Whoever waits for an answer holds the job; job_over tells him that it is too late. */
struct job *job_hold(struct job *j);
void job_put(struct job *j);
bool job_over(const struct job *j);
void job_progress(struct job *j, json_t *progress);	/* reference taken; replaces */
void job_done(struct job *j, json_t *result);		/* reference taken */
void job_fail(struct job *j, const struct err *e, const json_t *problems);	/* ERR_CANCELLED: state cancelled */
void job_in_doubt(struct job *j, const struct err *e);
json_t *job_json(const struct job *j);
MUSTUSE int job_cancel(struct job *j, struct err *e);

struct job_watch *jobs_watch(struct jobs *js, int64_t id, void (*fn)(void *arg, const struct job *j), void *arg);
void jobs_unwatch(struct job_watch **w);

#endif

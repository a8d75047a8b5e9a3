/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report file is the truth; the "done" event only says that it is there.
 * It is removed after the job's end is in the database.
 */
#include "hvapi/job/follow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/js.h"
#include "base/log.h"
#include "base/record.h"
#include "hvapi/hvapid.h"
#include "migrate/migrate_ctl.h"

bool follow_take_report(struct follow *s)
{
	AUTO_FREE char *path = mem_printf(MIGRATE_REPORT_FMT, s->j->h->data, s->j->session);
	AUTO_JSON json_t *report = NULL;
	struct err e = ERR_INIT;

	if (record_load(path, &report, &e) < 0) {
		if (e.code != ERR_NOT_FOUND)
			log_fail(&e, "job %lld: report", (long long)s->j->id);
		return false;
	}
	job_hold(s->j);
	s->report(s->j, report);
	if (unlink(path) < 0 && errno != ENOENT)
		log_err("report '%s' stays: %s", path, strerror(errno));
	job_put(s->j);
	return true;
}

static void to_progress(struct job *j, const json_t *event)
{
	union { const json_t *in; json_t *out; } u = { .in = event };
	json_t *next = j->progress ? json_deep_copy(j->progress) : json_object();

	json_object_update(next, u.out);
	json_object_del(next, "event");
	job_progress(j, next);
}

static void on_state(struct follow *s, const json_t *event)
{
	const char *why = json_string_value(json_object_get(event, "why"));

	to_progress(s->j, event);
	if (json_is_true(json_object_get(event, "in_doubt")) && s->in_doubt)
		s->in_doubt(s->j, why ? why : "");
}

static void on_event(void *arg, const json_t *event)
{
	struct follow *s = arg;
	const char *what = json_string_value(json_object_get(event, "event"));
	struct job *j = job_hold(s->j);

	if (what && !strcmp(what, "progress"))
		to_progress(j, event);
	else if (what && !strcmp(what, "state"))
		on_state(s, event);
	else if (what && !strcmp(what, "done"))
		follow_take_report(s);
	job_put(j);
}

static void on_status(void *arg, const json_t *ok, const struct err *e)
{
	struct follow *s = arg;
	json_t *progress = json_object_get(ok, "progress");
	struct job *j = s->j;

	(void)e;
	if (!ok || job_over(j))
		return;
	job_hold(j);
	if (json_is_object(progress))
		to_progress(j, progress);
	if (json_is_true(json_object_get(ok, "in_doubt")) && s->in_doubt)
		s->in_doubt(j, "hvmigrate is asking the other host");
	job_put(j);
}

static void answered(void *arg, const json_t *ok, const struct err *e)
{
	struct job *j = arg;

	(void)ok;
	if (e)
		log_fail(e, "job %lld: hvmigrate", (long long)j->id);
	job_put(j);
}

int follow_send(struct follow *s, const char *verb, const json_t *args, struct err *e)
{
	if (ctl_link_send(&s->link, verb, args, NULL, 0, answered, job_hold(s->j), e) == 0)
		return 0;
	job_put(s->j);
	return -1;
}

int follow_cancel(struct follow *s, struct err *e)
{
	s->cancel = true;
	return s->watching && s->link.client ? follow_send(s, MIGRATE_CANCEL, NULL, e) : 0;
}

static void on_up(void *arg)
{
	struct follow *s = arg;
	struct err e = ERR_INIT;

	if (ctl_link_send(&s->link, MIGRATE_STATUS, NULL, NULL, 0, on_status, s, &e) < 0 ||
	    (s->cancel && follow_send(s, MIGRATE_CANCEL, NULL, &e) < 0))
		log_fail(&e, "job %lld", (long long)s->j->id);
}

static void on_down(void *arg)
{
	follow_take_report(arg);
}

void follow_watch(struct follow *s, struct job *j)
{
	AUTO_FREE char *path = mem_printf(MIGRATE_SOCKET_FMT, j->h->run, j->session);

	if (s->watching)
		return;
	s->watching = true;
	s->j = j;
	s->link = (struct ctl_link){ .up = on_up, .down = on_down, .event = on_event, .arg = s };
	ctl_link_start(&s->link, j->h->loop, "hvmigrate", path);
}

void follow_stop(struct follow *s)
{
	if (s->watching)
		ctl_link_stop(&s->link);
	s->watching = false;
}

void follow_ended(struct follow *s)
{
	if (!follow_take_report(s))
		s->lost(s->j);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened on this host: a bounded table, and whoever watches it live.
 */
#ifndef HVAPI_EVENT_EVENTS_H
#define HVAPI_EVENT_EVENTS_H

#include <stdint.h>
#include <jansson.h>

#include "base/err.h"
#include "base/store.h"

enum {
	EVENTS_ROWS_MAX = 10000,	/* then the oldest go */
	EVENTS_LIST_MAX = 1000,		/* in one answer */
};

struct events;
struct event_watch;

struct events *events_new(struct store *s);
void events_free(struct events *ev);

/* Records and tells the watchers.  vm, job (0), data (reference taken) may be absent.  A database that fails costs the
 * record, not the caller's work: it is logged. */
void events_add(struct events *ev, const char *type, const char *vm, int64_t job, json_t *data,
		const char *fmt, ...) PRINTF_LIKE(6, 7);

/* Events with id > since, oldest first, at most limit; with newest the last ones instead.  vm NULL: all. */
MUSTUSE int events_list(struct events *ev, uint64_t since, uint64_t limit, bool newest, const char *vm, json_t **out,
			struct err *e);
uint64_t events_last_id(const struct events *ev);
uint64_t events_count(const struct events *ev);		/* since this process started */

/* fn(event) for each new one, of vm if not NULL.  fn may not add events. */
struct event_watch *events_watch(struct events *ev, const char *vm, void (*fn)(void *arg, const json_t *event),
				 void *arg);
void events_unwatch(struct event_watch **w);

#endif

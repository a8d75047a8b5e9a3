/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events are numbered by the database (AUTOINCREMENT: a number is never used
 * twice), so a client that comes back can name the last one it saw.
 */
#include "hvapi/event/events.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"

enum { TRIM_EVERY = 256 };

struct event_watch {
	struct events *ev;
	char *vm;
	void (*fn)(void *arg, const json_t *event);
	void *arg;
	struct event_watch *next;
};

struct events {
	struct store *store;
	struct event_watch *watches;
	uint64_t last_id, count;
};

static int take_last(void *arg, sqlite3_stmt *row)
{
	*(uint64_t *)arg = (uint64_t)store_i64(row, 0);
	return 1;
}

struct events *events_new(struct store *s)
{
	struct events *ev = mem_alloc(sizeof(*ev));
	struct err e = ERR_INIT;

	ev->store = s;
	if (store_each(s, take_last, &ev->last_id, &e, "SELECT max(id) FROM events", "") < 0)
		log_fail(&e, "read the last event");
	return ev;
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	while (ev->watches) {
		struct event_watch *w = ev->watches;

		events_unwatch(&w);
	}
	free(ev);
}

static json_t *event_json(int64_t id, int64_t time_ms, const char *type, const char *vm, int64_t job, const char *text,
			  json_t *data)
{
	json_t *o = json_pack("{sI sI ss ss so*}", "id", (json_int_t)id, "time_ms", (json_int_t)time_ms, "type", type,
			      "text", text, "data", data ? data : json_object());

	json_object_set_new(o, "vm", *vm ? json_string(vm) : json_null());
	json_object_set_new(o, "job", job ? json_sprintf("%lld", (long long)job) : json_null());
	return o;
}

static void save(struct events *ev, const char *type, const char *vm, int64_t job, const json_t *data, int64_t now,
		 const char *text)
{
	struct err e = ERR_INIT;

	if (store_run(ev->store, &e, "INSERT INTO events(time_ms, type, vm, job, text, data) VALUES(?, ?, ?, ?, ?, ?)",
		      "issisj", now, type, vm, job, text, data) < 0) {
		log_fail(&e, "event %s is not recorded", type);
		ev->last_id++;
		return;
	}
	ev->last_id = (uint64_t)store_last_id(ev->store);
	if (ev->count % TRIM_EVERY == 0 && store_run(ev->store, &e, "DELETE FROM events WHERE id <= ?", "i",
						     (int64_t)ev->last_id - EVENTS_ROWS_MAX) < 0)
		log_fail(&e, "old events stay");
}

void events_add(struct events *ev, const char *type, const char *vm, int64_t job, json_t *data, const char *fmt, ...)
{
	int64_t now = (int64_t)clock_real_ms();
	AUTO_BUF struct buf text = { 0 };
	AUTO_JSON json_t *kept = data ? data : json_object(), *o = NULL;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	log_info("event %s%s%s: %s", type, vm ? " vm=" : "", vm ? vm : "", (const char *)text.p);
	save(ev, type, vm ? vm : "", job, kept, now, (const char *)text.p);
	ev->count++;
	o = event_json((int64_t)ev->last_id, now, type, vm ? vm : "", job, (const char *)text.p, json_incref(kept));
	for (struct event_watch *w = ev->watches, *next; w; w = next) {
		next = w->next;
		if (!w->vm || (vm && !strcmp(w->vm, vm)))
			w->fn(w->arg, o);
	}
}

static int take_row(void *arg, sqlite3_stmt *row)
{
	json_t *data = json_loads(store_text(row, 6), 0, NULL);

	json_array_append_new(arg, event_json(store_i64(row, 0), store_i64(row, 1), store_text(row, 2),
					      store_text(row, 3), store_i64(row, 4), store_text(row, 5), data));
	return 0;
}

int events_list(struct events *ev, uint64_t since, uint64_t limit, bool newest, const char *vm, json_t **out,
		struct err *e)
{
	AUTO_JSON json_t *list = json_array();
	const char *sql = newest ?
		"SELECT * FROM (SELECT id, time_ms, type, vm, job, text, data FROM events WHERE id > ? AND "
		"(?2 IS NULL OR vm = ?2) ORDER BY id DESC LIMIT ?3) ORDER BY id" :
		"SELECT id, time_ms, type, vm, job, text, data FROM events WHERE id > ?1 AND (?2 IS NULL OR vm = ?2) "
		"ORDER BY id LIMIT ?3";

	if (store_each(ev->store, take_row, list, e, sql, "isi", (int64_t)since, vm, (int64_t)limit) < 0)
		return -1;
	*out = json_incref(list);
	return 0;
}

uint64_t events_last_id(const struct events *ev)
{
	return ev->last_id;
}

uint64_t events_count(const struct events *ev)
{
	return ev->count;
}

struct event_watch *events_watch(struct events *ev, const char *vm, void (*fn)(void *arg, const json_t *event),
				 void *arg)
{
	struct event_watch *w = mem_alloc(sizeof(*w));

	*w = (struct event_watch){
		.ev = ev, .vm = vm ? mem_strdup(vm) : NULL, .fn = fn, .arg = arg, .next = ev->watches
	};
	ev->watches = w;
	return w;
}

void events_unwatch(struct event_watch **w)
{
	struct event_watch **at;

	if (!*w)
		return;
	for (at = &(*w)->ev->watches; *at != *w; at = &(*at)->next)
		;
	*at = (*w)->next;
	free((*w)->vm);
	free(*w);
	*w = NULL;
}

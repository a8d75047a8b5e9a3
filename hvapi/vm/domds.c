/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folder watch by inotify; one ctl_link per socket.  An hvdomd that does not
 * answer is kept as "unknown" until hvinit says that it is gone: a guest must
 * not count as stopped because its keeper is being restarted.
 */
#include "hvapi/vm/domds.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "base/loop.h"
#include "hvapi/ctl_link.h"
#include "hvapi/http/route.h"

struct domd {
	struct domds *d;
	char *vm;
	struct ctl_link link;
	json_t *status;
	bool fresh;			/* status is of this connection */
	struct domd *next;
};

/* A request under way. */
struct sent {
	struct domds *d;
	char *vm;
	void (*fn)(void *arg, const json_t *ok, const struct err *e);
	void *arg;
};

struct domds {
	struct loop *loop;
	char *dir;
	int inotify_fd;
	struct loop_src *src;
	struct domd *first;
	void (*changed)(void *arg, const char *vm);
	void (*disk)(void *arg, const char *vm, const json_t *event);
	void *arg;
};

static struct domd *find(const struct domds *d, const char *vm)
{
	struct domd *m = d->first;

	while (m && strcmp(m->vm, vm))
		m = m->next;
	return m;
}

static void take_status(struct domd *m, const json_t *status)
{
	union { const json_t *in; json_t *out; } u = { .in = status };
	json_t *copy;

	if (!json_is_string(json_object_get(status, "state")))
		return;
	copy = json_deep_copy(u.out);
	json_object_del(copy, "event");
	json_decref(m->status);
	m->status = copy;
	m->fresh = true;
	m->d->changed(m->d->arg, m->vm);
}

static void status_answer(void *arg, const json_t *ok, const struct err *e)
{
	struct domd *m = arg;

	if (ok)
		take_status(m, ok);
	else if (e->code != ERR_NET)
		log_fail(e, "hvdomd of %s: status", m->vm);
}

static void on_up(void *arg)
{
	struct domd *m = arg;
	struct err e = ERR_INIT;

	if (ctl_link_send(&m->link, "status", NULL, NULL, 0, status_answer, m, &e) < 0)
		log_fail(&e, "hvdomd of %s", m->vm);
}

static void on_down(void *arg)
{
	struct domd *m = arg;

	m->fresh = false;
	m->d->changed(m->d->arg, m->vm);
}

static void on_event(void *arg, const json_t *event)
{
	const char *what = json_string_value(json_object_get(event, "event"));
	struct domd *m = arg;

	if (what && !strcmp(what, "state"))
		take_status(m, event);
	else if (what && !strcmp(what, "disk"))
		m->d->disk(m->d->arg, m->vm, json_object_get(event, "disk"));
}

void domds_expect(struct domds *d, const char *vm)
{
	struct domd *m = find(d, vm);
	AUTO_FREE char *path = domds_path(d, vm);

	if (m) {
		ctl_link_poke(&m->link);
		return;
	}
	m = mem_alloc(sizeof(*m));
	*m = (struct domd){ .d = d, .vm = mem_strdup(vm), .next = d->first };
	m->link = (struct ctl_link){ .up = on_up, .down = on_down, .event = on_event, .arg = m };
	d->first = m;
	ctl_link_start(&m->link, d->loop, "hvdomd", path);
}

static void drop(struct domds *d, struct domd *m)
{
	struct domd **at = &d->first;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	ctl_link_stop(&m->link);
	json_decref(m->status);
	free(m->vm);
	free(m);
}

void domds_ended(struct domds *d, const char *vm)
{
	struct domd *m = find(d, vm);
	AUTO_FREE char *name = NULL;

	if (!m)
		return;
	name = mem_strdup(vm);
	drop(d, m);
	d->changed(d->arg, name);
}

void domds_known(struct domds *d, const json_t *running)
{
	for (struct domd *m = d->first, *next; m; m = next) {
		bool there = false;
		size_t i;
		json_t *v;

		next = m->next;
		json_array_foreach(running, i, v)
			there = there || !strcmp(json_string_value(v), m->vm);
		if (!there && !m->link.client)
			domds_ended(d, m->vm);
	}
}

bool domds_has(const struct domds *d, const char *vm)
{
	return find(d, vm) != NULL;
}

bool domds_up(const struct domds *d, const char *vm)
{
	const struct domd *m = find(d, vm);

	return m && m->fresh;
}

const json_t *domds_status(const struct domds *d, const char *vm)
{
	const struct domd *m = find(d, vm);

	return m ? m->status : NULL;
}

const char *domds_state(const struct domds *d, const char *vm)
{
	const struct domd *m = find(d, vm);
	const char *state;

	if (!m)
		return "stopped";
	state = json_string_value(json_object_get(m->status, "state"));
	if (state && !strcmp(state, "none"))
		return "stopped";
	if (m->fresh && state)
		return state;
	/* One without a domain may end as it likes; else it must answer to be believed. */
	return state && (!strcmp(state, "away") || !strcmp(state, "refused")) ? "stopped" : "unknown";
}

bool domds_idle(const struct domds *d, const char *vm)
{
	const char *state = domds_state(d, vm);

	return !strcmp(state, "stopped") || !strcmp(state, "away") || !strcmp(state, "refused");
}

char *domds_path(const struct domds *d, const char *vm)
{
	return mem_printf("%s/%s.sock", d->dir, vm);
}

static void answered(void *arg, const json_t *ok, const struct err *e)
{
	struct sent *s = arg, was = *s;
	struct domd *m = find(s->d, s->vm);

	if (ok && m)
		take_status(m, ok);
	free(s->vm);
	free(s);
	was.fn(was.arg, ok, e);
}

int domds_send(struct domds *d, const char *vm, const char *verb, const json_t *args,
	       void (*fn)(void *arg, const json_t *ok, const struct err *e), void *arg, struct err *e)
{
	struct domd *m = find(d, vm);
	struct sent *s;

	if (!m)
		return err_set(e, ERR_STATE, "VM '%s' does not run", vm);
	s = mem_alloc(sizeof(*s));
	*s = (struct sent){ .d = d, .vm = mem_strdup(vm), .fn = fn, .arg = arg };
	if (ctl_link_send(&m->link, verb, args, NULL, 0, answered, s, e) == 0)
		return 0;
	free(s->vm);
	free(s);
	return err_wrap(e, "VM '%s'", vm);
}

/* ---- the folder ---- */

static void appeared(struct domds *d, const char *file)
{
	size_t n = strlen(file);
	AUTO_FREE char *vm = NULL;

	if (n <= 5 || strcmp(file + n - 5, ".sock"))
		return;
	vm = mem_strdup(file);
	vm[n - 5] = '\0';
	if (route_name_ok(vm))
		domds_expect(d, vm);
}

static void scan(struct domds *d)
{
	DIR *dir = opendir(d->dir);
	struct dirent *f;

	if (!dir) {
		log_err("%s: %s", d->dir, strerror(errno));
		return;
	}
	while ((f = readdir(dir)) != NULL)
		appeared(d, f->d_name);
	closedir(dir);
}

static void folder_ready(void *arg, unsigned events)
{
	struct domds *d = arg;
	_Alignas(struct inotify_event) char b[4096];
	ssize_t n = read(d->inotify_fd, b, sizeof(b));

	(void)events;
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *v = (const void *)(b + at);

		if (v->mask & IN_Q_OVERFLOW)
			scan(d);
		else if (v->len)
			appeared(d, v->name);
		at += (ssize_t)(sizeof(*v) + v->len);
	}
}

int domds_new(struct loop *l, const char *run, void (*changed)(void *arg, const char *vm),
	      void (*disk)(void *arg, const char *vm, const json_t *event), void *arg,
	      struct domds **out, struct err *e)
{
	struct domds *d = mem_alloc(sizeof(*d));

	*d = (struct domds){ .loop = l, .dir = mem_printf("%s/domd", run), .changed = changed, .disk = disk,
			      .arg = arg };
	d->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (d->inotify_fd < 0 || inotify_add_watch(d->inotify_fd, d->dir, IN_CREATE | IN_MOVED_TO | IN_ATTRIB) < 0) {
		err_sys(e, errno, "watch %s", d->dir);
		domds_free(d);
		return -1;
	}
	if (loop_watch(l, d->inotify_fd, LOOP_READ, folder_ready, d, &d->src, e) < 0) {
		domds_free(d);
		return -1;
	}
	*out = d;
	scan(d);
	return 0;
}

void domds_free(struct domds *d)
{
	if (!d)
		return;
	while (d->first)
		drop(d, d->first);
	loop_unwatch(&d->src);
	fd_close(&d->inotify_fd);
	free(d->dir);
	free(d);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd in "external epoll" mode: its epoll descriptor is one source
 * of our loop, its time-out one timer, and no thread of its own runs.
 *
 * Who is at the other end is bound to the descriptor before the library gets
 * it and moves into the library's per-connection pointer when the library
 * announces the connection: a connection without it is refused.
 */
#include "hvapi/http/server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "hvapi/http/http_priv.h"

static void arm(struct http *s)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(s->mhd, &ms) == MHD_YES)
		loop_timer_set(s->timer, ms, 0);
	else
		loop_timer_stop(s->timer);
}

static void run(struct http *s)
{
	if (MHD_run(s->mhd) != MHD_YES)
		log_err("the HTTP library failed to run");
	arm(s);
}

static void ready(void *arg, unsigned events)
{
	(void)events;
	run(arg);
}

static void timed(void *arg)
{
	run(arg);
}

void http_kick(struct http *s)
{
	loop_timer_set(s->timer, 0, 0);
}

/* ---- called by the library ---- */

static void forget(struct http *s, struct who *w)
{
	struct who **at = &s->whos;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	free(w);
}

static void connection_event(void *arg, struct MHD_Connection *c, void **ctx, enum MHD_ConnectionNotificationCode what)
{
	struct http *s = arg;
	int fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (*ctx)
			forget(s, *ctx);
		*ctx = NULL;
		return;
	}
	for (struct who *w = s->whos; w; w = w->next) {
		if (w->known || w->fd != fd)
			continue;
		w->known = true;
		*ctx = w;
		return;
	}
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *data, size_t *n, void **ctx)
{
	struct http *s = arg;
	struct req *r = *ctx;
	const struct who *who = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

	(void)version;
	if (!who)
		return MHD_NO;
	if (!r) {
		*ctx = r = req_new(s, c, who);
		req_begin(r, method, url);
		return r->answer && r->at_once ? req_queue(r) : MHD_YES;
	}
	if (*n) {
		bool go_on = req_body(r, data, *n);

		*n = 0;
		return go_on ? MHD_YES : MHD_NO;	/* an answer can only be queued when the body is through */
	}
	if (!r->answer)
		req_run(r);
	if (r->answer)
		return req_queue(r);
	MHD_suspend_connection(c);
	r->suspended = true;
	return MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *c, void **ctx, enum MHD_RequestTerminationCode why)
{
	(void)arg;
	(void)c;
	(void)why;
	if (*ctx)
		req_release(*ctx);
	*ctx = NULL;
}

static void on_log(void *arg, const char *fmt, va_list ap)
{
	AUTO_BUF struct buf b = { 0 };

	(void)arg;
	buf_vprintf(&b, fmt, ap);
	while (b.len && b.p[b.len - 1] == '\n')
		b.p[--b.len] = '\0';
	if (b.len)
		log_debug("http: %s", (const char *)b.p);
}

/* ---- connections ---- */

int http_add(struct http *s, int fd, const char *name, enum api_role role, struct err *e)
{
	struct who *w = mem_alloc(sizeof(*w));
	struct sockaddr_un none = { .sun_family = AF_UNIX };

	/* What the library is told as address is not used: hvtls has proven who it is. */
	w->fd = fd;
	w->role = role;
	w->next = s->whos;
	s->whos = w;
	memcpy(w->name, name, strnlen(name, sizeof(w->name) - 1));
	if (MHD_add_connection(s->mhd, fd, (struct sockaddr *)&none, sizeof(none)) == MHD_YES) {
		http_kick(s);
		return 0;
	}
	/* The library may have announced its end, too. */
	if (s->whos == w)
		forget(s, w);
	err_set(e, ERR_LIMIT, "connection of '%.63s' not taken, limit %d connections", name, HTTP_CONNS_MAX);
	return err_remedy(e, "close connections that are not needed");
}

static void accept_local(void *arg, unsigned events)
{
	struct http *s = arg;
	AUTO_FD int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct err e = ERR_INIT;

	(void)events;
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return;
	if (peer.uid != 0 && peer.uid != geteuid()) {
		log_warn("local API: user %u is not root: refused", (unsigned)peer.uid);
		return;
	}
	if (http_add(s, fd_take(&fd), "root", API_ADMIN, &e) < 0)
		log_fail(&e, "local API");
}

int http_listen(struct http *s, const char *path, struct err *e)
{
	if (fd_unix_listen(path, 0660, &s->listen_fd, e) < 0 || fd_set_nonblock(s->listen_fd, true, e) < 0)
		return -1;
	s->listen_path = mem_strdup(path);
	return loop_watch(s->c.loop, s->listen_fd, LOOP_READ, accept_local, s, &s->listen_src, e);
}

void http_cut(struct http *s, const char *name, struct req *r)
{
	r->last = true;
	for (const struct who *w = s->whos; w; w = w->next)
		if (w->known && w->fd != r->who.fd && !strcmp(w->name, name))
			shutdown(w->fd, SHUT_RDWR);
}

void http_counts(const struct http *s, uint64_t out[6])
{
	memcpy(out, s->counts, sizeof(s->counts));
}

/* ---- life ---- */

static int start(struct http *s, struct err *e)
{
	const union MHD_DaemonInfo *info;

	s->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_SUSPEND_RESUME |
				  MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, s,
				  MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
				  MHD_OPTION_NOTIFY_CONNECTION, connection_event, s,
				  MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
				  MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNS_MAX,
				  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEAD_BYTES_MAX,
				  MHD_OPTION_CONNECTION_TIMEOUT, s->c.idle_s,
				  MHD_OPTION_END);
	if (!s->mhd)
		return err_set(e, ERR_INTERNAL, "libmicrohttpd does not start");
	info = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return err_set(e, ERR_INTERNAL, "libmicrohttpd has no epoll descriptor");
	return loop_watch(s->c.loop, info->epoll_fd, LOOP_READ, ready, s, &s->src, e);
}

int http_new(const struct http_config *c, struct http **out, struct err *e)
{
	struct http *s = mem_alloc(sizeof(*s));

	s->c = *c;
	s->upload_dir = mem_strdup(c->upload_dir);
	s->listen_fd = -1;
	s->timer = loop_timer_new(c->loop, timed, s);
	if (start(s, e) < 0) {
		http_free(s);
		return -1;
	}
	arm(s);
	*out = s;
	return 0;
}

/* The library insists that nothing is suspended or upgraded when it stops. */
static void end_requests(struct http *s)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_CANCELLED, "hvapid ends");
	err_remedy(&e, "hvinit starts it again: try again in a second");
	for (struct req *r = s->reqs, *next; r; r = next) {
		next = r->next;
		if (r->suspended && !r->answer)
			req_fail_status(r, 503, &e);
	}
	sse_end_all(s);
	upgrade_end_all(s);
	MHD_run(s->mhd);
}

void http_free(struct http *s)
{
	if (!s)
		return;
	loop_unwatch(&s->listen_src);
	fd_close(&s->listen_fd);
	if (s->listen_path)
		(void)unlink(s->listen_path);
	if (s->mhd)
		end_requests(s);
	loop_unwatch(&s->src);
	if (s->mhd)
		MHD_stop_daemon(s->mhd);
	while (s->whos)
		forget(s, s->whos);
	loop_timer_free(&s->timer);
	free(s->listen_path);
	free(s->upload_dir);
	free(s);
}

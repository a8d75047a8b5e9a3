/* SPDX-License-Identifier: Apache-2.0 */
/* inotify tells of the name, a connection attempt proves the rest. */
#include "init/wait_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

struct wait_socket {
	char path[108];
	int fd;
	struct loop_src *src;
	struct loop_timer *timer;
	void (*ready)(void *arg);
	void *arg;
};

/* 0 or an errno. */
static int try_connect(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return errno;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? errno : 0;
}

static void look(void *arg)
{
	struct wait_socket *w = arg;
	int rc = try_connect(w->path);

	if (rc == ECONNREFUSED)
		loop_timer_set(w->timer, WAIT_SOCKET_RETRY_MS, 0);
	/* EAGAIN: its queue is full, so it listens. */
	if (rc != 0 && rc != EAGAIN)
		return;
	loop_unwatch(&w->src);
	loop_timer_stop(w->timer);
	w->ready(w->arg);
}

static void on_inotify(void *arg, unsigned events)
{
	struct wait_socket *w = arg;
	char drop[4096];

	(void)events;
	while (read(w->fd, drop, sizeof(drop)) > 0)
		;
	look(w);
}

int wait_socket_start(struct loop *l, const char *path, void (*ready)(void *arg), void *arg,
		      struct wait_socket **out, struct err *e)
{
	char dir[108];
	char *slash;
	struct wait_socket *w;

	if (strlen(path) >= sizeof(w->path))
		return err_set(e, ERR_LIMIT, "socket path '%s' is too long", path);
	w = calloc(1, sizeof(*w));
	if (!w)
		return err_set(e, ERR_NO_SPACE, "no memory to wait for '%s'", path);
	*w = (struct wait_socket){ .ready = ready, .arg = arg };
	snprintf(w->path, sizeof(w->path), "%s", path);
	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	w->timer = loop_timer_new(l, look, w);
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd < 0 || inotify_add_watch(w->fd, slash ? dir : ".", IN_CREATE | IN_MOVED_TO | IN_ATTRIB) < 0) {
		err_sys(e, errno, "watch folder '%s'", dir);
		wait_socket_free(w);
		return -1;
	}
	if (loop_watch(l, w->fd, LOOP_READ, on_inotify, w, &w->src, e) < 0) {
		wait_socket_free(w);
		return -1;
	}
	loop_timer_set(w->timer, 1, 0);		/* it may be there already */
	*out = w;
	return 0;
}

void wait_socket_free(struct wait_socket *w)
{
	if (!w)
		return;
	loop_unwatch(&w->src);
	loop_timer_free(&w->timer);
	fd_close(&w->fd);
	free(w);
}

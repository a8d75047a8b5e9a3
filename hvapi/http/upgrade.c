/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that became a pipe: bytes to and from a descriptor (a guest's
 * console) until either end closes.  One fixed buffer each way, so a client
 * that does not read makes the console wait, not the memory grow.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "hvapi/http/http_priv.h"

enum { PUMP_BYTES = 16 << 10 };

struct flow {
	uint8_t p[PUMP_BYTES];
	size_t len, done;
};

struct pump {
	struct http *s;
	struct MHD_UpgradeResponseHandle *urh;
	char who[ROUTE_PARAM_BYTES];
	int sock, fd;			/* sock belongs to the library until urh is closed */
	struct loop_src *sock_src, *fd_src;
	struct flow in, out;		/* client to fd, fd to client */
	struct pump *next;
};

static void pump_end(struct pump *p)
{
	struct pump **at = &p->s->pumps;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	loop_unwatch(&p->sock_src);
	loop_unwatch(&p->fd_src);
	fd_close(&p->fd);
	MHD_upgrade_action(p->urh, MHD_UPGRADE_ACTION_CLOSE);
	http_kick(p->s);
	log_info("%s left the console", p->who);
	free(p);
}

void upgrade_end_all(struct http *s)
{
	while (s->pumps)
		pump_end(s->pumps);
}

/* Moves what can be moved; false when one end is through. */
static bool flow_run(struct flow *f, int from, int to)
{
	for (;;) {
		ssize_t n;

		if (f->done == f->len) {
			f->len = f->done = 0;
			n = read(from, f->p, sizeof(f->p));
			if (n <= 0)
				return n < 0 && (errno == EAGAIN || errno == EINTR);
			f->len = (size_t)n;
		}
		n = write(to, f->p + f->done, f->len - f->done);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		f->done += (size_t)n;
	}
}

static void pump_ready(void *arg, unsigned events)
{
	struct pump *p = arg;
	bool alive = flow_run(&p->out, p->fd, p->sock);

	alive = flow_run(&p->in, p->sock, p->fd) && alive;
	if (!alive || (events & LOOP_HUP)) {
		pump_end(p);
		return;
	}
	loop_set_events(p->sock_src, (p->in.len ? 0u : LOOP_READ) | (p->out.len ? LOOP_WRITE : 0u));
	loop_set_events(p->fd_src, (p->out.len ? 0u : LOOP_READ) | (p->in.len ? LOOP_WRITE : 0u));
}

/* The library has sent the 101; sock is ours to use now. */
static void upgraded(void *arg, struct MHD_Connection *c, void *ctx, const char *early, size_t n_early,
		     MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
	struct pump *p = arg;
	struct err e = ERR_INIT;

	(void)c;
	((struct req *)ctx)->pump = NULL;
	p->urh = urh;
	p->sock = sock;
	p->next = p->s->pumps;
	p->s->pumps = p;
	p->in.len = n_early < PUMP_BYTES ? n_early : PUMP_BYTES;
	memcpy(p->in.p, early, p->in.len);
	if (fd_set_nonblock(sock, true, &e) < 0 || fd_set_nonblock(p->fd, true, &e) < 0 ||
	    loop_watch(p->s->c.loop, sock, LOOP_READ | LOOP_WRITE, pump_ready, p, &p->sock_src, &e) < 0 ||
	    loop_watch(p->s->c.loop, p->fd, LOOP_READ, pump_ready, p, &p->fd_src, &e) < 0) {
		log_fail(&e, "console of %s", p->who);
		pump_end(p);
	}
}

void upgrade_drop(struct pump *p)
{
	if (!p)
		return;
	fd_close(&p->fd);
	free(p);
}

void req_upgrade(struct req *r, const char *protocol, int fd)
{
	struct pump *p = mem_alloc(sizeof(*p));
	struct MHD_Response *m;

	p->s = r->http;
	p->fd = fd;
	memcpy(p->who, r->who.name, sizeof(p->who));
	m = MHD_create_response_for_upgrade(upgraded, p);
	if (!m || r->answer) {
		fd_close(&p->fd);
		free(p);
		if (m)
			MHD_destroy_response(m);
		else
			req_empty(r, 500);
		return;
	}
	MHD_add_response_header(m, MHD_HTTP_HEADER_UPGRADE, protocol);
	r->pump = p;
	req_answer(r, MHD_HTTP_SWITCHING_PROTOCOLS, m);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listener and the life of connections.
 *
 * A connection is freed in nbd_settle only, so the functions that handle its
 * bytes may kill it at any point and look at it afterwards.
 */
#include "blkd/nbd.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "blkd/nbd_priv.h"

enum { SOCKET_BYTES = 1 << 20 };	/* asked of the kernel for each way; it may give less */

void nbd_conn_todo(struct nbd_conn *c)
{
	if (c->todo)
		return;
	c->todo = true;
	c->next_todo = c->s->todo;
	c->s->todo = c;
}

void nbd_conn_watch(struct nbd_conn *c)
{
	unsigned want;

	if (c->dead)
		return;
	want = (c->closing || c->stalled ? 0u : (unsigned)LOOP_READ) |
	       (c->raw.len || c->out_first ? (unsigned)LOOP_WRITE : 0u);
	if (want == c->watching)
		return;
	c->watching = want;
	loop_set_events(c->src, want);
}

static void drop_replies(struct nbd_conn *c)
{
	while (c->out_first) {
		struct nbd_req *n = c->out_first;

		c->out_first = n->next;
		nbd_req_free(n);
	}
	c->out_last = &c->out_first;
	c->n_out = 0;
	buf_fini(&c->raw);
}

void nbd_conn_kill(struct nbd_conn *c, const struct err *e)
{
	if (c->dead)
		return;
	if (e && e->code != ERR_NONE)
		log_warn("nbd: connection closed: %s", e->detail);
	c->dead = true;
	loop_unwatch(&c->src);
	fd_close(&c->fd);
	drop_replies(c);
	if (c->big) {
		nbd_req_free(c->big);
		c->big = NULL;
	}
	nbd_conn_todo(c);
}

static void conn_free(struct nbd_conn *c)
{
	struct nbd *s = c->s;

	assert(!c->held);
	nbd_chunk_put(c, c->rx);
	for (struct nbd_conn **at = &s->conns; *at; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	s->n_conns--;
	free(c);
}

static void post_stopped(void *arg)
{
	struct nbd *s = arg;

	s->stop_fn(s->stop_arg);
}

static void check_stopped(struct nbd *s)
{
	if (!s->stopping || s->n_conns || s->stop_posted)
		return;
	s->stop_posted = true;
	loop_post(s->loop, post_stopped, s);
}

/* Below half of the limits, so that it does not stop again at once. */
static bool may_go_on(const struct nbd_conn *c)
{
	return !c->raw.len && c->n_chunks < CHUNKS_MAX &&
	       c->held <= NBD_REQUESTS_MAX / 2 && c->held_bytes <= NBD_CONN_BYTES_MAX / 2;
}

static void settle(struct nbd_conn *c)
{
	nbd_send(c);
	while (c->stalled && !c->dead && may_go_on(c)) {
		c->stalled = false;
		nbd_parse(c);
		nbd_send(c);
	}
	/* On stopping, a client that does not read gets no more time than the queue needs. */
	if (c->closing && !c->in_queue && (!c->held || c->s->stopping))
		nbd_conn_kill(c, NULL);
	c->todo = false;
	if (!c->dead)
		nbd_conn_watch(c);
	else if (!c->in_queue)
		conn_free(c);
}

void nbd_settle(struct nbd *s)
{
	while (s->todo) {
		struct nbd_conn *c = s->todo;

		s->todo = c->next_todo;
		settle(c);
	}
	check_stopped(s);
}

static void settle_hook(void *arg)
{
	struct nbd *s = arg;

	do {
		nbd_settle(s);
		queue_kick(s->q);	/* what stalled connections went on with */
	} while (s->todo);
}

static void conn_ready(void *arg, unsigned events)
{
	struct nbd_conn *c = arg;
	struct nbd *s = c->s;

	if (events & LOOP_WRITE)
		nbd_conn_todo(c);
	if (events & (LOOP_READ | LOOP_HUP))
		nbd_recv(c);
	if (events & LOOP_HUP && !(events & LOOP_READ))
		nbd_conn_kill(c, NULL);
	queue_kick(s->q);
	settle_hook(s);
}

static void conn_new(struct nbd *s, int fd)
{
	static const int bytes = SOCKET_BYTES;
	struct nbd_conn *c = mem_alloc(sizeof(*c));
	struct err e = ERR_INIT;

	*c = (struct nbd_conn){ .s = s, .fd = fd, .out_last = &c->out_first, .watching = LOOP_READ };
	/* FORCE needs a right that may be missing; the default works too, with more calls. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	if (loop_watch(s->loop, fd, LOOP_READ, conn_ready, c, &c->src, &e) < 0) {
		log_fail(&e, "nbd: connection refused");
		fd_close(&c->fd);
		free(c);
		return;
	}
	nbd_nego_init(&c->nego, &s->offer);
	nbd_nego_hello(&c->raw);
	c->next = s->conns;
	s->conns = c;
	s->n_conns++;
	nbd_conn_todo(c);
}

static void accept_ready(void *arg, unsigned events)
{
	struct nbd *s = arg;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	if (s->n_conns >= NBD_CONNS_MAX) {
		log_warn("nbd: connection refused: there are %d already", NBD_CONNS_MAX);
		close(fd);
		return;
	}
	conn_new(s, fd);
	nbd_settle(s);
}

/* ---- what the handshake asks ------------------------------------------------------------------------- */

static const char *offer_name(void *arg, unsigned i)
{
	return ((struct nbd *)arg)->exports[i].name;
}

static const char *offer_description(void *arg, unsigned i)
{
	const char *text = ((struct nbd *)arg)->exports[i].description;

	return text ? text : "";
}

static void offer_facts(void *arg, unsigned i, struct nbd_facts *out)
{
	const struct nbd_export *x = &((struct nbd *)arg)->exports[i];
	const struct disk *d = qdisk_disk(x->disk);
	struct layer_info info;

	disk_info(d, &info);
	*out = (struct nbd_facts){
		.bytes = disk_bytes(d), .block_min_bytes = disk_sector(d),
		.block_preferred_bytes = info.physical_bytes > 4096 ? info.physical_bytes : 4096,
		.read_only = x->read_only || disk_read_only(d), .has_dirty = x->dirty != NULL,
	};
}

/* ---- life ------------------------------------------------------------------------------------------------ */

int nbd_new(struct loop *l, struct queue *q, int listen_fd, const struct nbd_export *exports, unsigned n,
	    struct nbd **out, struct err *e)
{
	struct nbd *s = mem_alloc(sizeof(*s));

	*s = (struct nbd){ .loop = l, .q = q, .fd = listen_fd, .exports = exports, .n_exports = n };
	s->offer = (struct nbd_exports){ .n = n, .name = offer_name, .description = offer_description,
					 .facts = offer_facts, .arg = s };
	s->hook = (struct queue_hook){ .fn = settle_hook, .arg = s };
	queue_hook_add(q, &s->hook);
	if (fd_set_nonblock(listen_fd, true, e) < 0 ||
	    loop_watch(l, listen_fd, LOOP_READ, accept_ready, s, &s->src, e) < 0) {
		nbd_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

void nbd_stop(struct nbd *s, void (*fn)(void *arg), void *arg)
{
	s->stopping = true;
	s->stop_fn = fn;
	s->stop_arg = arg;
	loop_unwatch(&s->src);
	fd_close(&s->fd);
	for (struct nbd_conn *c = s->conns; c; c = c->next) {
		c->closing = true;
		nbd_conn_todo(c);
	}
	settle_hook(s);
}

unsigned nbd_conns(const struct nbd *s)
{
	return s->n_conns;
}

void nbd_free(struct nbd *s)
{
	if (!s)
		return;
	assert(!s->conns);
	queue_hook_del(s->q, &s->hook);
	loop_unwatch(&s->src);
	fd_close(&s->fd);
	while (s->spare) {
		struct nbd_req *n = s->spare;

		s->spare = n->next;
		free(n);
	}
	free(s);
}

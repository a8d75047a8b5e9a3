/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local control between our processes: framed JSON over unix stream sockets.
 *
 *    0      4
 *    +------+----------------------+
 *    | len  | JSON object          |   len little-endian, 2 .. CTL_MSG_BYTES_MAX;
 *    +------+----------------------+   descriptors ride on the first byte of len
 *
 *    request   {"id": N, "verb": "status", ...arguments}
 *    reply     {"id": N, "ok": {...}}  or  {"id": N, "error": {"code","detail","remedy"}}
 *    event     {"event": "state", ...}          server to client, unasked
 *
 * The verbs "subscribe" (the connection receives events from now on) and "help" (lists the verbs) are answered
 * here.  A connection that sends anything but frames of this form is closed.
 * The server refuses peers that are neither root nor of an allowed uid
 * (SO_PEERCRED), frames over the limit, and more than CTL_CONNS_MAX clients.
 */
#ifndef BASE_CTL_H
#define BASE_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <jansson.h>

#include "base/err.h"
#include "base/loop.h"

enum {
	CTL_MSG_BYTES_MAX = 4 << 20,
	CTL_CONNS_MAX = 64,
	CTL_CALL_FDS_MAX = 8,
	CTL_OUT_BYTES_MAX = 16 << 20,	/* a client that reads too slowly is dropped */
};

struct ctl_server;
struct ctl_call;			/* one request until its reply */

struct ctl_verb {
	const char *name;
	/* Returns 0 with the reply in *out (may stay NULL: empty object), or -1 with the error.
	 * After ctl_defer both are ignored and ctl_finish answers later.
	 * `in` holds the arguments only ("id" and "verb" are taken out), so js_only works on it; it lives until
	 * fn returns, or longer with a json_incref.  fn may free the server. */
	int (*fn)(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
	const char *help;
};

/* Table ends with name == NULL and must stay valid.  allow_uid: one more uid than root ((uid_t)-1: none). */
MUSTUSE int ctl_server_new(struct loop *l, const char *path, mode_t mode, uid_t allow_uid,
			   const struct ctl_verb *verbs, void *arg, struct ctl_server **out, struct err *e);
void ctl_server_free(struct ctl_server *s);
/* As ctl_server_new on a listening socket the caller hands over. */
MUSTUSE int ctl_server_from_fd(struct loop *l, int listen_fd, uid_t allow_uid,
			       const struct ctl_verb *verbs, void *arg, struct ctl_server **out, struct err *e);
/* To every subscribed connection.  Takes the reference to event.  An event over CTL_MSG_BYTES_MAX is not sent. */
void ctl_publish(struct ctl_server *s, json_t *event);

/* Inside fn: descriptor i of the request, ownership to the caller; -1 if there is none or it was taken.
 * What is not taken is closed when fn returns. */
int ctl_take_fd(struct ctl_call *c, unsigned i);
/* Inside fn or before ctl_finish: one more descriptor (at most CTL_CALL_FDS_MAX) to send with the reply;
 * ownership to ctl. */
void ctl_give_fd(struct ctl_call *c, int fd);
uid_t ctl_peer_uid(const struct ctl_call *c);
pid_t ctl_peer_pid(const struct ctl_call *c);
/* The reply comes later.  The call stays valid until ctl_finish, even if its client or the server goes;
 * every deferred call must be finished, or it leaks. */
struct ctl_call *ctl_defer(struct ctl_call *c);
/* Answers a deferred call with out (reference taken, may be NULL) or, if e is not NULL, with the error.
 * Also inside fn, after ctl_defer.  The call is gone afterwards. */
void ctl_finish(struct ctl_call *c, json_t *out, const struct err *e);

/* Client.  Not thread-safe. */
struct ctl_client;
MUSTUSE int ctl_connect(const char *path, struct ctl_client **out, struct err *e);
void ctl_client_free(struct ctl_client *c);

/* Blocks for at most timeout_ms (-1: for weeks); not on an attached client.
 * args (borrowed, may be NULL) must not hold "id" or "verb".  fds go with the request and stay the caller's.
 * On success *out (out may be NULL) is the "ok" object (caller's reference), and descriptors of the reply go to
 * out_fds (n_out_fds: capacity in, count out; both may be NULL).
 * An error reply comes back in e as the server set it.  Events that arrive meanwhile are kept for on_event. */
MUSTUSE int ctl_request(struct ctl_client *c, const char *verb, const json_t *args,
			const int *fds, size_t n_fds, int timeout_ms,
			json_t **out, int *out_fds, size_t *n_out_fds, struct err *e);

/* Without blocking, on a loop: the reply (or failure, ERR_NET when the server went) comes to fn once, never
 * inside ctl_send; fn may be NULL.  Takes no descriptors back.  Attach the client to the loop first.
 * When the server goes, each waiting fn fails, then on_gone is called once.  Any callback may free the client;
 * after ctl_client_free none is called any more. */
MUSTUSE int ctl_client_attach(struct ctl_client *c, struct loop *l,
			      void (*on_event)(void *arg, const json_t *event),
			      void (*on_gone)(void *arg), void *arg, struct err *e);
MUSTUSE int ctl_send(struct ctl_client *c, const char *verb, const json_t *args, const int *fds, size_t n_fds,
		     void (*fn)(void *arg, const json_t *ok, const struct err *e), void *arg, struct err *e);

/* Connect, one request, close.  As ctl_request. */
MUSTUSE int ctl_once(const char *path, const char *verb, const json_t *args, const int *fds, size_t n_fds,
		     int timeout_ms, json_t **out, int *out_fds, size_t *n_out_fds, struct err *e);

#endif

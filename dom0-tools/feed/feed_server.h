/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves a feed on a unix socket (feed_proto.h), on a thread and loop of its
 * own, so that no consumer and no write of the activity log's head is ever in
 * the I/O thread's way.
 */
#ifndef FEED_FEED_SERVER_H
#define FEED_FEED_SERVER_H

#include <sys/types.h>

#include "base/err.h"
#include "feed/feed.h"

struct feed_server;

/* f stays the caller's and must outlive the server.  mode and allow_uid as for ctl_server_new.  Signals that the
 * process handles elsewhere must be blocked already: the thread inherits the mask. */
MUSTUSE int feed_server_new(struct feed *f, const char *path, mode_t mode, uid_t allow_uid, struct feed_server **out,
			    struct err *e);
/* The same on a listening socket, which it owns from now on, also on failure. */
MUSTUSE int feed_server_from_fd(struct feed *f, int listen_fd, uid_t allow_uid, struct feed_server **out,
				struct err *e);
/* Detaches all consumers and ends the thread; waits for it.  NULL is fine. */
void feed_server_free(struct feed_server *s);

#endif

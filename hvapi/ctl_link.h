/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control client that comes back: connects, subscribes, and after the
 * server went tries again, with growing pauses, until the link is stopped.
 */
#ifndef HVAPI_CTL_LINK_H
#define HVAPI_CTL_LINK_H

#include <stdbool.h>
#include <jansson.h>

#include "base/ctl.h"

enum { CTL_LINK_RETRY_MS_MIN = 20, CTL_LINK_RETRY_MS_MAX = 1000 };

struct ctl_link {
	struct loop *loop;
	const char *name;		/* for messages: "hvtls" */
	char *path;
	struct ctl_client *client;	/* NULL while down */
	struct loop_timer *retry;
	unsigned wait_ms;
	struct ctl_link_req *reqs;	/* under way */
	/* All optional. */
	void (*up)(void *arg);
	void (*down)(void *arg);
	void (*event)(void *arg, const json_t *event);
	void *arg;
};

/* Callbacks are set by the caller beforehand; path is copied, name must stay.  `up` may run before this returns. */
void ctl_link_start(struct ctl_link *k, struct loop *l, const char *name, const char *path);
/* Idempotent; may run in a callback of the link.  Requests under way fail with ERR_NET. */
void ctl_link_stop(struct ctl_link *k);
/* Try now: the socket has just appeared. */
void ctl_link_poke(struct ctl_link *k);

/* As ctl_send, but fn runs exactly once after success, whatever happens; ERR_NET naming the daemon while it is down. */
MUSTUSE int ctl_link_send(struct ctl_link *k, const char *verb, const json_t *args, const int *fds, size_t n_fds,
			  void (*fn)(void *arg, const json_t *ok, const struct err *e), void *arg, struct err *e);

#endif

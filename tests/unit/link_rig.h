/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of hvtls: hosts in temporary folders on one loop, each with a
 * hvapid that only keeps what it is given, and control calls from a thread so
 * that the loop can go on.
 */
#ifndef TESTS_UNIT_LINK_RIG_H
#define TESTS_UNIT_LINK_RIG_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/ctl.h"
#include "base/fd.h"
#include "hvapi/hvapid_ctl.h"
#include "link/hvtls.h"
#include "link/hvtls_ctl.h"
#include "tests/unit/link_task.h"

enum { RIG_LIMIT_MS = 700 };

struct rig_host {
	struct hvtls *h;
	char dir[64], run[80], data[80];
	struct ctl_server *apid;
	int got_fd;			/* of the last accept */
	json_t *got;
	unsigned n_got;
	struct ctl_client *events;
	json_t *seen;			/* events, in order */
};

static inline int rig_accept(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct rig_host *x = arg;

	(void)out;
	(void)e;
	fd_close(&x->got_fd);
	x->got_fd = ctl_take_fd(c, 0);
	json_decref(x->got);
	x->got = json_deep_copy(in);
	x->n_got++;
	return 0;
}

static const struct ctl_verb rig_apid_verbs[] = {
	{ HVAPID_ACCEPT, rig_accept, "" },
	{ NULL, NULL, NULL },
};

static inline void rig_event(void *arg, const json_t *event)
{
	json_array_append_new(((struct rig_host *)arg)->seen, json_deep_copy(event));
}

/* Starts hvtls on what is in the host's folder. */
static inline void rig_start(struct rig_host *x, const char *name)
{
	struct hvtls_cfg cfg = {
		.run = x->run, .data = x->data, .name = name, .listen = { { "127.0.0.1:0" }, 1 },
		.allow_uid = getuid(), .limit_ms = RIG_LIMIT_MS,
	};
	char path[128];

	rig_ok(hvtls_new(rig_loop, &cfg, &x->h, &rig_err));
	snprintf(path, sizeof(path), "%s/%s", x->run, HVTLS_SOCKET);
	rig_ok(ctl_connect(path, &x->events, &rig_err));
	rig_ok(ctl_client_attach(x->events, rig_loop, rig_event, NULL, x, &rig_err));
	rig_ok(ctl_send(x->events, "subscribe", NULL, NULL, 0, NULL, NULL, &rig_err));
	for (int i = 0; i < 10 && !x->h->ktls; i++)
		loop_once(rig_loop, 5);	/* the subscription, and the look for kernel TLS */
}

static inline void rig_stop(struct rig_host *x)
{
	ctl_client_free(x->events);
	x->events = NULL;
	hvtls_free(x->h);
	x->h = NULL;
}

static inline void rig_up(struct rig_host *x, const char *name)
{
	char path[128];

	*x = (struct rig_host){ .got_fd = -1, .seen = json_array() };
	snprintf(x->dir, sizeof(x->dir), "/tmp/hvtls-test-XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	snprintf(x->run, sizeof(x->run), "%s/run", x->dir);
	snprintf(x->data, sizeof(x->data), "%s/data", x->dir);
	rig_ok(fd_make_dirs(x->run, 0700, &rig_err));
	snprintf(path, sizeof(path), "%s/%s", x->run, HVAPID_SOCKET);
	rig_ok(ctl_server_new(rig_loop, path, 0600, getuid(), rig_apid_verbs, x, &x->apid, &rig_err));
	rig_start(x, name);
}

static inline void rig_down(struct rig_host *x)
{
	static const char *const files[] = { "data/host/key.der", "data/host/cert.der", "data/host/pins.json",
					     "data/host/codes.json", "data/host", "data", "run", "" };
	char path[128];

	rig_stop(x);
	ctl_server_free(x->apid);
	fd_close(&x->got_fd);
	json_decref(x->got);
	json_decref(x->seen);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", x->dir, files[i]);
		(void)remove(path);
	}
}

/* "127.0.0.1:PORT" of a host. */
static inline const char *rig_address(const struct rig_host *x)
{
	static char text[32];

	snprintf(text, sizeof(text), "127.0.0.1:%u", x->h->port);
	return text;
}

struct rig_request {
	char path[128];
	const char *verb;
	json_t *args;
	json_t *out;
	int fd;
	int rc;
	struct err e;
};

static inline void rig_request_run(void *arg)
{
	struct rig_request *q = arg;
	size_t n = 1;

	q->rc = ctl_once(q->path, q->verb, q->args, NULL, 0, RIG_WAIT_MS, &q->out, &q->fd, &n, &q->e);
}

/* Takes args.  0 or -1 with rig_err; *out (may be NULL) is the caller's, as *out_fd. */
static inline int rig_call(struct rig_host *x, const char *verb, json_t *args, json_t **out, int *out_fd)
{
	struct rig_request q = { .verb = verb, .args = args, .fd = -1, .e = ERR_INIT };

	snprintf(q.path, sizeof(q.path), "%s/%s", x->run, HVTLS_SOCKET);
	rig_run(rig_request_run, &q);
	json_decref(args);
	rig_err = q.e;
	if (out)
		*out = q.out;
	else
		json_decref(q.out);
	if (out_fd)
		*out_fd = q.fd;
	else
		fd_close(&q.fd);
	return q.rc;
}

/* A code of that role, into text. */
static inline void rig_code(struct rig_host *x, const char *role, char text[PAIR_CODE_TEXT_BYTES])
{
	json_t *out = NULL;

	rig_ok(rig_call(x, HVTLS_PAIR_CODE, json_pack("{ss}", "role", role), &out, NULL));
	snprintf(text, PAIR_CODE_TEXT_BYTES, "%s", json_string_value(json_object_get(out, "code")));
	json_decref(out);
}

/* a dials b with b's code. */
static inline void rig_pair(struct rig_host *a, struct rig_host *b)
{
	char code[PAIR_CODE_TEXT_BYTES];

	rig_code(b, "peer", code);
	rig_ok(rig_call(a, HVTLS_PAIR, json_pack("{ss ss}", "address", rig_address(b), "code", code), NULL, NULL));
}

/* The member of the last event of that kind, or NULL. */
static inline const char *rig_seen(const struct rig_host *x, const char *kind, const char *member)
{
	for (size_t i = json_array_size(x->seen); i-- > 0;) {
		const json_t *ev = json_array_get(x->seen, i);

		if (strcmp(json_string_value(json_object_get(ev, "event")), kind) == 0)
			return json_string_value(json_object_get(ev, member));
	}
	return NULL;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server that the tests of control connections talk to: its verbs do what
 * a server may do, at the worst moment for it.
 */
#ifndef TESTS_UNIT_CTL_VERBS_H
#define TESTS_UNIT_CTL_VERBS_H

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { WAIT_MS = 10000, HELD_MAX = 2048 };

struct fixture {
	struct tmp t;
	unsigned fds_before;
	pthread_t thread;
	struct loop *l;			/* the server's */
	struct ctl_server *s;
	struct ctl_call *held[HELD_MAX];
	unsigned n_held;
	struct loop *cl;		/* of attached clients */
	struct ctl_client *c;
	json_t *log;			/* what their callbacks saw, in order */
	unsigned gone;
};

static int v_echo(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)arg, (void)c, (void)e;
	*out = json_deep_copy(in);
	return 0;
}

static int v_fail(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)arg, (void)c, (void)in, (void)out;
	err_set(e, ERR_STATE, "vm runs");
	return err_remedy(e, "stop it");
}

/* Reads a letter from each descriptor and gives back as many pipes that hold the next letter. */
static int v_swap(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	uint64_t n = 0;

	(void)arg, (void)out;
	if (js_u64(in, "n", CTL_CALL_FDS_MAX, &n, e) < 0)
		return -1;
	for (unsigned i = 0; i < n; i++) {
		AUTO_FD int fd = ctl_take_fd(c, i);
		char letter = 0;
		int p[2];

		if (ctl_take_fd(c, i) != -1 || fd_read_full(fd, &letter, 1) < 0 || fd_pair(p, e) < 0)
			return err_set(e, ERR_IO, "descriptor %u", i);
		letter++;
		if (fd_write_full(p[0], &letter, 1) < 0)
			return err_set(e, ERR_IO, "pair %u", i);
		fd_close(&p[0]);
		ctl_give_fd(c, p[1]);
	}
	{
		AUTO_FD int more = ctl_take_fd(c, (unsigned)n);

		return more < 0 ? 0 : err_set(e, ERR_USAGE, "one descriptor too many");
	}
}

static int v_hold(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct fixture *f = arg;

	(void)in, (void)out, (void)e;
	if (f->n_held < HELD_MAX)
		f->held[f->n_held++] = ctl_defer(c);
	return -1;		/* ignored after ctl_defer */
}

static int v_release(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct fixture *f = arg;

	(void)c, (void)in, (void)e;
	*out = json_pack("{si}", "released", (int)f->n_held);
	for (unsigned i = 0; i < f->n_held; i++)
		ctl_finish(f->held[i], json_pack("{si}", "late", (int)i), NULL);
	f->n_held = 0;
	return 0;
}

static int v_finish_inside(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)arg, (void)in, (void)out;
	err_set(e, ERR_BUSY, "inside");
	ctl_finish(ctl_defer(c), NULL, e);
	return 0;
}

static int v_publish(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct fixture *f = arg;
	AUTO_FREE char *pad = NULL;
	uint64_t n = 0, bytes = 0;

	(void)c, (void)out;
	if (js_u64(in, "n", 1000, &n, e) < 0 || js_u64(in, "bytes", 8 << 20, &bytes, e) < 0)
		return -1;
	pad = mem_alloc(bytes + 1);
	memset(pad, 'x', bytes);
	for (unsigned i = 0; i < n; i++)
		ctl_publish(f->s, json_pack("{ss si ss}", "event", "tick", "i", (int)i, "pad", pad));
	return 0;
}

static int v_big(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	AUTO_FREE char *text = mem_alloc(CTL_MSG_BYTES_MAX + 1);

	(void)arg, (void)c, (void)in, (void)e;
	memset(text, 'x', CTL_MSG_BYTES_MAX);
	*out = json_pack("{ss}", "t", text);
	return 0;
}

static int v_array(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)arg, (void)c, (void)in, (void)e;
	*out = json_array();
	return 0;
}

static int v_peer(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)arg, (void)in, (void)e;
	*out = json_pack("{si si}", "uid", (int)ctl_peer_uid(c), "pid", (int)ctl_peer_pid(c));
	return 0;
}

static int v_quit(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct fixture *f = arg;

	(void)c, (void)in, (void)out, (void)e;
	ctl_server_free(f->s);
	f->s = NULL;
	return 0;
}

static const struct ctl_verb verbs[] = {
	{ "echo", v_echo, "gives the arguments back" }, { "fail", v_fail, "" }, { "swap", v_swap, "" },
	{ "hold", v_hold, "" }, { "release", v_release, "" }, { "finish-inside", v_finish_inside, "" },
	{ "publish", v_publish, "" }, { "big", v_big, "" }, { "array", v_array, "" }, { "peer", v_peer, "" },
	{ "quit", v_quit, NULL }, { .name = NULL },
};

#endif

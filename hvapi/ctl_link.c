/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pauses start short because most of the time the server is just being
 * restarted: its socket's name is there a moment before it listens.
 */
#include "hvapi/ctl_link.h"

#include "base/buf.h"

struct ctl_link_req {
	struct ctl_link *k;
	void (*fn)(void *arg, const json_t *ok, const struct err *e);
	void *arg;
	struct ctl_link_req *next;
};

static void on_gone(void *arg)
{
	struct ctl_link *k = arg;

	ctl_client_free(k->client);
	k->client = NULL;
	k->wait_ms = CTL_LINK_RETRY_MS_MIN;
	loop_timer_set(k->retry, k->wait_ms, 0);
	if (k->down)
		k->down(k->arg);
}

static void on_event(void *arg, const json_t *event)
{
	struct ctl_link *k = arg;

	if (k->event)
		k->event(k->arg, event);
}

static int attach(struct ctl_link *k, struct err *e)
{
	struct ctl_client *c;

	if (ctl_connect(k->path, &c, e) < 0)
		return -1;
	if (ctl_client_attach(c, k->loop, on_event, on_gone, k, e) < 0 ||
	    ctl_send(c, "subscribe", NULL, NULL, 0, NULL, NULL, e) < 0) {
		ctl_client_free(c);
		return -1;
	}
	k->client = c;
	return 0;
}

static void try_now(void *arg)
{
	struct ctl_link *k = arg;
	struct err e = ERR_INIT;

	if (k->client)
		return;
	if (attach(k, &e) == 0) {
		if (k->up)
			k->up(k->arg);
		return;
	}
	k->wait_ms = k->wait_ms * 2 < CTL_LINK_RETRY_MS_MAX ? k->wait_ms * 2 : CTL_LINK_RETRY_MS_MAX;
	loop_timer_set(k->retry, k->wait_ms, 0);
}

void ctl_link_start(struct ctl_link *k, struct loop *l, const char *name, const char *path)
{
	k->loop = l;
	k->name = name;
	k->path = mem_strdup(path);
	k->wait_ms = CTL_LINK_RETRY_MS_MIN;
	k->retry = loop_timer_new(l, try_now, k);
	try_now(k);
}

static void req_done(struct ctl_link_req *r, const json_t *ok, const struct err *e)
{
	struct ctl_link_req was = *r, **at = &r->k->reqs;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	free(r);
	if (was.fn)
		was.fn(was.arg, ok, e);
}

static void answered(void *arg, const json_t *ok, const struct err *e)
{
	req_done(arg, ok, e);
}

void ctl_link_stop(struct ctl_link *k)
{
	struct err e = ERR_INIT;

	ctl_client_free(k->client);
	k->client = NULL;
	err_set(&e, ERR_NET, "%s has ended", k->name ? k->name : "the daemon");
	while (k->reqs)
		req_done(k->reqs, NULL, &e);
	if (k->retry)
		loop_timer_free(&k->retry);
	free(k->path);
	k->path = NULL;
}

void ctl_link_poke(struct ctl_link *k)
{
	k->wait_ms = CTL_LINK_RETRY_MS_MIN;
	try_now(k);
}

int ctl_link_send(struct ctl_link *k, const char *verb, const json_t *args, const int *fds, size_t n_fds,
		  void (*fn)(void *arg, const json_t *ok, const struct err *e), void *arg, struct err *e)
{
	struct ctl_link_req *r;

	if (!k->client) {
		err_set(e, ERR_NET, "%s does not answer", k->name);
		return err_remedy(
			e, "hvinit restarts it: try again in a second; if it stays so, see its log in /data/log");
	}
	r = mem_alloc(sizeof(*r));
	*r = (struct ctl_link_req){ .k = k, .fn = fn, .arg = arg, .next = k->reqs };
	if (ctl_send(k->client, verb, args, fds, n_fds, answered, r, e) < 0) {
		free(r);
		return -1;
	}
	k->reqs = r;
	return 0;
}

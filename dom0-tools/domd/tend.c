/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection that subscribes.  Its hang-up is the death of hvblkd: wanted
 * while a domain is removed (nothing is done then), else not.
 */
#include "domd/tend.h"

#include "base/buf.h"
#include "base/log.h"
#include "blkd/hvblkd_ctl.h"

static bool needs_disks(const struct domd *d)
{
	return d->domid != DOMD_NO_DOMAIN && !d->receiving && json_array_size(json_object_get(d->config, "disks"));
}

static void drop(struct tend *t)
{
	ctl_client_free(t->client);
	t->client = NULL;
}

static void on_event(void *arg, const json_t *event)
{
	struct tend *t = arg;

	if (t->d->ctl)
		ctl_publish(t->d->ctl, json_pack("{s:s, s:O}", "event", "disk", "disk", event));
}

static void on_gone(void *arg)
{
	struct tend *t = arg;

	drop(t);
	if (!needs_disks(t->d))
		return;
	t->lost = true;
	loop_timer_set(t->retry, 0, 0);
}

static void subscribed(void *arg, const json_t *ok, const struct err *e)
{
	(void)ok;
	if (e)
		log_fail(e, "vm=%s: subscribe to hvblkd", ((struct tend *)arg)->d->vm);
}

static int join(struct tend *t, struct err *e)
{
	AUTO_FREE char *path = mem_printf(BLKD_SOCKET_FMT, t->blk->run_dir, t->blk->vm);

	if (ctl_connect(path, &t->client, e) < 0)
		return -1;
	if (ctl_client_attach(t->client, t->d->loop, on_event, on_gone, t, e) == 0 &&
	    ctl_send(t->client, "subscribe", NULL, NULL, 0, subscribed, t, e) == 0)
		return 0;
	drop(t);
	return -1;
}

static int again_work(struct domd *d, void *arg, struct err *e)
{
	struct tend *t = arg;

	return blk_again(t->blk, d->config, (unsigned)d->work_domid, e);
}

static void again_done(struct domd *d, void *arg, const struct err *e)
{
	struct tend *t = arg;

	t->lost = e != NULL;
	if (e)
		log_fail(e, "vm=%s: give hvblkd its disks again", d->vm);
	else
		log_info("vm=%s: hvblkd has its disks again", d->vm);
	loop_timer_set(t->retry, e ? TEND_RETRY_MS : 0, 0);
	domd_look(d);
}

static void look(void *arg)
{
	struct tend *t = arg;
	struct domd *d = t->d;
	struct err e = ERR_INIT;

	if (!needs_disks(d)) {
		t->lost = false;
		if (d->domid == DOMD_NO_DOMAIN)
			drop(t);
		return;
	}
	/* One that this process did not make: nobody watched hvblkd meanwhile. */
	if (!t->seen)
		t->lost = !d->started_ms;
	t->seen = true;
	if (t->lost && domd_work(d, "disks again", again_work, again_done, t, &e) == 0)
		return;
	if (t->lost || (!t->client && join(t, &e) < 0))
		loop_timer_set(t->retry, TEND_RETRY_MS, 0);
}

void tend_init(struct tend *t, struct domd *d, const struct blk *blk, struct loop *l)
{
	*t = (struct tend){ .d = d, .blk = blk };
	t->retry = loop_timer_new(l, look, t);
}

/* In the loop's next turn: who calls may be in the middle of a change. */
void tend_look(struct tend *t)
{
	loop_timer_set(t->retry, 0, 0);
}

void tend_fini(struct tend *t)
{
	drop(t);
	loop_timer_free(&t->retry);
}

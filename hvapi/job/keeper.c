/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry per waiter: hvinit spawns domd/VM ("exists" is as good), its
 * socket comes, it tells its state.  If it ends before that, once more.
 */
#include "hvapi/job/keeper.h"

#include <string.h>

#include "base/buf.h"
#include "base/js.h"
#include "base/log.h"
#include "base/loop.h"
#include "hvapi/hvapid.h"
#include "hvapi/vm/domds.h"
#include "init/hvinit_ctl.h"

enum { SPAWNS_MAX = 5 };

struct keeper_wait {
	struct hvapid *h;
	char *vm;
	void (*fn)(void *arg, const struct err *e);	/* NULL once it was called */
	void *arg;
	bool spawning, spawned;
	unsigned spawns, refs;
	struct loop_timer *deadline;
	struct keeper_wait *next;
};

static void put(struct keeper_wait *w)
{
	if (--w->refs)
		return;
	free(w->vm);
	free(w);
}

static void finish(struct keeper_wait *w, const struct err *e)
{
	struct keeper_wait **at = &w->h->waits;
	void (*fn)(void *arg, const struct err *e) = w->fn;

	if (!fn)
		return;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	w->fn = NULL;
	loop_timer_free(&w->deadline);
	fn(w->arg, e);
	put(w);
}

static void look(struct keeper_wait *w);

static void spawned(void *arg, const json_t *ok, const struct err *e)
{
	struct keeper_wait *w = arg;

	(void)ok;
	w->spawning = false;
	if (w->fn && e && e->code != ERR_EXISTS && e->code != ERR_NET) {
		finish(w, e);
	} else if (w->fn && (!e || e->code == ERR_EXISTS)) {
		w->spawned = true;
		domds_expect(w->h->domds, w->vm);
		look(w);
	}
	/* ERR_NET: hvinit went; keeper_hvinit_up goes on */
	put(w);
}

static void spawn(struct keeper_wait *w)
{
	AUTO_FREE char *unit = mem_printf("domd/%s", w->vm);
	AUTO_JSON json_t *args =
		json_pack("{ss s[ss] ss}", "unit", unit, "args", "--vm", w->vm, "restart", "on-failure");
	struct err e = ERR_INIT;

	if (!w->h->hvinit.client)
		return;
	if (w->spawns++ == SPAWNS_MAX) {
		err_set(&e, ERR_INTERNAL, "hvdomd of '%s' ends as soon as it is started", w->vm);
		err_remedy(&e, "see its log in /data/log");
		finish(w, &e);
		return;
	}
	w->spawned = false;
	w->spawning = true;
	w->refs++;
	if (ctl_link_send(&w->h->hvinit, HVINIT_SPAWN, args, NULL, 0, spawned, w, &e) == 0)
		return;
	w->spawning = false;
	finish(w, &e);
	put(w);
}

static void look(struct keeper_wait *w)
{
	if (domds_up(w->h->domds, w->vm))
		finish(w, NULL);
	else if (!w->spawning && !(w->spawned && domds_has(w->h->domds, w->vm)))
		spawn(w);
}

static void too_late(void *arg)
{
	struct keeper_wait *w = arg;
	struct err e = ERR_INIT;

	err_set(&e, ERR_TIMEOUT, "%s of '%s' did not answer within %d s",
		w->h->hvinit.client ? "hvdomd" : "hvinit, asked for hvdomd", w->vm, KEEPER_UP_MS / 1000);
	err_remedy(&e, "see its log in /data/log");
	finish(w, &e);
}

void keeper_need(struct hvapid *h, const char *vm, void (*fn)(void *arg, const struct err *e), void *arg)
{
	struct keeper_wait *w = mem_alloc(sizeof(*w));

	*w = (struct keeper_wait){ .h = h, .vm = mem_strdup(vm), .fn = fn, .arg = arg, .refs = 1, .next = h->waits };
	h->waits = w;
	w->deadline = loop_timer_new(h->loop, too_late, w);
	loop_timer_set(w->deadline, KEEPER_UP_MS, 0);
	look(w);
}

static void ignore_answer(void *arg, const json_t *ok, const struct err *e)
{
	(void)ok;
	if (e && e->code != ERR_NOT_FOUND)
		log_fail(e, "hvinit: stop a hvdomd");
	(void)arg;
}

void keeper_dismiss(struct hvapid *h, const char *vm)
{
	AUTO_FREE char *unit = mem_printf("domd/%s", vm);
	AUTO_JSON json_t *args = json_pack("{ss}", "unit", unit);
	struct err e = ERR_INIT;

	if (!domds_has(h->domds, vm) || !domds_idle(h->domds, vm))
		return;
	if (ctl_link_send(&h->hvinit, HVINIT_STOP, args, NULL, 0, ignore_answer, NULL, &e) < 0)
		log_fail(&e, "hvdomd of %s stays", vm);
}

/* What fn adds goes in front, where this walk has been. */
static void look_at_all(struct hvapid *h, const char *vm)
{
	for (struct keeper_wait *w = h->waits, *next; w; w = next) {
		next = w->next;
		if (vm && strcmp(vm, w->vm))
			continue;
		look(w);
	}
}

void keeper_domd_changed(struct hvapid *h, const char *vm)
{
	look_at_all(h, vm);
}

void keeper_hvinit_up(struct hvapid *h)
{
	look_at_all(h, NULL);
}

void keeper_stop(struct hvapid *h)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_CANCELLED, "hvapid ends");
	while (h->waits)
		finish(h->waits, &e);
}

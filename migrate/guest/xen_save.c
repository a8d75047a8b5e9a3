/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two structs of the same shape, on purpose: the saver knows nothing of Xen,
 * and xen/ nothing of migrations.
 */
#include "migrate/guest/xen_save.h"

#include "xen/xsave.h"

static enum xsave_step on_round(void *arg, uint32_t number, uint64_t dirty_pages)
{
	static const enum xsave_step steps[] = {
		[SAVER_CONTINUE] = XSAVE_CONTINUE, [SAVER_STOP] = XSAVE_STOP, [SAVER_ABORT] = XSAVE_ABORT,
	};
	const struct saver_hooks *h = arg;

	return steps[h->round(h->arg, number, dirty_pages)];
}

static void on_suspending(void *arg)
{
	const struct saver_hooks *h = arg;
	h->suspending(h->arg);
}

static void on_suspended(void *arg)
{
	const struct saver_hooks *h = arg;
	h->suspended(h->arg);
}

static bool on_cancelled(void *arg)
{
	const struct saver_hooks *h = arg;
	return h->cancelled(h->arg);
}

static int save(void *arg, int fd, const struct saver_hooks *hooks, struct err *e)
{
	struct saver_hooks copy = *hooks;
	struct xsave_hooks x = { on_round, on_suspending, on_suspended, on_cancelled, &copy };

	return xsave_run(arg, fd, &x, e);
}

int xen_save_make(uint32_t domid, struct saver_xen *out, struct err *e)
{
	struct xsave *s;

	if (xsave_new(domid, &s, e) < 0)
		return -1;
	*out = (struct saver_xen){ .save = save, .arg = s };
	return 0;
}

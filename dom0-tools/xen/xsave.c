/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The suspend is asked for through xenstore and seen by the domain's state, as
 * libxl does it; a guest that does not answer gets the request taken back, so
 * that it does not suspend later with nobody there.
 */
#include "xen/xsave.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xenctrl.h>
#include <xenguest.h>
#include <xentoollog.h>

#include "base/buf.h"
#include "base/clock.h"
#include "xen/xs.h"

enum { XSAVE_POLL_MS = 200 };

struct xsave {
	xentoollog_logger *log;
	xc_interface *xc;
	struct xs *xs;
	uint32_t domid;
	uint32_t rounds;
	const struct xsave_hooks *hooks;
	struct err why;			/* of a callback that said no */
};

/* Warnings to the log of the process; libxc's progress lines are left out: the session has its own. */
static xentoollog_logger *quiet_logger(void)
{
	return (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_WARN, XTL_STDIOSTREAM_HIDE_PROGRESS);
}

int xsave_new(uint32_t domid, struct xsave **out, struct err *e)
{
	struct xsave *s = mem_alloc(sizeof(*s));

	s->domid = domid;
	s->log = quiet_logger();
	s->xc = xc_interface_open(s->log, s->log, 0);
	if (!s->xc) {
		err_set(e, ERR_XEN, "the hypervisor does not answer: %s", strerror(errno));
		xsave_free(s);
		return -1;
	}
	if (xs_new(&s->xs, e) < 0) {
		xsave_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

void xsave_free(struct xsave *s)
{
	if (!s)
		return;
	xs_free(s->xs);
	if (s->xc)
		xc_interface_close(s->xc);
	if (s->log)
		xtl_logger_destroy(s->log);
	free(s);
}

enum dom_state { DOM_RUNS, DOM_SUSPENDED, DOM_GONE };

static enum dom_state look(struct xsave *s)
{
	xc_domaininfo_t i;

	if (xc_domain_getinfolist(s->xc, s->domid, 1, &i) != 1 || i.domain != s->domid)
		return DOM_GONE;
	if (!(i.flags & XEN_DOMINF_shutdown))
		return DOM_RUNS;
	return ((i.flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask) == SHUTDOWN_suspend ? DOM_SUSPENDED
												     : DOM_GONE;
}

/* Waits for the guest to stand still.  0, or -1 with s->why. */
static int wait_suspended(struct xsave *s)
{
	uint64_t end = clock_mono_ms() + XSAVE_SUSPEND_MS;

	for (;;) {
		enum dom_state d = look(s);

		if (d == DOM_SUSPENDED)
			return 0;
		if (d == DOM_GONE)
			return err_set(&s->why, ERR_STATE, "the guest ended while it was to be suspended");
		if (s->hooks->cancelled(s->hooks->arg))
			return err_set(&s->why, ERR_CANCELLED, "cancelled before the guest was suspended");
		if (clock_mono_ms() >= end) {
			err_set(&s->why, ERR_TIMEOUT, "the guest did not suspend within %d s", XSAVE_SUSPEND_MS / 1000);
			return err_remedy(&s->why, "its kernel must handle control/shutdown=suspend; "
						   "save and restore need the same");
		}
		xs_wait(s->xs, XSAVE_POLL_MS);
	}
}

/* Takes the request back; if the guest acknowledged it meanwhile it will suspend after all, so that is waited for. */
static void take_back(struct xsave *s)
{
	char v[XS_VALUE_BYTES];
	struct err e = ERR_INIT;

	if (xs_get(s->xs, v, &e, "/local/domain/%u/control/shutdown", s->domid) == 0 && !strcmp(v, "suspend") &&
	    xs_put(s->xs, "", &e, "/local/domain/%u/control/shutdown", s->domid) == 0)
		return;
	for (int i = 0; i < XSAVE_SUSPEND_MS / XSAVE_POLL_MS / 10 && look(s) == DOM_RUNS; i++)
		xs_wait(s->xs, XSAVE_POLL_MS);
}

static int on_suspend(void *arg)
{
	struct xsave *s = arg;
	int rc;

	s->hooks->suspending(s->hooks->arg);
	if (xs_watch_add(s->xs, "@releaseDomain", &s->why) < 0)
		return 0;
	rc = xs_put(s->xs, "suspend", &s->why, "/local/domain/%u/control/shutdown", s->domid);
	if (rc == 0)
		rc = wait_suspended(s);
	if (rc < 0)
		take_back(s);
	xs_watch_del(s->xs, "@releaseDomain");
	if (rc < 0)
		return 0;
	s->hooks->suspended(s->hooks->arg);
	return 1;
}

/* Called before anything is sent (iteration 0), then twice a round: with -1 before the dirty bitmap is read, which
 * decides nothing, and with the count.  On STOP libxc sends what is dirty once more before it suspends. */
static int on_policy(struct precopy_stats stats, void *arg)
{
	struct xsave *s = arg;

	if (s->hooks->cancelled(s->hooks->arg)) {
		err_set(&s->why, ERR_CANCELLED, "given up between two rounds");
		return XGS_POLICY_ABORT;
	}
	if (stats.dirty_count < 0 || stats.iteration == 0)
		return XGS_POLICY_CONTINUE_PRECOPY;
	switch (s->hooks->round(s->hooks->arg, s->rounds++, (uint64_t)stats.dirty_count)) {
	case XSAVE_CONTINUE:
		return XGS_POLICY_CONTINUE_PRECOPY;
	case XSAVE_STOP:
		return XGS_POLICY_STOP_AND_COPY;
	case XSAVE_ABORT:
	default:
		err_set(&s->why, ERR_CANCELLED, "given up between two rounds");
		return XGS_POLICY_ABORT;
	}
}

/* There is no device model; libxc insists on the callback. */
static int on_qemu_logdirty(uint32_t domid, unsigned enable, void *arg)
{
	(void)domid;
	(void)enable;
	(void)arg;
	return 0;
}

int xsave_run(struct xsave *s, int fd, const struct xsave_hooks *hooks, struct err *e)
{
	struct save_callbacks cb = {
		.suspend = on_suspend,
		.precopy_policy = on_policy,
		.switch_qemu_logdirty = on_qemu_logdirty,
		.data = s,
	};

	s->hooks = hooks;
	s->rounds = 0;
	s->why = (struct err)ERR_INIT;
	if (xc_domain_save(s->xc, fd, s->domid, XCFLAGS_LIVE, &cb, XC_STREAM_PLAIN, -1) == 0)
		return 0;
	if (s->why.code != ERR_NONE)
		*e = s->why;
	else
		err_set(e, ERR_XEN, "xc_domain_save of domain %u: %s", s->domid, errno ? strerror(errno) : "failed");
	return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvdomd --vm NAME: owns one VM's domain.  Runs as root, because libxl needs
 * privcmd, xenstore and the hot-plug programs; it listens on one unix socket
 * and reads nothing from the network.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/opt.h"
#include "domd/blk.h"
#include "domd/caps.h"
#include "domd/domd.h"
#include "domd/tend.h"
#include "net/announce.h"
#include "net/vif.h"
#include "xen/xdev.h"
#include "xen/xhost.h"
#include "xen/xl_dom.h"
#include "xen/xs.h"

static const char *opt_vm, *opt_run = "/run/hvapi", *opt_data = "/data";

static bool opt_help_asked;

static const struct opt opts[] = {
	{ "vm", OPT_TEXT, &opt_vm, "NAME", "the VM" },
	{ "run", OPT_TEXT, &opt_run, "DIR", "folder of the sockets" },
	{ "data", OPT_TEXT, &opt_data, "DIR", "folder of records, boot files and saved guests" },
	{ "help", OPT_FLAG, &opt_help_asked, NULL, "this text" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

/* ---- Xen and hvblkd as struct domd_xen ---- */

struct real {
	struct xl *xl;
	struct blk blk;
	struct tend tend;
};

static struct xl *xl_of(void *x) { return ((struct real *)x)->xl; }

static int x_save(void *x, int d, int fd, struct err *e) { return xl_save(xl_of(x), d, fd, e); }
static int x_unpause(void *x, int d, struct err *e) { return xl_unpause(xl_of(x), d, e); }
static int x_pause(void *x, int d, struct err *e) { return xl_pause(xl_of(x), d, e); }
static int x_shutdown(void *x, int d, struct err *e) { return xl_shutdown(xl_of(x), d, e); }
static int x_reboot(void *x, int d, struct err *e) { return xl_reboot(xl_of(x), d, e); }
static int x_find(void *x, const char *uuid) { return xl_find(xl_of(x), uuid); }
static enum domd_life x_look(void *x, int d) { return (enum domd_life)xl_look(xl_of(x), d); }

/* The disks after the domain: nothing that it wrote is lost. */
static int x_destroy(void *x, int d, struct err *e)
{
	return xl_destroy(xl_of(x), d, e) < 0 ? -1 : blk_down(&((struct real *)x)->blk, e);
}

static int x_still(void *x, const json_t *vm, struct err *e)
{
	return blk_still(&((struct real *)x)->blk, vm, e);
}

static int x_resume(void *x, int d, struct err *e)
{
	return blk_go_on(&((struct real *)x)->blk, e) < 0 ? -1 : xl_resume(xl_of(x), d, e);
}

static int x_prepare(void *x, const json_t *vm, bool (*cancelled)(void *arg), void *arg, struct err *e)
{
	unsigned domid;

	if (xdev_prepare(vm, vif_online, cancelled, arg, &domid, e) < 0)
		return -1;
	return blk_up(&((struct real *)x)->blk, vm, domid, e);
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

/* What libxl built gets its devices, or is removed. */
static int furnish(void *x, const json_t *vm, int domid, int *out, struct err *e)
{
	struct err ignored = ERR_INIT;

	if (x_prepare(x, vm, never, NULL, e) == 0) {
		*out = domid;
		return 0;
	}
	if (x_destroy(x, domid, &ignored) < 0)
		log_fail(&ignored, "remove a domain whose devices failed");
	return -1;
}

static int x_create(void *x, const json_t *vm, const char *boot, int *out, struct err *e)
{
	int domid;

	return xl_create(xl_of(x), vm, boot, &domid, e) < 0 ? -1 : furnish(x, vm, domid, out, e);
}

_Static_assert((int)LIFE_GONE == (int)XL_GONE && (int)LIFE_SUSPENDED == (int)XL_SUSPENDED &&
	       (int)LIFE_CRASHED == (int)XL_CRASHED, "domd_life and xl_life have one order");

static int x_restore(void *x, const json_t *vm, const char *boot, int fd, bool devices, int *out, struct err *e)
{
	int domid;

	if (xl_restore(xl_of(x), vm, boot, fd, &domid, e) < 0)
		return -1;
	if (devices)
		return furnish(x, vm, domid, out, e);
	*out = domid;
	return 0;
}

static int x_console(void *x, int d, char *out, size_t n, struct err *e)
{
	char path[XL_PATH_BYTES];

	if (xl_console(xl_of(x), d, path, e) < 0)
		return -1;
	snprintf(out, n, "%s", path);
	return 0;
}

static int x_cap_get(void *x, int d, uint16_t *out, struct err *e)
{
	(void)x;
	return xhost_cap_get((uint32_t)d, out, e);
}

static int x_cap_set(void *x, int d, uint16_t cap, struct err *e)
{
	(void)x;
	return xhost_cap_set((uint32_t)d, cap, e);
}

/* One announcement of one vif; frees itself after the last frame. */
struct said {
	struct announce *a;
	struct loop *l;
};

static void said_free(void *arg)
{
	struct said *s = arg;

	announce_free(s->a);
	free(s);
}

static void said_over(void *arg, unsigned failed)
{
	struct said *s = arg;

	if (failed)
		log_warn("announce: %u rounds could not be sent", failed);
	loop_post(s->l, said_free, s);
}

static void x_announce(void *x, struct loop *l, const json_t *vm)
{
	size_t i;
	const json_t *v;

	(void)x;
	json_array_foreach(json_object_get(vm, "vifs"), i, v) {
		const char *mac = json_string_value(json_object_get(v, "mac"));
		const char *bridge = json_string_value(json_object_get(v, "bridge"));
		unsigned m[6];
		uint8_t b[6];
		struct err e = ERR_INIT;

		if (!mac || !bridge ||
		    sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6)
			continue;
		for (int k = 0; k < 6; k++)
			b[k] = (uint8_t)m[k];
		struct said *s = mem_alloc(sizeof(*s));

		s->l = l;
		if (announce_start(l, bridge, b, 0, said_over, s, &s->a, &e) < 0) {
			log_fail(&e, "announce %s on %s", mac, bridge);
			free(s);
		}
	}
}

static void x_changed(void *x)
{
	tend_look(&((struct real *)x)->tend);
}

static const struct domd_xen xen_ops = {
	.create = x_create, .restore = x_restore, .prepare = x_prepare, .save = x_save, .unpause = x_unpause,
	.pause = x_pause, .shutdown = x_shutdown, .reboot = x_reboot, .destroy = x_destroy, .resume = x_resume,
	.still = x_still, .find = x_find, .look = x_look, .console = x_console,
	.cap_get = x_cap_get, .cap_set = x_cap_set,
	.announce = x_announce, .changed = x_changed,
};

/* ---- the process ---- */

struct process {
	struct loop *loop;
	struct real real;
	struct xs *xs;
	struct loop_src *xs_src;
	struct domd_xen xen;
	struct domd d;
};

/* The guest runs on; another hvdomd will find it. */
static void on_term(void *arg, int signo)
{
	struct process *p = arg;

	(void)signo;
	loop_stop(p->loop, 0);
}

static void on_release(void *arg, unsigned events)
{
	struct process *p = arg;

	(void)events;
	if (xs_fired(p->xs))
		domd_look(&p->d);
}

static int setup(struct process *p, struct err *e)
{
	if (!opt_vm || !*opt_vm || strchr(opt_vm, '/') || *opt_vm == '.')
		return err_set(e, ERR_USAGE, "--vm NAME is missing or is no name");
	if (caps_drop(e) < 0)
		return err_wrap(e, "give up rights");
	if (loop_new(&p->loop, e) < 0 || loop_signal(p->loop, SIGTERM, on_term, p, e) < 0 ||
	    xl_open(&p->real.xl, e) < 0 ||
	    xs_new(&p->xs, e) < 0 || xs_watch_add(p->xs, "@releaseDomain", e) < 0)
		return -1;
	p->xen = xen_ops;
	p->real.blk = (struct blk){ .run_dir = opt_run, .vm = opt_vm };
	tend_init(&p->real.tend, &p->d, &p->real.blk, p->loop);
	p->xen.x = &p->real;
	if (domd_init(&p->d, p->loop, &p->xen, opt_data, opt_vm, e) < 0)
		return -1;
	if (loop_watch(p->loop, xs_fd(p->xs), LOOP_READ, on_release, p, &p->xs_src, e) < 0)
		return -1;
	return domd_serve(&p->d, opt_run, e);
}

int main(int argc, char **argv)
{
	static struct process p;
	struct err e = ERR_INIT;
	int n_args = 0, rc;

	signal(SIGPIPE, SIG_IGN);
	log_init("hvdomd", LOG_INFO);
	if (opt_parse(opts, argc, argv, &n_args, &e) < 0 || n_args || opt_help_asked) {
		fprintf(stderr, "%s\nhvdomd owns one VM's domain; hvinit starts it\n", e.detail);
		opt_help(opts, stderr);
		return opt_help_asked ? 0 : err_exit_status(ERR_USAGE);
	}
	if (setup(&p, &e) < 0) {
		log_fail(&e, "vm=%s", opt_vm ? opt_vm : "?");
		return err_exit_status(e.code);
	}
	rc = loop_run(p.loop);
	/* Threads may still work with all the rest; the kernel takes that back. */
	domd_fini(&p.d);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's block front-end as a way in to one disk, and stilling it: the
 * ring is let go of in an orderly way and taken up again where it stood.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "blkd/blkif_xen.h"
#include "blkd/vm.h"

enum { XVD_MAJOR = 202, XVD_MINORS = 16 };

struct front_xen {
	struct front f;
	struct vdisk *v;
	struct blkif *b;		/* NULL while it is still */
	unsigned domid, devid;
	void (*fn)(void *arg);		/* of still */
	void *arg;
};

static struct front_xen *of(struct front *f)
{
	return (struct front_xen *)(void *)f;
}

static void stop(struct front *f, void (*fn)(void *arg), void *arg)
{
	if (of(f)->b)
		blkif_stop(of(f)->b, false, fn, arg);
	else
		loop_post(of(f)->v->vm->loop, fn, arg);
}

static void free_it(struct front *f)
{
	struct front_xen *x = of(f);

	if (x->b)
		blkif_xen_remove(x->v->vm->xen, x->b);
	blkif_xen_destroy(x->v->vm->xen, x->domid, x->devid);
	free(x);
}

static void resized(struct front *f)
{
	struct err e = ERR_INIT;

	if (of(f)->b && blkif_resized(of(f)->b, &e) < 0)
		log_fail(&e, "disk '%s': tell the guest its new size", of(f)->v->name);
}

static void stilled(void *arg)
{
	struct front_xen *x = arg;

	blkif_xen_remove(x->v->vm->xen, x->b);
	x->b = NULL;
	x->fn(x->arg);
}

static void still(struct front *f, void (*fn)(void *arg), void *arg)
{
	struct front_xen *x = of(f);

	if (!x->b) {
		loop_post(x->v->vm->loop, fn, arg);
		return;
	}
	x->fn = fn;
	x->arg = arg;
	blkif_stop(x->b, true, stilled, x);
}

static void broke(void *arg, const char *why)
{
	struct front_xen *x = arg;

	log_warn("disk '%s': the front-end in domain %u broke the protocol: %s", x->v->name, x->domid, why);
	vm_event(x->v->vm, json_pack("{s:s, s:s, s:I}", "event", BLKD_EVENT_BROKE, "disk", x->v->name, "domid",
				     (json_int_t)x->domid));
}

static int go_on(struct front *f, struct err *e)
{
	struct front_xen *x = of(f);
	struct vm *vm = x->v->vm;
	struct blkif_setup set = {
		.domid = x->domid, .devid = x->devid, .loop = vm->loop, .queue = vm->q, .disk = x->v->qd,
		.read_only = disk_read_only(x->v->disk), .discard = true, .broke = broke, .arg = x,
	};

	return x->b ? 0 : blkif_xen_add(vm->xen, &set, &x->b, e);
}

/* xvda to xvdp: 202 << 8, and 16 more each. */
static int devid_of(const char *name, unsigned *out, struct err *e)
{
	if (strncmp(name, "xvd", 3) || name[3] < 'a' || name[3] > 'p' || name[4])
		return err_set(e, ERR_USAGE, "disk '%s' is not one of xvda to xvdp, so no guest can have it", name);
	*out = XVD_MAJOR << 8 | (unsigned)(name[3] - 'a') * XVD_MINORS;
	return 0;
}

static int may_connect(const struct vdisk *v, struct err *e)
{
	if (!v->vm->xen)
		return err_set(e, ERR_STATE, "no Xen runs below this host");
	for (const struct front *f = v->fronts; f; f = f->next)
		if (f->still)
			return err_set(e, ERR_EXISTS, "disk '%s' is a domain's already", v->name);
	return 0;
}

int front_xen_add(struct vdisk *v, unsigned domid, struct err *e)
{
	unsigned devid = 0;
	struct front_xen *x;

	if (may_connect(v, e) < 0 || devid_of(v->name, &devid, e) < 0)
		return -1;
	if (!blkif_xen_has(v->vm->xen, domid, devid) &&
	    blkif_xen_create(v->vm->xen, domid, devid, v->name, e) < 0)
		return -1;
	x = mem_alloc(sizeof(*x));
	x->f = (struct front){ .kind = "xen", .stop = stop, .free = free_it, .resized = resized, .still = still,
			       .go_on = go_on };
	x->v = v;
	x->domid = domid;
	x->devid = devid;
	if (go_on(&x->f, e) < 0) {
		free(x);
		return -1;
	}
	vm_add_front(v, &x->f);
	return 0;
}

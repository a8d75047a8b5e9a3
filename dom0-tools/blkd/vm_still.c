/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stilling a VM: no ring is served, and what was taken from one is on stable
 * storage.  Afterwards another host may write to the same disks.
 */
#include <stdlib.h>

#include "base/buf.h"
#include "blkd/mirror.h"
#include "blkd/vm.h"

struct stilling {
	struct vm *vm;
	unsigned waiting;
	struct err e;
	void (*fn)(void *arg, const struct err *e);
	void *arg;
	struct still_flush { struct req r; struct stilling *s; const char *name; } of[BLKD_DISKS_MAX];
};

static void over(struct stilling *s)
{
	if (--s->waiting)
		return;
	s->vm->stilling = false;
	s->fn(s->arg, s->e.code == ERR_NONE ? NULL : &s->e);
	free(s);
}

static void flushed(struct req *r, int res)
{
	struct still_flush *f = (struct still_flush *)(void *)r;

	if (res < 0 && f->s->e.code == ERR_NONE)
		err_sys(&f->s->e, -res, "flush of disk '%s'", f->name);
	over(f->s);
}

static void flush_all(struct stilling *s)
{
	s->waiting = 1;
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++) {
		struct vdisk *v = &s->vm->disks[i];

		if (v->state != VDISK_OPEN)
			continue;
		s->waiting++;
		s->of[i] = (struct still_flush){ .s = s, .name = v->name };
		s->of[i].r = (struct req){ .op = REQ_FLUSH, .internal = true, .disk = v->qd, .done = flushed };
		queue_submit(s->vm->q, &s->of[i].r);
	}
	queue_kick(s->vm->q);
	over(s);
}

static void one_still(void *arg)
{
	struct stilling *s = arg;

	if (--s->waiting == 0)
		flush_all(s);
}

static bool may_still(const struct vm *vm, struct err *e)
{
	if (vm->stilling) {
		err_set(e, ERR_BUSY, "'%s' is being stilled already", vm->name);
		return false;
	}
	if (vm->mirror) {		/* it would go over to an image that the other host knows nothing of */
		err_set(e, ERR_BUSY, "disk '%s' is being mirrored", mirror_disk(vm->mirror)->name);
		err_remedy(e, "wait for its end or cancel it");
		return false;
	}
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++) {
		const struct vdisk *v = &vm->disks[i];

		if (v->state == VDISK_CLOSING || (v->qd && qdisk_paused(v->qd))) {
			err_set(e, ERR_STATE, "disk '%s' is %s", v->name,
				v->state == VDISK_CLOSING ? "being detached" : "paused by an error");
			return false;
		}
	}
	return true;
}

int vm_still(struct vm *vm, void (*fn)(void *arg, const struct err *e), void *arg, struct err *e)
{
	struct stilling *s;

	if (!may_still(vm, e))
		return -1;
	vm->stilling = true;
	s = mem_alloc(sizeof(*s));
	s->vm = vm;
	s->fn = fn;
	s->arg = arg;
	s->waiting = 1;
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		for (struct front *f = vm->disks[i].state == VDISK_OPEN ? vm->disks[i].fronts : NULL; f; f = f->next)
			if (f->still) {
				s->waiting++;
				f->still(f, one_still, s);
			}
	loop_post(vm->loop, one_still, s);
	return 0;
}

int vm_go_on(struct vm *vm, struct err *e)
{
	if (vm->stilling)
		return err_set(e, ERR_BUSY, "'%s' is being stilled", vm->name);
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		for (struct front *f = vm->disks[i].state == VDISK_OPEN ? vm->disks[i].fronts : NULL; f; f = f->next)
			if (f->go_on && f->go_on(f, e) < 0)
				return err_wrap(e, "disk '%s'", vm->disks[i].name);
	return 0;
}

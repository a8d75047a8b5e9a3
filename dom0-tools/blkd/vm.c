/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a disk: place reserved, image opened elsewhere, served, closed.
 * A disk that closes waits for its front-ends, for its flush, and for what
 * holds its queue: a cut, a resize, a mirror.
 */
#include "blkd/vm.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "blkd/mirror.h"

#define SAY_EVERY_NS UINT64_C(1000000000)

void vm_event(struct vm *vm, json_t *event)
{
	if (vm->ctl)
		ctl_publish(vm->ctl, event);
	else
		json_decref(event);
}

/* ---- errors of the image ----------------------------------------------------------------------------- */

static const char *op_name(enum req_op op)
{
	static const char *const names[REQ_OP_N] = {
		[REQ_READ] = "read", [REQ_WRITE] = "write", [REQ_ZERO] = "zero", [REQ_DISCARD] = "discard",
		[REQ_CACHE] = "cache", [REQ_FLUSH] = "flush",
	};

	return names[op];
}

static void say_error(struct vdisk *v, const struct req *r, int res)
{
	bool pause = v->on_error == QUEUE_PAUSE;
	uint64_t now = clock_mono_ns();

	if (v->said_ns && now - v->said_ns < SAY_EVERY_NS) {
		v->suppressed++;
		return;
	}
	log_err("disk '%s': %s of %llu bytes at %llu: %s (%s)", v->name, op_name(r->op), (unsigned long long)r->len,
		(unsigned long long)r->off, strerror(-res), pause ? "paused" : "reported");
	vm_event(v->vm, json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:I}", "event", BLKD_EVENT_IO_ERROR, "disk",
				  v->name, "op", op_name(r->op), "off", (json_int_t)r->off, "len", (json_int_t)r->len,
				  "error", res == -ENOSPC ? "no-space" : "io", "action", pause ? "pause" : "report",
				  "suppressed", (json_int_t)v->suppressed));
	v->said_ns = now;
	v->suppressed = 0;
}

static enum queue_on_error on_error(void *arg, const struct req *r, int res)
{
	struct vdisk *v = arg;

	say_error(v, r, res);
	if (v->on_error == QUEUE_PAUSE && !qdisk_paused(v->qd))
		vm_event(v->vm, json_pack("{s:s, s:s}", "event", BLKD_EVENT_PAUSED, "disk", v->name));
	return v->on_error;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static struct vdisk *any_of_name(struct vm *vm, const char *name)
{
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		if (vm->disks[i].state != VDISK_FREE && !strcmp(vm->disks[i].name, name))
			return &vm->disks[i];
	return NULL;
}

static bool key_taken(struct vm *vm, const char *key)
{
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		if (vm->disks[i].state != VDISK_FREE && !strcmp(vm->disks[i].key, key))
			return true;
	return false;
}

static bool name_ok(const char *s, size_t bytes)
{
	size_t n = strlen(s);

	return n && n < bytes &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

struct vdisk *vm_reserve(struct vm *vm, const struct vm_attach *a, struct err *e)
{
	const char *key = a->key ? a->key : a->name;
	struct vdisk *v = NULL;

	if (!name_ok(a->name, BLKD_NAME_BYTES) || !name_ok(key, FEED_KEY_BYTES))
		err_set(e, ERR_USAGE, "disk '%.40s', key '%.40s': 1 to %d letters, digits, '.', '_', '-'", a->name,
			key, BLKD_NAME_BYTES - 1);
	else if (any_of_name(vm, a->name))
		err_set(e, ERR_EXISTS, "disk '%s' is attached already", a->name);
	else if (key_taken(vm, key))
		err_set(e, ERR_EXISTS, "a disk with the key '%s' is attached already", key);
	else if (vm->ended)
		err_set(e, ERR_STATE, "hvblkd of '%s' is ending", vm->name);
	else
		for (unsigned i = 0; i < BLKD_DISKS_MAX && !v; i++)
			v = vm->disks[i].state == VDISK_FREE ? &vm->disks[i] : NULL;
	if (!v && e->code == ERR_NONE)
		err_set(e, ERR_LIMIT, "%d disks are attached already", BLKD_DISKS_MAX);
	if (!v)
		return NULL;
	*v = (struct vdisk){ .vm = vm, .state = VDISK_OPENING, .on_error = a->on_error, .limits = a->limits };
	snprintf(v->name, sizeof(v->name), "%s", a->name);
	snprintf(v->key, sizeof(v->key), "%s", key);
	return v;
}

static void end_if_over(struct vm *vm)
{
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		if (vm->disks[i].state != VDISK_FREE)
			return;
	vm->ended(vm->ended_arg, vm->end_res);
}

static void ended_one(void *arg, int res)
{
	struct vm *vm = arg;

	if (!vm->end_res)
		vm->end_res = res;
}

void vm_opened(struct vdisk *v, struct disk *d)
{
	struct qdisk_setup setup = { .on_error = on_error, .arg = v };

	v->disk = d;
	if (!d) {
		v->state = VDISK_FREE;
		if (v->vm->ended)
			end_if_over(v->vm);
		return;
	}
	v->qd = queue_add(v->vm->q, d, &setup);
	qdisk_set_limits(v->qd, &v->limits);
	v->state = VDISK_OPEN;
	log_info("disk '%s' attached: '%s', %llu bytes", v->name, blob_name(disk_leaf(d)),
		 (unsigned long long)disk_bytes(d));
	if (v->vm->ended)
		vm_close(v, ended_one, v->vm);
}

struct vdisk *vm_find(struct vm *vm, const char *name, struct err *e)
{
	struct vdisk *v = any_of_name(vm, name);

	if (v && v->state == VDISK_OPEN)
		return v;
	if (v)
		err_set(e, ERR_BUSY, "disk '%s' is being %s", v->name,
			v->state == VDISK_OPENING ? "opened" : "detached");
	else
		err_set(e, ERR_NOT_FOUND, "no disk '%.40s' is attached", name);
	return NULL;
}

void vm_add_front(struct vdisk *v, struct front *f)
{
	f->next = v->fronts;
	v->fronts = f;
}

/* ---- closing ------------------------------------------------------------------------------------------- */

static void closed(void *arg)
{
	struct vdisk *v = arg;

	log_info("disk '%s' detached%s%s", v->name, v->flush_res < 0 ? ", its last flush failed: " : "",
		 v->flush_res < 0 ? strerror(-v->flush_res) : "");
	v->state = VDISK_FREE;
	v->closed(v->closed_arg, v->flush_res);
	if (v->vm->ended)
		end_if_over(v->vm);
}

static void close_if_due(struct vdisk *v)
{
	struct vm *vm = v->vm;

	if (!v->qd || v->state != VDISK_CLOSING || !v->flushed || vm->cut.active || v->resizing ||
	    (vm->mirror && mirror_disk(vm->mirror) == v))
		return;
	if (vm->taps)
		taps_drop(vm->taps, v->qd);
	queue_remove(v->qd);
	v->qd = NULL;
	image_close(vm->loop, v->disk, closed, v);
	v->disk = NULL;
}

static void look_again(void *arg)
{
	struct vm *vm = arg;

	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		close_if_due(&vm->disks[i]);
}

/* Later: who calls may be in the middle of the disk's queue. */
void vm_look(struct vm *vm)
{
	loop_post(vm->loop, look_again, vm);
}

static void flushed(struct req *r, int res)
{
	struct vdisk *v = (struct vdisk *)(void *)((char *)r - offsetof(struct vdisk, flush));

	v->flushed = true;
	v->flush_res = res;
	vm_look(v->vm);
}

static void fronts_gone(void *arg)
{
	struct vdisk *v = arg;

	while (v->fronts) {
		struct front *f = v->fronts;

		v->fronts = f->next;
		f->free(f);
	}
	v->flush = (struct req){ .op = REQ_FLUSH, .internal = true, .disk = v->qd, .done = flushed };
	queue_submit(v->vm->q, &v->flush);
	queue_kick(v->vm->q);
}

static void front_stopped(void *arg)
{
	struct vdisk *v = arg;

	assert(v->stopping > 0);
	if (--v->stopping == 0)
		fronts_gone(v);
}

void vm_close(struct vdisk *v, void (*fn)(void *arg, int res), void *arg)
{
	struct vm *vm = v->vm;

	assert(v->state == VDISK_OPEN);
	v->state = VDISK_CLOSING;
	v->closed = fn;
	v->closed_arg = arg;
	if (vm->mirror && mirror_disk(vm->mirror) == v)
		mirror_cancel(vm->mirror, NULL, NULL);
	v->on_error = QUEUE_REPORT;	/* what was kept is tried once more, then fails */
	if (qdisk_paused(v->qd)) {
		if (vm->cut.active)
			queue_resume(v->qd);	/* its drain; the cut is given up by its timer */
		queue_resume(v->qd);
	}
	v->stopping = 1;
	for (struct front *f = v->fronts; f; f = f->next) {
		v->stopping++;
		f->stop(f, front_stopped, v);
	}
	loop_post(vm->loop, front_stopped, v);
}

void vm_end(struct vm *vm, void (*fn)(void *arg, int res), void *arg)
{
	vm->ended = fn;
	vm->ended_arg = arg;
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		if (vm->disks[i].state == VDISK_OPEN)
			vm_close(&vm->disks[i], ended_one, vm);
	end_if_over(vm);
}

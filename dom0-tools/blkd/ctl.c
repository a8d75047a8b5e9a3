/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of hvblkd_ctl.h: arguments checked here, done by vm.h and
 * mirror.h.  What takes time answers later.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "blkd/blkif.h"
#include "blkd/mirror.h"
#include "blkd/vm.h"

enum { IOPS_MAX = 1000000000, BURST_MS_MAX = 3600000, NS_PER_US = 1000 };
#define BYTES_S_MAX (UINT64_C(1) << 50)

/* ---- arguments --------------------------------------------------------------------------------------- */

static struct vdisk *disk_of(struct vm *vm, const json_t *in, struct err *e)
{
	const char *name = NULL;

	return js_text(in, "disk", &name, e) < 0 ? NULL : vm_find(vm, name, e);
}

static int read_limits(const json_t *in, struct throttle_limits *out, struct err *e)
{
	static const char *const known[] = { "iops", "bytes_s", "burst_ms", NULL };
	const json_t *o = json_object_get(in, "limits");
	struct throttle_limits l = { 0 };

	if (!o || json_is_null(o))
		return 0;
	if (!json_is_object(o))
		return err_set(e, ERR_USAGE, "limits is no object");
	if (js_only(o, known, e) < 0 || js_opt_u64(o, "iops", IOPS_MAX, &l.iops, e) < 0 ||
	    js_opt_u64(o, "bytes_s", BYTES_S_MAX, &l.bytes_s, e) < 0 ||
	    js_opt_u64(o, "burst_ms", BURST_MS_MAX, &l.burst_ms, e) < 0)
		return err_wrap(e, "limits");
	*out = l;
	return 0;
}

static int read_on_error(const json_t *in, enum queue_on_error *out, struct err *e)
{
	const char *text = NULL;

	if (js_opt_text(in, "on_io_error", &text, e) < 0)
		return -1;
	if (!text)
		return 0;
	if (strcmp(text, "report") && strcmp(text, "pause"))
		return err_set(e, ERR_USAGE, "on_io_error '%.40s' is neither report nor pause", text);
	*out = strcmp(text, "pause") ? QUEUE_REPORT : QUEUE_PAUSE;
	return 0;
}

/* ---- attach, detach ---------------------------------------------------------------------------------- */

static json_t *describe(const struct vdisk *v)
{
	struct layer_info info;

	disk_info(v->disk, &info);
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:s}", "disk", v->name, "key", v->key,
			 "format", info.format, "kind", info.kind, "bytes", (json_int_t)disk_bytes(v->disk),
			 "sector_bytes", (json_int_t)info.sector_bytes,
			 "physical_bytes", (json_int_t)info.physical_bytes, "read_only", (int)disk_read_only(v->disk),
			 "state", qdisk_paused(v->qd) ? "paused" : "running");
}

struct attaching {
	struct image image;
	struct vdisk *v;
	struct ctl_call *call;
};

static void attached(void *arg, struct disk *d, const struct err *e)
{
	struct attaching *a = arg;

	vm_opened(a->v, d);
	ctl_finish(a->call, d ? describe(a->v) : NULL, d ? NULL : e);
	free(a);
}

static int verb_attach(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", "parts", "key", "read_only", "direct", "on_io_error", "limits",
					     NULL };
	struct vm_attach set = { 0 };
	struct attaching *a;
	struct image image;
	struct vm *vm = arg;
	struct vdisk *v;

	(void)out;
	if (js_only(in, known, e) < 0 || js_text(in, "disk", &set.name, e) < 0 ||
	    js_opt_text(in, "key", &set.key, e) < 0 || js_opt_bool(in, "read_only", &set.read_only, e) < 0 ||
	    read_on_error(in, &set.on_error, e) < 0 || read_limits(in, &set.limits, e) < 0 ||
	    image_take(in, call, set.read_only, &image, e) < 0)
		return -1;
	v = vm_reserve(vm, &set, e);
	if (!v) {
		image_fini(&image);
		return -1;
	}
	a = mem_alloc(sizeof(*a));
	*a = (struct attaching){ .image = image, .v = v, .call = ctl_defer(call) };
	image_open(vm->loop, &a->image, attached, a);
	return 0;
}

static void detached(void *arg, int res)
{
	struct err e = ERR_INIT;

	if (res < 0)
		err_sys(&e, -res, "the disk is detached, its last flush failed");
	ctl_finish(arg, NULL, res < 0 ? &e : NULL);
}

static int verb_detach(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", NULL };
	struct vdisk *v;

	(void)out;
	if (js_only(in, known, e) < 0)
		return -1;
	v = disk_of(arg, in, e);
	if (!v)
		return -1;
	if (v->vm->mirror && mirror_disk(v->vm->mirror) == v && mirror_switching(v->vm->mirror))
		return err_set(e, ERR_BUSY, "disk '%s' goes over to its mirror", v->name);
	vm_close(v, detached, ctl_defer(call));
	return 0;
}

static int verb_export_nbd(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", "read_only", "dirty", NULL };
	const char *dirty = "";
	bool read_only = false;
	struct vdisk *v;
	int fd;

	(void)out;
	if (js_only(in, known, e) < 0 || js_opt_bool(in, "read_only", &read_only, e) < 0 ||
	    js_opt_text(in, "dirty", &dirty, e) < 0)
		return -1;
	v = disk_of(arg, in, e);
	if (!v)
		return -1;
	fd = ctl_take_fd(call, 0);
	if (fd < 0)
		return err_set(e, ERR_USAGE, "export-nbd comes without the socket to listen on");
	return front_nbd_add(v, fd, read_only, dirty, e);
}

/* ---- all disks at once ------------------------------------------------------------------------------- */

struct asked {
	struct vm *vm;
	struct ctl_call *call;
};

static struct asked *ask(struct vm *vm, struct ctl_call *call)
{
	struct asked *a = mem_alloc(sizeof(*a));

	*a = (struct asked){ vm, ctl_defer(call) };
	return a;
}

/* The answer to a verb that fails after it was deferred. */
static int refuse(struct asked *a, const struct err *e)
{
	ctl_finish(a->call, NULL, e);
	free(a);
	return 0;
}

static json_t *feed_json(struct vm *vm)
{
	struct feed *f = taps_feed(vm->taps);
	json_t *names = json_array();
	struct feed_stats st;

	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		if (vm->disks[i].qd && taps_number(vm->taps, vm->disks[i].qd) >= 0)
			json_array_append_new(names, json_string(vm->disks[i].name));
	feed_get_stats(f, &st);
	return json_pack("{s:I, s:o}", "feed", (json_int_t)st.feed_id, "disks", names);
}

static void feed_made(void *arg, const struct err *e)
{
	struct asked *a = arg;

	ctl_finish(a->call, e ? NULL : feed_json(a->vm), e);
	free(a);
}

static int verb_feed(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { NULL };
	struct asked *a;

	(void)out;
	if (js_only(in, known, e) < 0)
		return -1;
	a = ask(arg, call);
	return vm_feed(a->vm, feed_made, a, e) < 0 ? refuse(a, e) : 0;
}

static void at_barrier(void *arg, const struct err *e)
{
	struct asked *a = arg;
	struct vm *vm = a->vm;
	uint64_t position = vm->taps ? feed_position(taps_feed(vm->taps)) : 0;

	if (!e)
		vm_cut_end(vm);
	ctl_finish(a->call, e ? NULL : json_pack("{s:I, s:I}", "position", (json_int_t)position, "stall_us",
		   (json_int_t)((clock_mono_ns() - vm->cut.asked_ns) / NS_PER_US)), e);
	free(a);
}

static int verb_barrier(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { NULL };
	struct asked *a;

	(void)out;
	if (js_only(in, known, e) < 0)
		return -1;
	a = ask(arg, call);
	return vm_cut(a->vm, at_barrier, a, e) < 0 ? refuse(a, e) : 0;
}

struct flush_all {
	struct ctl_call *call;
	unsigned left;
	struct err e;
	struct flush_one { struct req r; struct flush_all *all; const char *name; } of[BLKD_DISKS_MAX];
};

static void flush_over(struct flush_all *f)
{
	if (--f->left)
		return;
	ctl_finish(f->call, NULL, f->e.code == ERR_NONE ? NULL : &f->e);
	free(f);
}

static void flush_done(struct req *r, int res)
{
	struct flush_one *o = (struct flush_one *)(void *)r;

	if (res < 0 && o->all->e.code == ERR_NONE)
		err_sys(&o->all->e, -res, "flush of disk '%s'", o->name);
	flush_over(o->all);
}

static int verb_flush(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", NULL };
	struct vm *vm = arg;
	struct vdisk *only = NULL;
	struct flush_all *f;

	(void)out;
	if (js_only(in, known, e) < 0)
		return -1;
	if (json_object_get(in, "disk")) {
		only = disk_of(vm, in, e);
		if (!only)
			return -1;
	}
	f = mem_alloc(sizeof(*f));
	f->call = ctl_defer(call);
	f->left = 1;
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++) {
		struct vdisk *v = &vm->disks[i];

		if (v->state != VDISK_OPEN || (only && v != only))
			continue;
		f->left++;
		f->of[i] = (struct flush_one){ .all = f, .name = v->name };
		f->of[i].r = (struct req){ .op = REQ_FLUSH, .internal = true, .disk = v->qd, .done = flush_done };
		queue_submit(vm->q, &f->of[i].r);
	}
	queue_kick(vm->q);
	flush_over(f);
	return 0;
}

/* ---- one disk ---------------------------------------------------------------------------------------- */

struct resizing {
	struct vdisk *v;
	struct ctl_call *call;
};

static void resized(void *arg, const struct err *e)
{
	struct resizing *z = arg;
	struct vdisk *v = z->v;
	struct vm *vm = v->vm;
	uint64_t bytes = disk_bytes(v->disk);
	int number = vm->taps ? taps_number(vm->taps, v->qd) : -1;

	v->resizing = false;
	if (number >= 0)
		feed_set_bytes(taps_feed(vm->taps), (unsigned)number, bytes);
	for (struct front *f = v->fronts; f && e->code == ERR_NONE; f = f->next)
		if (f->resized)
			f->resized(f);
	if (e->code == ERR_NONE)
		vm_event(vm, json_pack("{s:s, s:s, s:I}", "event", BLKD_EVENT_RESIZED, "disk", v->name, "bytes",
				       (json_int_t)bytes));
	ctl_finish(z->call, e->code == ERR_NONE ? json_pack("{s:I}", "bytes", (json_int_t)bytes) : NULL,
		   e->code == ERR_NONE ? NULL : e);
	free(z);
	vm_look(vm);
}

static int may_resize(const struct vdisk *v, uint64_t bytes, struct err *e)
{
	const struct vm *vm = v->vm;
	uint64_t most = vm->taps ? taps_bytes_max(vm->taps, v->qd) : DISK_BYTES_MAX;

	if (v->resizing)
		return err_set(e, ERR_BUSY, "disk '%s' is being resized", v->name);
	if (vm->cut.active)
		return err_set(e, ERR_BUSY, "a barrier of '%s' is under way", vm->name);
	if (vm->mirror && mirror_disk(vm->mirror) == v)
		return err_set(e, ERR_BUSY, "disk '%s' is being mirrored", v->name);
	if (bytes < disk_bytes(v->disk))
		return err_set(e, ERR_USAGE, "disk '%s' has %llu bytes; it cannot shrink", v->name,
			       (unsigned long long)disk_bytes(v->disk));
	if (bytes <= most)
		return 0;
	err_set(e, ERR_LIMIT, "disk '%s' can grow to %llu bytes while its change feed lasts", v->name,
		(unsigned long long)most);
	return err_remedy(e, "grow it in steps, with a restart of the VM between");
}

static int verb_resize(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", "bytes", NULL };
	struct resizing *z;
	uint64_t bytes = 0;
	struct vdisk *v;

	(void)out;
	if (js_only(in, known, e) < 0 || js_u64(in, "bytes", INT64_MAX, &bytes, e) < 0)
		return -1;
	v = disk_of(arg, in, e);
	if (!v || may_resize(v, bytes, e) < 0)
		return -1;
	z = mem_alloc(sizeof(*z));
	*z = (struct resizing){ v, ctl_defer(call) };
	v->resizing = true;
	queue_resize(v->qd, bytes, resized, z);
	return 0;
}

static int verb_set_limits(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", "limits", NULL };
	struct throttle_limits l = { 0 };
	struct vdisk *v;

	(void)call, (void)out;
	if (js_only(in, known, e) < 0 || read_limits(in, &l, e) < 0)
		return -1;
	v = disk_of(arg, in, e);
	if (!v)
		return -1;
	v->limits = l;
	qdisk_set_limits(v->qd, &l);
	return 0;
}

static int verb_resume(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", "on_io_error", NULL };
	struct vdisk *v;

	(void)call, (void)out;
	if (js_only(in, known, e) < 0)
		return -1;
	v = disk_of(arg, in, e);
	if (!v)
		return -1;
	if (v->in_cut || (v->vm->mirror && mirror_disk(v->vm->mirror) == v && mirror_switching(v->vm->mirror)))
		return err_set(e, ERR_BUSY, "a barrier of disk '%s' is under way", v->name);
	if (read_on_error(in, &v->on_error, e) < 0)
		return -1;
	if (qdisk_paused(v->qd))
		queue_resume(v->qd);
	return 0;
}

/* ---- mirror ------------------------------------------------------------------------------------------ */

static void begun_or_over(void *arg, const struct err *e)
{
	ctl_finish(arg, NULL, e);
}

static int verb_mirror(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", "parts", "direct", "bytes_s", NULL };
	struct image image;
	uint64_t bytes_s = 0;
	struct vdisk *v;
	int note;

	(void)out;
	if (js_only(in, known, e) < 0 || js_opt_u64(in, "bytes_s", BYTES_S_MAX, &bytes_s, e) < 0)
		return -1;
	v = disk_of(arg, in, e);
	if (!v || image_take(in, call, false, &image, e) < 0)
		return -1;
	note = ctl_take_fd(call, image.n);
	if (note < 0) {
		image_fini(&image);
		return err_set(e, ERR_USAGE, "mirror comes without the descriptor of its note");
	}
	call = ctl_defer(call);
	if (mirror_start(v, &image, note, bytes_s, begun_or_over, call, e) < 0)
		ctl_finish(call, NULL, e);
	return 0;
}

static int verb_mirror_cancel(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", NULL };
	struct vm *vm = arg;
	struct vdisk *v;

	(void)out;
	if (js_only(in, known, e) < 0)
		return -1;
	v = disk_of(vm, in, e);
	if (!v)
		return -1;
	if (!vm->mirror || mirror_disk(vm->mirror) != v)
		return err_set(e, ERR_STATE, "disk '%s' is not being mirrored", v->name);
	mirror_cancel(vm->mirror, begun_or_over, ctl_defer(call));
	return 0;
}

/* ---- stats ------------------------------------------------------------------------------------------- */

static json_t *disk_stats(const struct vdisk *v)
{
	static const struct { enum req_op op; const char *ops, *bytes; } names[] = {
		{ REQ_READ, "reads", "read_bytes" }, { REQ_WRITE, "writes", "written_bytes" },
		{ REQ_ZERO, "zeroes", "zeroed_bytes" }, { REQ_DISCARD, "discards", "discarded_bytes" },
		{ REQ_FLUSH, "flushes", NULL },
	};
	json_t *o = describe(v), *fronts = json_array();
	struct qdisk_stats st;

	qdisk_stats(v->qd, &st);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		json_object_set_new(o, names[i].ops, json_integer((json_int_t)st.ops[names[i].op]));
		if (names[i].bytes)
			json_object_set_new(o, names[i].bytes, json_integer((json_int_t)st.bytes[names[i].op]));
	}
	json_object_set_new(o, "errors", json_integer((json_int_t)st.errors));
	json_object_set_new(o, "serialised", json_integer((json_int_t)st.serialised));
	json_object_set_new(o, "throttled", json_integer((json_int_t)st.throttled));
	json_object_set_new(o, "allocs", json_integer((json_int_t)st.allocs));
	json_object_set_new(o, "in_flight", json_integer(qdisk_in_flight(v->qd)));
	json_object_set_new(o, "on_io_error", json_string(v->on_error == QUEUE_PAUSE ? "pause" : "report"));
	json_object_set_new(o, "limits", json_pack("{s:I, s:I, s:I}", "iops", (json_int_t)v->limits.iops, "bytes_s",
						   (json_int_t)v->limits.bytes_s, "burst_ms",
						   (json_int_t)v->limits.burst_ms));
	for (const struct front *f = v->fronts; f; f = f->next)
		json_array_append_new(fronts, json_string(f->kind));
	json_object_set_new(o, "fronts", fronts);
	return o;
}

static int verb_stats(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { NULL };
	json_t *disks;
	struct vm *vm = arg;

	(void)call;
	if (js_only(in, known, e) < 0)
		return -1;
	disks = json_array();
	for (unsigned i = 0; i < BLKD_DISKS_MAX; i++)
		if (vm->disks[i].state == VDISK_OPEN)
			json_array_append_new(disks, disk_stats(&vm->disks[i]));
	*out = json_pack("{s:s, s:o}", "vm", vm->name, "disks", disks);
	if (vm->taps)
		json_object_set_new(*out, "feed", feed_json(vm));
	if (vm->mirror)
		json_object_set_new(*out, "mirror", mirror_json(vm->mirror));
	return 0;
}

/* ---- guests ------------------------------------------------------------------------------------------- */

static int verb_connect(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { "disk", "domid", NULL };
	uint64_t domid = 0;
	struct vdisk *v;

	(void)call, (void)out;
	if (js_only(in, known, e) < 0 || js_u64(in, "domid", BLKIF_DOMID_MAX, &domid, e) < 0)
		return -1;
	v = disk_of(arg, in, e);
	return v ? front_xen_add(v, (unsigned)domid, e) : -1;
}

static int verb_quiesce(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { NULL };
	struct ctl_call *later;

	(void)out;
	if (js_only(in, known, e) < 0)
		return -1;
	later = ctl_defer(call);
	if (vm_still(arg, begun_or_over, later, e) < 0)
		ctl_finish(later, NULL, e);
	return 0;
}

static int verb_go_on(void *arg, struct ctl_call *call, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { NULL };

	(void)call, (void)out;
	return js_only(in, known, e) < 0 ? -1 : vm_go_on(arg, e);
}

const struct ctl_verb blkd_verbs[] = {
	{ BLKD_ATTACH, verb_attach, "{disk, parts, key?, read_only?, direct?, on_io_error?, limits?} + descriptors" },
	{ BLKD_DETACH, verb_detach, "{disk}: exports end, flush, close" },
	{ BLKD_EXPORT_NBD, verb_export_nbd, "{disk, read_only?, dirty?} + listening unix socket" },
	{ BLKD_CONNECT, verb_connect, "{disk, domid}: offers it to the guest" },
	{ BLKD_QUIESCE, verb_quiesce, "{}: nothing more is taken from the guest; what was is on stable storage" },
	{ BLKD_GO_ON, verb_go_on, "{}: undoes quiesce" },
	{ BLKD_FEED, verb_feed, "{}: the change feed over the disks that are attached" },
	{ BLKD_BARRIER, verb_barrier, "{}: one point of all disks" },
	{ BLKD_FLUSH, verb_flush, "{disk?}: what was complete before is on stable storage" },
	{ BLKD_RESIZE, verb_resize, "{disk, bytes}: grows" },
	{ BLKD_SET_LIMITS, verb_set_limits, "{disk, limits: {iops?, bytes_s?, burst_ms?}}" },
	{ BLKD_RESUME, verb_resume, "{disk, on_io_error?}: ends a pause; tries again" },
	{ BLKD_STATS, verb_stats, "{}: disks, counters, feed, mirror" },
	{ BLKD_MIRROR, verb_mirror, "{disk, parts, direct?, bytes_s?} + descriptors, last the note: moves the disk" },
	{ BLKD_MIRROR_CANCEL, verb_mirror_cancel, "{disk}: the source stays the disk" },
	{ NULL, NULL, NULL },
};

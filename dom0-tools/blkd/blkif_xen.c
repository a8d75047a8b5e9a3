/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct blkif_xen_ops over gnt, evtchn and xs, and the two descriptors that
 * the loop watches.  A watch that fired says only that something changed, so
 * every blkif looks: a guest has few disks, and states change rarely.
 */
#include "blkd/blkif_xen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "xen/blkif_fmt.h"
#include "xen/evtchn.h"
#include "xen/xs.h"

enum { PATH_BYTES = 112, RINGS_PER_TURN = 64 };

#define FRONT "/local/domain/%u/device/vbd/%u"
#define BACK "/local/domain/0/backend/hvblk/%u/%u"
#define FAILURE "/local/domain/0/error/backend/hvblk/%u/%u"
/* Some node that always is, so that libxenstore starts its thread before the sandbox. */
#define QUIET "/local/domain/0/domid"

struct entry {
	struct entry *next;
	struct blkif *b;
	char state[PATH_BYTES], online[PATH_BYTES];	/* watched */
};

struct blkif_xen {
	struct loop *loop;
	struct gnt *gnt;
	struct evtchn *evtchn;
	struct xs *xs;
	struct loop_src *evtchn_src, *xs_src;
	struct entry *entries;
};

/* ---- struct blkif_xen_ops ------------------------------------------------------------------------------ */

static int op_map(void *x, unsigned domid, const uint32_t *refs, unsigned n, void **out, struct err *e)
{
	return gnt_map(((struct blkif_xen *)x)->gnt, domid, refs, n, out, e);
}

static void op_unmap(void *x, void *p, unsigned n)
{
	gnt_unmap(((struct blkif_xen *)x)->gnt, p, n);
}

static int op_copy(void *x, unsigned domid, struct gnt_copy *c, unsigned n)
{
	return gnt_copy_all(((struct blkif_xen *)x)->gnt, domid, c, n);
}

static int op_bind(void *x, unsigned domid, uint32_t remote_port, int *out_port, struct err *e)
{
	return evtchn_bind(((struct blkif_xen *)x)->evtchn, domid, remote_port, out_port, e);
}

static void op_unbind(void *x, int port)
{
	evtchn_unbind(((struct blkif_xen *)x)->evtchn, port);
}

static void op_notify(void *x, int port)
{
	evtchn_notify(((struct blkif_xen *)x)->evtchn, port);
}

static void op_unmask(void *x, int port)
{
	evtchn_unmask(((struct blkif_xen *)x)->evtchn, port);
}

static int op_get(void *x, const char *path, char out[BLKIF_TEXT_BYTES], struct err *e)
{
	char value[XS_VALUE_BYTES];

	if (xs_get(((struct blkif_xen *)x)->xs, value, e, "%s", path) < 0)
		return -1;
	if (strlen(value) >= BLKIF_TEXT_BYTES)
		return err_set(e, ERR_LIMIT, "xenstore '%s' is longer than %d bytes", path, BLKIF_TEXT_BYTES - 1);
	memcpy(out, value, strlen(value) + 1);
	return 0;
}

static int op_put(void *x, const char *path, const char *value, struct err *e)
{
	return xs_put(((struct blkif_xen *)x)->xs, value, e, "%s", path);
}

static void op_remove(void *x, const char *path)
{
	xs_remove(((struct blkif_xen *)x)->xs, "%s", path);
}

static const struct blkif_xen_ops ops = {
	.map = op_map, .unmap = op_unmap, .copy = op_copy, .bind = op_bind, .unbind = op_unbind, .notify = op_notify,
	.unmask = op_unmask, .get = op_get, .put = op_put, .remove = op_remove,
};

/* ---- what the loop watches ----------------------------------------------------------------------------- */

static struct blkif *find_port(const struct blkif_xen *x, int port)
{
	for (const struct entry *n = x->entries; n; n = n->next)
		if (blkif_port(n->b) == port)
			return n->b;
	return NULL;			/* it was unbound with its bell still in the queue */
}

static void bells(void *arg, unsigned events)
{
	struct blkif_xen *x = arg;

	(void)events;
	for (int i = 0; i < RINGS_PER_TURN; i++) {
		int port = evtchn_next(x->evtchn);
		struct blkif *b;

		if (port < 0)
			return;
		b = find_port(x, port);
		if (b)
			blkif_rang(b);
	}
}

static void nodes_changed(void *arg, unsigned events)
{
	struct blkif_xen *x = arg;
	bool any = false;

	if (events & LOOP_HUP) {
		log_err("xenstore went away; disks that are connected stay so");
		loop_unwatch(&x->xs_src);
		return;
	}
	while (xs_fired(x->xs))
		any = true;
	for (struct entry *n = x->entries, *next; any && n; n = next) {
		next = n->next;
		blkif_look(n->b);
	}
}

int blkif_xen_open(struct loop *l, struct blkif_xen **out, struct err *e)
{
	struct blkif_xen *x = mem_alloc(sizeof(*x));

	x->loop = l;
	if (gnt_open(&x->gnt, e) < 0 || evtchn_open(&x->evtchn, e) < 0 || xs_new(&x->xs, e) < 0 ||
	    xs_watch_add(x->xs, QUIET, e) < 0 ||
	    loop_watch(l, evtchn_fd(x->evtchn), LOOP_READ, bells, x, &x->evtchn_src, e) < 0 ||
	    loop_watch(l, xs_fd(x->xs), LOOP_READ, nodes_changed, x, &x->xs_src, e) < 0) {
		blkif_xen_close(x);
		return -1;
	}
	*out = x;
	return 0;
}

void blkif_xen_close(struct blkif_xen *x)
{
	if (!x)
		return;
	loop_unwatch(&x->evtchn_src);
	loop_unwatch(&x->xs_src);
	xs_free(x->xs);
	evtchn_close(x->evtchn);
	gnt_close(x->gnt);
	free(x);
}

static void unwatch(struct blkif_xen *x, struct entry *n)
{
	xs_watch_del(x->xs, n->state);
	xs_watch_del(x->xs, n->online);
	free(n);
}

int blkif_xen_add(struct blkif_xen *x, const struct blkif_setup *setup, struct blkif **out, struct err *e)
{
	struct entry *n = mem_alloc(sizeof(*n));
	struct blkif_setup s = *setup;

	s.xen = &ops;
	s.x = x;
	snprintf(n->state, sizeof(n->state), FRONT "/state", s.domid, s.devid);
	snprintf(n->online, sizeof(n->online), BACK "/online", s.domid, s.devid);
	/* Watched first: what changes while blkif_new looks is looked at again. */
	if (xs_watch_add(x->xs, n->state, e) < 0 || xs_watch_add(x->xs, n->online, e) < 0 ||
	    blkif_new(&s, &n->b, e) < 0) {
		unwatch(x, n);
		return -1;
	}
	n->next = x->entries;
	x->entries = n;
	*out = n->b;
	return 0;
}

void blkif_xen_remove(struct blkif_xen *x, struct blkif *b)
{
	for (struct entry **at = &x->entries; *at; at = &(*at)->next) {
		struct entry *n = *at;

		if (n->b != b)
			continue;
		*at = n->next;
		blkif_free(b);
		unwatch(x, n);
		return;
	}
}

/* ---- for whoever plays toolstack ----------------------------------------------------------------------- */

struct pair {
	const char *key, *value;
};

static int put_dir(struct xs *xs, const char *base, unsigned owner, unsigned reader, const struct pair *kv,
		   struct err *e)
{
	xs_remove(xs, "%s", base);
	if (xs_put(xs, "", e, "%s", base) < 0 || xs_allow(xs, owner, reader, e, "%s", base) < 0)
		return -1;
	for (; kv->key; kv++)		/* they get the rights of the folder */
		if (xs_put(xs, kv->value, e, "%s/%s", base, kv->key) < 0)
			return -1;
	return 0;
}

static int put_both(struct xs *xs, unsigned domid, unsigned devid, const char *vdev, struct err *e)
{
	char front[PATH_BYTES], back[PATH_BYTES], dom[12], dev[12];
	const struct pair front_kv[] = {
		{ "backend", back }, { "backend-id", "0" }, { "virtual-device", dev }, { "device-type", "disk" },
		{ "state", "1" }, { NULL, NULL },
	};
	const struct pair back_kv[] = {
		{ "frontend", front }, { "frontend-id", dom }, { "online", "1" }, { "dev", vdev },
		{ "device-type", "disk" }, { "removable", "0" }, { "state", "1" }, { NULL, NULL },
	};

	snprintf(front, sizeof(front), FRONT, domid, devid);
	snprintf(back, sizeof(back), BACK, domid, devid);
	snprintf(dom, sizeof(dom), "%u", domid);
	snprintf(dev, sizeof(dev), "%u", devid);
	if (put_dir(xs, back, 0, domid, back_kv, e) < 0)
		return -1;
	return put_dir(xs, front, domid, 0, front_kv, e);
}

bool blkif_xen_has(struct blkif_xen *x, unsigned domid, unsigned devid)
{
	return xs_has(x->xs, BACK "/frontend", domid, devid);
}

int blkif_xen_create(struct blkif_xen *x, unsigned domid, unsigned devid, const char *vdev, struct err *e)
{
	struct err ignored = ERR_INIT;
	int rc;

	if (!xs_has(x->xs, "/local/domain/%u", domid))
		return err_set(e, ERR_NOT_FOUND, "there is no domain %u", domid);
	do {
		*e = (struct err)ERR_INIT;
		if (xs_begin(x->xs, e) < 0)
			return -1;
		if (put_both(x->xs, domid, devid, vdev, e) < 0) {
			rc = xs_end(x->xs, false, &ignored);
			return -1;
		}
		rc = xs_end(x->xs, true, e);
	} while (rc < 0 && e->code == ERR_BUSY);
	return rc;
}

void blkif_xen_destroy(struct blkif_xen *x, unsigned domid, unsigned devid)
{
	xs_remove(x->xs, FRONT, domid, devid);
	xs_remove(x->xs, BACK, domid, devid);
	xs_remove(x->xs, FAILURE, domid, devid);
}

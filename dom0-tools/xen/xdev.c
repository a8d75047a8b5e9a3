/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All nodes of a device appear in one transaction, so no back-end ever sees
 * half of one.
 */
#include "xen/xdev.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <net/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "xen/xs.h"

enum { XDEV_POLL_MS = 200, PATH_HALF = 160, STATE_INIT_WAIT = 2 };

struct prep {
	struct xs *xs;
	const json_t *vm;
	bool (*cancelled)(void *arg);
	void *arg;
	uint64_t end_ms;
	int links_fd;			/* netlink: interfaces come and go */
	unsigned domid;
	const char *uuid;
	/* of the device being written */
	char front[PATH_HALF], back[PATH_HALF], book[PATH_HALF];
};

/* False: time is up or nobody wants it any more. */
static bool may_wait(const struct prep *p, const char *what, struct err *e)
{
	if (p->cancelled(p->arg)) {
		err_set(e, ERR_CANCELLED, "cancelled while waiting for %s", what);
		return false;
	}
	if (clock_mono_ms() >= p->end_ms) {
		err_set(e, ERR_TIMEOUT, "waited %d s for %s", XDEV_WAIT_MS / 1000, what);
		return false;
	}
	return true;
}

/* One more wait for a watch. */
static bool go_on(struct prep *p, const char *what, struct err *e)
{
	if (!may_wait(p, what, e))
		return false;
	xs_wait(p->xs, XDEV_POLL_MS);
	return true;
}

static void look_at_domain(void *arg, const char *name)
{
	struct prep *p = arg;
	struct err ignored = ERR_INIT;
	char vm[XS_VALUE_BYTES];

	if (xs_get(p->xs, vm, &ignored, "/local/domain/%s/vm", name) == 0 && !strncmp(vm, "/vm/", 4) &&
	    !strcasecmp(vm + 4, p->uuid) && xs_has(p->xs, "/local/domain/%s/device", name))
		p->domid = (unsigned)strtoul(name, NULL, 10);
}

static int find_domain(struct prep *p, struct err *e)
{
	if (xs_watch_add(p->xs, "/local/domain", e) < 0)
		return -1;
	for (;;) {
		if (xs_each(p->xs, "/local/domain", look_at_domain, p, e) < 0 && e->code != ERR_NOT_FOUND)
			return -1;
		if (p->domid)
			break;
		if (!go_on(p, "libxl to make the domain", e))
			return -1;
	}
	xs_watch_del(p->xs, "/local/domain");
	return 0;
}

/* ---- nodes ---- */

struct pair {
	const char *key;
	const char *value;
};

static int put_all(struct prep *p, const char *base, unsigned owner, unsigned reader, const struct pair *kv,
		   struct err *e)
{
	if (xs_put(p->xs, "", e, "%s", base) < 0 || xs_allow(p->xs, owner, reader, e, "%s", base) < 0)
		return -1;
	for (; kv->key; kv++)
		if (xs_put(p->xs, kv->value, e, "%s/%s", base, kv->key) < 0 ||
		    xs_allow(p->xs, owner, reader, e, "%s/%s", base, kv->key) < 0)
			return -1;
	return 0;
}

static int put_device(struct prep *p, const struct pair *front, const struct pair *back, struct err *e)
{
	char domid[12];

	snprintf(domid, sizeof(domid), "%u", p->domid);
	const struct pair front_all[] = { { "backend", p->back }, { "backend-id", "0" }, { "state", "1" },
					  { NULL, NULL } };
	const struct pair back_all[] = { { "frontend", p->front }, { "frontend-id", domid }, { "online", "1" },
					 { "state", "1" }, { NULL, NULL } };
	const struct pair book[] = { { "frontend", p->front }, { "backend", p->back }, { NULL, NULL } };

	if (put_all(p, p->front, p->domid, 0, front, e) < 0 || put_all(p, p->back, 0, p->domid, back, e) < 0 ||
	    put_all(p, p->book, 0, 0, book, e) < 0)
		return -1;
	if (put_all(p, p->front, p->domid, 0, front_all, e) < 0)
		return -1;
	return put_all(p, p->back, 0, p->domid, back_all, e);
}

/* The whole device at once; again if somebody else wrote meanwhile. */
static int add_device(struct prep *p, const char *kind, const char *id, const struct pair *front,
		      const struct pair *back, struct err *e)
{
	snprintf(p->front, sizeof(p->front), "/local/domain/%u/device/%s/%s", p->domid, kind, id);
	snprintf(p->back, sizeof(p->back), "/local/domain/0/backend/%s/%u/%s", kind, p->domid, id);
	snprintf(p->book, sizeof(p->book), "/libxl/%u/device/%s/%s", p->domid, kind, id);
	for (;;) {
		if (xs_begin(p->xs, e) < 0)
			return -1;
		if (put_device(p, front, back, e) < 0) {
			struct err ignored = ERR_INIT;
			int rc = xs_end(p->xs, false, &ignored);

			(void)rc;
			return -1;
		}
		if (xs_end(p->xs, true, e) == 0)
			return 0;
		if (e->code != ERR_BUSY)
			return -1;
		*e = (struct err)ERR_INIT;
	}
}

/* ---- vifs ---- */

static int add_vif(struct prep *p, const json_t *v, size_t no, char back[PATH_HALF], struct err *e)
{
	const char *mac, *bridge;
	char id[24];

	if (js_text(v, "mac", &mac, e) < 0 || js_text(v, "bridge", &bridge, e) < 0)
		return -1;
	snprintf(id, sizeof(id), "%zu", no);
	const struct pair front_kv[] = { { "handle", id }, { "mac", mac }, { "mtu", "1500" }, { NULL, NULL } };
	const struct pair back_kv[] = {
		{ "handle", id }, { "mac", mac }, { "bridge", bridge }, { "script", "/etc/xen/scripts/vif-bridge" },
		{ "type", "vif" }, { NULL, NULL },
	};

	if (add_device(p, "vif", id, front_kv, back_kv, e) < 0)
		return err_wrap(e, "vif %zu", no);
	memcpy(back, p->back, PATH_HALF);
	return 0;
}

static int wait_backend(struct prep *p, const char *back, struct err *e)
{
	char state[XS_VALUE_BYTES], path[PATH_HALF + 8];

	snprintf(path, sizeof(path), "%.*s/state", PATH_HALF, back);
	if (xs_watch_add(p->xs, path, e) < 0)
		return -1;
	for (;;) {
		if (xs_get(p->xs, state, e, "%s", path) < 0)
			return -1;
		if (strtoul(state, NULL, 10) >= STATE_INIT_WAIT)
			break;
		if (!go_on(p, path, e))
			return -1;
	}
	xs_watch_del(p->xs, path);
	return 0;
}

static int watch_links(struct prep *p, struct err *e)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

	p->links_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (p->links_fd < 0 || bind(p->links_fd, (const struct sockaddr *)(const void *)&a, sizeof(a)) < 0)
		return err_sys(e, errno, "watch for interfaces");
	return 0;
}

/* The back-end makes the interface after it has said that it waits for the front-end. */
static int wait_link(struct prep *p, const char *vif, struct err *e)
{
	char news[4096];

	while (!if_nametoindex(vif)) {
		struct pollfd f = { .fd = p->links_fd, .events = POLLIN };

		if (!may_wait(p, vif, e))
			return -1;
		poll(&f, 1, XDEV_POLL_MS);
		while (recv(p->links_fd, news, sizeof(news), 0) > 0)
			;	/* what it says does not matter, only that there is news */
	}
	return 0;
}

static int finish_vif(struct prep *p, const json_t *v, size_t no, const char *back,
		      int (*online)(const char *vif, const char *bridge, struct err *e), struct err *e)
{
	char vif[32];

	if (wait_backend(p, back, e) < 0)
		return -1;
	snprintf(vif, sizeof(vif), "vif%u.%zu", p->domid, no);
	if (wait_link(p, vif, e) < 0 || online(vif, json_string_value(json_object_get(v, "bridge")), e) < 0)
		return -1;
	return xs_put(p->xs, "connected", e, "%s/hotplug-status", back);
}

/* All are written first, so that their back-ends come up side by side. */
static int add_all(struct prep *p, int (*online)(const char *vif, const char *bridge, struct err *e), struct err *e)
{
	const json_t *vifs = json_object_get(p->vm, "vifs"), *o;
	char backs[XDEV_VIFS_MAX][PATH_HALF];
	size_t i;

	if (json_array_size(vifs) > XDEV_VIFS_MAX)
		return err_set(e, ERR_LIMIT, "a guest with more than %d vifs", XDEV_VIFS_MAX);
	json_array_foreach(vifs, i, o)
		if (add_vif(p, o, i, backs[i], e) < 0)
			return -1;
	json_array_foreach(vifs, i, o)
		if (finish_vif(p, o, i, backs[i], online, e) < 0)
			return -1;
	return 0;
}

int xdev_prepare(const json_t *vm, int (*online)(const char *vif, const char *bridge, struct err *e),
		 bool (*cancelled)(void *arg), void *arg, unsigned *out_domid, struct err *e)
{
	struct prep p = {
		.vm = vm, .cancelled = cancelled, .arg = arg, .links_fd = -1, .end_ms = clock_mono_ms() + XDEV_WAIT_MS,
	};
	int rc = -1;

	if (js_text(vm, "uuid", &p.uuid, e) < 0 || xs_new(&p.xs, e) < 0)
		return -1;
	if (watch_links(&p, e) == 0 && find_domain(&p, e) == 0)
		rc = add_all(&p, online, e);
	if (rc == 0)
		*out_domid = p.domid;
	fd_close(&p.links_fd);
	xs_free(p.xs);
	return rc;
}

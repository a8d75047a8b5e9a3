/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two kinds of hotplug.h.  libxl waits for hotplug-status or
 * hotplug-error, so every failure is written there before it is returned.
 */
#include "net/hotplug.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "net/vif.h"
#include "xen/xs.h"

static const struct {
	const char *script;
	enum hotplug_kind kind;
	const char *in_path;		/* its XENBUS_PATH has this in it */
} scripts[] = {
	{ "vif-bridge", HOTPLUG_VIF, "backend/vif/" },
	{ "block", HOTPLUG_BLOCK, "backend/vbd/" },
};

static const struct {
	const char *action;
	bool add;
} actions[] = {
	{ "online", true }, { "add", true }, { "offline", false }, { "remove", false },
};

static int parse_action(const char *text, bool *out, struct err *e)
{
	for (size_t i = 0; text && i < ARRAY_LEN(actions); i++) {
		if (strcmp(actions[i].action, text) != 0)
			continue;
		*out = actions[i].add;
		return 0;
	}
	return err_set(e, ERR_USAGE, "action '%.40s': must be online, add, offline or remove", text ? text : "");
}

int hotplug_parse(const char *argv0, const char *action, const char *xenbus_path, const char *vif,
		  struct hotplug *out, struct err *e)
{
	const char *slash = strrchr(argv0, '/'), *name = slash ? slash + 1 : argv0;
	struct hotplug h = { .path = xenbus_path, .vif = vif };

	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		if (strcmp(scripts[i].script, name) != 0)
			continue;
		h.kind = scripts[i].kind;
		if (parse_action(action, &h.add, e) < 0)
			return -1;
		if (!xenbus_path || !strstr(xenbus_path, scripts[i].in_path))
			return err_set(e, ERR_USAGE, "XENBUS_PATH '%.100s': must be the path of a %s",
				       xenbus_path ? xenbus_path : "", scripts[i].in_path);
		if (h.kind == HOTPLUG_VIF && vif_check_name(vif ? vif : "", e) < 0)
			return -1;
		*out = h;
		return 0;
	}
	return err_set(e, ERR_USAGE, "called as '%.40s': must be called as vif-bridge or block (libxl does)", name);
}

int hotplug_check_disk(const char *path, const char *mode, dev_t *out_dev, struct err *e)
{
	struct stat st;
	AUTO_FD int fd = -1;

	if (stat(path, &st) < 0)
		return err_sys(e, errno, "disk '%s'", path);
	if (!S_ISBLK(st.st_mode)) {
		err_set(e, ERR_REFUSED, "disk '%s' is not a block device", path);
		return err_remedy(e, "give the VM a block device, such as one of /dev/disk/by-id");
	}
	fd = open(path, (mode[0] == 'w' ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, errno, "open disk '%s' for %s", path, mode[0] == 'w' ? "writing" : "reading");
	*out_dev = st.st_rdev;
	return 0;
}

void hotplug_dev_text(dev_t dev, char out[HOTPLUG_DEV_BYTES])
{
	snprintf(out, HOTPLUG_DEV_BYTES, "%x:%x", major(dev), minor(dev));
}

static int vif_add(struct xs *x, const struct hotplug *h, struct err *e)
{
	char bridge[XS_VALUE_BYTES];

	if (xs_get(x, bridge, e, "%s/bridge", h->path) < 0)
		return -1;
	return vif_online(h->vif, bridge, e);
}

static int block_add(struct xs *x, const struct hotplug *h, struct err *e)
{
	char path[XS_VALUE_BYTES], mode[XS_VALUE_BYTES], number[HOTPLUG_DEV_BYTES];
	dev_t dev;

	if (xs_get(x, path, e, "%s/params", h->path) < 0 || xs_get(x, mode, e, "%s/mode", h->path) < 0 ||
	    hotplug_check_disk(path, mode, &dev, e) < 0)
		return -1;
	hotplug_dev_text(dev, number);
	/* The number last: its appearance is what xen-blkback acts on. */
	if (xs_put(x, path, e, "%s/physical-device-path", h->path) < 0)
		return -1;
	return xs_put(x, number, e, "%s/physical-device", h->path);
}

int hotplug_run(struct xs *x, const struct hotplug *h, struct err *e)
{
	struct err ignored = ERR_INIT;
	int rc;

	if (!h->add)
		return h->kind == HOTPLUG_VIF ? vif_offline(h->vif, e) : 0;
	rc = h->kind == HOTPLUG_VIF ? vif_add(x, h, e) : block_add(x, h, e);
	if (rc == 0)
		return xs_put(x, "connected", e, "%s/hotplug-status", h->path);
	/* What counts is the first error; a xenstore that is gone makes libxl time out by itself. */
	if (xs_put(x, e->detail, &ignored, "%s/hotplug-error", h->path) < 0 ||
	    xs_put(x, "error", &ignored, "%s/hotplug-status", h->path) < 0)
		return err_wrap(e, "xenstore not told");
	return -1;
}

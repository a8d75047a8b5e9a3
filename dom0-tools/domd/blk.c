/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images are opened here, with hvdomd's rights: hvblkd has none to open
 * anything.
 */
#include "domd/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "blkd/hvblkd_ctl.h"
#include "init/hvinit_ctl.h"

enum { RETRY_MS = 20 };			/* between bind and listen the socket is there and refuses */

static bool has_disks(const json_t *vm)
{
	return json_array_size(json_object_get(vm, "disks")) > 0;
}

static int ask_hvinit(const struct blk *b, const char *verb, json_t *args, int timeout_ms, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/%s", b->run_dir, HVINIT_SOCKET);
	AUTO_JSON json_t *in = args;

	return ctl_once(path, verb, in, NULL, 0, timeout_ms, NULL, NULL, NULL, e);
}

static int spawn(const struct blk *b, struct err *e)
{
	AUTO_FREE char *unit = mem_printf(BLKD_UNIT_FMT, b->vm);

	if (ask_hvinit(b, HVINIT_SPAWN, json_pack("{s:s, s:[s,s], s:s}", "unit", unit, "args", "--vm", b->vm,
						  "restart", "on-failure"), BLK_CALL_MS, e) == 0)
		return 0;
	if (e->code != ERR_EXISTS)
		return err_wrap(e, "start hvblkd of '%s'", b->vm);
	*e = (struct err)ERR_INIT;
	return 0;
}

/* Connects as soon as its socket is there and takes connections. */
static int reach(const struct blk *b, struct ctl_client **out, struct err *e)
{
	AUTO_FREE char *path = mem_printf(BLKD_SOCKET_FMT, b->run_dir, b->vm);
	AUTO_FREE char *dir = mem_strdup(path);
	uint64_t end = clock_mono_ms() + BLK_CALL_MS;
	AUTO_FD int news = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	*strrchr(dir, '/') = '\0';
	if (fd_make_dirs(dir, 0770, e) < 0)
		return -1;
	if (news < 0 || inotify_add_watch(news, dir, IN_CREATE | IN_MOVED_TO) < 0)
		return err_sys(e, errno, "watch %s", dir);
	for (;;) {
		struct pollfd f = { .fd = news, .events = POLLIN };
		char what[4096];

		if (ctl_connect(path, out, e) == 0)
			return 0;
		if (clock_mono_ms() >= end)
			return err_wrap(e, "reach hvblkd of '%s' within %d s", b->vm, BLK_CALL_MS / 1000);
		*e = (struct err)ERR_INIT;
		poll(&f, 1, RETRY_MS);
		while (read(news, what, sizeof(what)) > 0)
			;	/* what it says does not matter, only that there is news */
	}
}

static int ask(struct ctl_client *c, const char *verb, json_t *args, int fd, struct err *e)
{
	AUTO_JSON json_t *in = args;

	return ctl_request(c, verb, in, &fd, fd >= 0 ? 1 : 0, BLK_CALL_MS, NULL, NULL, NULL, e);
}

static int open_image(const char *vdev, const char *target, bool writes, struct err *e)
{
	int fd = open(target, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	err_sys(e, errno, "disk %s: open '%s'", vdev, target);
	return err_remedy(e, "give this host access to it, or correct the disk's line in the definition");
}

/* Fine if hvblkd has that already. */
static int give(struct ctl_client *c, const char *vdev, const char *verb, json_t *args, int fd, struct err *e)
{
	if (ask(c, verb, args, fd, e) == 0)
		return 0;
	if (e->code != ERR_EXISTS)
		return err_wrap(e, "disk %s", vdev);
	*e = (struct err)ERR_INIT;
	return 0;
}

static int put_disk(struct ctl_client *c, const json_t *d, unsigned domid, struct err *e)
{
	const char *vdev, *target, *mode, *format = "raw";

	if (js_text(d, "vdev", &vdev, e) < 0 || js_text(d, "target", &target, e) < 0 ||
	    js_text(d, "mode", &mode, e) < 0 || js_opt_text(d, "format", &format, e) < 0)
		return -1;
	bool writes = !strcmp(mode, "rw");
	AUTO_FD int fd = open_image(vdev, target, writes, e);

	if (fd < 0)
		return -1;
	if (give(c, vdev, BLKD_ATTACH, json_pack("{s:s, s:[{s:s, s:s}], s:b}", "disk", vdev, "parts", "format", format,
						 "path", target, "read_only", !writes), fd, e) < 0)
		return -1;
	return give(c, vdev, BLKD_CONNECT, json_pack("{s:s, s:I}", "disk", vdev, "domid", (json_int_t)domid), -1, e);
}

static int put_disks(const struct blk *b, const json_t *vm, unsigned domid, struct err *e)
{
	struct ctl_client *c;
	const json_t *d;
	size_t i;
	int rc = 0;

	if (reach(b, &c, e) < 0)
		return -1;
	json_array_foreach(json_object_get(vm, "disks"), i, d)
		if (rc == 0)
			rc = put_disk(c, d, domid, e);
	ctl_client_free(c);
	return rc;
}

int blk_down(const struct blk *b, struct err *e)
{
	AUTO_FREE char *unit = mem_printf(BLKD_UNIT_FMT, b->vm);

	if (ask_hvinit(b, HVINIT_STOP, json_pack("{s:s, s:i}", "unit", unit, "timeout_ms", BLK_STOP_MS),
		       BLK_STOP_MS + BLK_CALL_MS, e) == 0)
		return 0;
	if (e->code != ERR_NOT_FOUND)
		return err_wrap(e, "stop hvblkd of '%s'", b->vm);
	*e = (struct err)ERR_INIT;
	return 0;
}

int blk_up(const struct blk *b, const json_t *vm, unsigned domid, struct err *e)
{
	if (!has_disks(vm))
		return 0;
	return blk_down(b, e) < 0 || spawn(b, e) < 0 ? -1 : put_disks(b, vm, domid, e);
}

int blk_again(const struct blk *b, const json_t *vm, unsigned domid, struct err *e)
{
	if (!has_disks(vm))
		return 0;
	return spawn(b, e) < 0 ? -1 : put_disks(b, vm, domid, e);
}

int blk_still(const struct blk *b, const json_t *vm, struct err *e)
{
	AUTO_FREE char *path = mem_printf(BLKD_SOCKET_FMT, b->run_dir, b->vm);

	if (!has_disks(vm) || ctl_once(path, BLKD_QUIESCE, NULL, NULL, 0, BLK_STILL_MS, NULL, NULL, NULL, e) == 0)
		return 0;
	return err_wrap(e, "still the disks of '%s'", b->vm);
}

int blk_go_on(const struct blk *b, struct err *e)
{
	AUTO_FREE char *path = mem_printf(BLKD_SOCKET_FMT, b->run_dir, b->vm);

	if (access(path, F_OK) < 0 ||
	    ctl_once(path, BLKD_GO_ON, NULL, NULL, 0, BLK_STILL_MS, NULL, NULL, NULL, e) == 0)
		return 0;
	return err_wrap(e, "let the disks of '%s' go on", b->vm);
}

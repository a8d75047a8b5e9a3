/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's memory to a file and back: DATA/save/NAME, in libxl's own format.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "domd/domd.h"
#include "domd/domd_ctl.h"

struct saved {
	struct ctl_call *call;
	char path[DOMD_PATH_BYTES], dir[DOMD_PATH_BYTES];
};

/* A file of the one folder, so that nobody who may only ask names another. */
static int take_path(const struct domd *d, const json_t *in, struct saved *out, struct err *e)
{
	const char *path;
	size_t n;

	if (js_text(in, "path", &path, e) < 0)
		return -1;
	n = (size_t)snprintf(out->dir, sizeof(out->dir), DOMD_SAVE_FMT, d->data_dir);
	if (strncmp(path, out->dir, n) || !path[n] || path[n] == '.' || strchr(path + n, '/') ||
	    strlen(path) >= sizeof(out->path) - 8)
		return err_set(e, ERR_USAGE, "'%s' is not a file in '%s'", path, out->dir);
	snprintf(out->path, sizeof(out->path), "%s", path);
	return 0;
}

static void start_work(struct domd *d, struct ctl_call *c, const char *what, struct saved *s, domd_work_fn *fn,
		       domd_done_fn *done)
{
	struct err e = ERR_INIT;

	s->call = ctl_defer(c);
	if (domd_work(d, what, fn, done, s, &e) == 0)
		return;
	domd_settle(d, e.detail);
	ctl_finish(s->call, NULL, &e);
	free(s);
}

static void over(struct domd *d, void *arg, const struct err *e)
{
	struct saved *s = arg;

	domd_answered(d, s->call, e);
	free(s);
}

/* ---- save ---- */

static int sync_folder(const char *dir, struct err *e)
{
	AUTO_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? err_sys(e, errno, "sync '%s'", dir) : 0;
}

/* Whole or not at all: written beside, synced, renamed. */
static int write_file(struct domd *d, const struct saved *s, struct err *e)
{
	char part[DOMD_PATH_BYTES + 8];

	snprintf(part, sizeof(part), "%s.part", s->path);
	AUTO_FD int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return err_sys(e, errno, "create '%s'", part);
	if (d->xen->save(d->xen->x, d->work_domid, fd, e) < 0) {
		unlink(part);
		return -1;
	}
	if (fsync(fd) < 0 || rename(part, s->path) < 0) {
		err_sys(e, errno, "keep '%s'", s->path);
		unlink(part);
		return -1;
	}
	if (sync_folder(s->dir, e) == 0)
		return 0;
	unlink(s->path);	/* the guest goes on: the file would be older than its disks */
	return -1;
}

/* The domain goes only when the file is durable. */
static int save_work(struct domd *d, void *arg, struct err *e)
{
	struct err again = ERR_INIT;

	if (write_file(d, arg, e) == 0)
		return domd_destroy_work(d, NULL, e);
	if (d->xen->look(d->xen->x, d->work_domid) == LIFE_SUSPENDED &&
	    d->xen->resume(d->xen->x, d->work_domid, &again) < 0)
		log_fail(&again, "vm=%s: resume after a failed save", d->vm);
	return -1;
}

int verb_save(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	struct saved s = { .call = NULL };

	(void)out;
	if (domd_need_free(d, e) < 0 || take_path(d, in, &s, e) < 0)
		return -1;
	struct saved *copy = mem_alloc(sizeof(*copy));

	*copy = s;
	domd_enter(d, "saving", "save");
	start_work(d, c, "save", copy, save_work, over);
	return 0;
}

/* ---- restore ---- */

/* Once the guest runs the file is history: restoring it again would turn the disks' time back.  The note goes first:
 * from here on a paused domain is all there is of the guest's memory. */
static int restore_work(struct domd *d, void *arg, struct err *e)
{
	const struct saved *s = arg;
	struct err ignored = ERR_INIT;
	AUTO_FD int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_sys(e, errno, "open '%s'", s->path);
	d->note.building = true;
	d->note.paused = d->note.capped = false;
	if (note_save(&d->note, e) < 0 ||
	    d->xen->restore(d->xen->x, d->config, d->boot_dir, fd, true, &d->work_domid, e) < 0)
		return -1;
	d->note.building = false;
	if (note_save(&d->note, e) == 0) {
		if (unlink(s->path) == 0)
			return d->xen->unpause(d->xen->x, d->work_domid, e);
		err_sys(e, errno, "remove '%s'", s->path);
	}
	if (domd_destroy_work(d, NULL, &ignored) < 0)
		log_fail(&ignored, "vm=%s: remove what was restored", d->vm);
	return -1;
}

static void restored(struct domd *d, void *arg, const struct err *e)
{
	d->started_ms = e ? 0 : clock_mono_ms();
	over(d, arg, e);
}

int verb_restore(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	struct saved s = { .call = NULL };

	(void)out;
	if (take_path(d, in, &s, e) < 0 || domd_claim(d, in, "restore", e) < 0) {
		domd_leave_if_over(d);
		return -1;
	}
	struct saved *copy = mem_alloc(sizeof(*copy));

	*copy = s;
	domd_enter(d, "building", "restore");
	start_work(d, c, "restore", copy, restore_work, restored);
	return 0;
}

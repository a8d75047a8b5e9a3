/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs that are not about a move, and the table of all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "domd/domd.h"
#include "domd/domd_ctl.h"

static int verb_status(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	(void)c;
	(void)in;
	(void)e;
	*out = domd_status(arg);
	return 0;
}

/* The end of work for a verb that answers STATUS. */
static void answered(struct domd *d, void *arg, const struct err *e)
{
	domd_settle(d, e ? e->detail : "as asked");
	ctl_finish(arg, e ? NULL : domd_status(d), e);
	domd_leave_if_over(d);
}

/* ---- create, restore ---- */

static int create_work(struct domd *d, void *arg, struct err *e)
{
	int domid;

	(void)arg;
	if (d->xen->create(d->xen->x, d->config, d->boot_dir, &domid, e) < 0)
		return -1;
	d->domid = domid;
	return d->xen->unpause(d->xen->x, domid, e);
}

/* Configuration and record for a domain that is about to be made here. */
static int claim(struct domd *d, const json_t *in, const char *why, struct err *e)
{
	struct owner next = { .word = OWNER_NONE };
	const char *uuid, *name;
	json_t *config;

	if (js_obj(in, "config", &config, e) < 0 || js_text(config, "uuid", &uuid, e) < 0 ||
	    js_text(config, "name", &name, e) < 0 || js_u64(in, "generation", INT64_MAX, &next.generation, e) < 0)
		return -1;
	if (strcmp(name, d->vm))
		return err_set(e, ERR_USAGE, "this hvdomd is for '%s', not for '%s'", d->vm, name);
	if (d->domid != DOMD_NO_DOMAIN || d->busy || d->receiving)
		return err_set(e, ERR_STATE, "'%s' is %s", d->vm, d->busy ? d->busy : d->state);
	if (d->owner.word != OWNER_NONE && d->owner.word != OWNER_HERE) {
		err_set(e, ERR_REFUSED, "'%s' is %s%s%s, so it may not run here", d->vm, owner_name(d->owner.word),
			*d->owner.peer ? ", other host: " : "", d->owner.peer);
		return err_remedy(e, "hvapi migrate resolve %s, or start it where it is", d->vm);
	}
	if (next.generation < d->owner.generation)
		next.generation = d->owner.generation;
	snprintf(next.uuid, sizeof(next.uuid), "%s", uuid);
	return domd_keep_config(d, config, e) < 0 ? -1 : owner_enter(&d->owner, OWNER_HERE, &next, why, e);
}

static int verb_create(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;

	(void)out;
	if (claim(d, in, "create", e) < 0) {
		domd_leave_if_over(d);
		return -1;
	}
	domd_enter(d, "building", "create");
	domd_work_call(d, c, "create", create_work, answered);
	return 0;
}

/* What save and restore work with: the path rides in the process, one at a time. */
static char save_path[DOMD_PATH_BYTES];

static int take_path(const struct domd *d, const json_t *in, struct err *e)
{
	const char *path;
	size_t n = strlen(d->data_dir);

	if (js_text(in, "path", &path, e) < 0)
		return -1;
	if (strncmp(path, d->data_dir, n) || path[n] != '/' || strstr(path, "/../") ||
	    strlen(path) >= sizeof(save_path) - 8)
		return err_set(e, ERR_USAGE, "'%s' is not a path below '%s'", path, d->data_dir);
	snprintf(save_path, sizeof(save_path), "%s", path);
	return 0;
}

static int restore_work(struct domd *d, void *arg, struct err *e)
{
	AUTO_FD int fd = open(save_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int domid;

	(void)arg;
	if (fd < 0)
		return err_sys(e, errno, "open '%s'", save_path);
	if (d->xen->restore(d->xen->x, d->config, d->boot_dir, fd, true, &domid, e) < 0)
		return -1;
	d->domid = domid;
	/* Once it runs the file is history: restoring it again would turn the disks' time back. */
	if (unlink(save_path) < 0)
		return err_sys(e, errno, "remove '%s'", save_path);
	return d->xen->unpause(d->xen->x, domid, e);
}

static int verb_restore(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;

	(void)out;
	if (take_path(d, in, e) < 0 || claim(d, in, "restore", e) < 0) {
		domd_leave_if_over(d);
		return -1;
	}
	domd_enter(d, "building", "restore");
	domd_work_call(d, c, "restore", restore_work, answered);
	return 0;
}

/* Whole or not at all: written beside, synced, renamed; then the domain goes. */
static int save_work(struct domd *d, void *arg, struct err *e)
{
	char part[DOMD_PATH_BYTES + 8];

	(void)arg;
	snprintf(part, sizeof(part), "%s.part", save_path);
	AUTO_FD int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return err_sys(e, errno, "create '%s'", part);
	if (d->xen->save(d->xen->x, d->domid, fd, e) < 0 || fsync(fd) < 0 || rename(part, save_path) < 0) {
		struct err again = ERR_INIT;

		if (e->code == ERR_NONE)
			err_sys(e, errno, "keep '%s'", save_path);
		unlink(part);
		if (d->xen->look(d->xen->x, d->domid) == LIFE_SUSPENDED && d->xen->resume(d->xen->x, d->domid, &again) < 0)
			log_fail(&again, "vm=%s: resume after a failed save", d->vm);
		return -1;
	}
	if (d->xen->destroy(d->xen->x, d->domid, e) < 0)
		return -1;
	d->domid = DOMD_NO_DOMAIN;
	return 0;
}

/* For verbs that need a domain and are not in the middle of a move. */
static int need_free_domain(const struct domd *d, struct err *e)
{
	if (domd_need_domain(d, e) < 0)
		return -1;
	if (d->owner.word == OWNER_HERE)
		return 0;
	err_set(e, ERR_BUSY, "'%s' is %s, in session %s", d->vm, owner_name(d->owner.word), d->owner.session);
	return err_remedy(e, "wait for the move to end, or cancel its job");
}

static int verb_save(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;

	(void)out;
	if (need_free_domain(d, e) < 0 || take_path(d, in, e) < 0)
		return -1;
	domd_enter(d, "saving", "save");
	domd_work_call(d, c, "save", save_work, answered);
	return 0;
}

/* ---- one call of Xen each ---- */

static int destroy_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	if (d->xen->destroy(d->xen->x, d->domid, e) < 0)
		return -1;
	d->domid = DOMD_NO_DOMAIN;
	return 0;
}

static int shutdown_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	return d->xen->shutdown(d->xen->x, d->domid, e);
}

static int reboot_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	return d->xen->reboot(d->xen->x, d->domid, e);
}

static int pause_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	return d->xen->pause(d->xen->x, d->domid, e);
}

static int unpause_work(struct domd *d, void *arg, struct err *e)
{
	(void)arg;
	return d->xen->unpause(d->xen->x, d->domid, e);
}

static int on_domain(struct domd *d, struct ctl_call *c, const char *what,
		     int (*fn)(struct domd *d, void *arg, struct err *e), struct err *e)
{
	if (need_free_domain(d, e) < 0)
		return -1;
	domd_work_call(d, c, what, fn, answered);
	return 0;
}

#define DOMAIN_VERB(name, what, fn)                                                                          \
	static int name(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)        \
	{                                                                                                    \
		(void)in;                                                                                    \
		(void)out;                                                                                   \
		return on_domain(arg, c, what, fn, e);                                                       \
	}

DOMAIN_VERB(verb_destroy, "destroy", destroy_work)
DOMAIN_VERB(verb_shutdown, "shutdown", shutdown_work)
DOMAIN_VERB(verb_reboot, "reboot", reboot_work)
DOMAIN_VERB(verb_pause, "pause", pause_work)
DOMAIN_VERB(verb_unpause, "unpause", unpause_work)

static int verb_console(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct domd *d = arg;
	char path[DOMD_PATH_BYTES];

	(void)in;
	(void)out;
	if (domd_need_domain(d, e) < 0 || d->xen->console(d->xen->x, d->domid, path, sizeof(path), e) < 0)
		return -1;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(e, errno, "open the console '%s'", path);
	ctl_give_fd(c, fd);
	return 0;
}

const struct ctl_verb domd_verbs[] = {
	{ DOMD_STATUS, verb_status, "state of the VM" },
	{ DOMD_CREATE, verb_create, "build and start the domain" },
	{ DOMD_SHUTDOWN, verb_shutdown, "ask the guest to shut down" },
	{ DOMD_REBOOT, verb_reboot, "ask the guest to reboot" },
	{ DOMD_DESTROY, verb_destroy, "end the domain at once" },
	{ DOMD_PAUSE, verb_pause, "stop its vCPUs" },
	{ DOMD_UNPAUSE, verb_unpause, "let them run" },
	{ DOMD_SAVE, verb_save, "memory to a file, then end the domain" },
	{ DOMD_RESTORE, verb_restore, "start from such a file" },
	{ DOMD_CONSOLE, verb_console, "descriptor of the console" },
	{ DOMD_GIVE_BEGIN, verb_give_begin, "a mover starts to give the VM away" },
	{ DOMD_THROTTLE, verb_throttle, "slow the guest down while it is given" },
	{ DOMD_GIVE_COMMIT, verb_give_commit, "from here on the peer may have it" },
	{ DOMD_GIVE_DONE, verb_give_done, "the peer has it" },
	{ DOMD_GIVE_ABORT, verb_give_abort, "it stays" },
	{ DOMD_RECEIVE, verb_receive, "restore from a stream, paused" },
	{ DOMD_TAKE, verb_take, "it is ours: run it" },
	{ DOMD_REFUSE, verb_refuse, "it never will be" },
	{ NULL, NULL, NULL },
};

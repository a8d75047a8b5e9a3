/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process: what it opens by itself (two sockets, the feed's activity log)
 * before the sandbox, its signals, its end.
 */
#include "blkd/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "blkd/blkif_xen.h"
#include "blkd/sandbox.h"
#include "blkd/vm.h"

#define GNTDEV "/dev/xen/gntdev"		/* without it there is no Xen below, but NBD can be served */

enum { SOCKET_MODE = 0660, LOG_MODE = 0600, DIR_MODE = 0770, API_UID = 102 /* hvapid */ };

struct process {
	struct vm vm;
	char *ctl_path, *feed_path;
	bool ending;
};

static void over(void *arg, int res)
{
	struct process *p = arg;

	loop_stop(p->vm.loop, res);
}

static void asked_to_end(void *arg, int signo)
{
	struct process *p = arg;

	(void)signo;
	if (p->ending)
		return;
	p->ending = true;
	vm_end(&p->vm, over, p);
}

/* The folder of a path, too. */
static int listen_at(const char *path, int *out_fd, struct err *e)
{
	AUTO_FREE char *dir = mem_strdup(path);

	*strrchr(dir, '/') = '\0';
	if (fd_make_dirs(dir, DIR_MODE, e) < 0)
		return -1;
	return fd_unix_listen(path, SOCKET_MODE, out_fd, e);
}

static int open_log(const struct run_setup *set, int *out_fd, struct err *e)
{
	AUTO_FREE char *path = mem_printf(BLKD_LOG_FMT, set->data, set->vm), *dir = mem_strdup(path);

	*strrchr(dir, '/') = '\0';
	if (fd_make_dirs(dir, DIR_MODE, e) < 0)
		return -1;
	*out_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOG_MODE);
	return *out_fd < 0 ? err_sys(e, errno, "activity log '%s'", path) : 0;
}

static int set_up(struct process *p, const struct run_setup *set, struct err *e)
{
	struct vm *vm = &p->vm;
	int fd;

	if (!*set->vm || *set->vm == '.' || strchr(set->vm, '/'))
		return err_set(e, ERR_USAGE, "--vm '%s' is no name", set->vm);
	p->ctl_path = mem_printf(BLKD_SOCKET_FMT, set->run, set->vm);
	p->feed_path = mem_printf(BLKD_FEED_FMT, set->run, set->vm);
	if (queue_new(vm->loop, &vm->q, e) < 0 || open_log(set, &vm->log_fd, e) < 0 ||
	    listen_at(p->feed_path, &vm->feed_fd, e) < 0)
		return -1;
	if (loop_signal(vm->loop, SIGTERM, asked_to_end, p, e) < 0 ||
	    loop_signal(vm->loop, SIGINT, asked_to_end, p, e) < 0)
		return -1;
	if (access(GNTDEV, F_OK) == 0 && blkif_xen_open(vm->loop, &vm->xen, e) < 0)
		return -1;
	if (listen_at(p->ctl_path, &fd, e) < 0 ||
	    ctl_server_from_fd(vm->loop, fd, API_UID, blkd_verbs, vm, &vm->ctl, e) < 0)
		return -1;
	return sandbox_enter(e);
}

static void tear_down(struct process *p)
{
	struct vm *vm = &p->vm;

	ctl_server_free(vm->ctl);
	vm_feed_free(vm);
	queue_free(vm->q);
	blkif_xen_close(vm->xen);
	fd_close(&vm->feed_fd);
	fd_close(&vm->log_fd);
	if (p->ctl_path)
		(void)unlink(p->ctl_path);
	if (p->feed_path)
		(void)unlink(p->feed_path);
	free(p->ctl_path);
	free(p->feed_path);
}

int run_run(struct loop *l, const struct run_setup *set, struct err *e)
{
	struct process *p = mem_alloc(sizeof(*p));
	int rc, res;

	p->vm.loop = l;
	p->vm.name = set->vm;
	p->vm.log_fd = p->vm.feed_fd = -1;
	rc = set_up(p, set, e);
	if (rc == 0) {
		log_info("vm=%s: at %s", set->vm, p->ctl_path);
		res = loop_run(l);
		if (res < 0)
			rc = err_sys(e, -res, "last flush");
	}
	tear_down(p);
	free(p);
	return rc;
}

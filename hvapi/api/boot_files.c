/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/boot-files: kernels and ramdisks in DATA/boot.  An upload takes its
 * name only when it is whole and on the disk.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/loop.h"
#include "hvapi/api/routes.h"
#include "hvapi/event/events.h"
#include "hvapi/hvapid.h"
#include "hvapi/vm/registry.h"

static bool uses(const struct vm *v, const char *file)
{
	const char *kernel = json_string_value(json_object_get(v->config, "kernel"));
	const char *ramdisk = json_string_value(json_object_get(v->config, "ramdisk"));

	return (kernel && !strcmp(kernel, file)) || (ramdisk && !strcmp(ramdisk, file));
}

static json_t *users_of(struct hvapid *h, const char *file)
{
	json_t *list = json_array();

	for (const struct vm *v = registry_first(h->registry); v; v = v->next)
		if (uses(v, file))
			json_array_append_new(list, json_string(v->name));
	return list;
}

static void append(struct hvapid *h, json_t *list, int dir, const char *name)
{
	struct stat st;

	if (!route_name_ok(name) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return;
	json_array_append_new(list, json_pack("{ss sI sI so}", "name", name, "bytes", (json_int_t)st.st_size,
					      "modified_ms", (json_int_t)st.st_mtim.tv_sec * 1000, "used_by",
					      users_of(h, name)));
}

void api_boot_files_list(struct req *r)
{
	AUTO_FREE char *path = mem_printf("%s/boot", r->h->data);
	DIR *dir = opendir(path);
	struct dirent *f;
	json_t *list;
	struct err e = ERR_INIT;

	if (!dir) {
		err_sys(&e, errno, "open %s", path);
		req_fail(r, &e);
		return;
	}
	list = json_array();
	while ((f = readdir(dir)) != NULL)
		append(r->h, list, dirfd(dir), f->d_name);
	closedir(dir);
	req_json(r, 200, json_pack("{so}", "boot_files", list));
}

/* ---- upload ---- */

struct keep {
	struct req *r;
	char *from, *to, *dir;
	int fd;
	struct err e;
};

/* Off the loop: fsync of so much may take seconds. */
static void keep_work(void *arg)
{
	struct keep *k = arg;
	int dir;

	if (fchmod(k->fd, 0644) < 0 || fsync(k->fd) < 0) {
		err_sys(&k->e, errno, "write the upload to the disk");
		return;
	}
	if (rename(k->from, k->to) < 0) {
		err_sys(&k->e, errno, "name the upload '%s'", k->to);
		return;
	}
	dir = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		err_sys(&k->e, errno, "write folder '%s' to the disk", k->dir);
	fd_close(&dir);
}

static void keep_done(void *arg)
{
	struct keep *k = arg;
	struct req *r = k->r;

	if (k->e.code != ERR_NONE) {
		req_fail(r, &k->e);
	} else {
		events_add(r->h->events, "boot-file.stored", NULL, 0, json_pack("{ss sI}", "name", r->par.v[0], "bytes",
			   (json_int_t)r->file_bytes), "%s stored boot file %s", r->who.name, r->par.v[0]);
		req_json(r, 201, json_pack("{ss sI}", "name", r->par.v[0], "bytes", (json_int_t)r->file_bytes));
	}
	req_release(r);
	free(k->from);
	free(k->to);
	free(k->dir);
	free(k);
}

void api_boot_files_put(struct req *r)
{
	struct keep *k;
	struct err e = ERR_INIT;

	if (!r->file_bytes) {
		err_set(&e, ERR_USAGE, "the file is empty");
		err_remedy(&e, "send its bytes as the body");
		req_fail(r, &e);
		return;
	}
	k = mem_alloc(sizeof(*k));
	*k = (struct keep){ .r = req_hold(r), .from = mem_strdup(r->file_path), .fd = r->file_fd,
			    .dir = mem_printf("%s/boot", r->h->data) };
	k->to = mem_printf("%s/%s", k->dir, r->par.v[0]);
	if (loop_work(r->h->loop, keep_work, keep_done, k, &k->e) < 0)
		keep_done(k);
}

void api_boot_files_remove(struct req *r)
{
	AUTO_FREE char *path = mem_printf("%s/boot/%s", r->h->data, r->par.v[0]);
	json_t *users = users_of(r->h, r->par.v[0]);
	struct err e = ERR_INIT;

	if (json_array_size(users)) {
		err_set(&e, ERR_BUSY, "VM '%s' boots from '%s'", json_string_value(json_array_get(users, 0)),
			r->par.v[0]);
		err_remedy(&e, "undefine the VM first");
	} else if (unlink(path) < 0) {
		err_sys(&e, errno, "remove boot file '%s'", r->par.v[0]);
	}
	json_decref(users);
	if (e.code != ERR_NONE) {
		req_fail(r, &e);
		return;
	}
	events_add(r->h->events, "boot-file.removed", NULL, 0, NULL, "%s removed boot file %s", r->who.name,
		   r->par.v[0]);
	req_empty(r, 204);
}

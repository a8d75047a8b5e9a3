/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening reads tables and may replay a log, closing may wait for the file
 * system: neither belongs on the thread that serves the other disks.
 */
#include "blkd/image.h"

#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"

static int take_part(const json_t *o, struct ctl_call *call, struct image *m, struct err *e)
{
	static const char *const known[] = { "format", "path", NULL };
	struct image_part *p = &m->parts[m->n];
	const char *format = NULL, *path = NULL;

	if (!json_is_object(o))
		return err_set(e, ERR_USAGE, "parts[%u] is no object", m->n);
	if (js_only(o, known, e) < 0 || js_text(o, "format", &format, e) < 0 || js_opt_text(o, "path", &path, e) < 0)
		return err_wrap(e, "parts[%u]", m->n);
	p->format = disk_format(format);
	if (!p->format)
		return err_set(e, ERR_USAGE, "parts[%u]: format '%.40s' is neither raw, vhd nor vhdx", m->n, format);
	p->fd = ctl_take_fd(call, m->n);
	if (p->fd < 0)
		return err_set(e, ERR_USAGE, "parts[%u] comes without its descriptor", m->n);
	p->path = path ? mem_strdup(path) : mem_printf("part %u", m->n);
	m->n++;
	return 0;
}

int image_take(const json_t *in, struct ctl_call *call, bool read_only, struct image *out, struct err *e)
{
	struct image m = { .read_only = read_only, .direct = true };
	json_t *list = NULL;
	int rc = 0;

	if (js_arr(in, "parts", &list, e) < 0 || js_opt_bool(in, "direct", &m.direct, e) < 0)
		return -1;
	if (json_array_size(list) < 1 || json_array_size(list) > BLKD_PARTS_MAX)
		return err_set(e, ERR_LIMIT, "%zu parts; an image has 1 to %d", json_array_size(list), BLKD_PARTS_MAX);
	for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
		rc = take_part(json_array_get(list, i), call, &m, e);
	if (rc < 0)
		image_fini(&m);
	else
		*out = m;
	return rc;
}

void image_fini(struct image *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		fd_close(&m->parts[i].fd);
		free(m->parts[i].path);
	}
	m->n = 0;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

/* Off-loop. */
static void open_all(void *arg)
{
	struct image *m = arg;
	struct disk_part parts[BLKD_PARTS_MAX];
	unsigned n = 0;
	int rc = 0;

	for (; n < m->n && rc == 0; n += rc == 0) {
		struct image_part *p = &m->parts[n];
		/* A VHD's blocks begin at any sector: data and metadata would share the blocks of a direct file. */
		bool direct = m->direct && strcmp(p->format->name, "vhd") != 0;

		parts[n].format = p->format;
		rc = blob_from_fd(fd_take(&p->fd), p->path, direct, m->read_only || n, &parts[n].blob, &m->e);
	}
	if (rc == 0)
		rc = disk_open(parts, n, m->read_only, &m->disk, &m->e);
	for (unsigned i = 0; i < n && rc < 0; i++)
		blob_close(parts[i].blob);
}

static void opened(void *arg)
{
	struct image *m = arg;

	image_fini(m);
	m->done(m->arg, m->disk, &m->e);
}

void image_open(struct loop *l, struct image *m, void (*done)(void *arg, struct disk *d, const struct err *e),
		void *arg)
{
	m->done = done;
	m->arg = arg;
	m->disk = NULL;
	m->e = (struct err)ERR_INIT;
	if (loop_work(l, open_all, opened, m, &m->e) < 0)
		loop_post(l, opened, m);
}

/* ---- closing ---------------------------------------------------------------------------------------- */

struct closing {
	struct disk *d;
	void (*fn)(void *arg);
	void *arg;
};

/* Off-loop. */
static void close_it(void *arg)
{
	disk_close(((struct closing *)arg)->d);
}

static void closed(void *arg)
{
	struct closing c = *(struct closing *)arg;

	free(arg);
	c.fn(c.arg);
}

void image_close(struct loop *l, struct disk *d, void (*fn)(void *arg), void *arg)
{
	struct closing *c = mem_alloc(sizeof(*c));
	struct err e = ERR_INIT;

	*c = (struct closing){ d, fn, arg };
	if (loop_work(l, close_it, closed, c, &e) == 0)
		return;
	close_it(c);			/* no thread to be had: then here */
	loop_post(l, closed, c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets up in the order of trust: images, socket, threads, then the sandbox,
 * then the first client.
 */
#include "blkd/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "blkd/nbd.h"
#include "blkd/queue.h"
#include "blkd/sandbox.h"
#include "blkd/tap.h"
#include "disk/disk.h"
#include "feed/feed_server.h"

enum { SOCKET_MODE = 0600, LOG_MODE = 0600 };

struct served {
	char *name;			/* of the export */
	struct disk *disk;
	struct qdisk *qd;
	struct req flush;		/* the last one */
	struct serve *s;
};

struct serve {
	struct loop *loop;
	struct queue *q;
	struct nbd *nbd;
	struct served disks[SERVE_DISKS_MAX];
	struct nbd_export exports[SERVE_DISKS_MAX];
	struct taps *taps;		/* NULL: no feed */
	struct feed_server *feed;
	struct taps_view views[SERVE_DISKS_MAX];
	int log_fd;
	unsigned n, flushing;
	bool stopping;
	int flush_res;
};

/* ---- images ---------------------------------------------------------------------------------------- */

static int open_part(const struct serve_setup *set, const char *path, bool read_only, struct disk_part *out,
		     struct err *e)
{
	int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	if (fd < 0) {
		err_sys(e, errno, "open '%s'", path);
		return errno == EROFS || errno == EACCES ? err_remedy(e, "serve it with --read-only") : -1;
	}
	out->format = disk_format(set->format);
	/* A VHD's blocks begin at any sector: with larger device blocks, data and metadata would be read and written
	 * back around each other. */
	return blob_from_fd(fd, path, set->direct && strcmp(set->format, "vhd"), read_only, &out->blob, e);
}

/* paths: "LEAF,PARENT,..."; cut in place. */
static int open_chain(const struct serve_setup *set, char *paths, struct disk **out, struct err *e)
{
	struct disk_part parts[DISK_CHAIN_MAX];
	unsigned n = 0;
	int rc = 0;

	for (char *p = paths, *next; p && rc == 0; p = next) {
		next = strchr(p, ',');
		if (next)
			*next++ = '\0';
		if (n == DISK_CHAIN_MAX)
			rc = err_set(e, ERR_LIMIT, "'%s': a chain has at most %d images", paths, DISK_CHAIN_MAX);
		else
			rc = open_part(set, p, set->read_only || n > 0, &parts[n], e);
		n += rc == 0;
	}
	if (rc == 0)
		rc = disk_open(parts, n, set->read_only, out, e);
	for (unsigned i = 0; i < n && rc < 0; i++)
		blob_close(parts[i].blob);
	return rc;
}

static const struct served *find_name(const struct serve *s, const char *name)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!strcmp(s->disks[i].name, name))
			return &s->disks[i];
	return NULL;
}

static int add_disk(struct serve *s, const struct serve_setup *set, const char *spec, struct err *e)
{
	AUTO_FREE char *text = mem_strdup(spec);
	char *eq = strchr(text, '='), *slash = strchr(text, '/');
	bool named = eq && eq != text && (!slash || eq < slash);
	AUTO_FREE char *name = NULL;
	struct served *d = &s->disks[s->n];

	if (named)
		*eq = '\0';
	name = named ? mem_strdup(text) : mem_printf("%u", s->n);
	if (find_name(s, name))
		return err_set(e, ERR_EXISTS, "two exports are called '%s'", name);
	if (open_chain(set, named ? eq + 1 : text, &d->disk, e) < 0)
		return -1;
	d->s = s;
	d->name = name;
	name = NULL;
	d->qd = queue_add(s->q, d->disk, NULL);
	qdisk_set_limits(d->qd, &set->limits);
	s->exports[s->n] = (struct nbd_export){ .name = d->name, .description = blob_name(disk_leaf(d->disk)),
						.disk = d->qd, .read_only = set->read_only };
	s->n++;
	return 0;
}

/* ---- the feed ---------------------------------------------------------------------------------------- */

static void show_dirty(struct serve *s, const char *consumer)
{
	for (unsigned i = 0; i < s->n; i++) {
		s->views[i] = (struct taps_view){ .t = s->taps, .disk = i, .consumer = consumer };
		s->exports[i].dirty = taps_dirty;
		s->exports[i].dirty_arg = &s->views[i];
	}
}

static int open_feed(struct serve *s, const struct serve_setup *set, struct err *e)
{
	struct taps_disk disks[SERVE_DISKS_MAX];

	if (!set->feed_path)
		return set->log_path || set->dirty ? err_set(e, ERR_USAGE, "--log and --dirty need --feed") : 0;
	if (set->log_path)
		s->log_fd = open(set->log_path, O_RDWR | O_CREAT | O_CLOEXEC, LOG_MODE);
	if (set->log_path && s->log_fd < 0)
		return err_sys(e, errno, "activity log '%s'", set->log_path);
	for (unsigned i = 0; i < s->n; i++) {
		disks[i].qd = s->disks[i].qd;
		if ((size_t)snprintf(disks[i].key, sizeof(disks[i].key), "%s", s->disks[i].name) >=
		    sizeof(disks[i].key))
			return err_set(e, ERR_LIMIT, "export '%s': with --feed a name has at most %zu characters",
				       s->disks[i].name, sizeof(disks[i].key) - 1);
	}
	if (taps_new(s->loop, disks, s->n, s->log_fd, &s->taps, e) < 0)
		return -1;
	taps_put(s->taps);
	if (set->dirty)
		show_dirty(s, set->dirty);
	return feed_server_new(taps_feed(s->taps), set->feed_path, SOCKET_MODE, getuid(), &s->feed, e);
}

/* ---- the end ----------------------------------------------------------------------------------------- */

static void flushed(struct req *r, int res)
{
	struct served *d = (struct served *)(void *)((char *)r - offsetof(struct served, flush));
	struct serve *s = d->s;

	if (res < 0) {
		s->flush_res = res;
		log_err("disk '%s': last flush: %s", d->name, strerror(-res));
	}
	if (--s->flushing == 0)
		loop_stop(s->loop, 0);
}

static void clients_gone(void *arg)
{
	struct serve *s = arg;

	s->flushing = s->n;
	for (unsigned i = 0; i < s->n; i++) {
		struct req *r = &s->disks[i].flush;

		*r = (struct req){ .op = REQ_FLUSH, .disk = s->disks[i].qd, .done = flushed };
		queue_submit(s->q, r);
	}
	queue_kick(s->q);
}

static void asked_to_end(void *arg, int signo)
{
	struct serve *s = arg;

	(void)signo;
	if (s->stopping)
		return;
	s->stopping = true;
	log_info("ending: %u connections", nbd_conns(s->nbd));
	nbd_stop(s->nbd, clients_gone, s);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static int set_up(struct serve *s, const struct serve_setup *set, struct err *e)
{
	int fd;

	if (!disk_format(set->format))
		return err_set(e, ERR_USAGE, "--format '%s' is neither raw, vhd nor vhdx", set->format);
	if (!set->n_disks || set->n_disks > SERVE_DISKS_MAX)
		return err_set(e, ERR_USAGE, "%u disks; 1 to %d can be served", set->n_disks, SERVE_DISKS_MAX);
	if (queue_new(s->loop, &s->q, e) < 0)
		return -1;
	for (unsigned i = 0; i < set->n_disks; i++)
		if (add_disk(s, set, set->disks[i], e) < 0)
			return -1;
	if (loop_signal(s->loop, SIGTERM, asked_to_end, s, e) < 0 ||
	    loop_signal(s->loop, SIGINT, asked_to_end, s, e) < 0)
		return -1;
	if (open_feed(s, set, e) < 0)
		return -1;
	if (fd_unix_listen(set->nbd_path, SOCKET_MODE, &fd, e) < 0)
		return -1;
	if (nbd_new(s->loop, s->q, fd, s->exports, s->n, &s->nbd, e) < 0)
		return -1;
	return sandbox_enter(e);
}

static void tear_down(struct serve *s)
{
	nbd_free(s->nbd);
	feed_server_free(s->feed);
	for (unsigned i = 0; i < s->n; i++) {
		queue_remove(s->disks[i].qd);
		disk_close(s->disks[i].disk);
		free(s->disks[i].name);
	}
	taps_free(s->taps);
	fd_close(&s->log_fd);
	queue_free(s->q);
}

int serve_run(struct loop *l, const struct serve_setup *set, struct err *e)
{
	struct serve *s = mem_alloc(sizeof(*s));
	int rc;

	s->loop = l;
	s->log_fd = -1;
	rc = set_up(s, set, e);
	if (rc == 0) {
		log_info("serving %u disks at %s", s->n, set->nbd_path);
		rc = loop_run(l);
		if (s->flush_res < 0)
			rc = err_sys(e, -s->flush_res, "last flush");
		(void)unlink(set->nbd_path);
	}
	tear_down(s);
	free(s);
	return rc;
}

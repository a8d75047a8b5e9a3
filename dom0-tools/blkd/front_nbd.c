/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NBD as a way in to one disk: a server of its own on the socket that came
 * with the verb, with one export of the disk's name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/fd.h"
#include "blkd/nbd.h"
#include "blkd/vm.h"

struct front_nbd {
	struct front f;
	struct vdisk *v;
	struct nbd *nbd;
	struct nbd_export x;
	char dirty[FEED_NAME_BYTES];
};

static struct front_nbd *of(struct front *f)
{
	return (struct front_nbd *)(void *)f;
}

static void stop(struct front *f, void (*fn)(void *arg), void *arg)
{
	nbd_stop(of(f)->nbd, fn, arg);
}

static void free_it(struct front *f)
{
	nbd_free(of(f)->nbd);
	free(of(f));
}

/* The feed may have been made anew since the export; without one nothing is known to be clean. */
static bool dirty(void *arg, uint64_t off, uint64_t *len)
{
	const struct front_nbd *n = arg;
	struct taps *t = n->v->vm->taps;
	int number = t ? taps_number(t, n->v->qd) : -1;
	struct taps_view view = { .t = t, .disk = (unsigned)number, .consumer = n->dirty };

	return number < 0 || taps_dirty(&view, off, len);
}

static int check_socket(int fd, struct err *e)
{
	int on = 0, domain = 0;
	socklen_t n_on = sizeof(on), n_domain = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n_on) < 0 || !on ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n_domain) < 0 || domain != AF_UNIX)
		return err_set(e, ERR_USAGE, "the descriptor is no unix socket that listens");
	return 0;
}

int front_nbd_add(struct vdisk *v, int listen_fd, bool read_only, const char *consumer, struct err *e)
{
	struct front_nbd *n;

	if (check_socket(listen_fd, e) < 0) {
		fd_close(&listen_fd);
		return -1;
	}
	n = mem_alloc(sizeof(*n));
	n->f = (struct front){ .kind = "nbd", .stop = stop, .free = free_it };
	n->v = v;
	n->x = (struct nbd_export){ .name = v->name, .disk = v->qd, .read_only = read_only };
	if (*consumer) {
		snprintf(n->dirty, sizeof(n->dirty), "%s", consumer);
		n->x.dirty = dirty;
		n->x.dirty_arg = n;
	}
	if (nbd_new(v->vm->loop, v->vm->q, listen_fd, &n->x, 1, &n->nbd, e) < 0) {
		free(n);
		return -1;
	}
	vm_add_front(v, &n->f);
	return 0;
}

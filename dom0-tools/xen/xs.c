/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libxenstore behind our error type.
 */
#include "xen/xs.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xenstore.h>

#include "base/buf.h"

struct xs {
	struct xs_handle *h;
	xs_transaction_t t;
};

int xs_new(struct xs **out, struct err *e)
{
	struct xs_handle *h = xs_open(0);

	if (!h) {
		err_set(e, ERR_XEN, "xenstore does not answer: %s", strerror(errno));
		return err_remedy(e, "is this dom0 of a Xen host, and does xenstored run?");
	}
	struct xs *x = mem_alloc(sizeof(*x));

	x->h = h;
	x->t = XBT_NULL;
	*out = x;
	return 0;
}

void xs_free(struct xs *x)
{
	if (!x)
		return;
	xs_close(x->h);
	free(x);
}

#define PATH_OF(path, fmt)                                    \
	char path[XS_PATH_BYTES];                             \
	do {                                                  \
		va_list ap_;                                  \
		va_start(ap_, fmt);                           \
		vsnprintf(path, sizeof(path), fmt, ap_);      \
		va_end(ap_);                                  \
	} while (0)

int xs_get(struct xs *x, char out[XS_VALUE_BYTES], struct err *e, const char *fmt, ...)
{
	PATH_OF(path, fmt);
	unsigned n;
	AUTO_FREE char *v = xs_read(x->h, x->t, path, &n);

	if (!v)
		return err_sys(e, errno, "read xenstore '%s'", path);
	snprintf(out, XS_VALUE_BYTES, "%s", v);
	return 0;
}

bool xs_has(struct xs *x, const char *fmt, ...)
{
	PATH_OF(path, fmt);
	unsigned n;
	AUTO_FREE char *v = xs_read(x->h, x->t, path, &n);

	return v != NULL;
}

int xs_put(struct xs *x, const char *value, struct err *e, const char *fmt, ...)
{
	PATH_OF(path, fmt);

	if (!xs_write(x->h, x->t, path, value, (unsigned)strlen(value)))
		return err_sys(e, errno, "write xenstore '%s'", path);
	return 0;
}

void xs_remove(struct xs *x, const char *fmt, ...)
{
	PATH_OF(path, fmt);

	xs_rm(x->h, x->t, path);
}

int xs_each(struct xs *x, const char *path, void (*fn)(void *arg, const char *name), void *arg, struct err *e)
{
	unsigned n;
	char **names = xs_directory(x->h, x->t, path, &n);

	if (!names)
		return err_sys(e, errno, "list xenstore '%s'", path);
	for (unsigned i = 0; i < n; i++)
		fn(arg, names[i]);
	free(names);
	return 0;
}

int xs_allow(struct xs *x, unsigned owner, unsigned reader, struct err *e, const char *fmt, ...)
{
	PATH_OF(path, fmt);
	struct xs_permissions p[2] = { { owner, XS_PERM_NONE }, { reader, XS_PERM_READ } };

	if (!xs_set_permissions(x->h, x->t, path, p, 2))
		return err_sys(e, errno, "set permissions of xenstore '%s'", path);
	return 0;
}

int xs_watch_add(struct xs *x, const char *path, struct err *e)
{
	if (!xs_watch(x->h, path, path))
		return err_sys(e, errno, "watch xenstore '%s'", path);
	return 0;
}

void xs_watch_del(struct xs *x, const char *path)
{
	xs_unwatch(x->h, path, path);
}

int xs_fd(const struct xs *x)
{
	return xs_fileno(x->h);
}

bool xs_fired(struct xs *x)
{
	char **v = xs_check_watch(x->h);
	bool fired = v != NULL;

	free(v);
	return fired;
}

bool xs_wait(struct xs *x, int timeout_ms)
{
	struct pollfd p = { .fd = xs_fd(x), .events = POLLIN };

	if (xs_fired(x))
		return true;
	return poll(&p, 1, timeout_ms) > 0 && xs_fired(x);
}

int xs_begin(struct xs *x, struct err *e)
{
	x->t = xs_transaction_start(x->h);
	if (x->t == XBT_NULL)
		return err_sys(e, errno, "begin a xenstore transaction");
	return 0;
}

int xs_end(struct xs *x, bool commit, struct err *e)
{
	xs_transaction_t t = x->t;

	x->t = XBT_NULL;
	if (!xs_transaction_end(x->h, t, !commit) && commit)
		return err_sys(e, errno, "commit a xenstore transaction");
	return 0;
}

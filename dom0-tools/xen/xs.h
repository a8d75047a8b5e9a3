/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xenstore: what our programs read, write and watch.  Each call blocks for one
 * exchange with xenstored.  Paths are made with printf formats.
 */
#ifndef XEN_XS_H
#define XEN_XS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { XS_PATH_BYTES = 512, XS_VALUE_BYTES = 1024 };

struct xs;

MUSTUSE int xs_new(struct xs **out, struct err *e);
void xs_free(struct xs *x);

/* ERR_NOT_FOUND if the node is not there.  The value is cut at XS_VALUE_BYTES - 1. */
MUSTUSE int xs_get(struct xs *x, char out[XS_VALUE_BYTES], struct err *e, const char *fmt, ...) PRINTF_LIKE(4, 5);
bool xs_has(struct xs *x, const char *fmt, ...) PRINTF_LIKE(2, 3);
MUSTUSE int xs_put(struct xs *x, const char *value, struct err *e, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* It is fine if it is not there. */
void xs_remove(struct xs *x, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Calls fn for each child's name. */
MUSTUSE int xs_each(struct xs *x, const char *path, void (*fn)(void *arg, const char *name), void *arg, struct err *e);

/* Owner and one reader of a node that is there. */
MUSTUSE int xs_allow(struct xs *x, unsigned owner, unsigned reader, struct err *e, const char *fmt, ...)
	PRINTF_LIKE(5, 6);

MUSTUSE int xs_watch_add(struct xs *x, const char *path, struct err *e);
void xs_watch_del(struct xs *x, const char *path);
int xs_fd(const struct xs *x);			/* readable when a watch fired */
/* Takes one fired watch without blocking; false: there is none. */
bool xs_fired(struct xs *x);
/* Blocks until a watch fires or timeout_ms passed (-1: for ever); true: one fired. */
bool xs_wait(struct xs *x, int timeout_ms);

/* A group of writes that appears at once.  end: commits, or with commit false drops them; ERR_BUSY: do it all again. */
MUSTUSE int xs_begin(struct xs *x, struct err *e);
MUSTUSE int xs_end(struct xs *x, bool commit, struct err *e);

#endif

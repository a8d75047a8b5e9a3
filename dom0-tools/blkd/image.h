/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that come by descriptor over the control socket: the list PARTS
 * (hvblkd_ctl.h) read, opened off the loop, closed off the loop.
 */
#ifndef BLKD_IMAGE_H
#define BLKD_IMAGE_H

#include <jansson.h>

#include "base/ctl.h"
#include "base/err.h"
#include "base/loop.h"
#include "blkd/hvblkd_ctl.h"
#include "disk/disk.h"

struct image_part {
	const struct layer_format *format;
	int fd;
	char *path;
};

struct image {				/* all zero, n 0: nothing to free */
	struct image_part parts[BLKD_PARTS_MAX];
	unsigned n;
	bool read_only, direct;
	/* image_open's: on the loop; d NULL: e says why not. */
	void (*done)(void *arg, struct disk *d, const struct err *e);
	void *arg;
	struct disk *disk;
	struct err e;
};

/* Reads "parts" and "direct" of in and takes a descriptor of call for each. */
MUSTUSE int image_take(const json_t *in, struct ctl_call *call, bool read_only, struct image *out, struct err *e);
void image_fini(struct image *m);	/* closes what was not opened; idempotent */

/* Opens all of it on a thread of its own, then done.  m stays in place until then and has no descriptors any more. */
void image_open(struct loop *l, struct image *m, void (*done)(void *arg, struct disk *d, const struct err *e),
		void *arg);
/* d NULL: fn at once.  fn comes on the loop, never inside this call. */
void image_close(struct loop *l, struct disk *d, void (*fn)(void *arg), void *arg);

#endif

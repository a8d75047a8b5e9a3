/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File systems and folders that everything else needs.  All of it may be
 * called again by a manager that was restarted.
 */
#ifndef INIT_MOUNTS_H
#define INIT_MOUNTS_H

#include "base/err.h"

/* /proc, /sys, /dev, /dev/pts, /dev/shm, /run, the links to it, and the folders of Xen's tools.  Goes on
 * after a failure and reports the first. */
MUSTUSE int mounts_all(struct err *e);
/* /proc/xen; needs the module xenfs. */
MUSTUSE int mounts_xenfs(struct err *e);
/* RUN, RUN/domd, RUN/migrate with the owners that let hvtls and hvapid make and reach sockets. */
MUSTUSE int mounts_run_folders(const char *run_dir, struct err *e);
/* The folders of the data volume, each with its owner. */
MUSTUSE int mounts_data_folders(const char *data_dir, struct err *e);

#endif

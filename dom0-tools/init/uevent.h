/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's device events (netlink), parsed and bounded. */
#ifndef INIT_UEVENT_H
#define INIT_UEVENT_H

#include <stddef.h>

#include "base/err.h"

enum { UEVENT_BYTES_MAX = 8192, UEVENT_RCVBUF_BYTES = 4 << 20 };

/* Texts point into the message; absent ones are "". */
struct uevent {
	const char *action;		/* "add", "change", "remove", ... */
	const char *subsystem;
	const char *devname;		/* "vda" */
	const char *modalias;
	const char *interface;
};

/* A non-blocking socket that receives every event from now on. */
MUSTUSE int uevent_open(int *out_fd, struct err *e);
/* The next event into buf; 1: there is one, 0: none now. */
int uevent_next(int fd, char buf[UEVENT_BYTES_MAX], struct uevent *out);
/* Parses "add@/devices/...\0ACTION=add\0SUBSYSTEM=block\0..."; p[n] must be readable and NUL. */
MUSTUSE int uevent_parse(const char *p, size_t n, struct uevent *out, struct err *e);

#endif

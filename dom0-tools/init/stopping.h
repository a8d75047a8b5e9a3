/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orderly shutdown, in stages that each end when their units are gone or
 * their time is up:
 *
 *	moves (SIGTERM) ─► guests (hvdomd: shutdown) ─► guests (destroy) ─► hvapid, hvtls ─► hvdomd ─► data
 *
 * SIGTERM alone makes hvdomd leave its guest running, so guests are asked
 * first.  Afterwards the manager ends and PID 1 switches the power.
 */
#ifndef INIT_STOPPING_H
#define INIT_STOPPING_H

#include <stdbool.h>

#include "base/err.h"

struct manager;
struct stopping;

enum {
	STOP_MOVES_MS = 15000,
	STOP_GUESTS_MS = 60000,		/* for guests to shut down by themselves */
	STOP_DESTROY_MS = 15000,
	STOP_DAEMONS_MS = 10000,
};

/* ERR_STATE when a shutdown is under way. */
MUSTUSE int stopping_start(struct manager *m, bool reboot, bool shut_guests_down, struct err *e);
void stopping_free(struct stopping *s);
/* A unit changed its state. */
void stopping_on_unit(struct stopping *s);

#endif

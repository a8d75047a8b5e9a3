/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The switch: ports for QEMU's stream netdevs, learned addresses, cuts and
 * rates.  One switch a process, all of it on the loop's thread.
 *
 * On a port each frame follows its length, 4 bytes big-endian (QEMU's format).
 * A port is a unix socket DIR/NAME.sock that the hub listens on; a second
 * connection takes the first one's place.
 */
#ifndef TESTS_LAB_PORTS_H
#define TESTS_LAB_PORTS_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "base/err.h"
#include "base/loop.h"

enum {
	PORTS_MAX = 16,
	FRAME_BYTES_MAX = 68 << 10,		/* QEMU's own limit */
	FRAME_BYTES_MIN = 14,
	PORT_OUT_BYTES_MAX = 8 << 20,		/* waiting for a port; what comes on top is dropped and counted */
	PORT_BURST_MS = 20,			/* how far a rated port may run ahead */
};
enum { PORT_PROBE = -1 };

/* tap sees every frame that is for the probe: those to its address and broadcasts.  names must stay valid. */
MUSTUSE int ports_open(struct loop *l, const char *dir, char **names, unsigned n,
		       void (*tap)(int from, const uint8_t *f, size_t n), struct err *e);
/* A frame of the probe's. */
void ports_send(const uint8_t *f, size_t n);

/* -1: no port is called that. */
int ports_find(const char *name);
const char *ports_name(int port);
/* Frames between a and b are lost from now on; a == b: all frames of a. */
void ports_cut(int a, int b);
void ports_heal(void);
/* Limits what the port sends; 0 lifts the limit. */
void ports_rate(int port, uint64_t bytes_s);
/* {NAME: {connected, isolated, cut_from, rate_bytes_s, rx_bytes, tx_bytes, rx_frames, tx_frames, dropped}};
 * rx is what the host sent. */
json_t *ports_stat(void);

#endif

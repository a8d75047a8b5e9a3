/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host of our own on the emulated network: pings a guest and remembers the
 * gaps, and sends it UDP commands.  It has one address, PROBE_IP.
 */
#ifndef TESTS_LAB_PROBE_H
#define TESTS_LAB_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "base/loop.h"

enum {
	FRAME_BYTES_MAX = 9216,
	PROBE_GAPS_MAX = 256,
	PROBE_GAP_MS = 100,		/* shorter silences are not listed */
	PROBE_UDP_MS = 1000,		/* between tries of a command */
	PROBE_UDP_TRIES = 10,
	PROBE_TEXT_MAX = 1024,
};
#define PROBE_IP { 10, 77, 0, 99 }

struct probe;

/* send: gives a frame to the switch as if it came from a port of its own. */
struct probe *probe_new(struct loop *l, void (*send)(void *arg, const uint8_t *f, size_t n), void *arg);
void probe_free(struct probe *p);
/* A frame for us, or a broadcast. */
void probe_frame(struct probe *p, const uint8_t *f, size_t n);
bool probe_is_me(const uint8_t mac[6]);

void probe_ping_start(struct probe *p, const uint8_t ip[4], uint32_t every_ms);
void probe_ping_stop(struct probe *p);
/* {sent, received, lost, longest_gap_ms, silent_ms, gaps: [{at_ms, ms}], rtt_ms: {median, p99}} since the start */
json_t *probe_ping_stat(const struct probe *p);
/* One command at a time.  done gets the answer, or NULL when none came. */
bool probe_udp(struct probe *p, const uint8_t ip[4], uint16_t port, const char *text,
	       void (*done)(void *arg, const char *answer), void *arg);

#endif

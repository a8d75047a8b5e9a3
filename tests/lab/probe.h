/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host of our own on the emulated network that watches a guest from
 * outside: pings it, tells the gaps, which port answered when, who announced
 * what, and how many copies of it answer.  One guest is pinged at a time.
 */
#ifndef TESTS_LAB_PROBE_H
#define TESTS_LAB_PROBE_H

#include <jansson.h>

#include "base/ctl.h"
#include "base/loop.h"
#include "tests/lab/frames.h"

enum {
	PROBE_GAPS_MAX = 256,
	PROBE_MOVES_MAX = 64,
	PROBE_ANNOUNCES_MAX = 256,
	PROBE_ARP_AGAIN_MS = 200,
};

void probe_init(struct loop *l);
/* One frame that is for us, or a broadcast. */
void probe_frame(int from, const struct frame *f);

/* Starts anew: all counters at zero.  Silences of gap_ms and more are listed. */
void probe_ping(const uint8_t ip[4], unsigned every_ms, unsigned gap_ms);
/* Sends no more; answers that are on their way still count. */
void probe_ping_stop(void);
/* {running, sent, received, duplicates, longest_gap_ms, silent_ms, rtt_ms: {median, p99, max},
 *  gaps: [{at_ms, ms}], moves: [{port, at_ms}]}; at_ms is real time: the last answer before the gap, the first
 * one from that port.  silent_ms: since the last answer (or the start). */
json_t *probe_ping_stat(void);

/* Answers the call with {answers: [{mac, port}]}: who claims the address within wait_ms, asked of all. */
void probe_who_has(const uint8_t ip[4], unsigned wait_ms, struct ctl_call *c);

/* {announces: [{kind: "arp"/"rarp", mac, port, at_ms}]}: gratuitous ones, newest last; clear forgets them. */
json_t *probe_announces(bool clear);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to a guest by UDP: one datagram, one answer.  A question is
 * repeated until it is answered or its time is over, with the same text from
 * the same port, so the guest must know a repeated one (it answers to the
 * number in the text, see tests/guest).
 */
#ifndef TESTS_LAB_ASK_H
#define TESTS_LAB_ASK_H

#include "base/ctl.h"
#include "base/loop.h"
#include "tests/lab/frames.h"

enum { ASKS_MAX = 8, ASK_AGAIN_MS = 500, ASK_FIRST_PORT = 20000, ASK_PORTS = 20000 };

void ask_init(struct loop *l);
/* One frame that is for us, or a broadcast. */
void ask_frame(const struct frame *f);
/* Answers the call with {text}, or ERR_TIMEOUT.  text is at most UDP_TEXT_MAX. */
MUSTUSE int ask_start(const uint8_t ip[4], unsigned port, const char *text, unsigned timeout_ms, struct ctl_call *c,
		      struct err *e);

#endif

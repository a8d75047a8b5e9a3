/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's role of hvmigrate: receives one guest, or answers one QUERY.
 */
#ifndef MIGRATE_RECV_H
#define MIGRATE_RECV_H

#include <jansson.h>

#include "base/err.h"
#include "base/loop.h"

struct recv_setup {
	const char *run_dir, *data_dir;
	const char *unit;		/* names socket and report; the session's own name comes with HELLO */
	const char *peer;
	int link_fd;			/* taken */
	/* This host's part of the checks: appends PROBLEMs for an OFFER.  May take a while; no loop runs meanwhile. */
	void (*check)(const json_t *offer, json_t *problems);
};

/* Runs the loop until the move has ended; the process's exit status. */
int recv_run(struct loop *loop, const struct recv_setup *set);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's role of hvmigrate: gives a guest away, or settles a move that
 * is in doubt.
 */
#ifndef MIGRATE_SEND_H
#define MIGRATE_SEND_H

#include <stdint.h>
#include <jansson.h>

#include "base/err.h"
#include "base/loop.h"
#include "migrate/guest/saver.h"

struct send_setup {
	const char *run_dir, *data_dir, *session;
	const json_t *spec;		/* SEND spec of hvapi/hvapid_ctl.h */
	int link_fd;			/* taken; -1 with spec.resume */
	/* Xen by pointer: how to save domain domid, and what this host says of itself in the OFFER. */
	int (*make_xen)(uint32_t domid, struct saver_xen *out, struct err *e);
	json_t *(*offer_facts)(const json_t *vm, uint32_t domid, struct err *e);
};

/* Runs the loop until the move has ended; the process's exit status. */
int send_run(struct loop *loop, const struct send_setup *set);

#endif

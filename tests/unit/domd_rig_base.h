/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test of hvdomd has in hand: a folder, hvdomd on a thread, and the state
 * of a made-up Xen, which a restart of hvdomd keeps.
 */
#ifndef TESTS_UNIT_DOMD_RIG_BASE_H
#define TESTS_UNIT_DOMD_RIG_BASE_H

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/record.h"
#include "domd/domd.h"
#include "domd/domd_ctl.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

#define RIG_UUID "01234567-89ab-cdef-0123-456789abcdef"

enum { RIG_WAIT_S = 10, RIG_CALL_MS = 10000, RIG_PATH_BYTES = 200 };

struct rig {
	struct tmp t;
	char run_dir[RIG_PATH_BYTES], data_dir[RIG_PATH_BYTES], sock[RIG_PATH_BYTES + 32];
	struct loop *l;
	struct domd d;
	struct domd_xen xen;
	pthread_t thread;
	bool runs, ended;		/* hvdomd's thread; loop_run came back by itself */
	pthread_mutex_t m;
	pthread_cond_t changed;
	/* Xen, under m */
	enum domd_life life;
	int domid, last_domid;
	uint16_t cap;
	char calls[512];		/* in order */
	const char *fails, *blocks;	/* names of calls; a call that blocks goes on when it is NULL */
	char owner_at_unpause[32];	/* word and generation on disk when unpause came */
	bool devices_ready;
	char got[64];			/* what restore read */
	unsigned announced;
	/* a call that takes its time */
	pthread_t caller;
	const char *verb;
	json_t *args, *answer;
	int fds[2], rc;
	size_t n_fds;
	struct err err;
	bool answered;
};

#define RIG_UNTIL(r, cond)                                                                            \
	do {                                                                                          \
		struct timespec end_;                                                                 \
		int rc_ = 0;                                                                          \
		clock_gettime(CLOCK_REALTIME, &end_);                                                 \
		end_.tv_sec += RIG_WAIT_S;                                                            \
		pthread_mutex_lock(&(r)->m);                                                          \
		while (!(cond) && rc_ == 0)                                                           \
			rc_ = pthread_cond_timedwait(&(r)->changed, &(r)->m, &end_);                  \
		bool ok_ = (cond);                                                                    \
		pthread_mutex_unlock(&(r)->m);                                                        \
		if (!ok_)                                                                             \
			fail_msg("waited in vain for %s; Xen heard: %s", #cond, (r)->calls);          \
	} while (0)

static inline int rig_still(void *x, const json_t *vm, struct err *e)
{
	struct rig *r = x;

	(void)vm;
	return r->fails && !strcmp(r->fails, "still") ? err_set(e, ERR_IO, "the disk does not answer") : 0;
}

#endif

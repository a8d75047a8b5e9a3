/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two hosts in one process, for tests of hvmigrate: what each of them is.
 */
#ifndef TESTS_UNIT_MIGRATE_RIG_BASE_H
#define TESTS_UNIT_MIGRATE_RIG_BASE_H

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/record.h"
#include "domd/domd_ctl.h"
#include "hvapi/hvapid_ctl.h"
#include "link/hvtls_ctl.h"
#include "migrate/migrate_ctl.h"
#include "migrate/recv.h"
#include "migrate/send.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

#define RIG_UUID "01234567-89ab-cdef-0123-456789abcdef"

enum { RIG_WAIT_S = 20, RIG_PATH_BYTES = 200, RIG_DOMID = 7, RIG_GENERATION = 4, RIG_RUNS = 2 };

struct side;

/* One run of hvmigrate. */
struct run {
	struct side *side;
	bool used, sends;
	char unit[16];			/* names socket and report */
	int fd;
	const json_t *spec;
	struct loop *loop;
	pthread_t thread;
	struct ctl_client *watch;	/* on the side's loop: hears `done` */
	struct loop_timer *again;
	bool done;
};

struct side {
	struct tmp t;
	char run_dir[RIG_PATH_BYTES], data_dir[RIG_PATH_BYTES];
	struct side *peer;
	struct loop *l;
	pthread_t thread;
	struct ctl_server *domd, *hvapid, *hvtls;
	struct run runs[RIG_RUNS];
	pthread_mutex_t m;
	pthread_cond_t changed;
	/* under m, or when the threads are over */
	char heard[512];		/* verbs of hvdomd, in order */
	char word[16];			/* of the record; "": none */
	uint64_t generation;
	struct buf got;			/* what `receive` was given */
	unsigned cap;
	/* of the servers' thread */
	struct ctl_call *receive;
	int stream, alive;
	struct loop_src *src;
	/* set before the start */
	int cut_fd;			/* the line, to cut it */
	const char *cut_at, *fail_at;	/* a verb: the line is cut; an error is the answer */
	bool stuck;			/* never reads the stream */
	bool answers_dials;
	const json_t *problems;
};

/* The guest. */
struct guest {
	struct side *host;
	struct buf sent;		/* the libxc stream so far */
	size_t written;			/* of it; atomic */
	unsigned first_pages, dirty_pages;
	bool endless;			/* the first round never ends */
	unsigned cut_in_round;		/* 0: no */
	bool cut_suspended;
	unsigned rounds;
	uint64_t seed;
};

static struct guest *rig_guest;		/* of the test that runs: make_xen has no argument */

static inline void rig_note(struct side *s, const char *verb)
{
	pthread_mutex_lock(&s->m);
	size_t n = strlen(s->heard);

	snprintf(s->heard + n, sizeof(s->heard) - n, "%s%s", n ? " " : "", verb);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->m);
}

/* Waits, with the lock held, until cond is true; fails the test after RIG_WAIT_S. */
#define RIG_UNTIL(s, cond)                                                                           \
	do {                                                                                         \
		struct timespec end_;                                                                \
		clock_gettime(CLOCK_REALTIME, &end_);                                                \
		end_.tv_sec += RIG_WAIT_S;                                                           \
		pthread_mutex_lock(&(s)->m);                                                         \
		int rc_ = 0;                                                                         \
		while (!(cond) && rc_ == 0)                                                          \
			rc_ = pthread_cond_timedwait(&(s)->changed, &(s)->m, &end_);                 \
		bool ok_ = (cond);                                                                   \
		pthread_mutex_unlock(&(s)->m);                                                       \
		if (!ok_)                                                                            \
			fail_msg("waited in vain for %s; hvdomd heard: %s", #cond, (s)->heard);      \
	} while (0)

#endif

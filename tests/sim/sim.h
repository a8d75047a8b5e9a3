/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated world of a move: two hosts, each with a hvdomd and its record,
 * hvmigrate processes that run the real session code, and a network between
 * them.  Everything that happens is an event of one queue, and every choice
 * comes from one seed, so a seed is a whole run.
 *
 *   main.c    runs seeds, counts distinct schedules, prints the failing one
 *   world.h   what there is in this world
 *   world.c   event queue, random numbers, trace
 *   host.c    hvdomd, its record on a disk that forgets what was not synced, the domain, power
 *   net.c     lines: delay, order, cuts, resets
 *   proc.c    hvmigrate: carries out what a session says
 *   saver.c   the guest's memory stream, in rounds
 *   faults.c  what goes wrong and what the operator does
 *   check.c   the invariants, after every event and at the end
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "migrate/session.h"
#include "tests/sim/world.h"

/* world.c */
void world_reset(struct sim *w, uint64_t seed);
void world_fini(struct sim *w);
uint32_t rnd(struct sim *w, uint32_t n);			/* 0 … n-1 */
bool chance(struct sim *w, uint32_t percent);
void at(struct sim *w, uint64_t ms, const char *name, void (*fn)(struct sim *, const struct event *),
	struct event ev);
bool world_step(struct sim *w);					/* false: nothing is left to happen */
void mark(struct sim *w, uint64_t what);			/* into the trace's hash */
void say(struct sim *w, const char *fmt, ...) PRINTF_LIKE(2, 3);	/* --verbose */
void violated(struct sim *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* host.c */
void host_ask(struct sim *w, uint32_t h, struct op op);
void host_hangup(struct sim *w, uint32_t h, uint32_t proc, uint64_t epoch);
void host_suspend(struct sim *w, uint32_t h);			/* asks the guest; it will stand still */
void domd_crash(struct sim *w, uint32_t h, uint32_t down_ms);
void power_off(struct sim *w, uint32_t h);
void power_on(struct sim *w, uint32_t h);
void domd_start(struct sim *w, uint32_t h);

/* net.c */
int line_new(struct sim *w, uint32_t pa, uint32_t pb);		/* LINK_UP is the caller's to send */
void line_send(struct sim *w, int line, int end, const struct mig_msg *m);
void line_close(struct sim *w, int line, int end);		/* what was sent still arrives, then the end */
void line_reset(struct sim *w, int line);
void line_vanish(struct sim *w, int line, int end);		/* power cut: nobody is told */
void net_cut(struct sim *w);
void net_heal(struct sim *w);

/* proc.c */
uint32_t proc_new(struct sim *w, uint32_t host, enum mig_role role, uint32_t session, bool resolve, bool check_only);
void proc_start(struct sim *w, uint32_t p, const struct record *r);
void proc_event(struct sim *w, uint32_t p, struct mig_event ev);
void proc_die(struct sim *w, uint32_t p, bool power);		/* power: without a word to anybody */
bool proc_is(const struct sim *w, uint32_t p, uint64_t epoch);
void session_text(uint32_t session, char out[MIG_SESSION_BYTES_MAX + 1]);
uint32_t session_number(const char *text);

/* saver.c */
void saver_start(struct sim *w, uint32_t p);
void saver_continue(struct sim *w, uint32_t p);
void saver_suspend(struct sim *w, uint32_t p);
void saver_stop(struct sim *w, uint32_t p);
void saver_suspended(struct sim *w, uint32_t host);		/* the guest stands still: whoever asked goes on */

/* faults.c */
void faults_plan(struct sim *w);
void faults_report(struct sim *w);				/* a session changed its state */
void faults_check_calm(struct sim *w);

/* check.c */
void check_now(struct sim *w);
void check_finish(struct sim *w, uint32_t p, enum mig_done outcome);
void check_end(struct sim *w);

#endif

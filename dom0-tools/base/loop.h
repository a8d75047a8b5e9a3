/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of a process: epoll, timers, signals, children, and a way
 * in from other threads.  All callbacks run on the thread that calls
 * loop_run; only loop_post and loop_work's `fn` run elsewhere.
 *
 * A callback may add and remove any source, its own included.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct loop;
struct loop_src;			/* one watched descriptor */
struct loop_timer;

/* HUP (hang-up or error of the descriptor) is reported, need not be asked for.  Data may still be there to
 * read.  The end of a TCP stream is not a HUP: it is LOOP_READ with end of file. */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 };

MUSTUSE int loop_new(struct loop **out, struct err *e);
/* NULL is fine; not inside a callback; does not close watched descriptors.  Sources and timers that are left
 * are freed: what holds one must go before the loop.  done of work still running is not called any more. */
void loop_free(struct loop *l);

/* Runs until loop_stop; returns what that was given. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l, int result);
/* Handles what is ready, waiting at most timeout_ms (-1: for ever); for tests and libraries' own loops. */
void loop_once(struct loop *l, int timeout_ms);

/* The descriptor stays the caller's; remove the source before closing it. */
MUSTUSE int loop_watch(struct loop *l, int fd, unsigned events,
		       void (*fn)(void *arg, unsigned events), void *arg,
		       struct loop_src **out, struct err *e);
void loop_set_events(struct loop_src *s, unsigned events);
void loop_unwatch(struct loop_src **s);		/* NULL inside is fine; sets NULL */

/* A timer starts disarmed.  period_ms 0: once. */
struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *t, uint64_t after_ms, uint64_t period_ms);
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer **t);

/* Blocks the signal in this thread (call before making threads) and reports it here.  Programs started later
 * inherit the block: clear their signal mask before exec. */
MUSTUSE int loop_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg, struct err *e);

/* Calls fn once on the loop's thread, never inside this call; safe from any thread. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* Runs fn(arg) on a thread of its own (it may block), then done(arg) on the loop. */
MUSTUSE int loop_work(struct loop *l, void (*fn)(void *arg), void (*done)(void *arg), void *arg, struct err *e);

#endif

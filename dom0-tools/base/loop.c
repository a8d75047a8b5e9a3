/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop.  Invariant: memory of a removed source or timer lives until
 * the outermost loop_once ends, so an event that was fetched before the
 * removal finds a dead object instead of freed memory.
 *
 * Other threads touch `struct inbox` only.  It has its own reference count:
 * work that is still running when the loop goes posts into an inbox that
 * nobody reads.
 */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"

enum { BATCH_EVENTS = 64, SIGNALS = 65, NS_PER_MS = 1000000 };

struct loop_src {
	struct loop *l;
	struct loop_src *next;
	int fd;
	bool dead;
	void (*fn)(void *arg, unsigned events);
	void *arg;
};

struct loop_timer {
	struct loop *l;
	struct loop_timer *next;
	bool dead, armed;
	uint64_t due_ns, period_ns;
	void (*fn)(void *arg);
	void *arg;
};

struct post {
	struct post *next;
	void (*fn)(void *arg);
	void *arg;
};

struct inbox {
	pthread_mutex_t lock;		/* guards all below */
	struct post *first, **last;
	int event_fd;			/* closed with the last reference */
	unsigned refs;
};

struct loop {
	int ep, sig_fd;
	unsigned depth;			/* of nested loop_once */
	bool stop, reap;
	int result;
	struct loop_src *srcs;
	struct loop_timer *timers;
	struct inbox *inbox;
	struct loop_src *inbox_src, *sig_src;
	sigset_t signals;
	struct { void (*fn)(void *arg, int signo); void *arg; } on_signal[SIGNALS];
};

static void inbox_put(struct inbox *b)
{
	unsigned left;
	struct post *p;

	pthread_mutex_lock(&b->lock);
	left = --b->refs;
	pthread_mutex_unlock(&b->lock);
	if (left)
		return;
	while ((p = b->first) != NULL) {
		b->first = p->next;
		free(p);
	}
	fd_close(&b->event_fd);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static void inbox_get(struct inbox *b)
{
	pthread_mutex_lock(&b->lock);
	b->refs++;
	pthread_mutex_unlock(&b->lock);
}

static void inbox_post(struct inbox *b, void (*fn)(void *arg), void *arg)
{
	static const uint64_t one = 1;
	struct post *p = mem_alloc(sizeof(*p));

	*p = (struct post){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&b->lock);
	*b->last = p;
	b->last = &p->next;
	pthread_mutex_unlock(&b->lock);
	/* Fails only when the counter is full, and then the loop is awake anyway. */
	if (write(b->event_fd, &one, sizeof(one)) < 0)
		return;
}

static void inbox_ready(void *arg, unsigned events)
{
	struct inbox *b = ((struct loop *)arg)->inbox;
	struct post *p, *next;
	uint64_t n;

	(void)events;
	if (read(b->event_fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&b->lock);
	p = b->first;
	b->first = NULL;
	b->last = &b->first;
	pthread_mutex_unlock(&b->lock);
	for (; p; p = next) {
		next = p->next;
		p->fn(p->arg);
		free(p);
	}
}

static int inbox_open(struct loop *l, struct err *e)
{
	struct inbox *b = mem_alloc(sizeof(*b));

	pthread_mutex_init(&b->lock, NULL);
	b->last = &b->first;
	b->refs = 1;
	l->inbox = b;
	b->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->event_fd < 0)
		return err_sys(e, errno, "eventfd");
	return loop_watch(l, b->event_fd, LOOP_READ, inbox_ready, l, &l->inbox_src, e);
}

int loop_new(struct loop **out, struct err *e)
{
	struct loop *l = mem_alloc(sizeof(*l));

	l->sig_fd = -1;
	sigemptyset(&l->signals);
	l->ep = epoll_create1(EPOLL_CLOEXEC);
	if (l->ep < 0) {
		err_sys(e, errno, "epoll");
		goto fail;
	}
	if (inbox_open(l, e) < 0)
		goto fail;
	*out = l;
	return 0;
fail:
	loop_free(l);
	return -1;
}

/* Frees what callbacks removed; everything when the loop itself goes. */
static void reap(struct loop *l, bool all)
{
	for (struct loop_src **at = &l->srcs; *at;) {
		struct loop_src *s = *at;

		if (!s->dead && !all) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		free(s);
	}
	for (struct loop_timer **at = &l->timers; *at;) {
		struct loop_timer *t = *at;

		if (!t->dead && !all) {
			at = &t->next;
			continue;
		}
		*at = t->next;
		free(t);
	}
	l->reap = false;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	assert(!l->depth);	/* not from a callback */
	reap(l, true);
	fd_close(&l->ep);
	fd_close(&l->sig_fd);
	if (l->inbox)
		inbox_put(l->inbox);
	free(l);
}

int loop_run(struct loop *l)
{
	while (!l->stop)
		loop_once(l, -1);
	l->stop = false;
	return l->result;
}

void loop_stop(struct loop *l, int result)
{
	l->stop = true;
	l->result = result;
}

/* How long epoll may wait: until the next timer, at most timeout_ms. */
static int wait_ms(const struct loop *l, int timeout_ms)
{
	uint64_t now = clock_mono_ns(), best = UINT64_MAX;
	int ms;

	for (const struct loop_timer *t = l->timers; t; t = t->next)
		if (!t->dead && t->armed && t->due_ns < best)
			best = t->due_ns;
	if (best == UINT64_MAX)
		return timeout_ms;
	if (best <= now)
		return 0;
	/* Rounded up: waking early would spin until the timer is due. */
	best = (best - now + NS_PER_MS - 1) / NS_PER_MS;
	ms = best > INT32_MAX ? INT32_MAX : (int)best;
	return timeout_ms >= 0 && timeout_ms < ms ? timeout_ms : ms;
}

static void fire_timers(struct loop *l)
{
	uint64_t now = clock_mono_ns();

	/* New timers go in front, so this pass does not meet them. */
	for (struct loop_timer *t = l->timers; t; t = t->next) {
		if (t->dead || !t->armed || t->due_ns > now)
			continue;
		t->armed = t->period_ns != 0;
		t->due_ns += t->period_ns;
		if (t->due_ns <= now)
			t->due_ns = now + t->period_ns;	/* late: skip, no burst */
		t->fn(t->arg);
	}
}

static unsigned events_of(uint32_t ep)
{
	return (ep & EPOLLIN ? LOOP_READ : 0u) | (ep & EPOLLOUT ? LOOP_WRITE : 0u) |
	       (ep & (EPOLLHUP | EPOLLERR) ? LOOP_HUP : 0u);
}

void loop_once(struct loop *l, int timeout_ms)
{
	struct epoll_event ev[BATCH_EVENTS];
	int n = epoll_wait(l->ep, ev, BATCH_EVENTS, wait_ms(l, timeout_ms));

	l->depth++;
	for (int i = 0; i < n; i++) {
		struct loop_src *s = ev[i].data.ptr;

		if (!s->dead)
			s->fn(s->arg, events_of(ev[i].events));
	}
	fire_timers(l);
	l->depth--;
	if (l->reap && !l->depth)
		reap(l, false);
}

static struct epoll_event interest(struct loop_src *s, unsigned events)
{
	return (struct epoll_event){
		.events = (events & LOOP_READ ? (uint32_t)EPOLLIN : 0u) |
			  (events & LOOP_WRITE ? (uint32_t)EPOLLOUT : 0u),
		.data.ptr = s,
	};
}

int loop_watch(struct loop *l, int fd, unsigned events, void (*fn)(void *arg, unsigned events),
	       void *arg, struct loop_src **out, struct err *e)
{
	struct loop_src *s = mem_alloc(sizeof(*s));
	struct epoll_event ev = interest(s, events);

	if (epoll_ctl(l->ep, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int saved = errno;

		free(s);
		return err_sys(e, saved, "watch descriptor %d", fd);
	}
	*s = (struct loop_src){ .l = l, .fd = fd, .fn = fn, .arg = arg, .next = l->srcs };
	l->srcs = s;
	*out = s;
	return 0;
}

void loop_set_events(struct loop_src *s, unsigned events)
{
	struct epoll_event ev = interest(s, events);
	int rc = epoll_ctl(s->l->ep, EPOLL_CTL_MOD, s->fd, &ev);

	assert(rc == 0);	/* fails only for a descriptor that was closed while watched */
	(void)rc;
}

void loop_unwatch(struct loop_src **at)
{
	struct loop_src *s = *at;

	if (!s)
		return;
	*at = NULL;
	s->dead = true;
	(void)epoll_ctl(s->l->ep, EPOLL_CTL_DEL, s->fd, NULL);
	s->l->reap = true;
	if (!s->l->depth)
		reap(s->l, false);
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_timer *t = mem_alloc(sizeof(*t));

	*t = (struct loop_timer){ .l = l, .fn = fn, .arg = arg, .next = l->timers };
	l->timers = t;
	return t;
}

void loop_timer_set(struct loop_timer *t, uint64_t after_ms, uint64_t period_ms)
{
	/* A century is as good as any longer time and cannot overflow. */
	const uint64_t most_ms = UINT64_C(100) * 366 * 86400 * 1000;

	after_ms = after_ms < most_ms ? after_ms : most_ms;
	period_ms = period_ms < most_ms ? period_ms : most_ms;
	t->armed = true;
	t->due_ns = clock_mono_ns() + after_ms * NS_PER_MS;
	t->period_ns = period_ms * NS_PER_MS;
}

void loop_timer_stop(struct loop_timer *t)
{
	t->armed = false;
}

void loop_timer_free(struct loop_timer **at)
{
	struct loop_timer *t = *at;

	if (!t)
		return;
	*at = NULL;
	t->dead = true;
	t->l->reap = true;
	if (!t->l->depth)
		reap(t->l, false);
}

static void signal_ready(void *arg, unsigned events)
{
	struct loop *l = arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(l->sig_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo < SIGNALS && l->on_signal[si.ssi_signo].fn)
			l->on_signal[si.ssi_signo].fn(l->on_signal[si.ssi_signo].arg, (int)si.ssi_signo);
}

int loop_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg, struct err *e)
{
	sigset_t one;
	int fd;

	if (signo < 1 || signo >= SIGNALS)
		return err_set(e, ERR_INTERNAL, "there is no signal %d", signo);
	sigemptyset(&one);
	sigaddset(&one, signo);
	sigaddset(&l->signals, signo);
	pthread_sigmask(SIG_BLOCK, &one, NULL);
	fd = signalfd(l->sig_fd, &l->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_sys(e, errno, "signalfd for signal %d", signo);
	l->sig_fd = fd;
	if (!l->sig_src && loop_watch(l, fd, LOOP_READ, signal_ready, l, &l->sig_src, e) < 0)
		return -1;
	l->on_signal[signo].fn = fn;
	l->on_signal[signo].arg = arg;
	return 0;
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	inbox_post(l->inbox, fn, arg);
}

struct work {
	struct inbox *inbox;
	void (*fn)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

/* Runs off the loop. */
static void *work_main(void *arg)
{
	struct work w = *(struct work *)arg;

	free(arg);
	w.fn(w.arg);
	inbox_post(w.inbox, w.done, w.arg);
	inbox_put(w.inbox);
	return NULL;
}

int loop_work(struct loop *l, void (*fn)(void *arg), void (*done)(void *arg), void *arg, struct err *e)
{
	struct work *w = mem_alloc(sizeof(*w));
	sigset_t all, old;
	pthread_t thread;
	int rc;

	*w = (struct work){ .inbox = l->inbox, .fn = fn, .done = done, .arg = arg };
	inbox_get(l->inbox);
	/* Signals are for the loop's thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, NULL, work_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		inbox_put(l->inbox);
		free(w);
		return err_sys(e, rc, "start a thread");
	}
	pthread_detach(thread);
	return 0;
}

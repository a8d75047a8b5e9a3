/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: sources removed by each other inside one batch, timers, signals,
 * posts from threads, and work that outlives its loop.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { N = 8, SHORT_MS = 20 };

struct fixture {
	struct loop *l;
	int p[N][2];
	struct loop_src *src[N];
	struct loop_timer *timer, *other;
	unsigned calls, events;
};

static int start(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err e = ERR_INIT;

	if (loop_new(&f->l, &e) < 0)
		return -1;
	for (int i = 0; i < N; i++)
		if (fd_pair(f->p[i], &e) < 0)
			return -1;
	*state = f;
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;

	loop_free(f->l);
	for (int i = 0; i < N; i++) {
		fd_close(&f->p[i][0]);
		fd_close(&f->p[i][1]);
	}
	free(f);
	return 0;
}

static void watch(struct fixture *f, int i, unsigned events, void (*fn)(void *arg, unsigned events))
{
	struct err e = ERR_INIT;

	assert_int_equal(loop_watch(f->l, f->p[i][0], events, fn, f, &f->src[i], &e), 0);
}

static void record(void *arg, unsigned events)
{
	struct fixture *f = arg;

	f->calls++;
	f->events = events;
}

static void events_come_as_asked(void **state)
{
	struct fixture *f = *state;

	watch(f, 0, LOOP_READ, record);
	loop_once(f->l, 0);
	assert_int_equal(f->calls, 0);
	assert_int_equal(fd_write_full(f->p[0][1], "x", 1), 0);
	loop_once(f->l, -1);
	assert_int_equal(f->events, LOOP_READ);
	loop_set_events(f->src[0], LOOP_READ | LOOP_WRITE);
	loop_once(f->l, -1);
	assert_int_equal(f->events, LOOP_READ | LOOP_WRITE);
	loop_set_events(f->src[0], 0);
	loop_once(f->l, 0);
	assert_int_equal(f->calls, 2);
	fd_close(&f->p[0][1]);
	loop_once(f->l, -1);
	assert_int_equal(f->events, LOOP_HUP);		/* not asked for */
	loop_unwatch(&f->src[0]);
	assert_null(f->src[0]);
	loop_unwatch(&f->src[0]);
	loop_once(f->l, 0);
	assert_int_equal(f->calls, 3);
}

static void bad_descriptors(void **state)
{
	struct fixture *f = *state;
	AUTO_FD int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct loop_src *s = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(loop_watch(f->l, -1, LOOP_READ, record, f, &s, &e), -1);
	assert_int_equal(loop_watch(f->l, file, LOOP_READ, record, f, &s, &e), -1);	/* always ready: no use */
	assert_null(s);
}

static void remove_all(void *arg, unsigned events)
{
	struct fixture *f = arg;

	(void)events;
	f->calls++;
	for (int i = 0; i < N; i++) {
		loop_unwatch(&f->src[i]);
		fd_close(&f->p[i][0]);
	}
}

/* All are ready in one batch; the first removes the rest and itself. */
static void removal_inside_a_batch(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < N; i++) {
		watch(f, i, LOOP_READ, remove_all);
		assert_int_equal(fd_write_full(f->p[i][1], "x", 1), 0);
	}
	loop_once(f->l, -1);
	loop_once(f->l, 0);
	assert_int_equal(f->calls, 1);
}

static void replace_all(void *arg, unsigned events)
{
	struct fixture *f = arg;
	struct err e = ERR_INIT;

	(void)events;
	f->calls += 100;
	for (int i = 0; i < N; i++) {
		loop_unwatch(&f->src[i]);
		fd_close(&f->p[i][0]);
		fd_close(&f->p[i][1]);
	}
	for (int i = 0; i < N; i++) {
		assert_int_equal(fd_pair(f->p[i], &e), 0);	/* the same numbers again */
		watch(f, i, LOOP_READ, record);
	}
}

/* Pending events of the old descriptors must not reach the new ones. */
static void replacement_inside_a_batch(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < N; i++) {
		watch(f, i, LOOP_READ, replace_all);
		assert_int_equal(fd_write_full(f->p[i][1], "x", 1), 0);
	}
	loop_once(f->l, -1);
	loop_once(f->l, 0);
	assert_int_equal(f->calls, 100);
	assert_int_equal(fd_write_full(f->p[3][1], "x", 1), 0);
	loop_once(f->l, -1);
	assert_int_equal(f->calls, 101);
}

static void nested(void *arg, unsigned events)
{
	struct fixture *f = arg;

	(void)events;
	if (f->calls++ == 0) {
		loop_unwatch(&f->src[0]);
		loop_once(f->l, 0);	/* must not free what the outer batch still names */
	}
	for (int i = 0; i < N; i++)
		loop_unwatch(&f->src[i]);
}

static void nested_loops(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < N; i++) {
		watch(f, i, LOOP_READ, nested);
		assert_int_equal(fd_write_full(f->p[i][1], "x", 1), 0);
	}
	loop_once(f->l, -1);
	assert_int_equal(f->calls, 2);
}

static void stop(void *arg)
{
	struct fixture *f = arg;

	loop_stop(f->l, 7);
}

static void tick(void *arg)
{
	struct fixture *f = arg;

	if (++f->calls == 3) {
		loop_timer_free(&f->timer);
		loop_timer_set(f->other, 0, 0);
	}
}

static void timers(void **state)
{
	struct fixture *f = *state;
	uint64_t t0 = clock_mono_ms();

	f->timer = loop_timer_new(f->l, tick, f);
	f->other = loop_timer_new(f->l, stop, f);
	loop_once(f->l, 0);
	assert_int_equal(f->calls, 0);		/* starts disarmed */
	loop_timer_set(f->timer, SHORT_MS, 1);
	assert_int_equal(loop_run(f->l), 7);
	assert_true(clock_mono_ms() - t0 >= SHORT_MS + 2);
	assert_int_equal(f->calls, 3);
	assert_null(f->timer);
	loop_timer_free(&f->timer);
	loop_timer_free(&f->other);
}

static void timer_once_and_stopped(void **state)
{
	struct fixture *f = *state;

	f->timer = loop_timer_new(f->l, tick, f);
	loop_timer_set(f->timer, 0, 0);
	loop_once(f->l, -1);
	loop_once(f->l, 5);
	assert_int_equal(f->calls, 1);
	loop_timer_set(f->timer, 0, 0);
	loop_timer_stop(f->timer);
	loop_once(f->l, 5);
	assert_int_equal(f->calls, 1);
	loop_timer_set(f->timer, UINT64_MAX, UINT64_MAX);	/* far away, not in the past */
	loop_once(f->l, 5);
	assert_int_equal(f->calls, 1);
	loop_timer_free(&f->timer);
}

/* Periods that were missed are not made up for: a burst would starve the rest of the loop. */
static void late_periods_are_skipped(void **state)
{
	enum { PERIOD_MS = 300 };
	struct fixture *f = *state;

	f->timer = loop_timer_new(f->l, tick, f);
	loop_timer_set(f->timer, 0, PERIOD_MS);
	poll(NULL, 0, 2 * PERIOD_MS + PERIOD_MS / 2);
	loop_once(f->l, 0);
	loop_once(f->l, 0);
	assert_int_equal(f->calls, 1);
	loop_once(f->l, -1);
	assert_int_equal(f->calls, 2);
	loop_timer_free(&f->timer);
}

static void on_signal(void *arg, int signo)
{
	struct fixture *f = arg;

	f->calls++;
	f->events |= 1u << (unsigned)signo;
}

static void signals(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	assert_int_equal(loop_signal(f->l, SIGUSR1, on_signal, f, &e), 0);
	assert_int_equal(loop_signal(f->l, SIGUSR2, on_signal, f, &e), 0);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	loop_once(f->l, -1);
	assert_int_equal(f->calls, 2);
	assert_int_equal(f->events, 1u << SIGUSR1 | 1u << SIGUSR2);
	assert_int_equal(loop_signal(f->l, 0, on_signal, f, &e), -1);
	assert_int_equal(loop_signal(f->l, 1000, on_signal, f, &e), -1);
}

static void on_post(void *arg)
{
	struct fixture *f = arg;

	if (++f->calls == 400)
		loop_stop(f->l, 1);
}

static void *poster(void *arg)
{
	struct fixture *f = arg;

	for (int i = 0; i < 100; i++)
		loop_post(f->l, on_post, f);
	return NULL;
}

static void posts_from_threads(void **state)
{
	struct fixture *f = *state;
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, poster, f), 0);
	assert_int_equal(loop_run(f->l), 1);
	assert_int_equal(f->calls, 400);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

static void post_is_not_called_inside(void **state)
{
	struct fixture *f = *state;

	loop_post(f->l, on_post, f);
	assert_int_equal(f->calls, 0);
	loop_once(f->l, 0);
	assert_int_equal(f->calls, 1);
	loop_post(f->l, on_post, f);	/* never run: freed with the loop */
}

struct work_test {
	struct loop *l;
	pthread_t ran_on;
	bool done;
	int gate, finished;		/* pipes' ends */
};

static void work_fn(void *arg)
{
	struct work_test *w = arg;
	sigset_t set;
	char c;

	w->ran_on = pthread_self();
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	assert_true(sigismember(&set, SIGTERM));
	if (fd_read_full(w->gate, &c, 1) < 0)
		abort();
}

static void work_done(void *arg)
{
	struct work_test *w = arg;

	w->done = true;
	loop_stop(w->l, 5);
}

static void work(void **state)
{
	struct fixture *f = *state;
	struct work_test w = { .l = f->l, .gate = f->p[0][0] };
	struct err e = ERR_INIT;

	assert_int_equal(loop_work(f->l, work_fn, work_done, &w, &e), 0);
	loop_once(f->l, 0);
	assert_false(w.done);
	assert_int_equal(fd_write_full(f->p[0][1], "x", 1), 0);
	assert_int_equal(loop_run(f->l), 5);
	assert_true(w.done);
	assert_false(pthread_equal(w.ran_on, pthread_self()));
}

static void last_work(void *arg)
{
	struct work_test *w = arg;
	char c;

	if (fd_read_full(w->gate, &c, 1) < 0 || fd_write_full(w->finished, "x", 1) < 0)
		abort();
}

static void work_outlives_the_loop(void **state)
{
	struct fixture *f = *state;
	struct loop *l = NULL;
	struct work_test w = { .gate = f->p[0][0], .finished = f->p[1][1] };
	struct err e = ERR_INIT;
	char c;

	assert_int_equal(loop_new(&l, &e), 0);
	assert_int_equal(loop_work(l, last_work, work_done, &w, &e), 0);
	loop_free(l);
	assert_int_equal(fd_write_full(f->p[0][1], "x", 1), 0);
	assert_int_equal(fd_read_full(f->p[1][0], &c, 1), 0);
	assert_false(w.done);
}

static void free_leaves_descriptors(void **state)
{
	struct fixture *f = *state;
	unsigned before = tmp_open_fds();
	struct loop *l = NULL;
	struct loop_src *s;
	struct err e = ERR_INIT;

	assert_int_equal(loop_new(&l, &e), 0);
	assert_int_equal(loop_watch(l, f->p[0][0], LOOP_READ, record, f, &s, &e), 0);
	assert_non_null(loop_timer_new(l, tick, f));
	assert_int_equal(loop_signal(l, SIGUSR1, on_signal, f, &e), 0);
	loop_free(l);
	loop_free(NULL);
	assert_int_equal(tmp_open_fds(), before);
}

static void stop_before_run(void **state)
{
	struct fixture *f = *state;

	loop_stop(f->l, 3);
	assert_int_equal(loop_run(f->l), 3);
	loop_post(f->l, stop, f);
	assert_int_equal(loop_run(f->l), 7);	/* and it runs again afterwards */
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(events_come_as_asked), T(bad_descriptors), T(removal_inside_a_batch),
		T(replacement_inside_a_batch), T(nested_loops), T(timers), T(timer_once_and_stopped),
		T(late_periods_are_skipped), T(signals), T(posts_from_threads), T(post_is_not_called_inside),
		T(work), T(work_outlives_the_loop), T(free_leaves_descriptors), T(stop_before_run),
	};

	return check_main(tests);
}

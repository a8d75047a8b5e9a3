/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests with one loop and things that block: those run on a thread while
 * the loop goes on here.
 */
#ifndef TESTS_UNIT_LINK_TASK_H
#define TESTS_UNIT_LINK_TASK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "tests/unit/check.h"

enum { RIG_WAIT_MS = 20000 };

static struct loop *rig_loop;
static struct err rig_err;

#define rig_ok(call) do { \
	rig_err = (struct err)ERR_INIT; \
	if ((call) < 0) \
		fail_msg("%s: %s: %s", #call, err_name(rig_err.code), rig_err.detail); \
} while (0)

/* Runs the loop until the condition holds. */
#define rig_until(cond) do { \
	uint64_t end_ = clock_mono_ms() + RIG_WAIT_MS; \
	while (!(cond)) { \
		loop_once(rig_loop, 20); \
		if (clock_mono_ms() > end_) \
			fail_msg("waited %d ms for %s", RIG_WAIT_MS, #cond); \
	} \
} while (0)

/* Something that blocks, on a thread, while the loop runs here. */
struct rig_task {
	void (*fn)(void *arg);
	void *arg;
	pthread_t thread;
	atomic_bool over;
};

static inline void *rig_task_main(void *arg)
{
	struct rig_task *t = arg;

	t->fn(t->arg);
	atomic_store(&t->over, true);
	return NULL;
}

static inline void rig_task_start(struct rig_task *t, void (*fn)(void *arg), void *arg)
{
	t->fn = fn;
	t->arg = arg;
	atomic_init(&t->over, false);
	assert_int_equal(pthread_create(&t->thread, NULL, rig_task_main, t), 0);
}

static inline void rig_task_end(struct rig_task *t)
{
	rig_until(atomic_load(&t->over));
	pthread_join(t->thread, NULL);
}

static inline void rig_run(void (*fn)(void *arg), void *arg)
{
	struct rig_task t;

	rig_task_start(&t, fn, arg);
	rig_task_end(&t);
}

static inline void rig_open(void)
{
	log_init("test", LOG_ERR);
	rig_ok(loop_new(&rig_loop, &rig_err));
}

static inline void rig_close(void)
{
	loop_free(rig_loop);
	rig_loop = NULL;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An hvdomd over fake Xen, on a real control socket.  box_halt and box_boot
 * are a crash and what hvinit does about it; a power cut takes the domain away
 * too.
 */
#ifndef TESTS_UNIT_DOMD_BOX_H
#define TESTS_UNIT_DOMD_BOX_H

#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/domd_fake.h"

enum { BOX_WAIT_MS = 10000 };

struct box {
	struct tmp t;
	unsigned fds_before;
	struct fake x;
	struct domd_xen ops;
	struct loop *l;
	pthread_t thread;
	bool up, ended;
	struct domd d;
};

static inline void *box_serve(void *arg)
{
	struct box *b = arg;

	loop_run(b->l);
	__atomic_store_n(&b->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

static inline void box_boot(struct box *b)
{
	struct err e = ERR_INIT;

	b->ended = false;
	if (loop_new(&b->l, &e) < 0 || domd_init(&b->d, b->l, &b->ops, b->t.dir, "g1", &e) < 0 ||
	    domd_serve(&b->d, b->t.dir, &e) < 0)
		fail_msg("%s", e.detail);
	assert_int_equal(pthread_create(&b->thread, NULL, box_serve, b), 0);
	b->up = true;
}

static inline void box_stop_(void *arg)
{
	loop_stop(arg, 0);
}

static inline void box_halt(struct box *b)
{
	if (!b->up)
		return;
	loop_post(b->l, box_stop_, b->l);
	pthread_join(b->thread, NULL);
	domd_fini(&b->d);
	loop_free(b->l);
	b->up = false;
}

static inline void box_crash(struct box *b)
{
	box_halt(b);
	box_boot(b);
}

static inline void box_power_cut(struct box *b)
{
	box_halt(b);
	fake_set_life(&b->x, LIFE_GONE);
	box_boot(b);
}

static inline void box_look_(void *arg)
{
	domd_look(arg);
}

/* Xen says that some domain changed. */
static inline void box_release(struct box *b, enum domd_life life)
{
	fake_set_life(&b->x, life);
	loop_post(b->l, box_look_, &b->d);
}

static inline int box_start(void **state)
{
	struct box *b = mem_alloc(sizeof(*b));

	log_init("test", LOG_ERR);
	b->fds_before = tmp_open_fds();
	tmp_init(&b->t);
	mkdir(tmp_path(&b->t, "domd"), 0700);
	mkdir(tmp_path(&b->t, "save"), 0700);
	b->x.data_dir = b->t.dir;
	pthread_mutex_init(&b->x.lock, NULL);
	b->ops = fake_xen;
	b->ops.x = &b->x;
	box_boot(b);
	*state = b;
	return 0;
}

static inline int box_end(void **state)
{
	struct box *b = *state;
	unsigned before = b->fds_before;

	box_halt(b);
	pthread_mutex_destroy(&b->x.lock);
	tmp_fini(&b->t);
	free(b);
	return tmp_open_fds() == before ? 0 : -1;
}

/* Takes the record's folder away, so that nothing can be written; and gives it back. */
static inline void box_disk(struct box *b, bool works)
{
	char there[256], away[256];

	snprintf(there, sizeof(there), "%s/vm", b->t.dir);
	snprintf(away, sizeof(away), "%s/vm-away", b->t.dir);
	assert_int_equal(works ? rename(away, there) : rename(there, away), 0);
}

/* args is taken.  *out may be NULL. */
static inline enum err_code box_ask_fds(struct box *b, const char *verb, json_t *args, const int *fds, size_t n,
					json_t **out)
{
	AUTO_JSON json_t *own = args, *ok = NULL;
	struct err e = ERR_INIT;
	char path[256];

	snprintf(path, sizeof(path), DOMD_SOCKET_FMT, b->t.dir, "g1");
	if (ctl_once(path, verb, own, fds, n, BOX_WAIT_MS, &ok, NULL, NULL, &e) < 0)
		return e.code;
	if (out)
		*out = json_incref(ok);
	return ERR_NONE;
}

static inline enum err_code box_ask(struct box *b, const char *verb, json_t *args)
{
	return box_ask_fds(b, verb, args, NULL, 0, NULL);
}

#define BOX_TEST(fn) cmocka_unit_test_setup_teardown(fn, box_start, box_end)

#endif

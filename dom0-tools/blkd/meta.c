/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, one list under one lock.
 */
#include "blkd/meta.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/buf.h"

struct meta {
	struct loop *loop;
	pthread_t thread;
	pthread_mutex_t lock;		/* guards first, last, stop */
	pthread_cond_t more;
	struct meta_job *first, **last;
	bool stop;
};

static void post_done(void *arg)
{
	struct meta_job *j = arg;

	j->done(j);
}

/* Off-loop. */
static void *run(void *arg)
{
	struct meta *m = arg;
	struct meta_job *j;

	pthread_mutex_lock(&m->lock);
	for (;;) {
		while (!m->first && !m->stop)
			pthread_cond_wait(&m->more, &m->lock);
		j = m->first;
		if (!j)
			break;
		m->first = j->next;
		if (!m->first)
			m->last = &m->first;
		pthread_mutex_unlock(&m->lock);
		j->fn(j);
		loop_post(m->loop, post_done, j);
		pthread_mutex_lock(&m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

int meta_new(struct loop *l, struct meta **out, struct err *e)
{
	struct meta *m = mem_alloc(sizeof(*m));
	sigset_t all, old;
	int rc;

	m->loop = l;
	m->last = &m->first;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->more, NULL);
	sigfillset(&all);		/* signals are the loop's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&m->thread, NULL, run, m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		free(m);
		return err_sys(e, rc, "start the metadata thread");
	}
	*out = m;
	return 0;
}

void meta_put(struct meta *m, struct meta_job *j)
{
	j->m = m;
	j->next = NULL;
	pthread_mutex_lock(&m->lock);
	*m->last = j;
	m->last = &j->next;
	pthread_cond_signal(&m->more);
	pthread_mutex_unlock(&m->lock);
}

void meta_free(struct meta *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_signal(&m->more);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	assert(!m->first);
	pthread_cond_destroy(&m->more);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

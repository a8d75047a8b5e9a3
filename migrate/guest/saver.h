/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's memory stream: Xen's save on one thread, the encoder on
 * another, a pipe between them, batches pushed to the link.
 *
 *    save thread ──pipe──► encode thread ──► mig_link queue ──► line
 *
 * All callbacks come on the loop's thread.  Xen comes in by pointer, so a test
 * saves a made-up guest.
 */
#ifndef MIGRATE_SAVER_H
#define MIGRATE_SAVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "migrate/mig_link.h"
#include "migrate/mig_policy.h"
#include "migrate/stream/codec.h"

enum saver_step { SAVER_CONTINUE, SAVER_STOP, SAVER_ABORT };

/* What the save calls on its own thread. */
struct saver_hooks {
	/* After a round: dirty_pages is the work of the next one.  Blocks until the session has decided. */
	enum saver_step (*round)(void *arg, uint32_t number, uint64_t dirty_pages);
	/* Around the suspend of the guest. */
	void (*suspending)(void *arg);
	void (*suspended)(void *arg);
	/* True once the move is given up: a wait inside the save ends. */
	bool (*cancelled)(void *arg);
	void *arg;
};

/* Writes the whole libxc stream of the guest to fd and blocks; the guest is left suspended on success.  On failure it
 * is as it was, or suspended (hvdomd's give-abort resumes it). */
struct saver_xen {
	int (*save)(void *arg, int fd, const struct saver_hooks *hooks, struct err *e);
	void *arg;
};

struct saver_facts {
	struct codec_counts counts;
	uint64_t batches;
	uint32_t round;
};

struct saver_ops {
	void (*progress)(void *arg, const struct saver_facts *f);
	/* Answer with saver_answer. */
	void (*round)(void *arg, const struct policy_round *r, const struct saver_facts *f);
	void (*suspended)(void *arg, uint64_t suspend_ms);
	void (*done)(void *arg, const struct saver_facts *f, uint64_t raw_bytes, uint64_t sum);
	void (*failed)(void *arg, const struct err *why);
	/* Answer to saver_stop: both threads have ended. */
	void (*stopped)(void *arg);
};

struct saver;

/* Starts at once.  link must outlive the saver; ops, xen and arg too. */
MUSTUSE int saver_new(struct loop *loop, struct mig_link *link, const struct saver_xen *xen, enum stream_codec codec,
		      uint32_t cache_pages, const struct saver_ops *ops, void *arg, struct saver **out, struct err *e);
void saver_answer(struct saver *s, enum saver_step step);
/* Gives up in bounded time; `stopped` comes, and neither done nor failed. */
void saver_stop(struct saver *s);
/* Both threads are over. */
bool saver_ended(const struct saver *s);
/* Only when it has ended: after done, failed or stopped, or NULL. */
void saver_free(struct saver *s);

#endif

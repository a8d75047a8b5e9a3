/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's stream when it does not go straight through: each of its two
 * threads may fail, wait or be told to stop, and one answer comes of it.
 */
#include "tests/unit/check.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "migrate/guest/saver.h"

enum { TURN_MS = 10, TURNS = 1000 };

struct bench {
	struct loop *loop;
	struct mig_link *link;
	int fd;				/* nobody reads it */
	struct saver *saver;
	unsigned rounds, suspended, done, failed, stopped;
	struct err why;
	struct policy_round last;
	/* the guest's */
	const char *plan;		/* letters, see save() */
	unsigned cancels_seen;
};

static int put(int fd, struct buf *b, struct err *e)
{
	int rc = fd_write_full(fd, b->p, b->len);

	b->len = 0;
	return rc < 0 ? err_sys(e, -rc, "write") : 0;
}

static int header(int fd, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };

	buf_put_be64(&b, LIBXC_MARKER);
	buf_put_be32(&b, LIBXC_ID);
	buf_put_be32(&b, 3);
	buf_put_be64(&b, 0);
	buf_put_le64(&b, 0);
	buf_put_le64(&b, 0);
	return put(fd, &b, e);
}

/* n pages in one record. */
static int pages(int fd, uint32_t n, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };
	static uint64_t word = 1;

	buf_put_le32(&b, LIBXC_REC_PAGE_DATA);
	buf_put_le32(&b, PAGES_HDR_BYTES + n * (8 + PAGE_BYTES));
	buf_put_le32(&b, n);
	buf_put_le32(&b, 0);
	for (uint32_t i = 0; i < n; i++)
		buf_put_le64(&b, i);
	for (uint32_t i = 0; i < n * PAGE_WORDS; i++)
		buf_put_le64(&b, word = word * 6364136223846793005u + 1442695040888963407u);
	return put(fd, &b, e);
}

static int garbage(int fd, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };

	buf_put_le32(&b, LIBXC_REC_PAGE_DATA);
	buf_put_le32(&b, UINT32_MAX);
	return put(fd, &b, e);
}

/* h header, p pages, r round, s suspend, e end, g garbage, f fails, w pages until told to stop */
static int save(void *arg, int fd, const struct saver_hooks *hooks, struct err *e)
{
	struct bench *t = arg;
	AUTO_BUF struct buf end = { 0 };
	uint32_t round = 0;
	int rc = 0;

	buf_put_le64(&end, LIBXC_REC_END);
	for (const char *c = t->plan; *c && rc == 0; c++) {
		switch (*c) {
		case 'h': rc = header(fd, e); break;
		case 'p': rc = pages(fd, 10, e); break;
		case 'g': rc = garbage(fd, e); break;
		case 'e': rc = put(fd, &end, e); break;
		case 'f': rc = err_set(e, ERR_XEN, "made-up failure"); break;
		case 's':
			hooks->suspending(hooks->arg);
			hooks->suspended(hooks->arg);
			break;
		case 'r':
			if (hooks->round(hooks->arg, round++, 33) == SAVER_ABORT)
				rc = err_set(e, ERR_CANCELLED, "told to");
			break;
		default:
			while (rc == 0 && !hooks->cancelled(hooks->arg))
				rc = pages(fd, 100, e);
			t->cancels_seen++;
		}
	}
	return rc;
}

static void on_progress(void *arg, const struct saver_facts *f)
{
	(void)arg, (void)f;
}

static void on_round(void *arg, const struct policy_round *r, const struct saver_facts *f)
{
	struct bench *t = arg;

	(void)f;
	t->rounds++;
	t->last = *r;
}

static void on_suspended(void *arg, uint64_t ms)
{
	(void)ms;
	((struct bench *)arg)->suspended++;
}

static void on_done(void *arg, const struct saver_facts *f, uint64_t raw_bytes, uint64_t sum)
{
	(void)f, (void)raw_bytes, (void)sum;
	((struct bench *)arg)->done++;
}

static void on_failed(void *arg, const struct err *why)
{
	struct bench *t = arg;

	t->failed++;
	t->why = *why;
}

static void on_stopped(void *arg)
{
	((struct bench *)arg)->stopped++;
}

static const struct saver_ops ops = { on_progress, on_round, on_suspended, on_done, on_failed, on_stopped };

static void no_msg(void *arg, struct mig_link *l, const struct mig_msg *m)
{
	(void)arg, (void)l, (void)m;
}

static void no_data(void *arg, struct mig_link *l, uint64_t seq, struct buf batch)
{
	(void)arg, (void)l, (void)seq;
	buf_fini(&batch);
}

static void no_down(void *arg, struct mig_link *l, const struct err *why)
{
	(void)arg, (void)l, (void)why;
}

static const struct mig_link_ops link_ops = { no_msg, no_data, no_down };

static int setup(void **state)
{
	struct bench *t = mem_alloc(sizeof(*t));
	struct err e = ERR_INIT;
	int pair[2];

	if (loop_new(&t->loop, &e) < 0 || fd_pair(pair, &e) < 0 ||
	    mig_link_new(t->loop, pair[0], &link_ops, t, &t->link, &e) < 0)
		return -1;
	t->fd = pair[1];
	*state = t;
	return 0;
}

static bool over(const struct bench *t)
{
	return t->done + t->failed + t->stopped > 0;
}

static int teardown(void **state)
{
	struct bench *t = *state;

	for (int i = 0; i < 3; i++)
		loop_once(t->loop, 0);
	if (t->saver && saver_ended(t->saver))
		saver_free(t->saver);
	mig_link_free(t->link);
	for (int i = 0; i < 3; i++)
		loop_once(t->loop, 0);
	loop_free(t->loop);
	fd_close(&t->fd);
	free(t);
	return 0;
}

static void begin(struct bench *t, const char *plan)
{
	static struct saver_xen xen;
	struct err e = ERR_INIT;

	xen = (struct saver_xen){ save, t };
	t->plan = plan;
	assert_int_equal(saver_new(t->loop, t->link, &xen, CODEC_NONE, 64, &ops, t, &t->saver, &e), 0);
}

static void turn_until(struct bench *t, const unsigned *n)
{
	for (int i = 0; i < TURNS && !*n; i++)
		loop_once(t->loop, TURN_MS);
	assert_true(*n);
}

/* Exactly one of the three came. */
static void ended(struct bench *t, unsigned done, unsigned failed, unsigned stopped)
{
	for (int i = 0; i < TURNS && !over(t); i++)
		loop_once(t->loop, TURN_MS);
	for (int i = 0; i < 5; i++)
		loop_once(t->loop, 1);
	assert_true(saver_ended(t->saver));
	assert_int_equal(t->done, done);
	assert_int_equal(t->failed, failed);
	assert_int_equal(t->stopped, stopped);
}

static void test_rounds(void **state)
{
	struct bench *t = *state;

	begin(t, "hpprpse");
	turn_until(t, &t->rounds);
	/* The encoder may be behind what was written; what it has not sent counts as left. */
	assert_true(t->last.sent_pages <= 20);
	assert_true(t->last.left_pages >= 33);
	assert_int_equal(t->last.number, 0);
	assert_int_equal(t->suspended, 0);
	saver_answer(t->saver, SAVER_STOP);
	ended(t, 1, 0, 0);
	assert_int_equal(t->suspended, 1);
}

static void test_save_fails_at_once(void **state)
{
	begin(*state, "f");
	ended(*state, 0, 1, 0);
	assert_int_equal(((struct bench *)*state)->why.code, ERR_XEN);	/* not that the stream broke off */
}

static void test_save_fails_later(void **state)
{
	struct bench *t = *state;

	begin(t, "hprpf");
	turn_until(t, &t->rounds);
	saver_answer(t->saver, SAVER_CONTINUE);
	ended(t, 0, 1, 0);
	assert_int_equal(t->why.code, ERR_XEN);
}

/* Said to be well, but the stream has no end. */
static void test_no_end(void **state)
{
	begin(*state, "hps");
	ended(*state, 0, 1, 0);
}

static void test_garbage(void **state)
{
	struct bench *t = *state;

	begin(t, "hpgw");
	ended(t, 0, 1, 0);
	assert_true(t->why.code == ERR_CORRUPT || t->why.code == ERR_LIMIT);
}

static void test_stop_in_round(void **state)
{
	struct bench *t = *state;

	begin(t, "hpr");
	turn_until(t, &t->rounds);
	saver_stop(t->saver);
	ended(t, 0, 0, 1);
	assert_int_equal(t->suspended, 0);
}

/* Everything is full: the pipe, the queue and the line. */
static void test_stop_when_full(void **state)
{
	struct bench *t = *state;

	begin(t, "hw");
	while (mig_link_backlog(t->link) < MIG_LINK_QUEUE_BYTES)
		loop_once(t->loop, TURN_MS);
	uint64_t t0 = clock_mono_ms();

	saver_stop(t->saver);
	ended(t, 0, 0, 1);
	assert_true(clock_mono_ms() - t0 < 3000);
}

static void test_stop_afterwards(void **state)
{
	struct bench *t = *state;

	begin(t, "f");
	ended(t, 0, 1, 0);
	saver_stop(t->saver);
	assert_int_equal(t->stopped, 1);
}

static void test_line_goes(void **state)
{
	struct bench *t = *state;

	begin(t, "hw");
	while (mig_link_backlog(t->link) < MIG_LINK_QUEUE_BYTES)
		loop_once(t->loop, TURN_MS);
	fd_close(&t->fd);
	ended(t, 0, 1, 0);
}

#define SAVER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		SAVER(test_rounds), SAVER(test_save_fails_at_once), SAVER(test_save_fails_later), SAVER(test_no_end),
		SAVER(test_garbage), SAVER(test_stop_in_round), SAVER(test_stop_when_full), SAVER(test_stop_afterwards),
		SAVER(test_line_goes),
	};

	signal(SIGPIPE, SIG_IGN);
	return check_main(tests);
}

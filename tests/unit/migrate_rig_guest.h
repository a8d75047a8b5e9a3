/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A made-up guest: its save writes a real libxc stream, in rounds.
 */
#ifndef TESTS_UNIT_MIGRATE_RIG_GUEST_H
#define TESTS_UNIT_MIGRATE_RIG_GUEST_H

#include "tests/unit/migrate_rig_base.h"

static inline uint64_t rig_random(struct guest *g)
{
	g->seed ^= g->seed << 13;
	g->seed ^= g->seed >> 7;
	g->seed ^= g->seed << 17;
	return g->seed;
}

/* Writes b, which is then part of what was sent. */
static inline int rig_out(struct guest *g, int fd, struct buf *b, struct err *e)
{
	int rc = fd_write_full(fd, b->p, b->len);

	if (rc < 0)
		return err_sys(e, -rc, "write the made-up stream");
	buf_put(&g->sent, b->p, b->len);
	__atomic_add_fetch(&g->written, b->len, __ATOMIC_SEQ_CST);
	b->len = 0;
	return 0;
}

static inline int rig_pages(struct guest *g, int fd, unsigned pages, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };

	while (pages) {
		uint32_t n = pages < 64 ? pages : 64;

		buf_put_le32(&b, LIBXC_REC_PAGE_DATA);
		buf_put_le32(&b, PAGES_HDR_BYTES + n * (8 + PAGE_BYTES));
		buf_put_le32(&b, n);
		buf_put_le32(&b, 0);
		for (unsigned i = 0; i < n; i++)
			buf_put_le64(&b, rig_random(g) % 4096);
		for (unsigned i = 0; i < n * PAGE_WORDS; i++)
			buf_put_le64(&b, i % 1024 < 512 ? rig_random(g) : 0);
		if (rig_out(g, fd, &b, e) < 0)
			return -1;
		pages -= n;
	}
	return 0;
}

static inline int rig_header(struct guest *g, int fd, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };

	buf_put_be64(&b, LIBXC_MARKER);
	buf_put_be32(&b, LIBXC_ID);
	buf_put_be32(&b, 3);
	buf_put_be64(&b, 0);
	for (int i = 0; i < LIBXC_DHDR_BYTES; i++)
		buf_put_u8(&b, (uint8_t)i);
	return rig_out(g, fd, &b, e);
}

static inline int rig_rest(struct guest *g, int fd, const struct saver_hooks *hooks, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };

	hooks->suspending(hooks->arg);
	hooks->suspended(hooks->arg);
	rig_note(g->host, "SUSPENDED");
	if (g->cut_suspended)
		shutdown(g->host->cut_fd, SHUT_RDWR);
	if (rig_pages(g, fd, g->dirty_pages, e) < 0)
		return -1;
	buf_put_le64(&b, LIBXC_REC_END);
	return rig_out(g, fd, &b, e);
}

static inline int rig_guest_save(void *arg, int fd, const struct saver_hooks *hooks, struct err *e)
{
	struct guest *g = arg;

	if (rig_header(g, fd, e) < 0)
		return -1;
	for (unsigned pages = g->first_pages;; pages = g->dirty_pages) {
		do {
			if (hooks->cancelled(hooks->arg))
				return err_set(e, ERR_CANCELLED, "given up");
			if (g->cut_in_round && g->cut_in_round == g->rounds)
				shutdown(g->host->cut_fd, SHUT_RDWR);
			if (rig_pages(g, fd, pages, e) < 0)
				return -1;
		} while (g->endless);
		switch (hooks->round(hooks->arg, g->rounds++, g->dirty_pages)) {
		case SAVER_CONTINUE:
			continue;
		case SAVER_STOP:
			return rig_rest(g, fd, hooks, e);
		case SAVER_ABORT:
		default:
			return err_set(e, ERR_CANCELLED, "given up");
		}
	}
}

#endif

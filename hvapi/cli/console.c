/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw bytes both ways.  The TLS library may hold bytes that poll does not
 * see, so reading goes on until the stream says there is no more for now: the
 * descriptor is made non-blocking, and -EAGAIN means poll.
 */
#include "hvapi/cli/console.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "hvapi/cli/api.h"

enum { CONSOLE_BYTES = 4096, KEY_LEAVE = 0x1d /* Ctrl-] */ };

static struct termios saved;

static void raw_terminal(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return;
	t = saved;
	cfmakeraw(&t);
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

/* What the guest says.  *out_end when its console is gone. */
static int from_guest(const struct http_stream *s, bool *out_end, struct err *e)
{
	for (;;) {
		char b[CONSOLE_BYTES];
		ssize_t n = s->read(s->arg, b, sizeof(b));

		if (n == -EAGAIN)
			return 0;
		if (n <= 0) {
			*out_end = true;
			return n < 0 ? err_sys(e, (int)-n, "read the console") : 0;
		}
		int rc = fd_write_full(STDOUT_FILENO, b, (size_t)n);
		if (rc < 0)
			return err_sys(e, -rc, "write to the terminal");
	}
}

/* What is typed, to `typed`.  *out_end at Ctrl-] or the end of the input. */
static int from_terminal(struct buf *typed, bool *out_end, struct err *e)
{
	uint8_t b[CONSOLE_BYTES];
	ssize_t n = read(STDIN_FILENO, b, sizeof(b));

	if (n < 0 && errno != EINTR)
		return err_sys(e, errno, "read the terminal");
	if (n == 0)
		*out_end = true;
	if (n > 0) {
		const uint8_t *leave = memchr(b, KEY_LEAVE, (size_t)n);

		*out_end = leave != NULL;
		buf_put(typed, b, leave ? (size_t)(leave - b) : (size_t)n);
	}
	return 0;
}

/* As much as the guest takes now. */
static int to_guest(const struct http_stream *s, struct buf *typed, struct err *e)
{
	while (typed->len) {
		ssize_t n = s->write(s->arg, typed->p, typed->len);

		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return err_sys(e, n < 0 ? (int)-n : EPIPE, "write to the console");
		buf_consume(typed, (size_t)n);
	}
	return 0;
}

/* The terminal is not read while the guest has not taken what was typed, but what the guest says always is: else two
 * full pipes could wait for each other. */
static int run(const struct http_stream *s, int fd, struct err *e)
{
	AUTO_BUF struct buf typed = { 0 };
	bool gone = false, left = false;

	for (;;) {
		if (from_guest(s, &gone, e) < 0 || to_guest(s, &typed, e) < 0)
			return -1;
		if (gone || (left && !typed.len))
			return 0;
		struct pollfd p[2] = {
			{ .fd = fd, .events = (short)(POLLIN | (typed.len ? POLLOUT : 0)) },
			{ .fd = typed.len || left ? -1 : STDIN_FILENO, .events = POLLIN },
		};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return err_sys(e, errno, "wait for the console");
		if (p[1].revents && from_terminal(&typed, &left, e) < 0)
			return -1;
	}
}

int console_run(struct api *a, const char *path, struct err *e)
{
	const struct http_stream *s;
	AUTO_BUF struct buf early = { 0 };
	bool terminal = isatty(STDIN_FILENO);
	int fd;

	if (api_upgrade(a, path, "hv-console", &s, &fd, &early, e) < 0)
		return -1;
	if (fd_set_nonblock(fd, true, e) < 0)
		return -1;
	if (terminal) {
		fprintf(stderr, "Connected; Ctrl-] leaves.\r\n");
		raw_terminal();
	}
	int rc = early.len ? fd_write_full(STDOUT_FILENO, early.p, early.len) : 0;

	rc = rc < 0 ? err_sys(e, -rc, "write to the terminal") : run(s, fd, e);
	if (terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	return rc;
}

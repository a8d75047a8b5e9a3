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

/* What is typed.  *out_end at Ctrl-] or the end of the input. */
static int from_terminal(const struct http_stream *s, bool *out_end, struct err *e)
{
	char b[CONSOLE_BYTES];
	ssize_t n = read(STDIN_FILENO, b, sizeof(b)), done = 0;

	if (n <= 0) {
		*out_end = true;
		return 0;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (b[i] == KEY_LEAVE) {
			*out_end = true;
			n = i;
		}
	}
	while (done < n) {
		ssize_t w = s->write(s->arg, b + done, (size_t)(n - done));

		if (w <= 0 && w != -EAGAIN)
			return err_sys(e, w < 0 ? (int)-w : EPIPE, "write to the console");
		done += w > 0 ? w : 0;
	}
	return 0;
}

static int run(const struct http_stream *s, int fd, struct err *e)
{
	bool end = false;
	int rc = 0;

	while (!end && rc == 0) {
		struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };

		rc = from_guest(s, &end, e);
		if (rc < 0 || end)
			break;
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return err_sys(e, errno, "wait for the console");
		if (p[1].revents)
			rc = from_terminal(s, &end, e);
	}
	return rc;
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from a peer into the reader of control frames, cut into two writes at
 * a place the input chooses, each with descriptors.
 * sources: dom0-tools/base/ctl_frame.c dom0-tools/base/buf.c dom0-tools/base/err.c
 * sources: dom0-tools/base/fd.c dom0-tools/base/js.c dom0-tools/base/rd.c
 */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/ctl_frame.h"
#include "base/fd.h"

enum { INPUT_BYTES_MAX = 64 << 10 };	/* fits into the socket, so no write blocks */

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* False at the end of the connection. */
static int read_all(struct ctl_in *in, int sock)
{
	for (;;) {
		json_t *msg = NULL;
		int fds[CTL_CALL_FDS_MAX];
		struct err e = ERR_INIT;
		enum ctl_step step = ctl_in_step(in, sock, &msg, &e);

		if (step != CTL_STEP_FRAME)
			return step == CTL_STEP_AGAIN;
		if (!json_is_object(msg))
			abort();
		json_decref(msg);
		for (size_t i = ctl_in_take_fds(in, fds); i-- > 0;)
			if (close(fds[i]) < 0)
				abort();
	}
}

static void send_part(int sock, const uint8_t *p, size_t n, size_t n_fds)
{
	static const int fds[FD_PASS_MAX];

	if (n && fd_send_with(sock, p, n, fds, n_fds) != (ssize_t)n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct ctl_in in = { 0 };
	int s[2];
	size_t cut;
	struct err e = ERR_INIT;

	if (n < 2 || n > INPUT_BYTES_MAX)
		return 0;
	if (fd_pair(s, &e) < 0 || fd_set_nonblock(s[0], true, &e) < 0)
		abort();
	cut = p[0] < n - 2 ? p[0] : n - 2;
	send_part(s[1], p + 2, cut, p[1] & 15);
	if (read_all(&in, s[0])) {
		send_part(s[1], p + 2 + cut, n - 2 - cut, p[1] >> 4);
		fd_close(&s[1]);
		if (read_all(&in, s[0]))
			abort();	/* an end of file that is not met */
	}
	ctl_in_fini(&in);
	fd_close(&s[0]);
	fd_close(&s[1]);
	return 0;
}

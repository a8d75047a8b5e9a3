/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of ctl.h on a non-blocking unix stream socket, for the two ends of a
 * control connection only.
 *
 * Descriptors are sent with the first byte of a frame.  The header is received
 * by itself, so the kernel hands them over with their own frame; those that
 * come with the body, or are too many, are closed.
 */
#ifndef BASE_CTL_FRAME_H
#define BASE_CTL_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "base/buf.h"
#include "base/ctl.h"
#include "base/err.h"

enum { CTL_HEAD_BYTES = 4, CTL_MSG_BYTES_MIN = 2 };

/* Incoming side.  All zero is a valid start. */
struct ctl_in {
	uint8_t head[CTL_HEAD_BYTES];
	size_t n_head;
	struct buf body;
	int fds[CTL_CALL_FDS_MAX];	/* of the frame that is being read or was read last */
	size_t n_fds;
};

enum ctl_step {
	CTL_STEP_AGAIN,			/* no more now */
	CTL_STEP_FRAME,			/* one message */
	CTL_STEP_END,			/* end of file or broken: the connection is of no more use */
};

/* Reads towards the next frame.  FRAME: *out is an object, the caller's, and its descriptors stay in `in` until
 * taken or until the next call.  END: e says why. */
enum ctl_step ctl_in_step(struct ctl_in *in, int sock, json_t **out, struct err *e);
/* Moves the frame's descriptors to fds (capacity CTL_CALL_FDS_MAX), which the caller owns.  Returns their number. */
size_t ctl_in_take_fds(struct ctl_in *in, int *fds);
void ctl_in_fini(struct ctl_in *in);	/* idempotent */

/* Outgoing side: frames in order.  All zero is a valid start. */
struct ctl_out {
	struct ctl_out_frame *first, *last;
	size_t bytes;			/* of memory held; to be tested against CTL_OUT_BYTES_MAX */
};

/* Appends header and text of `msg` to b; ERR_LIMIT if it is longer than CTL_MSG_BYTES_MAX. */
MUSTUSE int ctl_encode(const json_t *msg, struct buf *b, struct err *e);
/* Queues an encoded frame; takes the contents of b and owns the descriptors (at most CTL_CALL_FDS_MAX). */
void ctl_out_put(struct ctl_out *o, struct buf *b, const int *fds, size_t n_fds);
/* Writes what goes without blocking: 0 all gone, -EAGAIN some left, other -errno: broken. */
int ctl_out_flush(struct ctl_out *o, int sock);
void ctl_out_fini(struct ctl_out *o);	/* idempotent */

#endif

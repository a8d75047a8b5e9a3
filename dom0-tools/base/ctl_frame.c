/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames in and out.  The length in a header is checked before it is used,
 * and memory grows with what has arrived, not with what was announced.
 */
#include "base/ctl_frame.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/js.h"
#include "base/rd.h"

enum { READ_STEP_BYTES = 64 << 10 };

struct ctl_out_frame {
	struct ctl_out_frame *next;
	struct buf b;
	size_t sent;
	int fds[CTL_CALL_FDS_MAX];
	size_t n_fds;
};

static void close_fds(int *fds, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		fd_close(&fds[i]);
	*n = 0;
}

static ssize_t read_head(struct ctl_in *in, int sock)
{
	size_t n_fds = ARRAY_LEN(in->fds) - in->n_fds;
	ssize_t got = fd_recv_with(sock, in->head + in->n_head, CTL_HEAD_BYTES - in->n_head,
				   in->fds + in->n_fds, &n_fds);

	if (got <= 0)
		return got;
	in->n_fds += n_fds;
	in->n_head += (size_t)got;
	return got;
}

static ssize_t read_body(struct ctl_in *in, int sock, size_t len)
{
	size_t want = len - in->body.len;
	ssize_t got;

	if (want > READ_STEP_BYTES)
		want = READ_STEP_BYTES;
	buf_reserve(&in->body, want);
	got = fd_recv_with(sock, in->body.p + in->body.len, want, NULL, NULL);
	if (got > 0)
		in->body.len += (size_t)got;
	return got;
}

static enum ctl_step parse(struct ctl_in *in, json_t **out, struct err *e)
{
	AUTO_JSON json_t *msg = NULL;
	int rc = js_parse((const char *)in->body.p, in->body.len, &msg, e);

	in->n_head = 0;
	in->body.len = 0;
	if (rc < 0) {
		err_set(e, ERR_CORRUPT, "frame is not JSON");
		return CTL_STEP_END;
	}
	if (!json_is_object(msg)) {
		err_set(e, ERR_CORRUPT, "frame is not a JSON object");
		return CTL_STEP_END;
	}
	*out = json_incref(msg);
	return CTL_STEP_FRAME;
}

static enum ctl_step ended(ssize_t got, struct err *e)
{
	if (got == -EAGAIN)
		return CTL_STEP_AGAIN;
	if (got == 0)
		err_set(e, ERR_NET, "the other side closed the connection");
	else
		err_sys(e, (int)-got, "read from the control connection");
	return CTL_STEP_END;
}

enum ctl_step ctl_in_step(struct ctl_in *in, int sock, json_t **out, struct err *e)
{
	if (!in->n_head)
		close_fds(in->fds, &in->n_fds);	/* of the frame before, not taken */
	for (;;) {
		struct rd r = rd_of(in->head, CTL_HEAD_BYTES);
		uint32_t len = rd_le32(&r);
		ssize_t got;

		if (in->n_head < CTL_HEAD_BYTES) {
			got = read_head(in, sock);
		} else if (len < CTL_MSG_BYTES_MIN || len > CTL_MSG_BYTES_MAX) {
			err_set(e, ERR_LIMIT, "frame of %u bytes, must be %d to %d", len,
				CTL_MSG_BYTES_MIN, CTL_MSG_BYTES_MAX);
			return CTL_STEP_END;
		} else {
			got = read_body(in, sock, len);
		}
		if (got <= 0)
			return ended(got, e);
		if (in->n_head == CTL_HEAD_BYTES && in->body.len && in->body.len == len)
			return parse(in, out, e);
	}
}

size_t ctl_in_take_fds(struct ctl_in *in, int *fds)
{
	size_t n = in->n_fds;

	memcpy(fds, in->fds, n * sizeof(*fds));
	in->n_fds = 0;
	return n;
}

void ctl_in_fini(struct ctl_in *in)
{
	close_fds(in->fds, &in->n_fds);
	buf_fini(&in->body);
	in->n_head = 0;
}

int ctl_encode(const json_t *msg, struct buf *b, struct err *e)
{
	AUTO_FREE char *text = json_dumps(msg, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return err_set(e, ERR_INTERNAL, "message cannot be written as JSON");
	if (len > CTL_MSG_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "message of %zu bytes, limit %d", len, CTL_MSG_BYTES_MAX);
	buf_put_le32(b, (uint32_t)len);
	buf_put(b, text, len);
	return 0;
}

void ctl_out_put(struct ctl_out *o, struct buf *b, const int *fds, size_t n_fds)
{
	struct ctl_out_frame *f = mem_alloc(sizeof(*f));

	assert(n_fds <= ARRAY_LEN(f->fds));
	f->b = *b;
	*b = (struct buf){ 0 };
	if (n_fds)
		memcpy(f->fds, fds, n_fds * sizeof(*fds));
	f->n_fds = n_fds;
	if (o->last)
		o->last->next = f;
	else
		o->first = f;
	o->last = f;
	o->bytes += sizeof(*f) + f->b.len;
}

static void drop_first(struct ctl_out *o)
{
	struct ctl_out_frame *f = o->first;

	o->first = f->next;
	if (!o->first)
		o->last = NULL;
	o->bytes -= sizeof(*f) + f->b.len;
	close_fds(f->fds, &f->n_fds);
	buf_fini(&f->b);
	free(f);
}

int ctl_out_flush(struct ctl_out *o, int sock)
{
	while (o->first) {
		struct ctl_out_frame *f = o->first;
		size_t n_fds = f->sent ? 0 : f->n_fds;
		ssize_t put = fd_send_with(sock, f->b.p + f->sent, f->b.len - f->sent, f->fds, n_fds);

		if (put < 0)
			return (int)put;
		f->sent += (size_t)put;
		if (f->sent == f->b.len)
			drop_first(o);
	}
	return 0;
}

void ctl_out_fini(struct ctl_out *o)
{
	while (o->first)
		drop_first(o);
}

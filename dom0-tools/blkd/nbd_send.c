/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes out: replies in the order in which requests were completed, many
 * with one sendmsg.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "blkd/nbd_priv.h"

enum { SEND_IOV_MAX = 128 };

/* Structured replies are a must only where there is data in a success. */
static bool structured(const struct nbd_req *n)
{
	return n->c->terms.structured && (n->q.type == NBD_CMD_READ || n->q.type == NBD_CMD_BLOCK_STATUS);
}

static size_t put_head(struct nbd_req *n, int res)
{
	if (!structured(n))
		return nbd_put_simple(n->head, n->q.cookie, nbd_error(res));
	if (res < 0)
		return nbd_put_error(n->head, n->q.cookie, nbd_error(res));
	if (n->q.type == NBD_CMD_BLOCK_STATUS)
		return 0;		/* all of it is in buf */
	return nbd_put_data(n->head, n->q.cookie, n->q.off, n->q.len);
}

void nbd_reply(struct nbd_req *n, int res)
{
	struct nbd_conn *c = n->c;

	if (c->dead) {
		nbd_req_free(n);
		nbd_conn_todo(c);
		return;
	}
	n->head_bytes = (uint32_t)put_head(n, res);
	if (res < 0)
		n->data_bytes = 0;
	else if (n->q.type == NBD_CMD_READ)
		n->data_bytes = n->q.len;
	n->next = NULL;
	*c->out_last = n;
	c->out_last = &n->next;
	if (++c->n_out % SEND_BATCH == 0)
		nbd_send(c);
	nbd_conn_todo(c);
}

static size_t add(struct iovec *iov, size_t at, const void *p, size_t n, size_t *skip)
{
	if (*skip >= n) {
		*skip -= n;
		return at;
	}
	/* sendmsg only reads. */
	iov[at] = (struct iovec){ (uint8_t *)(uintptr_t)p + *skip, n - *skip };
	*skip = 0;
	return at + 1;
}

static size_t gather(const struct nbd_conn *c, struct iovec *iov)
{
	size_t n = 0, skip = c->out_sent;

	if (c->raw.len)
		return add(iov, 0, c->raw.p, c->raw.len, &skip);
	for (const struct nbd_req *r = c->out_first; r && n + 2 <= SEND_IOV_MAX; r = r->next) {
		n = add(iov, n, r->head, r->head_bytes, &skip);
		n = add(iov, n, r->buf, r->data_bytes, &skip);
	}
	return n;
}

/* Drops what has been sent. */
static void sent(struct nbd_conn *c, size_t n)
{
	c->out_sent += n;
	if (c->raw.len) {
		if (c->out_sent == c->raw.len) {
			buf_fini(&c->raw);
			c->out_sent = 0;
		}
		return;
	}
	while (c->out_first) {
		struct nbd_req *r = c->out_first;

		if (c->out_sent < (size_t)r->head_bytes + r->data_bytes)
			return;
		c->out_sent -= (size_t)r->head_bytes + r->data_bytes;
		c->out_first = r->next;
		if (!c->out_first)
			c->out_last = &c->out_first;
		c->n_out--;
		nbd_req_free(r);
	}
}

void nbd_send(struct nbd_conn *c)
{
	struct iovec iov[SEND_IOV_MAX];

	while (!c->dead && (c->raw.len || c->out_first)) {
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = gather(c, iov) };
		ssize_t n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				nbd_conn_kill(c, NULL);
			return;
		}
		sent(c, (size_t)n);
	}
}

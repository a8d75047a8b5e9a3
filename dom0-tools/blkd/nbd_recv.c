/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes in: one receive takes what the socket has, up to a chunk, and
 * all requests in it are submitted before the queue is kicked.
 *
 * Payloads stay where they were received (the write holds the chunk) unless
 * they are larger than CHUNK_PAYLOAD_MAX; those are received into a buffer of
 * their own, which also has the alignment that O_DIRECT wants.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "blkd/nbd_priv.h"

/* ---- memory --------------------------------------------------------------------------------------- */

static struct chunk *chunk_new(struct nbd_conn *c)
{
	struct chunk *k = mem_alloc(sizeof(*k));

	k->refs = 1;
	k->p = bufpool_get(queue_pool(c->s->q), CHUNK_BYTES);
	c->n_chunks++;
	return k;
}

void nbd_chunk_put(struct nbd_conn *c, struct chunk *k)
{
	if (!k || --k->refs)
		return;
	bufpool_put(queue_pool(c->s->q), k->p, CHUNK_BYTES);
	free(k);
	c->n_chunks--;
}

struct nbd_req *nbd_req_new(struct nbd_conn *c, const struct nbd_request *q)
{
	struct nbd *s = c->s;
	struct nbd_req *n = s->spare;

	if (n)
		s->spare = n->next;
	else
		n = mem_alloc(sizeof(*n));
	n->c = c;
	n->q = *q;
	n->chunk = NULL;
	n->buf = NULL;
	n->buf_bytes = 0;
	n->data_bytes = 0;
	c->held++;
	c->held_bytes += q->len <= NBD_PAYLOAD_BYTES_MAX ? q->len : 0;
	return n;
}

void nbd_req_free(struct nbd_req *n)
{
	struct nbd_conn *c = n->c;

	bufpool_put(queue_pool(c->s->q), n->buf, n->buf_bytes);
	nbd_chunk_put(c, n->chunk);
	c->held--;
	c->held_bytes -= n->q.len <= NBD_PAYLOAD_BYTES_MAX ? n->q.len : 0;
	n->next = c->s->spare;
	c->s->spare = n;
}

static void give_buf(struct nbd_req *n, size_t bytes)
{
	n->buf = bufpool_get(queue_pool(n->c->s->q), bytes);
	n->buf_bytes = bytes;
}

/* Makes room for any message behind what is received.  False: too many chunks are in use. */
static bool make_room(struct nbd_conn *c)
{
	struct chunk *k = c->rx, *fresh;
	size_t left;

	if (!k) {
		c->rx = chunk_new(c);
		return true;
	}
	left = k->fill - k->used;
	if (k->refs == 1 && !left)
		k->used = k->fill = 0;
	if (CHUNK_BYTES - k->used >= CHUNK_ROOM)
		return true;
	if (k->refs == 1) {
		memmove(k->p, k->p + k->used, left);
		k->used = 0;
		k->fill = left;
		return true;
	}
	if (c->n_chunks >= CHUNKS_MAX)
		return false;
	fresh = chunk_new(c);
	memcpy(fresh->p, k->p + k->used, left);
	fresh->fill = left;
	nbd_chunk_put(c, k);
	c->rx = fresh;
	return true;
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void completed(struct req *r, int res)
{
	struct nbd_req *n = (struct nbd_req *)(void *)r;

	n->c->in_queue--;
	nbd_reply(n, res);
}

_Static_assert(offsetof(struct nbd_req, r) == 0, "completed() casts");

static const enum req_op ops[NBD_CMD_N] = {
	[NBD_CMD_READ] = REQ_READ,
	[NBD_CMD_WRITE] = REQ_WRITE,
	[NBD_CMD_FLUSH] = REQ_FLUSH,
	[NBD_CMD_TRIM] = REQ_DISCARD,
	[NBD_CMD_CACHE] = REQ_CACHE,
	[NBD_CMD_WRITE_ZEROES] = REQ_ZERO,
};

static void submit(struct nbd_req *n, void *payload)
{
	struct nbd_conn *c = n->c;
	struct req *r = &n->r;

	r->op = ops[n->q.type];
	r->fua = n->q.flags & NBD_CMD_FUA;
	r->no_hole = n->q.flags & NBD_CMD_NO_HOLE;
	r->fast = n->q.flags & NBD_CMD_FAST_ZERO;
	r->disk = c->x->disk;
	r->off = n->q.off;
	r->len = n->q.len;
	r->iov = &n->iov;
	r->n_iov = 1;
	r->done = completed;
	if (n->q.type == NBD_CMD_READ && n->q.len)
		give_buf(n, n->q.len);
	n->iov = (struct iovec){ payload ? payload : n->buf, n->q.len };
	c->in_queue++;
	queue_submit(c->s->q, r);
}

/* All of the request is here; payload NULL: none. */
static void begin(struct nbd_req *n, void *payload)
{
	int rc = nbd_request_check(&n->q, &n->c->terms);

	if (rc < 0) {
		nbd_reply(n, rc);
	} else if (n->q.type == NBD_CMD_DISC) {
		n->c->closing = true;
		nbd_conn_todo(n->c);
		nbd_req_free(n);
	} else if (n->q.type == NBD_CMD_BLOCK_STATUS) {
		nbd_reply(n, nbd_status(n));
	} else {
		submit(n, payload);
	}
}

/* The payload does not stay in the chunk; what is there of it is copied. */
static void begin_big(struct nbd_conn *c, struct nbd_req *n)
{
	struct chunk *k = c->rx;
	size_t have = k->fill - k->used;

	if (have > n->q.len)
		have = n->q.len;
	give_buf(n, n->q.len);
	memcpy(n->buf, k->p + k->used, have);
	k->used += have;
	if (have == n->q.len) {
		begin(n, n->buf);
		return;
	}
	c->big = n;
	c->big_got = have;
}

static bool over_limit(const struct nbd_conn *c, const struct nbd_request *q)
{
	size_t bytes = q->len <= NBD_PAYLOAD_BYTES_MAX ? q->len : 0;

	return c->held >= NBD_REQUESTS_MAX || (c->held && c->held_bytes + bytes > NBD_CONN_BYTES_MAX);
}

/* The next request of the chunk.  False: there is none to be had now. */
static bool parse_request(struct nbd_conn *c)
{
	struct chunk *k = c->rx;
	const uint8_t *p = k->p + k->used;
	size_t have = k->fill - k->used, payload;
	struct nbd_request q;
	struct err e = ERR_INIT;
	struct nbd_req *n;

	if (have < NBD_REQUEST_BYTES)
		return false;
	if (nbd_request_decode(p, &q, &e) < 0) {
		nbd_conn_kill(c, &e);
		return false;
	}
	if (over_limit(c, &q)) {
		c->stalled = true;
		return false;
	}
	payload = nbd_request_payload(&q);
	if (payload <= CHUNK_PAYLOAD_MAX && have < NBD_REQUEST_BYTES + payload)
		return false;
	n = nbd_req_new(c, &q);
	k->used += NBD_REQUEST_BYTES;
	if (payload > CHUNK_PAYLOAD_MAX) {
		begin_big(c, n);
		return !c->big;
	}
	if (payload) {
		n->chunk = k;
		k->refs++;
	}
	k->used += payload;
	begin(n, payload ? k->p + k->used - payload : NULL);
	return true;
}

static void start(struct nbd_conn *c)
{
	c->started = true;
	c->x = &c->s->exports[c->nego.export];
	c->terms = (struct nbd_terms){ .structured = c->nego.structured, .contexts = c->nego.contexts,
				       .read_only = c->x->read_only || disk_read_only(qdisk_disk(c->x->disk)) };
}

static bool parse_option(struct nbd_conn *c)
{
	struct chunk *k = c->rx;
	size_t used = 0;
	struct err e = ERR_INIT;

	switch (nbd_nego_step(&c->nego, k->p + k->used, k->fill - k->used, &used, &c->raw, &e)) {
	case NBD_NEGO_END:
		nbd_send(c);
		nbd_conn_kill(c, &e);
		return false;
	case NBD_NEGO_GO:
		start(c);
		break;
	case NBD_NEGO_MORE:
		break;
	}
	k->used += used;
	/* A client that asks on without reading the answers has to wait. */
	c->stalled = c->raw.len > NBD_OPT_BYTES_MAX;
	return used && !c->stalled;
}

void nbd_parse(struct nbd_conn *c)
{
	while (c->rx && !c->dead && !c->closing && !c->stalled && !c->big)
		if (!(c->started ? parse_request(c) : parse_option(c)))
			break;
	nbd_conn_todo(c);
}

/* ---- the socket ----------------------------------------------------------------------------------------- */

static void big_arrived(struct nbd_conn *c, size_t n)
{
	struct nbd_req *big = c->big;

	c->big_got += n;
	if (c->big_got < big->q.len)
		return;
	c->big = NULL;
	begin(big, big->buf);
}

void nbd_recv(struct nbd_conn *c)
{
	struct iovec iov[2];
	size_t n = 0, for_big = 0;
	ssize_t got;

	if (c->dead || c->closing || c->stalled)
		return;
	if (!make_room(c)) {
		c->stalled = true;
		nbd_conn_todo(c);
		return;
	}
	if (c->big) {
		for_big = c->big->q.len - c->big_got;
		iov[n++] = (struct iovec){ (uint8_t *)c->big->buf + c->big_got, for_big };
	}
	iov[n++] = (struct iovec){ c->rx->p + c->rx->fill, CHUNK_BYTES - c->rx->fill };
	got = readv(c->fd, iov, (int)n);
	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			nbd_conn_kill(c, NULL);
		return;
	}
	if ((size_t)got <= for_big) {
		big_arrived(c, (size_t)got);
	} else {
		c->rx->fill += (size_t)got - for_big;
		if (for_big)
			big_arrived(c, for_big);
	}
	nbd_parse(c);
}

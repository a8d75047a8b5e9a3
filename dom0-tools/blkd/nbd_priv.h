/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection and its requests, for the files of the NBD server: nbd.c has
 * the sockets' life, nbd_recv.c what comes in, nbd_send.c what goes out,
 * nbd_status.c the block status.
 *
 * A request: bytes in a chunk -> nbd_req in the queue -> list `out` -> sent.
 */
#ifndef BLKD_NBD_PRIV_H
#define BLKD_NBD_PRIV_H

#include "base/buf.h"
#include "blkd/nbd.h"
#include "blkd/nbd_msg.h"
#include "blkd/nbd_opt.h"

enum {
	CHUNK_BYTES = 256 << 10,	/* of one receive; holds many requests */
	CHUNK_PAYLOAD_MAX = 64 << 10,	/* larger payloads get a buffer of their own */
	CHUNK_ROOM = CHUNK_PAYLOAD_MAX + 4096,	/* any message but those fits into this */
	CHUNKS_MAX = 32,		/* of one connection: payloads in flight keep theirs */
	SEND_BATCH = 16,		/* replies: sent together, yet early enough that client and disk overlap */
};

struct chunk {
	unsigned refs;			/* the connection's, and one per write whose payload is here */
	size_t used, fill;		/* parsed up to, received up to */
	uint8_t *p;
};

struct nbd_req {
	struct req r;
	struct nbd_conn *c;
	struct nbd_request q;
	struct iovec iov;
	struct chunk *chunk;		/* the payload's, or NULL */
	void *buf;			/* payload or data of the reply */
	size_t buf_bytes;
	uint32_t data_bytes;		/* of buf, behind head, to send */
	uint32_t head_bytes;
	uint8_t head[NBD_HEAD_BYTES_MAX];
	struct nbd_req *next;
};

struct nbd_conn {
	struct nbd *s;
	struct nbd_conn *next, *next_todo;
	int fd;
	struct loop_src *src;
	unsigned watching;
	bool dead;			/* socket gone; freed when nothing is in the queue */
	bool closing;			/* nothing more is read; ends when all is sent */
	bool stalled;			/* over a limit: parsing waits for replies to be sent */
	bool todo;			/* in the server's list */
	struct nbd_nego nego;
	bool started;			/* transmission phase */
	const struct nbd_export *x;
	struct nbd_terms terms;
	struct chunk *rx;
	unsigned n_chunks;
	struct nbd_req *big;		/* the write whose payload is being received, */
	size_t big_got;			/* so far */
	unsigned in_queue, held;	/* requests: not completed; not yet sent (includes the former) */
	size_t held_bytes;
	struct buf raw;			/* handshake: sent before any reply */
	struct nbd_req *out_first, **out_last;
	unsigned n_out;
	size_t out_sent;		/* of raw, else of the first reply */
};

struct nbd {
	struct loop *loop;
	struct queue *q;
	int fd;
	struct loop_src *src;
	const struct nbd_export *exports;
	unsigned n_exports;
	struct nbd_exports offer;
	struct nbd_conn *conns, *todo;
	unsigned n_conns;
	struct nbd_req *spare;		/* freed requests, for the next ones */
	struct queue_hook hook;
	void (*stop_fn)(void *arg);
	void *stop_arg;
	bool stopping, stop_posted;
};

/* ---- nbd.c */
/* Ends a connection at once; e NULL or ERR_NONE: as agreed. */
void nbd_conn_kill(struct nbd_conn *c, const struct err *e);
/* nbd_settle will look at it. */
void nbd_conn_todo(struct nbd_conn *c);
void nbd_conn_watch(struct nbd_conn *c);	/* as its state asks for */
/* Sends, goes on with stalled ones, frees dead ones.  The end of every batch. */
void nbd_settle(struct nbd *s);

/* ---- nbd_recv.c */
void nbd_recv(struct nbd_conn *c);
void nbd_parse(struct nbd_conn *c);
void nbd_chunk_put(struct nbd_conn *c, struct chunk *k);
struct nbd_req *nbd_req_new(struct nbd_conn *c, const struct nbd_request *q);
void nbd_req_free(struct nbd_req *n);

/* ---- nbd_send.c */
/* The answer to n; data: that of buf goes with it. */
void nbd_reply(struct nbd_req *n, int res);
void nbd_send(struct nbd_conn *c);

/* ---- nbd_status.c */
/* Fills n->buf with the structured reply; 0 or -errno. */
int nbd_status(struct nbd_req *n) MUSTUSE;

#endif

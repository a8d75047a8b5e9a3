/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of bench-blk: keeps DEPTH requests in flight on one connection and
 * spends little itself (one writev for all requests that may go, one receive
 * for all replies that came), so that the server is what is measured.
 *
 *	nbd_load SOCKET read|write rand|seq BLOCK_BYTES DEPTH SECONDS
 *
 * prints "ops N ns N".  Any error of the server ends it with status 1.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/rd.h"
#include "blkd/nbd_proto.h"

enum { DEPTH_MAX = 256, RECV_BYTES = 1 << 20, SOCKET_BYTES = 1 << 20 };

struct load {
	int fd;
	bool write, random;
	uint32_t block;
	unsigned depth;
	uint64_t blocks, at, seed;
	unsigned in_flight;
	uint64_t ops;
	uint8_t *payload;
	uint8_t *in;			/* received: [used, fill) not yet looked at */
	size_t used, fill;
	size_t skip;			/* data of a read reply still to come */
};

static void die(const char *what, int errnum)
{
	fprintf(stderr, "nbd_load: %s%s%s\n", what, errnum ? ": " : "", errnum ? strerror(errnum) : "");
	exit(1);
}

static void must(int rc, const char *what)
{
	if (rc < 0)
		die(what, -rc);
}

static void handshake(struct load *l)
{
	uint8_t hello[NBD_HELLO_BYTES], size[10];
	AUTO_BUF struct buf b = { 0 };
	struct rd r;

	must(fd_read_full(l->fd, hello, sizeof(hello)), "greeting");
	buf_put_be32(&b, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	buf_put_be64(&b, NBD_IHAVEOPT);
	buf_put_be32(&b, NBD_OPT_EXPORT_NAME);
	buf_put_be32(&b, 0);
	must(fd_write_full(l->fd, b.p, b.len), "options");
	must(fd_read_full(l->fd, size, sizeof(size)), "export");
	r = rd_of(size, sizeof(size));
	l->blocks = rd_be64(&r) / l->block;
	if (!l->blocks)
		die("the export is smaller than a block", 0);
}

static uint64_t next_block(struct load *l)
{
	if (!l->random)
		return l->at++ % l->blocks;
	l->seed ^= l->seed << 13;
	l->seed ^= l->seed >> 7;
	l->seed ^= l->seed << 17;
	return l->seed % l->blocks;
}

static void put_request(struct load *l, struct buf *b)
{
	buf_put_be32(b, NBD_REQUEST_MAGIC);
	buf_put_be32(b, l->write ? NBD_CMD_WRITE : NBD_CMD_READ);	/* flags 0, type */
	buf_put_be64(b, l->ops);
	buf_put_be64(b, next_block(l) * l->block);
	buf_put_be32(b, l->block);
}

static void send_all(struct load *l, struct iovec *v, unsigned n)
{
	while (n) {
		ssize_t k = writev(l->fd, v, (int)n);

		if (k < 0)
			die("send", errno);
		for (; n && (size_t)k >= v->iov_len; v++, n--)
			k -= (ssize_t)v->iov_len;
		if (n) {
			v->iov_base = (uint8_t *)v->iov_base + k;
			v->iov_len -= (size_t)k;
		}
	}
}

/* Requests until `depth` are in flight. */
static void top_up(struct load *l, struct buf *heads)
{
	struct iovec v[2 * DEPTH_MAX];
	unsigned n = 0, more = l->depth - l->in_flight;

	heads->len = 0;
	buf_reserve(heads, (size_t)more * NBD_REQUEST_BYTES);
	for (unsigned i = 0; i < more; i++) {
		uint8_t *p = heads->p + heads->len;

		put_request(l, heads);
		if (!l->write)
			continue;
		v[n++] = (struct iovec){ p, NBD_REQUEST_BYTES };
		v[n++] = (struct iovec){ l->payload, l->block };
	}
	if (!l->write && more)
		v[n++] = (struct iovec){ heads->p, heads->len };
	l->in_flight = l->depth;
	send_all(l, v, n);
}

/* Takes what was received apart; a reply counts when its last byte is here.  Returns how many ended. */
static unsigned take_replies(struct load *l)
{
	for (unsigned ended = 0;;) {
		size_t have = l->fill - l->used, n = l->skip < have ? l->skip : have;
		struct rd r;

		if (l->skip) {
			l->used += n;
			l->skip -= n;
			if (l->skip)
				return ended;
			ended++;
			continue;
		}
		if (have < NBD_SIMPLE_BYTES)
			return ended;
		r = rd_of(l->in + l->used, NBD_SIMPLE_BYTES);
		if (rd_be32(&r) != NBD_SIMPLE_MAGIC || rd_be32(&r) != 0)
			die("the server answers with an error", 0);
		l->used += NBD_SIMPLE_BYTES;
		l->skip = l->write ? 0 : l->block;
		ended += l->write;
	}
}

/* At least one reply. */
static void receive(struct load *l)
{
	unsigned ended = 0;

	while (!ended) {
		ssize_t k;

		memmove(l->in, l->in + l->used, l->fill - l->used);
		l->fill -= l->used;
		l->used = 0;
		k = recv(l->fd, l->in + l->fill, RECV_BYTES - l->fill, 0);
		if (k <= 0)
			die("receive", k < 0 ? errno : EPIPE);
		l->fill += (size_t)k;
		ended = take_replies(l);
	}
	l->in_flight -= ended;
	l->ops += ended;
}

/* A server may take it badly when its client just goes. */
static void leave(struct load *l, struct buf *b)
{
	while (l->in_flight)
		receive(l);
	b->len = 0;
	buf_put_be32(b, NBD_REQUEST_MAGIC);
	buf_put_be32(b, NBD_CMD_DISC);
	for (int i = 0; i < 5; i++)
		buf_put_be32(b, 0);
	must(fd_write_full(l->fd, b->p, b->len), "disconnect");
}

static uint64_t number(const char *text, uint64_t max)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (*end || !v || v > max)
		die("a number is out of range", 0);
	return v;
}

int main(int argc, char **argv)
{
	static const int bytes = SOCKET_BYTES;
	struct load l = { .seed = 88172645463325252u };
	struct buf heads = { 0 };
	struct err e = ERR_INIT;
	uint64_t start, end, ns;

	if (argc != 7)
		die("usage: nbd_load SOCKET read|write rand|seq BLOCK_BYTES DEPTH SECONDS", 0);
	l.write = !strcmp(argv[2], "write");
	l.random = !strcmp(argv[3], "rand");
	l.block = (uint32_t)number(argv[4], NBD_PAYLOAD_BYTES_MAX);
	l.depth = (unsigned)number(argv[5], DEPTH_MAX);
	l.payload = mem_alloc(l.block);
	l.in = mem_alloc(RECV_BYTES);
	memset(l.payload, 0x5a, l.block);
	if (fd_unix_connect(argv[1], &l.fd, &e) < 0)
		die(e.detail, 0);
	if (setsockopt(l.fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(l.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	handshake(&l);
	start = clock_mono_ns();
	end = start + number(argv[6], 3600) * UINT64_C(1000000000);
	while (clock_mono_ns() < end) {
		top_up(&l, &heads);
		receive(&l);
	}
	ns = clock_mono_ns() - start;
	printf("ops %llu ns %llu\n", (unsigned long long)l.ops, (unsigned long long)ns);
	leave(&l, &heads);
	buf_fini(&heads);
	free(l.payload);
	free(l.in);
	fd_close(&l.fd);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The self-test of kernel TLS.  Both ends in one thread: sockets that do not
 * block, and a turn for each in a circle.
 */
#include "link/selftest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "link/ktls.h"
#include "link/stream.h"
#include "link/tls.h"

enum { BYTES_MAX = 200000, STALL_MS = 5000 };

static const size_t sizes[] = {
	1, 2, 15, 16, 17, 100, 1000, 4095, 4096, 4097, 16383, 16384, 16385, 32768, 65536, 100000, 131072, BYTES_MAX,
};

static bool anybody(void *arg, const char *alpn, const struct tls_peer *peer, struct err *why)
{
	(void)arg;
	(void)alpn;
	(void)peer;
	(void)why;
	return true;
}

static int connect_pair(int out[2], struct err *e)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	AUTO_FD int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_FD int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (l < 0 || c < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(l, 1) < 0 ||
	    getsockname(l, (struct sockaddr *)&a, &len) < 0 || connect(c, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    (out[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC)) < 0)
		return err_sys(e, errno, "connect to ourselves");
	out[0] = fd_take(&c);
	return 0;
}

/* Until both are done; each waits only for the other. */
static int shake(struct tls *a, struct tls *b, struct err *e)
{
	struct tls *t[2] = { a, b };
	enum tls_step step[2] = { TLS_WANT_READ, TLS_WANT_READ };
	uint64_t end_ms = clock_mono_ms() + STALL_MS;

	while (step[0] != TLS_DONE || step[1] != TLS_DONE) {
		struct pollfd p[2] = { { .fd = -1, .events = POLLIN }, { .fd = -1, .events = POLLIN } };

		for (int i = 0; i < 2; i++) {
			if (step[i] != TLS_DONE)
				step[i] = tls_handshake(t[i], e);
			if (step[i] == TLS_FAILED)
				return -1;
			p[i].fd = step[i] == TLS_DONE ? -1 : tls_fd(t[i]);
		}
		if (clock_mono_ms() > end_ms)
			return err_set(e, ERR_TIMEOUT, "the handshake does not end");
		if (p[0].fd >= 0 || p[1].fd >= 0)
			(void)poll(p, 2, STALL_MS / 100);
	}
	return 0;
}

/* n bytes from one end to the other, compared. */
static int carry(int from, int to, const uint8_t *data, uint8_t *got, size_t n, struct err *e)
{
	size_t sent = 0, have = 0;

	while (have < n) {
		struct pollfd p[2] = { { .fd = from, .events = POLLOUT }, { .fd = to, .events = POLLIN } };
		ssize_t r;

		if (sent == n)
			p[0].fd = -1;
		if (poll(p, 2, STALL_MS) <= 0)
			return err_set(e, ERR_TIMEOUT, "%zu bytes: stalls at %zu sent, %zu received", n, sent, have);
		if (p[0].revents && sent < n) {
			r = send(from, data + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (r < 0 && errno != EAGAIN)
				return err_sys(e, errno, "%zu bytes: write", n);
			sent += r > 0 ? (size_t)r : 0;
		}
		if (!p[1].revents)
			continue;
		r = stream_read(to, got + have, n - have);
		if (r == 0 || (r < 0 && r != -EAGAIN))
			return err_sys(e, r ? (int)-r : EPIPE, "%zu bytes: read", n);
		have += r > 0 ? (size_t)r : 0;
	}
	return memcmp(data, got, n) == 0 ? 0 : err_set(e, ERR_CORRUPT, "%zu bytes came out wrong", n);
}

static int carry_all(int a, int b, struct err *e)
{
	AUTO_FREE uint8_t *data = mem_alloc(BYTES_MAX), *got = mem_alloc(BYTES_MAX);
	ssize_t n;

	for (size_t i = 0; i < BYTES_MAX; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 8));
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (carry(a, b, data, got, sizes[i], e) < 0 || carry(b, a, data, got, sizes[i], e) < 0)
			return -1;
	/* The goodbye of one end is the end of file of the other, which goes on writing. */
	if (stream_end(a, e) < 0)
		return -1;
	n = stream_read(b, got, 1);
	if (n != 0)
		return err_set(e, ERR_CORRUPT, "close_notify reads as %zd", n);
	return carry(b, a, data, got, 1000, e);
}

static int enable(struct tls *t, enum tls_side side, struct err *e)
{
	bool untouched;

	if (!tls_is_drained(t))
		return err_set(e, ERR_INTERNAL, "bytes behind the handshake were read");
	return ktls_enable(tls_fd(t), side, tls_keys(t), &untouched, e);
}

static int run(struct identity *id, struct err *e)
{
	static const char *const alpn[] = { "hv-migrate/1", NULL };
	struct tls_setup s = { .id = id, .alpn = alpn, .gcm_first = true, .judge = anybody };
	struct tls *a = NULL, *b = NULL;
	int fds[2] = { -1, -1 }, rc = -1;

	if (connect_pair(fds, e) < 0 || fd_set_nonblock(fds[0], true, e) < 0 || fd_set_nonblock(fds[1], true, e) < 0)
		goto out;
	s.side = TLS_CLIENT;
	s.fd = fds[0];
	if (tls_new(&s, &a, e) < 0)
		goto out;
	fds[0] = -1;
	s.side = TLS_SERVER;
	s.fd = fds[1];
	if (tls_new(&s, &b, e) < 0)
		goto out;
	fds[1] = -1;
	if (shake(a, b, e) == 0 && enable(a, TLS_CLIENT, e) == 0 && enable(b, TLS_SERVER, e) == 0)
		rc = carry_all(tls_fd(a), tls_fd(b), e);
out:
	tls_free(a);
	tls_free(b);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	return rc;
}

int selftest_ktls(const char *dir, struct err *e)
{
	struct identity *id;
	int rc;

	if (!ktls_probe()) {
		printf("ktls self-test: skip: this kernel has no kernel TLS with AES-128-GCM\n");
		return SELFTEST_SKIP;
	}
	if (identity_open(dir, "selftest", &id, e) < 0)
		return -1;
	rc = run(id, e);
	identity_put(id);
	if (rc == 0)
		printf("ktls self-test: ok, %zu sizes up to %d bytes, both ways\n", ARRAY_LEN(sizes), BYTES_MAX);
	return rc;
}

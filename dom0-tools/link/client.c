/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CLI's connection: the same TLS and pairing machines as hvtls, on a
 * blocking socket whose time-outs end a handshake that hangs.
 */
#include "link/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "link/addr.h"
#include "link/pair.h"
#include "link/tls.h"

struct client_keys {
	struct identity *id;
};

struct client_conn {
	struct tls *tls;
	const char *alpn[2];
	char alpn_text[TLS_ALPN_BYTES];
	uint8_t want[FINGERPRINT_BYTES];
	bool any;			/* enrolment: the host is not known yet */
};

int client_keys_load(const char *dir, struct client_keys **out, struct err *e)
{
	struct client_keys *k;
	struct identity *id;

	if (identity_load(dir, &id, e) < 0) {
		if (e->code == ERR_NOT_FOUND)
			err_remedy(e, "enrol with a host first: hvapi host enroll ADDRESS --code CODE");
		return -1;
	}
	k = mem_alloc(sizeof(*k));
	k->id = id;
	*out = k;
	return 0;
}

void client_keys_free(struct client_keys *k)
{
	if (!k)
		return;
	identity_put(k->id);
	free(k);
}

/* Connects to one address within the time; blocking afterwards. */
static int connect_one(const struct addrinfo *ai, int *out_fd, struct err *e)
{
	AUTO_FD int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int failed = 0, one = 1, rc;

	if (fd < 0)
		return err_sys(e, errno, "socket");
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 && errno != EINPROGRESS)
		return err_sys(e, errno, "connect");
	do
		rc = poll(&p, 1, CLIENT_CONNECT_MS);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return err_set(e, ERR_TIMEOUT, "connect: no answer in %d s", CLIENT_CONNECT_MS / 1000);
	if (rc < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) < 0 || failed)
		return err_sys(e, failed ? failed : errno, "connect");
	if (fd_set_nonblock(fd, false, e) < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*out_fd = fd_take(&fd);
	return 0;
}

static int connect_any(const char *address, int *out_fd, struct err *e)
{
	struct addrinfo *list;
	struct addr a;
	int rc = -1;

	if (addr_parse(address, CLIENT_DEFAULT_PORT, &a, e) < 0 || addr_resolve(&a, 0, &list, e) < 0)
		return -1;
	for (const struct addrinfo *ai = list; ai && rc < 0; ai = ai->ai_next)
		rc = connect_one(ai, out_fd, e);
	freeaddrinfo(list);
	return rc < 0 ? err_wrap(e, "%.100s", address) : 0;
}

static void set_time_limit(int fd, unsigned ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000 };

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static bool judge(void *arg, const char *alpn, const struct tls_peer *peer, struct err *why)
{
	const struct client_conn *c = arg;

	if (!alpn) {
		err_set(why, ERR_INCOMPATIBLE, "the host does not offer %s", c->alpn_text);
		return false;
	}
	if (c->any || memcmp(c->want, peer->fingerprint, sizeof(c->want)) == 0)
		return true;
	err_set(why, ERR_REFUSED, "the host that answers has another key than the one that is known here");
	err_remedy(why, "if it was installed anew, enrol again; else do not trust that address");
	return false;
}

/* For enrolment and connections alike; blocks. */
static int open_tls(struct identity *id, const char *address, struct client_conn *c, struct err *e)
{
	struct tls_setup s = { .side = TLS_CLIENT, .fd = -1, .id = id, .alpn = c->alpn, .judge = judge, .arg = c };
	uint64_t end_ms;
	enum tls_step step;

	c->alpn[0] = c->alpn_text;
	if (connect_any(address, &s.fd, e) < 0)
		return -1;
	set_time_limit(s.fd, CLIENT_HANDSHAKE_MS);
	if (tls_new(&s, &c->tls, e) < 0) {
		fd_close(&s.fd);
		return -1;
	}
	end_ms = clock_mono_ms() + CLIENT_HANDSHAKE_MS;
	do
		step = tls_handshake(c->tls, e);
	while ((step == TLS_WANT_READ || step == TLS_WANT_WRITE) && clock_mono_ms() < end_ms);
	if (step == TLS_FAILED)
		return err_wrap(e, "%.100s", address);
	if (step != TLS_DONE)
		return err_set(e, ERR_TIMEOUT, "%.100s: no handshake in %d s", address, CLIENT_HANDSHAKE_MS / 1000);
	return 0;
}

int client_connect(struct client_keys *k, const char *address, const char *fingerprint, const char *alpn,
		   struct client_conn **out, struct err *e)
{
	struct client_conn *c = mem_alloc(sizeof(*c));

	snprintf(c->alpn_text, sizeof(c->alpn_text), "%s", alpn);
	if (fingerprint_parse(fingerprint, c->want, e) < 0 || open_tls(k->id, address, c, e) < 0) {
		tls_free(c->tls);
		free(c);
		return -1;
	}
	set_time_limit(tls_fd(c->tls), 0);
	*out = c;
	return 0;
}

ssize_t client_read(struct client_conn *c, void *p, size_t n)
{
	return tls_read(c->tls, p, n);
}

ssize_t client_write(struct client_conn *c, const void *p, size_t n)
{
	return tls_write(c->tls, p, n);
}

int client_fd(const struct client_conn *c)
{
	return tls_fd(c->tls);
}

size_t client_pending(const struct client_conn *c)
{
	return tls_pending(c->tls);
}

void client_close(struct client_conn *c)
{
	int flags;

	if (!c)
		return;
	flags = fcntl(tls_fd(c->tls), F_GETFL);
	if (flags >= 0)
		(void)fcntl(tls_fd(c->tls), F_SETFL, flags | O_NONBLOCK);
	(void)tls_end(c->tls);
	tls_free(c->tls);
	free(c);
}

/* ---- enrolment ---- */

static bool find_none(void *arg, const uint8_t id[PAIR_ID_BYTES], struct pair_offer *out)
{
	(void)arg;
	(void)id;
	(void)out;
	return false;
}

static void failed_none(void *arg, const uint8_t id[PAIR_ID_BYTES])
{
	(void)arg;
	(void)id;
}

/* The CLI keeps hosts in its own file, from what client_enroll returns. */
static int pin_nothing(void *arg, const struct pair_result *r, const uint8_t id[PAIR_ID_BYTES], bool try, struct err *e)
{
	(void)arg;
	(void)r;
	(void)id;
	(void)try;
	(void)e;
	return 0;
}

static int random_of(void *arg, uint8_t *p, size_t n)
{
	return mbedtls_ctr_drbg_random(&((struct identity *)arg)->rng, p, n);
}

static const struct pair_hooks enrol_hooks = { find_none, failed_none, pin_nothing, random_of };

static int send_all(struct tls *t, struct buf *b, struct err *e)
{
	while (b->len) {
		ssize_t n = tls_write(t, b->p, b->len);

		if (n < 0)
			return err_sys(e, n == -EAGAIN ? ETIMEDOUT : (int)-n, "send");
		buf_consume(b, (size_t)n);
	}
	return 0;
}

static int run_pair(struct tls *t, struct pair *p, struct err *e)
{
	uint64_t end_ms = clock_mono_ms() + CLIENT_HANDSHAKE_MS;
	enum pair_step step = PAIR_STEP_MORE;
	uint8_t in[PAIR_BODY_BYTES_MAX];
	struct err lost = ERR_INIT;

	while (step == PAIR_STEP_MORE) {
		ssize_t n;

		if (send_all(t, &p->out, e) < 0)
			return -1;
		n = tls_read(t, in, sizeof(in));
		if (n == -EAGAIN && clock_mono_ms() < end_ms)
			continue;
		if (n <= 0)
			return err_set(e, n == -EAGAIN ? ERR_TIMEOUT : ERR_NET, "the host broke off the enrolment");
		step = pair_feed(p, in, (size_t)n, e);
	}
	/* The last word is a courtesy: the outcome is known here. */
	(void)send_all(t, &p->out, &lost);
	(void)tls_end(t);
	return step == PAIR_STEP_DONE ? 0 : -1;
}

static int enroll_over(struct client_conn *c, struct identity *id, const uint8_t *secret, const char *my_name,
		       struct client_enrolled *out, struct err *e)
{
	struct pair_setup s = {
		.side = PAIR_DIALER, .kind = PAIR_OPERATOR, .name = name_is_valid(my_name) ? my_name : "operator",
		.secret = secret, .hooks = &enrol_hooks, .arg = id,
	};
	struct pair p = { 0 };
	int rc;

	memcpy(s.own, id->fingerprint, sizeof(s.own));
	memcpy(s.other, tls_peer(c->tls)->fingerprint, sizeof(s.other));
	rc = pair_init(&p, &s, e);
	if (rc == 0)
		rc = run_pair(c->tls, &p, e);
	if (rc == 0) {
		struct client_enrolled got = { .host_name = "" };

		snprintf(got.host_name, sizeof(got.host_name), "%s", p.result.name);
		fingerprint_text(p.result.fingerprint, got.fingerprint);
		snprintf(got.role, sizeof(got.role), "%s", role_name(p.result.role_there));
		*out = got;
	}
	pair_fini(&p);
	return rc;
}

int client_enroll(const char *dir, const char *address, const char *code, const char *my_name,
		  struct client_enrolled *out, struct err *e)
{
	struct client_conn c = { .any = true, .alpn_text = PAIR_ALPN };
	uint8_t secret[PAIR_SECRET_BYTES];
	struct identity *id;
	int rc = -1;

	if (pair_code_parse(code, secret, e) < 0)
		return -1;
	if (identity_open(dir, name_is_valid(my_name) ? my_name : "operator", &id, e) < 0)
		return -1;
	if (open_tls(id, address, &c, e) == 0)
		rc = enroll_over(&c, id, secret, my_name, out, e);
	tls_free(c.tls);
	identity_put(id);
	return rc;
}

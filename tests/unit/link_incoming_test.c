/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers may try at the port: each is refused in bounded time and
 * memory, with an event, and an honest peer gets through meanwhile.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <mbedtls/ssl.h>

#include "tests/unit/link_rig.h"
#include "base/buf.h"
#include "link/stream.h"

static struct rig_host a, b;

static int up(void **state)
{
	(void)state;
	rig_open();
	rig_up(&a, "hv1");
	rig_up(&b, "hv2");
	rig_pair(&a, &b);
	return 0;
}

static int down(void **state)
{
	(void)state;
	rig_down(&a);
	rig_down(&b);
	rig_close();
	return 0;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* The other side has closed or reset; bytes before that (alerts) are dropped. */
static bool is_closed(int fd)
{
	char drop[256];
	ssize_t n;

	while ((n = recv(fd, drop, sizeof(drop), MSG_DONTWAIT)) > 0)
		;
	return n == 0 || (errno != EAGAIN && errno != EINTR);
}

/* hv1, who is pinned, still gets through. */
static void honest_peer_gets_through(void)
{
	unsigned before = b.n_got;
	int fd = -1;

	rig_ok(rig_call(&a, HVTLS_DIAL, json_pack("{ss ss}", "peer", "hv2", "alpn", "hv-migrate/1"), NULL, &fd));
	rig_until(b.n_got > before);
	fd_close(&fd);
}

static void refused_because(const char *text)
{
	rig_until(rig_seen(&b, HVTLS_EVENT_REFUSED, "reason"));
	if (!strstr(rig_seen(&b, HVTLS_EVENT_REFUSED, "reason"), text))
		fail_msg("reason is '%s', not '%s'", rig_seen(&b, HVTLS_EVENT_REFUSED, "reason"), text);
	rig_until(b.n_got == 0);
}

static void plain_text_and_garbage(void **state)
{
	static const struct { const char *bytes; size_t n; } cases[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27 },
		{ "\x16\x03\x01\xff\xff", 5 },			/* a record of 65535 bytes */
		{ "\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00", 10 },	/* a handshake message of 16 MiB */
		{ "\x80\x2e\x01\x00\x02", 5 },			/* SSL 2 */
		{ "\0\0\0\0\0\0\0\0", 8 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int fd = connect_to(b.h->port);

		json_array_clear(b.seen);
		assert_int_equal(send(fd, cases[i].bytes, cases[i].n, MSG_NOSIGNAL), (ssize_t)cases[i].n);
		rig_until(is_closed(fd));
		fd_close(&fd);
		rig_until(rig_seen(&b, HVTLS_EVENT_REFUSED, "reason"));
	}
	refused_because("");
	honest_peer_gets_through();
}

static void silent_client_is_dropped_at_the_deadline(void **state)
{
	int fd = connect_to(b.h->port);
	uint64_t start = clock_mono_ms();

	(void)state;
	rig_until(is_closed(fd));
	assert_true(clock_mono_ms() - start >= RIG_LIMIT_MS - 50);
	assert_true(clock_mono_ms() - start < RIG_LIMIT_MS + 3000);
	fd_close(&fd);
	refused_because("took too long");
}

/* One byte now and then must not move the deadline. */
static void slow_client_is_dropped_at_the_deadline(void **state)
{
	static const char hello[] = "\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03";
	int fd = connect_to(b.h->port);
	uint64_t start = clock_mono_ms(), next = 0;
	size_t at = 0;

	(void)state;
	while (!is_closed(fd)) {
		if (clock_mono_ms() >= next && at < sizeof(hello) - 1) {
			(void)send(fd, hello + at++, 1, MSG_NOSIGNAL);
			next = clock_mono_ms() + 100;
		}
		loop_once(rig_loop, 10);
		assert_true(clock_mono_ms() - start < RIG_LIMIT_MS + 3000);
	}
	fd_close(&fd);
	refused_because("took too long");
}

/* Half-open connections of one address take few slots. */
static void one_address_has_few_slots(void **state)
{
	int fds[SHAKING_PER_SOURCE_MAX + 4];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = connect_to(b.h->port);
	rig_until(is_closed(fds[ARRAY_LEN(fds) - 1]));
	rig_until(rig_seen(&b, HVTLS_EVENT_REFUSED, "code"));
	assert_string_equal(rig_seen(&b, HVTLS_EVENT_REFUSED, "code"), "limit");
	rig_until(is_closed(fds[0]));	/* its deadline */
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fd_close(&fds[i]);
	honest_peer_gets_through();
}

/* A flood of refusals is told as a burst and then by count. */
static void refusals_are_limited(void **state)
{
	unsigned told = 0;

	(void)state;
	for (int i = 0; i < 3 * EVENTS_BURST; i++) {
		int fd = connect_to(b.h->port);

		assert_int_equal(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
		rig_until(is_closed(fd));
		fd_close(&fd);
	}
	told = (unsigned)json_array_size(b.seen);
	assert_true(told >= EVENTS_BURST / 2 && told < 2 * EVENTS_BURST);
	assert_true(b.h->suppressed > 0);
}

/* ---- TLS clients that are not ours, on a thread ---- */

struct client {
	uint16_t port;
	const char *dir;		/* of key and certificate; NULL: none */
	const char *alpn;		/* NULL: none */
	int max_minor;			/* of the protocol version; 0: TLS 1.2 */
	bool renegotiate;
	int rc, alert;			/* of the handshake, or of what came after */
};

static int bio_send(void *arg, const unsigned char *p, size_t n)
{
	ssize_t put = send(*(int *)arg, p, n, MSG_NOSIGNAL);

	return put < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)put;
}

static int bio_recv(void *arg, unsigned char *p, size_t n)
{
	ssize_t got = recv(*(int *)arg, p, n, 0);

	return got < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)got;
}

/* Until the server says something: a refusal after the handshake arrives as an alert. */
static int wait_for_word(mbedtls_ssl_context *ssl)
{
	unsigned char c;
	int rc;

	do
		rc = mbedtls_ssl_read(ssl, &c, 1);
	while (rc == MBEDTLS_ERR_SSL_WANT_READ);
	return rc;
}

static void client_run(void *arg)
{
	struct client *c = arg;
	const char *alpn[] = { c->alpn, NULL };
	struct identity *id;
	struct err e = ERR_INIT;
	mbedtls_ssl_config conf;
	mbedtls_ssl_context ssl;
	int fd = connect_to(c->port);

	if (identity_open(c->dir ? c->dir : a.dir, "x", &id, &e) < 0)
		abort();
	mbedtls_ssl_config_init(&conf);
	mbedtls_ssl_init(&ssl);
	mbedtls_ssl_config_defaults(&conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, 0);
	mbedtls_ssl_conf_authmode(&conf, MBEDTLS_SSL_VERIFY_NONE);
	mbedtls_ssl_conf_rng(&conf, mbedtls_ctr_drbg_random, &id->rng);
	if (c->max_minor)
		mbedtls_ssl_conf_max_version(&conf, MBEDTLS_SSL_MAJOR_VERSION_3, c->max_minor);
	if (c->dir)
		mbedtls_ssl_conf_own_cert(&conf, &id->cert, &id->key);
	if (c->alpn)
		mbedtls_ssl_conf_alpn_protocols(&conf, alpn);
	if (c->renegotiate)
		mbedtls_ssl_conf_renegotiation(&conf, MBEDTLS_SSL_RENEGOTIATION_ENABLED);
	mbedtls_ssl_setup(&ssl, &conf);
	mbedtls_ssl_set_bio(&ssl, &fd, bio_send, bio_recv, NULL);
	c->rc = mbedtls_ssl_handshake(&ssl);
	if (c->rc == 0)
		c->rc = c->renegotiate ? mbedtls_ssl_renegotiate(&ssl) : wait_for_word(&ssl);
	c->alert = c->rc == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE ? ssl.in_msg[1] : 0;
	mbedtls_ssl_free(&ssl);
	mbedtls_ssl_config_free(&conf);
	identity_put(id);
	fd_close(&fd);
}

/* A throw-away party beside host a; until_s 0: valid. */
static void make_party(char dir[96], int64_t from_s, int64_t until_s)
{
	struct identity *id;

	snprintf(dir, 96, "%s/party", a.dir);
	rig_ok(identity_open(dir, "party", &id, &rig_err));
	identity_put(id);
	if (until_s)
		rig_ok(identity_write_cert(dir, "party", from_s, until_s, &rig_err));
}

static void drop_party(const char *dir)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/key.der", dir);
	(void)remove(path);
	snprintf(path, sizeof(path), "%s/cert.der", dir);
	(void)remove(path);
	(void)remove(dir);
}

static void clients_that_are_not_ours(void **state)
{
	enum { YEAR_S = 365 * 86400 };
	int64_t now = (int64_t)(clock_real_ms() / 1000);
	const struct {
		const char *label, *alpn, *reason;
		int64_t from_s, until_s;
		bool no_cert;
		int alert;		/* that the client must see; -1: any, or none */
	} cases[] = {
		{ "unpinned", "hv-migrate/1", "not known here", 0, 0, false, MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED },
		{ "unpinned_http", "http/1.1", "not known here", 0, 0, false, MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED },
		{ "absent", "http/1.1", "no certificate", 0, 0, true, -1 },
		{ "expired", "http/1.1", "has expired", now - 2 * YEAR_S, now - YEAR_S, false, -1 },
		{ "expired_pairing", "hv-pair/1", "has expired", now - 2 * YEAR_S, now - YEAR_S, false, -1 },
		{ "not_yet", "http/1.1", "not valid yet", now + YEAR_S, now + 2 * YEAR_S, false, -1 },
		{ "no_alpn", NULL, "no service", 0, 0, false, MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED },
		{ "unknown_alpn", "hv-unknown/1", "", 0, 0, false, MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL },
	};
	char dir[96];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct client c = { .port = b.h->port, .alpn = cases[i].alpn };

		make_party(dir, cases[i].from_s, cases[i].until_s);
		c.dir = cases[i].no_cert ? NULL : dir;
		json_array_clear(b.seen);
		rig_run(client_run, &c);
		if (c.rc == 0 || (cases[i].alert > 0 && c.alert != cases[i].alert))
			fail_msg("%s: rc -0x%04x, alert %d", cases[i].label, (unsigned)-c.rc, c.alert);
		refused_because(cases[i].reason);
		drop_party(dir);
	}
	snprintf(dir, sizeof(dir), "%s/key.der", a.dir);	/* of the client without certificate */
	(void)remove(dir);
	snprintf(dir, sizeof(dir), "%s/cert.der", a.dir);
	(void)remove(dir);
	honest_peer_gets_through();
}

/* A pinned host may not use what is for operators. */
static void role_decides_what_is_served(void **state)
{
	char dir[96];
	struct client c = { .port = b.h->port, .alpn = "http/1.1", .dir = dir };

	(void)state;
	snprintf(dir, sizeof(dir), "%s/host", a.data);
	rig_run(client_run, &c);
	assert_int_equal(c.alert, MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED);
	refused_because("not for hv1, who is peer");
}

static void old_versions_are_refused(void **state)
{
	char dir[96];
	struct client c = { .port = b.h->port, .alpn = "hv-migrate/1", .dir = dir,
			    .max_minor = MBEDTLS_SSL_MINOR_VERSION_2 };

	(void)state;
	snprintf(dir, sizeof(dir), "%s/host", a.data);
	rig_run(client_run, &c);
	assert_int_not_equal(c.rc, 0);
	refused_because("");
}

static void renegotiation_is_refused(void **state)
{
	char dir[96], c0;
	struct client c = { .port = b.h->port, .alpn = "hv-migrate/1", .dir = dir, .renegotiate = true };
	struct rig_task t;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/host", a.data);
	rig_task_start(&t, client_run, &c);
	rig_until(b.n_got == 1);	/* the first handshake was good */
	if (b.h->ktls) {		/* the worker meets it, as a record that is no data */
		assert_int_equal(stream_read(b.got_fd, &c0, 1), -EPROTO);
		fd_close(&b.got_fd);
	}
	rig_task_end(&t);
	assert_int_not_equal(c.rc, 0);
	honest_peer_gets_through();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plain_text_and_garbage, up, down),
		cmocka_unit_test_setup_teardown(silent_client_is_dropped_at_the_deadline, up, down),
		cmocka_unit_test_setup_teardown(slow_client_is_dropped_at_the_deadline, up, down),
		cmocka_unit_test_setup_teardown(one_address_has_few_slots, up, down),
		cmocka_unit_test_setup_teardown(refusals_are_limited, up, down),
		cmocka_unit_test_setup_teardown(clients_that_are_not_ours, up, down),
		cmocka_unit_test_setup_teardown(role_decides_what_is_served, up, down),
		cmocka_unit_test_setup_teardown(old_versions_are_refused, up, down),
		cmocka_unit_test_setup_teardown(renegotiation_is_refused, up, down),
	};

	return check_main(tests);
}

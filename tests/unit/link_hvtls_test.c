/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two hosts: pairing by code, dialling both ways with bytes through the pump,
 * and everything that pairing must refuse.
 */
#include <errno.h>
#include <sys/socket.h>
#include <arpa/inet.h>

#include "tests/unit/link_rig.h"
#include "base/buf.h"

static struct rig_host a, b;

static int up(void **state)
{
	(void)state;
	rig_open();
	rig_up(&a, "hv1");
	rig_up(&b, "hv2");
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

static int dial(struct rig_host *from, const char *peer, int *out_fd)
{
	return rig_call(from, HVTLS_DIAL, json_pack("{ss ss}", "peer", peer, "alpn", "hv-migrate/1"), NULL, out_fd);
}

static void move_to(struct rig_host *x, const char *name, const char *address)
{
	json_t *args = json_pack("{ss ss}", "name", name, "address", address);

	rig_ok(rig_call(x, HVTLS_SET_ADDRESS, args, NULL, NULL));
}

struct copy {
	int from, to;
	const uint8_t *data;
	uint8_t *got;
	size_t n;
	int rc;
};

static void write_side(void *arg)
{
	struct copy *c = arg;

	c->rc = fd_write_full(c->from, c->data, c->n);
	(void)shutdown(c->from, SHUT_WR);
}

static void read_side(void *arg)
{
	struct copy *c = arg;
	char more;

	c->rc = fd_read_full(c->to, c->got, c->n);
	if (!c->rc && read(c->to, &more, 1) != 0)
		c->rc = -EPROTO;	/* the end of file must follow */
}

/* n bytes each way at the same time, then end of file each way. */
static void exchange(int fd1, int fd2, size_t n)
{
	uint8_t *data = mem_alloc(n), *got1 = mem_alloc(n), *got2 = mem_alloc(n);
	struct copy w1 = { .from = fd1, .data = data, .n = n }, w2 = { .from = fd2, .data = data, .n = n };
	struct copy r1 = { .to = fd1, .got = got1, .n = n }, r2 = { .to = fd2, .got = got2, .n = n };
	struct rig_task t[4];

	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)(i * 31 + (i >> 9));
	rig_task_start(&t[0], write_side, &w1);
	rig_task_start(&t[1], write_side, &w2);
	rig_task_start(&t[2], read_side, &r1);
	rig_task_start(&t[3], read_side, &r2);
	for (int i = 0; i < 4; i++)
		rig_task_end(&t[i]);
	assert_int_equal(w1.rc, 0);
	assert_int_equal(w2.rc, 0);
	assert_int_equal(r1.rc, 0);
	assert_int_equal(r2.rc, 0);
	assert_memory_equal(data, got1, n);
	assert_memory_equal(data, got2, n);
	free(data);
	free(got1);
	free(got2);
}

static void dial_and_exchange(struct rig_host *from, struct rig_host *to, const char *peer, size_t n)
{
	unsigned before = to->n_got;
	int fd = -1;

	rig_ok(dial(from, peer, &fd));
	assert_true(fd >= 0);
	rig_until(to->n_got > before);
	assert_string_equal(json_string_value(json_object_get(to->got, "alpn")), "hv-migrate/1");
	assert_string_equal(json_string_value(json_object_get(to->got, "transport")),
			    to->h->ktls ? HVTLS_TRANSPORT_KTLS : HVTLS_TRANSPORT_PUMP);
	exchange(fd, to->got_fd, n);
	fd_close(&fd);
	fd_close(&to->got_fd);
	rig_until(!from->h->carried && !to->h->carried);
}

static void pair_then_dial_both_ways(void **state)
{
	const json_t *peer;

	(void)state;
	rig_pair(&a, &b);
	assert_string_equal(pins_by_name(a.h->pins, "hv2")->address, rig_address(&b));
	assert_string_equal(pins_by_name(b.h->pins, "hv1")->address, rig_address(&a));
	assert_memory_equal(pins_by_name(b.h->pins, "hv1")->fingerprint, a.h->id->fingerprint, FINGERPRINT_BYTES);
	rig_until(rig_seen(&b, HVTLS_EVENT_PAIRED, "by"));
	assert_string_equal(rig_seen(&b, HVTLS_EVENT_PAIRED, "by"), "them");
	dial_and_exchange(&a, &b, "hv2", 1);
	peer = json_object_get(b.got, "peer");
	assert_string_equal(json_string_value(json_object_get(peer, "name")), "hv1");
	assert_string_equal(json_string_value(json_object_get(peer, "role")), "peer");
	dial_and_exchange(&b, &a, "hv1", 5000000);
}

/* Trust lasts over a restart and over a new certificate. */
static void pins_outlive_restart_and_renewal(void **state)
{
	uint8_t fp[FINGERPRINT_BYTES];

	(void)state;
	rig_pair(&a, &b);
	memcpy(fp, b.h->id->fingerprint, sizeof(fp));
	rig_ok(rig_call(&b, HVTLS_RENEW, NULL, NULL, NULL));
	assert_memory_equal(fp, b.h->id->fingerprint, sizeof(fp));
	rig_stop(&a);
	rig_start(&a, "hv1");
	dial_and_exchange(&a, &b, "hv2", 70000);
	/* The port of a has changed with the restart. */
	move_to(&b, "hv1", rig_address(&a));
	dial_and_exchange(&b, &a, "hv1", 70000);
}

static void unpinned_peer_is_refused(void **state)
{
	int fd = -1;

	(void)state;
	rig_pair(&a, &b);
	rig_ok(rig_call(&b, HVTLS_UNPIN, json_pack("{ss}", "name", "hv1"), NULL, NULL));
	assert_int_equal(dial(&a, "hv2", &fd), -1);
	assert_int_equal(rig_err.code, ERR_DENIED);
	rig_until(rig_seen(&b, HVTLS_EVENT_REFUSED, "reason"));
	assert_non_null(strstr(rig_seen(&b, HVTLS_EVENT_REFUSED, "reason"), "not known here"));
	assert_int_equal(dial(&b, "hv1", &fd), -1);
	assert_int_equal(rig_err.code, ERR_NOT_FOUND);
}

/* What is under way for somebody who is unpinned ends, and its worker can tell that from a goodbye. */
static void unpin_cuts_what_is_carried(void **state)
{
	int fd = -1;
	char c;

	(void)state;
	if (a.h->ktls)
		skip();		/* the kernel has it, out of reach */
	rig_pair(&a, &b);
	rig_ok(dial(&a, "hv2", &fd));
	rig_until(b.n_got == 1);
	rig_ok(rig_call(&b, HVTLS_UNPIN, json_pack("{ss}", "name", "hv1"), NULL, NULL));
	rig_until(!a.h->carried && !b.h->carried);
	rig_until(recv(fd, &c, 1, MSG_DONTWAIT) == 0);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	fd_close(&fd);
}

/* Another host at the address of a peer. */
static void wrong_key_at_the_address_is_refused(void **state)
{
	struct rig_host c;
	int fd = -1;

	(void)state;
	rig_up(&c, "hv3");
	rig_pair(&a, &b);
	rig_pair(&a, &c);
	move_to(&a, "hv2", rig_address(&c));
	assert_int_equal(dial(&a, "hv2", &fd), -1);
	assert_int_equal(rig_err.code, ERR_REFUSED);
	assert_non_null(strstr(rig_err.detail, "who answers is not hv2"));
	rig_down(&c);
}

static int pair_with(struct rig_host *from, struct rig_host *to, const char *code)
{
	return rig_call(from, HVTLS_PAIR, json_pack("{ss ss}", "address", rig_address(to), "code", code), NULL, NULL);
}

static void codes_are_refused(void **state)
{
	static const uint8_t other[PAIR_SECRET_BYTES] = { 1, 2, 3 };
	char code[PAIR_CODE_TEXT_BYTES], wrong[PAIR_CODE_TEXT_BYTES];

	(void)state;
	pair_code_text(other, wrong);
	assert_int_equal(pair_with(&a, &b, wrong), -1);
	assert_int_equal(rig_err.code, ERR_DENIED);
	/* Mistyped: found out here already. */
	wrong[0] = wrong[0] == '7' ? '8' : '7';
	assert_int_equal(pair_with(&a, &b, wrong), -1);
	assert_int_equal(rig_err.code, ERR_USAGE);
	/* An operator's code is not for hosts. */
	rig_code(&b, "viewer", code);
	assert_int_equal(pair_with(&a, &b, code), -1);
	assert_int_equal(rig_err.code, ERR_REFUSED);
	/* Used once, and once only. */
	rig_code(&b, "peer", code);
	rig_ok(pair_with(&a, &b, code));
	assert_int_equal(pair_with(&a, &b, code), -1);
	assert_int_equal(rig_err.code, ERR_DENIED);
	/* Not with itself. */
	rig_code(&b, "peer", code);
	assert_int_equal(pair_with(&b, &b, code), -1);
	assert_int_equal(rig_err.code, ERR_REFUSED);
}

static void expired_code_is_refused(void **state)
{
	char code[PAIR_CODE_TEXT_BYTES];
	uint64_t end_ms = clock_real_ms() + 50;

	(void)state;
	rig_ok(hvtls_make_code(b.h, ROLE_PEER, NULL, end_ms, code, &rig_err));
	rig_until(clock_real_ms() > end_ms);
	assert_int_equal(pair_with(&a, &b, code), -1);
	assert_int_equal(rig_err.code, ERR_DENIED);
	assert_null(pins_by_name(b.h->pins, "hv1"));
}

static void taken_name_is_refused_and_keeps_the_code(void **state)
{
	struct rig_host c;
	char code[PAIR_CODE_TEXT_BYTES];

	(void)state;
	rig_up(&c, "hv1");
	rig_pair(&a, &b);
	rig_code(&b, "peer", code);
	assert_int_equal(pair_with(&c, &b, code), -1);
	assert_int_equal(rig_err.code, ERR_EXISTS);
	assert_memory_equal(pins_by_name(b.h->pins, "hv1")->fingerprint, a.h->id->fingerprint, FINGERPRINT_BYTES);
	rig_stop(&c);
	rig_start(&c, "hv3");
	rig_ok(pair_with(&c, &b, code));
	assert_non_null(pins_by_name(b.h->pins, "hv3"));
	rig_down(&c);
}

/* ---- somebody in the middle: TLS with his own key to both ends, bytes passed on as they are ---- */

struct middle {
	int listener;
	uint16_t port;
	const char *target;
	struct identity *id;
	unsigned passed;
};

static bool anybody(void *arg, const char *alpn, const struct tls_peer *peer, struct err *why)
{
	(void)arg;
	(void)alpn;
	(void)peer;
	(void)why;
	return true;
}

static struct tls *middle_tls(struct middle *m, enum tls_side side, int fd)
{
	static const char *const alpn[] = { PAIR_ALPN, NULL };
	struct tls_setup s = { .side = side, .fd = fd, .id = m->id, .alpn = alpn, .judge = anybody };
	struct err e = ERR_INIT;
	struct tls *t;

	if (tls_new(&s, &t, &e) < 0)
		abort();
	if (tls_handshake(t, &e) != TLS_DONE)
		abort();
	return t;
}

static int connect_to(const char *address)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_port = htons((uint16_t)strtoul(strchr(address, ':') + 1, NULL, 10));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		abort();
	return fd;
}

static void middle_run(void *arg)
{
	struct middle *m = arg;
	struct tls *in = middle_tls(m, TLS_SERVER, accept(m->listener, NULL, NULL));
	struct tls *out = middle_tls(m, TLS_CLIENT, connect_to(m->target));
	struct tls *from = in, *to = out;
	uint8_t p[512];
	ssize_t n;

	/* Strictly in turns, as the protocol goes. */
	while ((n = tls_read(from, p, sizeof(p))) > 0 && tls_write(to, p, (size_t)n) == n) {
		struct tls *swap = from;

		m->passed++;
		from = to;
		to = swap;
	}
	tls_free(in);
	tls_free(out);
}

static void one_in_the_middle(struct middle *m, const char *code)
{
	struct rig_task t;
	char address[32];
	json_t *args;

	snprintf(address, sizeof(address), "127.0.0.1:%u", m->port);
	args = json_pack("{ss ss}", "address", address, "code", code);
	rig_task_start(&t, middle_run, m);
	assert_int_equal(rig_call(&a, HVTLS_PAIR, args, NULL, NULL), -1);
	rig_task_end(&t);
}

static void man_in_the_middle_gets_nothing(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	struct middle m = { .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	char code[PAIR_CODE_TEXT_BYTES], dir[96], path[128];

	(void)state;
	assert_int_equal(bind(m.listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(m.listener, 4), 0);
	assert_int_equal(getsockname(m.listener, (struct sockaddr *)&sa, &len), 0);
	m.port = ntohs(sa.sin_port);
	m.target = rig_address(&b);
	snprintf(dir, sizeof(dir), "%s/mallory", a.dir);
	rig_ok(identity_open(dir, "mallory", &m.id, &rig_err));
	rig_code(&b, "peer", code);
	for (int i = 0; i < CODE_ATTEMPTS_MAX; i++) {
		one_in_the_middle(&m, code);
		assert_int_equal(rig_err.code, ERR_DENIED);
	}
	assert_true(m.passed >= 3 * CODE_ATTEMPTS_MAX);		/* both hellos and the proof went through */
	assert_null(pins_at(a.h->pins, 0));
	assert_null(pins_at(b.h->pins, 0));
	/* The code is burnt now, also on the straight way. */
	assert_int_equal(pair_with(&a, &b, code), -1);
	assert_int_equal(rig_err.code, ERR_DENIED);
	identity_put(m.id);
	fd_close(&m.listener);
	snprintf(path, sizeof(path), "%s/key.der", dir);
	(void)remove(path);
	snprintf(path, sizeof(path), "%s/cert.der", dir);
	(void)remove(path);
	(void)remove(dir);
}

/* hvapid is not there: the connection is closed, hvtls lives; when it is back, it works. */
static void without_hvapid_connections_close(void **state)
{
	char path[128], c;
	int fd = -1;

	(void)state;
	rig_pair(&a, &b);
	ctl_server_free(b.apid);
	b.apid = NULL;
	rig_ok(dial(&a, "hv2", &fd));
	rig_until(recv(fd, &c, 1, MSG_DONTWAIT) == 0);
	fd_close(&fd);
	snprintf(path, sizeof(path), "%s/%s", b.run, HVAPID_SOCKET);
	rig_ok(ctl_server_new(rig_loop, path, 0600, getuid(), rig_apid_verbs, &b, &b.apid, &rig_err));
	dial_and_exchange(&a, &b, "hv2", 100);
}

static void bad_requests_are_named(void **state)
{
	static const struct { const char *verb, *args; enum err_code want; } cases[] = {
		{ HVTLS_DIAL, "{\"alpn\":\"hv-migrate/1\"}", ERR_USAGE },
		{ HVTLS_DIAL, "{\"peer\":\"nobody\",\"alpn\":\"hv-migrate/1\"}", ERR_NOT_FOUND },
		{ HVTLS_DIAL, "{\"peer\":\"hv2\",\"alpn\":\"hv-unknown/9\"}", ERR_INCOMPATIBLE },
		{ HVTLS_DIAL, "{\"peer\":\"hv2\",\"alpn\":\"hv-migrate/1\",\"address\":\"127.0.0.1:1\"}", ERR_NET },
		{ HVTLS_PAIR_CODE, "{\"role\":\"king\"}", ERR_USAGE },
		{ HVTLS_PAIR_CODE, "{\"role\":\"admin\",\"name\":\"no blanks\"}", ERR_USAGE },
		{ HVTLS_PAIR_CODE, "{\"role\":\"admin\",\"ttl_s\":0}", ERR_USAGE },
		{ HVTLS_PAIR, "{\"address\":\"127.0.0.1\",\"code\":\"ABC\"}", ERR_USAGE },
		{ HVTLS_UNPIN, "{\"name\":\"nobody\"}", ERR_NOT_FOUND },
		{ HVTLS_SET_ADDRESS, "{\"name\":\"hv2\",\"address\":\"x:99999\"}", ERR_USAGE },
	};

	(void)state;
	rig_pair(&a, &b);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *args = json_loads(cases[i].args, 0, NULL);

		assert_int_equal(rig_call(&a, cases[i].verb, args, NULL, NULL), -1);
		if (rig_err.code != cases[i].want)
			fail_msg("%s %s: %s: %s", cases[i].verb, cases[i].args, err_name(rig_err.code), rig_err.detail);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pair_then_dial_both_ways, up, down),
		cmocka_unit_test_setup_teardown(pins_outlive_restart_and_renewal, up, down),
		cmocka_unit_test_setup_teardown(unpinned_peer_is_refused, up, down),
		cmocka_unit_test_setup_teardown(unpin_cuts_what_is_carried, up, down),
		cmocka_unit_test_setup_teardown(wrong_key_at_the_address_is_refused, up, down),
		cmocka_unit_test_setup_teardown(codes_are_refused, up, down),
		cmocka_unit_test_setup_teardown(expired_code_is_refused, up, down),
		cmocka_unit_test_setup_teardown(taken_name_is_refused_and_keeps_the_code, up, down),
		cmocka_unit_test_setup_teardown(man_in_the_middle_gets_nothing, up, down),
		cmocka_unit_test_setup_teardown(without_hvapid_connections_close, up, down),
		cmocka_unit_test_setup_teardown(bad_requests_are_named, up, down),
	};

	return check_main(tests);
}

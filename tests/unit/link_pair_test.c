/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pairing machine without sockets: two of them, and a wire between that
 * can cut bytes into pieces, change them, and lie about who is at the ends.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/check.h"
#include "link/pair.h"

struct end {
	struct pair p;
	struct pair_offer code;		/* listener: the one code there is */
	bool has_code;
	unsigned failed, pins, tries;
	struct pair_result pinned;
	enum err_code pin_error;
	enum pair_step step;
	struct err e;
};

static bool find(void *arg, const uint8_t id[PAIR_ID_BYTES], struct pair_offer *out)
{
	struct end *x = arg;
	uint8_t own[PAIR_ID_BYTES];

	pair_code_id(x->code.secret, own);
	if (!x->has_code || memcmp(id, own, sizeof(own)) != 0)
		return false;
	*out = x->code;
	return true;
}

static void failed(void *arg, const uint8_t id[PAIR_ID_BYTES])
{
	(void)id;
	((struct end *)arg)->failed++;
}

static int pin(void *arg, const struct pair_result *r, const uint8_t id[PAIR_ID_BYTES], bool try, struct err *e)
{
	struct end *x = arg;

	(void)id;
	if (x->pin_error)
		return err_set(e, x->pin_error, "no");
	if (try) {
		x->tries++;
		return 0;
	}
	x->pins++;
	x->pinned = *r;
	return 0;
}

static int fill_random(void *arg, uint8_t *p, size_t n)
{
	static uint8_t next;

	(void)arg;
	for (size_t i = 0; i < n; i++)
		p[i] = next++;
	return 0;
}

static const struct pair_hooks hooks = { find, failed, pin, fill_random };

static const uint8_t secret[PAIR_SECRET_BYTES] = { 9, 8, 7 };
static struct end dialer, listener;
static uint8_t fp_dialer[FINGERPRINT_BYTES] = { 1 }, fp_listener[FINGERPRINT_BYTES] = { 2 };

/* seen_*: whom each end sees at the other. */
static void start(enum pair_kind kind, enum role role, const uint8_t *seen_by_dialer, const uint8_t *seen_by_listener)
{
	struct pair_setup d = { .side = PAIR_DIALER, .kind = kind, .name = "hv1", .port = 1111, .secret = secret,
				.hooks = &hooks, .arg = &dialer };
	struct pair_setup l = { .side = PAIR_LISTENER, .kind = PAIR_HOST, .name = "hv2", .port = 2222, .hooks = &hooks,
				.arg = &listener };

	dialer = listener = (struct end){ .has_code = false };
	memcpy(listener.code.secret, secret, sizeof(secret));
	listener.code.role = role;
	listener.has_code = true;
	memcpy(d.own, fp_dialer, sizeof(d.own));
	memcpy(d.other, seen_by_dialer, sizeof(d.other));
	memcpy(l.own, fp_listener, sizeof(l.own));
	memcpy(l.other, seen_by_listener, sizeof(l.other));
	assert_int_equal(pair_init(&dialer.p, &d, &dialer.e), 0);
	assert_int_equal(pair_init(&listener.p, &l, &listener.e), 0);
}

static void give(struct end *from, struct end *to, size_t most)
{
	size_t n = from->p.out.len < most ? from->p.out.len : most;

	if (to->step == PAIR_STEP_MORE)
		to->step = pair_feed(&to->p, from->p.out.p, n, &to->e);
	buf_consume(&from->p.out, n);
}

/* Until nobody has anything to say. */
static void run(size_t piece)
{
	while (dialer.p.out.len || listener.p.out.len) {
		if (dialer.p.out.len)
			give(&dialer, &listener, piece);
		if (listener.p.out.len)
			give(&listener, &dialer, piece);
	}
}

static void stop(void)
{
	pair_fini(&dialer.p);
	pair_fini(&listener.p);
}

static void hosts_pair_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 150; piece += piece < 10 ? 1 : 17) {
		start(PAIR_HOST, ROLE_PEER, fp_listener, fp_dialer);
		run(piece);
		assert_int_equal(dialer.step, PAIR_STEP_DONE);
		assert_int_equal(listener.step, PAIR_STEP_DONE);
		assert_int_equal(dialer.pins + listener.pins, 2);
		assert_string_equal(dialer.pinned.name, "hv2");
		assert_int_equal(dialer.pinned.role, ROLE_PEER);
		assert_int_equal(dialer.pinned.port, 2222);
		assert_string_equal(listener.pinned.name, "hv1");
		assert_memory_equal(listener.pinned.fingerprint, fp_dialer, FINGERPRINT_BYTES);
		stop();
	}
}

static void the_code_carries_role_and_name(void **state)
{
	(void)state;
	start(PAIR_OPERATOR, ROLE_VIEWER, fp_listener, fp_dialer);
	snprintf(listener.code.name, sizeof(listener.code.name), "eve");
	run(1000);
	assert_int_equal(listener.pinned.role, ROLE_VIEWER);
	assert_string_equal(listener.pinned.name, "eve");
	assert_int_equal(dialer.pinned.role_there, ROLE_VIEWER);
	stop();
}

static void kinds_do_not_mix(void **state)
{
	static const struct { enum pair_kind kind; enum role role; } cases[] = {
		{ PAIR_OPERATOR, ROLE_PEER }, { PAIR_HOST, ROLE_ADMIN }, { PAIR_HOST, ROLE_VIEWER },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start(cases[i].kind, cases[i].role, fp_listener, fp_dialer);
		run(1000);
		assert_int_equal(dialer.e.code, ERR_REFUSED);
		assert_int_equal(dialer.pins + listener.pins, 0);
		stop();
	}
}

/* Either end sees another key than the other has: the middle. */
static void other_fingerprints_do_not_prove(void **state)
{
	static const uint8_t mallory[FINGERPRINT_BYTES] = { 66 };

	(void)state;
	for (int i = 1; i < 4; i++) {
		start(PAIR_HOST, ROLE_PEER, i & 1 ? mallory : fp_listener, i & 2 ? mallory : fp_dialer);
		run(1000);
		assert_int_equal(listener.step, PAIR_STEP_FAILED);
		assert_int_equal(dialer.step, PAIR_STEP_FAILED);
		assert_int_equal(dialer.e.code, ERR_DENIED);
		assert_int_equal(listener.failed, 1);
		assert_int_equal(dialer.pins + listener.pins, 0);
		stop();
	}
}

/* How many bytes go over the wire in a good run, without the dialer's last message. */
static size_t bytes_until_done(void)
{
	size_t n = 0;

	start(PAIR_HOST, ROLE_PEER, fp_listener, fp_dialer);
	while (dialer.p.out.len || listener.p.out.len) {
		struct end *from = dialer.p.out.len ? &dialer : &listener;

		n += from->p.out.len;
		give(from, from == &dialer ? &listener : &dialer, SIZE_MAX);
	}
	stop();
	return n - PAIR_HEAD_BYTES;
}

/* One bit of the wire changed, anywhere before DONE: the dialer, who is last to pin, never does. */
static void a_changed_bit_does_not_pair(void **state)
{
	size_t n = bytes_until_done();

	(void)state;
	for (size_t at = 0; at < n; at++) {
		size_t seen = 0;

		start(PAIR_HOST, ROLE_PEER, fp_listener, fp_dialer);
		while (dialer.p.out.len || listener.p.out.len) {
			struct end *from = dialer.p.out.len ? &dialer : &listener;

			if (at >= seen && at < seen + from->p.out.len)
				from->p.out.p[at - seen] ^= 0x04;
			seen += from->p.out.len;
			give(from, from == &dialer ? &listener : &dialer, SIZE_MAX);
		}
		if (dialer.pins)
			fail_msg("byte %zu of %zu changed and the dialer pinned", at, n);
		stop();
	}
}

static void messages_at_the_wrong_moment(void **state)
{
	static const struct pair_msg done = { .type = PAIR_DONE };
	struct buf b = { 0 };

	(void)state;
	start(PAIR_HOST, ROLE_PEER, fp_listener, fp_dialer);
	pair_encode(&done, &b);
	assert_int_equal(pair_feed(&listener.p, b.p, b.len, &listener.e), PAIR_STEP_FAILED);
	assert_int_equal(listener.e.code, ERR_CORRUPT);
	assert_int_equal(listener.pins, 0);
	/* And nothing more after that. */
	assert_int_equal(pair_feed(&listener.p, b.p, b.len, &listener.e), PAIR_STEP_FAILED);
	buf_fini(&b);
	stop();
}

static void own_proof_sent_back_is_no_proof(void **state)
{
	struct buf hello = { 0 };

	(void)state;
	start(PAIR_HOST, ROLE_PEER, fp_dialer, fp_dialer);	/* the dialer meets itself */
	buf_put(&hello, dialer.p.out.p, dialer.p.out.len);
	buf_consume(&dialer.p.out, dialer.p.out.len);
	assert_int_equal(pair_feed(&dialer.p, hello.p, hello.len, &dialer.e), PAIR_STEP_MORE);
	assert_int_equal(pair_feed(&dialer.p, dialer.p.out.p, dialer.p.out.len, &dialer.e), PAIR_STEP_FAILED);
	assert_int_equal(dialer.pins, 0);
	buf_fini(&hello);
	stop();
}

static void a_taken_name_ends_it_before_the_proof(void **state)
{
	(void)state;
	start(PAIR_HOST, ROLE_PEER, fp_listener, fp_dialer);
	dialer.pin_error = ERR_EXISTS;
	run(1000);
	assert_int_equal(listener.e.code, ERR_EXISTS);
	assert_int_equal(listener.pins, 0);
	stop();
	start(PAIR_HOST, ROLE_PEER, fp_listener, fp_dialer);
	listener.pin_error = ERR_EXISTS;
	run(1000);
	assert_int_equal(dialer.e.code, ERR_EXISTS);
	assert_int_equal(dialer.pins, 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_pair_in_pieces_of_any_size),
		cmocka_unit_test(the_code_carries_role_and_name),
		cmocka_unit_test(kinds_do_not_mix),
		cmocka_unit_test(other_fingerprints_do_not_prove),
		cmocka_unit_test(a_changed_bit_does_not_pair),
		cmocka_unit_test(messages_at_the_wrong_moment),
		cmocka_unit_test(own_proof_sent_back_is_no_proof),
		cmocka_unit_test(a_taken_name_ends_it_before_the_proof),
	};

	return check_main(tests);
}

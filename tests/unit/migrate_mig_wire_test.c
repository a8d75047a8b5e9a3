/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of hv-migrate/1: every type there and back, every byte cut off, and
 * the rules that a hostile peer would break.
 */
#include "tests/unit/check.h"

#include <string.h>

#include "migrate/mig_wire.h"

#define S "0f-session-1"
#define UUID "01234567-89ab-cdef-0123-456789abcdef"

static const struct mig_msg all[] = {
	{ .type = MIG_HELLO, .session = S, .version = MIG_VERSION, .codecs = 7, .streams = 4 },
	{ .type = MIG_JOIN, .session = S, .index = 3 },
	{ .type = MIG_OFFER, .body = { (const uint8_t *)"{\"vm\":{}}", 9 } },
	{ .type = MIG_REFUSE, .body = { (const uint8_t *)"{}", 2 } },
	{ .type = MIG_ACCEPT, .codec = CODEC_ZSTD, .streams = 2 },
	{ .type = MIG_DATA, .seq = 77, .body = { (const uint8_t *)"12345678x", 9 } },
	{ .type = MIG_STREAM_END, .seq = 78, .raw_bytes = UINT64_C(1) << 40, .sum = UINT64_MAX },
	{ .type = MIG_READY, .body = { (const uint8_t *)"{}", 2 } },
	{ .type = MIG_COMMIT, .session = S, .generation = 12 },
	{ .type = MIG_TAKEN, .body = { (const uint8_t *)"{}", 2 } },
	{ .type = MIG_ABORT, .err = { ERR_NO_SPACE, "no memory", "stop a guest" } },
	{ .type = MIG_QUERY, .session = S, .generation = 9, .vm = "web1", .uuid = UUID },
	{ .type = MIG_ANSWER, .session = S, .outcome = MIG_OUTCOME_REFUSED },
	{ .type = MIG_PING, .seq = 5 },
	{ .type = MIG_PONG, .seq = UINT64_MAX },
};

static int decode(const uint8_t *p, size_t n, struct mig_msg *out, struct err *e)
{
	struct rd r = rd_of(p, n);
	struct mig_hdr h;

	if (mig_hdr_decode(&r, &h, e) < 0)
		return -1;
	if (h.len_bytes != rd_left(&r))
		return err_set(e, ERR_CORRUPT, "length");
	return mig_body_decode(&h, r.p, out, e);
}

static void there_and_back(void **state)
{
	(void)state;
	assert_int_equal(ARRAY_LEN(all), MIG_TYPE_END - 1);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		AUTO_BUF struct buf b = { 0 };
		struct err e = ERR_INIT;
		struct mig_msg m;

		assert_int_equal(mig_encode(&all[i], &b, &e), 0);
		assert_int_equal(decode(b.p, b.len, &m, &e), 0);
		assert_int_equal(m.body.len, all[i].body.len);
		if (m.body.len)
			assert_memory_equal(m.body.p, all[i].body.p, m.body.len);
		m.body = all[i].body;
		assert_memory_equal(&m, &all[i], sizeof(m));
		assert_string_not_equal(mig_type_name(m.type), "?");
	}
	assert_string_equal(mig_type_name(MIG_TYPE_END), "?");
}

/* Cut anywhere, with the length told right: never accepted as whole (JSON and DATA may be shorter). */
static void cut_short(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		AUTO_BUF struct buf b = { 0 };
		struct err e = ERR_INIT;
		struct mig_msg m;

		assert_int_equal(mig_encode(&all[i], &b, &e), 0);
		for (size_t n = 0; n < b.len && !all[i].body.len; n++) {
			if (n >= MIG_HDR_BYTES)
				b.p[4] = (uint8_t)(n - MIG_HDR_BYTES);
			assert_int_equal(decode(b.p, n, &m, &e), -1);
			assert_int_equal(e.code, ERR_CORRUPT);
		}
	}
}

static void headers(void **state)
{
	static const struct {
		const char *label;
		uint8_t type, flags, zero;
		uint32_t len;
		uint64_t seq;
		enum err_code want;
	} cases[] = {
		{ "ping", MIG_PING, 0, 0, 0, 1, ERR_NONE },
		{ "type_zero", 0, 0, 0, 0, 0, ERR_CORRUPT },
		{ "type_end", MIG_TYPE_END, 0, 0, 0, 0, ERR_CORRUPT },
		{ "type_255", 255, 0, 0, 0, 0, ERR_CORRUPT },
		{ "flags", MIG_PING, 1, 0, 0, 0, ERR_CORRUPT },
		{ "reserved", MIG_PING, 0, 1, 0, 0, ERR_CORRUPT },
		{ "seq_of_commit", MIG_COMMIT, 0, 0, 20, 1, ERR_CORRUPT },
		{ "ping_with_body", MIG_PING, 0, 0, 1, 0, ERR_LIMIT },
		{ "data_at_limit", MIG_DATA, 0, 0, MIG_DATA_BYTES_MAX, 0, ERR_NONE },
		{ "data_over_limit", MIG_DATA, 0, 0, MIG_DATA_BYTES_MAX + 1, 0, ERR_LIMIT },
		{ "json_at_limit", MIG_OFFER, 0, 0, MIG_JSON_BYTES_MAX, 0, ERR_NONE },
		{ "json_over_limit", MIG_OFFER, 0, 0, MIG_JSON_BYTES_MAX + 1, 0, ERR_LIMIT },
		{ "small_over_limit", MIG_HELLO, 0, 0, MIG_SMALL_BYTES_MAX + 1, 0, ERR_LIMIT },
		{ "length_all_ones", MIG_DATA, 0, 0, UINT32_MAX, 0, ERR_LIMIT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_BUF struct buf b = { 0 };
		struct err e = ERR_INIT;
		struct mig_hdr h;
		struct rd r;

		buf_put_u8(&b, cases[i].type);
		buf_put_u8(&b, cases[i].flags);
		buf_put_le16(&b, cases[i].zero);
		buf_put_le32(&b, cases[i].len);
		buf_put_le64(&b, cases[i].seq);
		r = rd_of(b.p, b.len);
		if (mig_hdr_decode(&r, &h, &e) != (cases[i].want ? -1 : 0) || e.code != cases[i].want)
			fail_msg("%s: %s %s", cases[i].label, err_name(e.code), e.detail);
	}
}

static void frame(struct buf *b, enum mig_type type, const void *body, size_t n)
{
	mig_hdr_encode(&(struct mig_hdr){ .type = type, .len_bytes = (uint32_t)n }, b);
	buf_put(b, body, n);
}

static void hostile_bodies(void **state)
{
	static const struct {
		const char *label;
		enum mig_type type;
		const char *body;
		size_t n;
		enum err_code want;
	} cases[] = {
		{ "other_version", MIG_HELLO, "\2\0\1\0\1\0\0\0\1a", 10, ERR_INCOMPATIBLE },
		{ "other_version_longer", MIG_HELLO, "\2\0\1\0\1\0\0\0\1abc", 12, ERR_INCOMPATIBLE },
		{ "no_streams", MIG_HELLO, "\1\0\1\0\0\0\0\0\1a", 10, ERR_CORRUPT },
		{ "no_session", MIG_HELLO, "\1\0\1\0\1\0\0\0\0", 9, ERR_CORRUPT },
		{ "session_is_a_path", MIG_HELLO, "\1\0\1\0\1\0\0\0\4../a", 13, ERR_CORRUPT },
		{ "session_with_nul", MIG_HELLO, "\1\0\1\0\1\0\0\0\3a\0b", 12, ERR_CORRUPT },
		{ "bytes_behind", MIG_HELLO, "\1\0\1\0\1\0\0\0\1abc", 12, ERR_CORRUPT },
		{ "join_zero", MIG_JOIN, "\0\0\1a", 4, ERR_CORRUPT },
		{ "join_too_high", MIG_JOIN, "\x08\0\1a", 4, ERR_CORRUPT },
		{ "codec", MIG_ACCEPT, "\3\0\1\0", 4, ERR_CORRUPT },
		{ "streams_many", MIG_ACCEPT, "\1\0\x09\0", 4, ERR_CORRUPT },
		{ "outcome_zero", MIG_ANSWER, "\0\1a", 3, ERR_CORRUPT },
		{ "outcome_end", MIG_ANSWER, "\4\1a", 3, ERR_CORRUPT },
		{ "empty_json", MIG_OFFER, "", 0, ERR_CORRUPT },
		{ "vm_is_a_path", MIG_QUERY, "\0\0\0\0\0\0\0\0\1a\4a/..\x24" UUID, 52, ERR_CORRUPT },
		{ "vm_hidden", MIG_QUERY, "\0\0\0\0\0\0\0\0\1a\4.abc\x24" UUID, 52, ERR_CORRUPT },
		{ "uuid_short", MIG_QUERY, "\0\0\0\0\0\0\0\0\1a\1b\3abc", 16, ERR_CORRUPT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_BUF struct buf b = { 0 };
		struct err e = ERR_INIT;
		struct mig_msg m;

		frame(&b, cases[i].type, cases[i].body, cases[i].n);
		if (decode(b.p, b.len, &m, &e) == 0 || e.code != cases[i].want)
			fail_msg("%s: %s %s", cases[i].label, err_name(e.code), e.detail);
	}
}

static void abort_text_is_tamed(void **state)
{
	static const char body[] = "\x08made-up!\5\0a\33[2J\0\0";
	AUTO_BUF struct buf b = { 0 };
	struct err e = ERR_INIT;
	struct mig_msg m;

	(void)state;
	frame(&b, MIG_ABORT, body, 9 + 2 + 5 + 2);
	assert_int_equal(decode(b.p, b.len, &m, &e), 0);
	assert_int_equal(m.err.code, ERR_INTERNAL);
	assert_string_equal(m.err.detail, "a?[2J");
}

static void names_that_become_paths(void **state)
{
	char longest[MIG_SESSION_BYTES_MAX + 2];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[MIG_SESSION_BYTES_MAX + 1] = 0;
	assert_false(mig_session_ok(longest));
	longest[MIG_SESSION_BYTES_MAX] = 0;
	assert_true(mig_session_ok(longest));
	assert_false(mig_session_ok(""));
	assert_false(mig_session_ok("a.b"));
	assert_true(mig_vm_ok("web1.example_x-2"));
	assert_false(mig_vm_ok("-rf"));
	assert_false(mig_vm_ok(".."));
	assert_false(mig_vm_ok("a b"));
	assert_true(mig_uuid_ok(UUID));
	assert_false(mig_uuid_ok("0123456789ab-cdef-0123-456789abcdef-0"));
}

static void over_limit_is_not_sent(void **state)
{
	struct mig_msg m = { .type = MIG_OFFER };
	AUTO_FREE uint8_t *big = mem_alloc(MIG_JSON_BYTES_MAX + 1);
	AUTO_BUF struct buf b = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	m.body = (struct span){ big, MIG_JSON_BYTES_MAX + 1 };
	assert_int_equal(mig_encode(&m, &b, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(b.len, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(cut_short),
		cmocka_unit_test(headers),
		cmocka_unit_test(hostile_bodies),
		cmocka_unit_test(abort_text_is_tamed),
		cmocka_unit_test(names_that_become_paths),
		cmocka_unit_test(over_limit_is_not_sent),
	};

	return check_main(tests);
}

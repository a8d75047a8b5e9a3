/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake: what each option is answered with, byte counts, and what ends it. */
#include <string.h>

#include "base/rd.h"
#include "blkd/nbd_opt.h"
#include "tests/unit/check.h"

static const char *name(void *arg, unsigned i)
{
	(void)arg;
	return i ? "data" : "root";
}

static const char *description(void *arg, unsigned i)
{
	(void)arg;
	return i ? "" : "the first";
}

static void facts(void *arg, unsigned i, struct nbd_facts *out)
{
	(void)arg;
	*out = (struct nbd_facts){ .bytes = i ? 4096 : 1 << 20, .block_min_bytes = 512,
				   .block_preferred_bytes = 4096, .read_only = i == 1, .has_dirty = i == 0 };
}

static const struct nbd_exports exports = { .n = 2, .name = name, .description = description, .facts = facts };

struct talk {
	struct nbd_nego g;
	struct buf in, out;
	struct err e;
	struct rd r;			/* of out */
};

static void talk_init(struct talk *t)
{
	memset(t, 0, sizeof(*t));
	nbd_nego_init(&t->g, &exports);
	buf_put_be32(&t->in, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

static void talk_fini(struct talk *t)
{
	buf_fini(&t->in);
	buf_fini(&t->out);
}

static void put_opt(struct talk *t, uint32_t opt, const void *p, size_t n)
{
	buf_put_be64(&t->in, NBD_IHAVEOPT);
	buf_put_be32(&t->in, opt);
	buf_put_be32(&t->in, (uint32_t)n);
	buf_put(&t->in, p, n);
}

/* Feeds all of `in`, byte counts growing by one, so that every cut is met. */
static enum nbd_nego_step say(struct talk *t)
{
	enum nbd_nego_step step = NBD_NEGO_MORE;
	size_t at = 0;

	for (size_t end = 0; end <= t->in.len && step == NBD_NEGO_MORE; end++) {
		size_t used = 1;

		while (used && step == NBD_NEGO_MORE) {
			step = nbd_nego_step(&t->g, t->in.p + at, end - at, &used, &t->out, &t->e);
			at += used;
		}
	}
	t->in.len = 0;
	t->r = rd_of(t->out.p, t->out.len);
	return step;
}

/* The next reply in out; its data is left in *data. */
static uint32_t reply_type(struct talk *t, uint32_t opt, struct rd *data)
{
	uint32_t type, len;

	assert_true(rd_be64(&t->r) == NBD_OPT_REPLY_MAGIC);
	assert_int_equal(rd_be32(&t->r), opt);
	type = rd_be32(&t->r);
	len = rd_be32(&t->r);
	*data = rd_of(rd_bytes(&t->r, len), len);
	assert_false(t->r.bad);
	return type;
}

static void go(void **state)
{
	static const uint8_t opt[] = { 0, 0, 0, 4, 'd', 'a', 't', 'a', 0, 2, 0, 3, 0, 1 };
	struct talk t;
	struct rd d;

	(void)state;
	talk_init(&t);
	put_opt(&t, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	put_opt(&t, NBD_OPT_GO, opt, sizeof(opt));
	assert_int_equal(say(&t), NBD_NEGO_GO);
	assert_true(t.g.structured);
	assert_int_equal(t.g.export, 1);
	assert_int_equal(reply_type(&t, NBD_OPT_STRUCTURED_REPLY, &d), NBD_REP_ACK);
	assert_int_equal(reply_type(&t, NBD_OPT_GO, &d), NBD_REP_INFO);
	assert_int_equal(rd_be16(&d), NBD_INFO_EXPORT);
	assert_true(rd_be64(&d) == 4096);
	assert_int_equal(rd_be16(&d), NBD_HAS_FLAGS | NBD_READ_ONLY | NBD_SEND_FLUSH | NBD_SEND_DF |
			 NBD_CAN_MULTI_CONN | NBD_SEND_CACHE);
	assert_int_equal(reply_type(&t, NBD_OPT_GO, &d), NBD_REP_INFO);
	assert_int_equal(rd_be16(&d), NBD_INFO_NAME);
	assert_int_equal(reply_type(&t, NBD_OPT_GO, &d), NBD_REP_INFO);
	assert_int_equal(rd_be16(&d), NBD_INFO_BLOCK_SIZE);
	assert_int_equal(rd_be32(&d), 512);
	assert_int_equal(rd_be32(&d), 4096);
	assert_int_equal(rd_be32(&d), NBD_PAYLOAD_BYTES_MAX);
	assert_int_equal(reply_type(&t, NBD_OPT_GO, &d), NBD_REP_ACK);
	assert_int_equal(rd_left(&t.r), 0);
	talk_fini(&t);
}

static void export_name(void **state)
{
	struct talk t;

	(void)state;
	talk_init(&t);
	put_opt(&t, NBD_OPT_EXPORT_NAME, NULL, 0);
	assert_int_equal(say(&t), NBD_NEGO_GO);
	assert_int_equal(t.out.len, 10);
	assert_true(rd_be64(&t.r) == 1 << 20);
	talk_fini(&t);

	talk_init(&t);
	t.in.p[3] = NBD_FLAG_FIXED_NEWSTYLE;	/* wants the zeroes */
	put_opt(&t, NBD_OPT_EXPORT_NAME, "data", 4);
	assert_int_equal(say(&t), NBD_NEGO_GO);
	assert_int_equal(t.out.len, 10 + NBD_EXPORT_NAME_PAD_BYTES);
	talk_fini(&t);

	talk_init(&t);
	put_opt(&t, NBD_OPT_EXPORT_NAME, "nope", 4);
	assert_int_equal(say(&t), NBD_NEGO_END);
	assert_int_equal(t.e.code, ERR_NOT_FOUND);
	talk_fini(&t);
}

static void list_and_abort(void **state)
{
	struct talk t;
	struct rd d;

	(void)state;
	talk_init(&t);
	put_opt(&t, NBD_OPT_LIST, NULL, 0);
	put_opt(&t, NBD_OPT_ABORT, NULL, 0);
	assert_int_equal(say(&t), NBD_NEGO_END);
	assert_int_equal(t.e.code, ERR_NONE);
	assert_int_equal(reply_type(&t, NBD_OPT_LIST, &d), NBD_REP_SERVER);
	assert_int_equal(rd_be32(&d), 4);
	assert_memory_equal(rd_bytes(&d, 13), "rootthe first", 13);
	assert_int_equal(reply_type(&t, NBD_OPT_LIST, &d), NBD_REP_SERVER);
	assert_int_equal(reply_type(&t, NBD_OPT_LIST, &d), NBD_REP_ACK);
	assert_int_equal(reply_type(&t, NBD_OPT_ABORT, &d), NBD_REP_ACK);
	talk_fini(&t);
}

static void contexts(void **state)
{
	static const char ask_root[] = "\0\0\0\4root\0\0\0\2\0\0\0\17base:allocation\0\0\0\13hvapi:dirty";
	static const char ask_data[] = "\0\0\0\4data\0\0\0\1\0\0\0\13hvapi:dirty";
	static const char list_space[] = "\0\0\0\4root\0\0\0\1\0\0\0\5base:";
	static const char go_data[] = "\0\0\0\4data\0\0";
	struct talk t;
	struct rd d;

	(void)state;
	talk_init(&t);
	put_opt(&t, NBD_OPT_SET_META_CONTEXT, ask_root, sizeof(ask_root) - 1);
	say(&t);
	assert_int_equal(reply_type(&t, NBD_OPT_SET_META_CONTEXT, &d), NBD_REP_ERR_INVALID);	/* no structured yet */
	t.out.len = 0;
	put_opt(&t, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	put_opt(&t, NBD_OPT_LIST_META_CONTEXT, list_space, sizeof(list_space) - 1);
	put_opt(&t, NBD_OPT_SET_META_CONTEXT, ask_root, sizeof(ask_root) - 1);
	say(&t);
	assert_int_equal(reply_type(&t, NBD_OPT_STRUCTURED_REPLY, &d), NBD_REP_ACK);
	assert_int_equal(reply_type(&t, NBD_OPT_LIST_META_CONTEXT, &d), NBD_REP_META_CONTEXT);
	assert_int_equal(reply_type(&t, NBD_OPT_LIST_META_CONTEXT, &d), NBD_REP_ACK);
	assert_int_equal(reply_type(&t, NBD_OPT_SET_META_CONTEXT, &d), NBD_REP_META_CONTEXT);
	assert_int_equal(rd_be32(&d), NBD_CONTEXT_ALLOCATION + 1);
	assert_int_equal(reply_type(&t, NBD_OPT_SET_META_CONTEXT, &d), NBD_REP_META_CONTEXT);
	assert_int_equal(rd_be32(&d), NBD_CONTEXT_DIRTY + 1);
	assert_int_equal(reply_type(&t, NBD_OPT_SET_META_CONTEXT, &d), NBD_REP_ACK);
	assert_int_equal(t.g.contexts, BIT(NBD_CONTEXT_ALLOCATION) | BIT(NBD_CONTEXT_DIRTY));
	/* Chosen for one export, then another one is opened. */
	put_opt(&t, NBD_OPT_GO, go_data, sizeof(go_data) - 1);
	assert_int_equal(say(&t), NBD_NEGO_GO);
	assert_int_equal(t.g.contexts, 0);
	talk_fini(&t);

	talk_init(&t);
	put_opt(&t, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	put_opt(&t, NBD_OPT_SET_META_CONTEXT, ask_data, sizeof(ask_data) - 1);
	say(&t);
	assert_int_equal(t.g.contexts, 0);	/* that export does not offer it */
	talk_fini(&t);
}

/* Wrong options are answered and the handshake goes on. */
static void wrong_options(void **state)
{
	static const struct { const char *label; uint32_t opt, want; const char *p; size_t n; } cases[] = {
		{ "starttls", 5, NBD_REP_ERR_UNSUP, "", 0 },
		{ "unknown", 77, NBD_REP_ERR_UNSUP, "xyz", 3 },
		{ "list_with_data", NBD_OPT_LIST, NBD_REP_ERR_INVALID, "x", 1 },
		{ "go_empty", NBD_OPT_GO, NBD_REP_ERR_INVALID, "", 0 },
		{ "go_name_too_long", NBD_OPT_GO, NBD_REP_ERR_INVALID, "\377\377\377\377\0\0", 6 },
		{ "go_infos_missing", NBD_OPT_GO, NBD_REP_ERR_INVALID, "\0\0\0\0\0\2\0\1", 8 },
		{ "go_data_behind", NBD_OPT_GO, NBD_REP_ERR_INVALID, "\0\0\0\0\0\0x", 7 },
		{ "go_unknown", NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, "\0\0\0\2no\0\0", 8 },
		{ "info_unknown", NBD_OPT_INFO, NBD_REP_ERR_UNKNOWN, "\0\0\0\2no\0\0", 8 },
		{ "structured_with_data", NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_INVALID, "x", 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct talk t;
		struct rd d;
		uint32_t got;

		talk_init(&t);
		put_opt(&t, cases[i].opt, cases[i].p, cases[i].n);
		if (say(&t) != NBD_NEGO_MORE)
			fail_msg("%s ends the handshake", cases[i].label);
		got = reply_type(&t, cases[i].opt, &d);
		if (got != cases[i].want)
			fail_msg("%s: reply 0x%x, not 0x%x", cases[i].label, got, cases[i].want);
		talk_fini(&t);
	}
}

static void what_ends_it(void **state)
{
	struct talk t;

	(void)state;
	talk_init(&t);
	t.in.p[0] = 0x80;		/* a client flag nobody knows */
	assert_int_equal(say(&t), NBD_NEGO_END);
	assert_int_equal(t.e.code, ERR_CORRUPT);
	talk_fini(&t);

	talk_init(&t);
	buf_put(&t.in, "GET / HTTP/1.1\r\n\r\n", 18);
	assert_int_equal(say(&t), NBD_NEGO_END);
	assert_int_equal(t.e.code, ERR_CORRUPT);
	talk_fini(&t);

	talk_init(&t);
	buf_put_be64(&t.in, NBD_IHAVEOPT);
	buf_put_be32(&t.in, NBD_OPT_GO);
	buf_put_be32(&t.in, NBD_OPT_BYTES_MAX + 1);
	assert_int_equal(say(&t), NBD_NEGO_END);
	assert_int_equal(t.e.code, ERR_LIMIT);
	talk_fini(&t);
}

static void hello(void **state)
{
	struct buf b = { 0 };

	(void)state;
	nbd_nego_hello(&b);
	assert_int_equal(b.len, NBD_HELLO_BYTES);
	assert_memory_equal(b.p, "NBDMAGICIHAVEOPT\0\3", NBD_HELLO_BYTES);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello),
		cmocka_unit_test(go),
		cmocka_unit_test(export_name),
		cmocka_unit_test(list_and_abort),
		cmocka_unit_test(contexts),
		cmocka_unit_test(wrong_options),
		cmocka_unit_test(what_ends_it),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and replies of NBD, byte by byte, and the rules of each command. */
#include <errno.h>
#include <string.h>

#include "blkd/nbd_msg.h"
#include "tests/unit/check.h"

static const uint8_t a_write[NBD_REQUEST_BYTES] = {
	0x25, 0x60, 0x95, 0x13, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 0x10, 0, 0, 0, 0x20, 0,
};

static void request(void **state)
{
	struct nbd_request q;
	struct err e = ERR_INIT;
	uint8_t bad[NBD_REQUEST_BYTES];

	(void)state;
	assert_int_equal(nbd_request_decode(a_write, &q, &e), 0);
	assert_int_equal(q.flags, NBD_CMD_FUA);
	assert_int_equal(q.type, NBD_CMD_WRITE);
	assert_true(q.cookie == UINT64_C(0x0102030405060708));
	assert_true(q.off == UINT64_C(0x100001000));
	assert_int_equal(q.len, 0x2000);
	assert_int_equal(nbd_request_payload(&q), 0x2000);
	memcpy(bad, a_write, sizeof(bad));
	bad[3]++;
	assert_int_equal(nbd_request_decode(bad, &q, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	memcpy(bad, a_write, sizeof(bad));
	bad[24] = 0x7f;			/* the payload could not even be skipped */
	assert_int_equal(nbd_request_decode(bad, &q, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

static void rules(void **state)
{
	static const struct nbd_terms plain = { 0 }, ro = { .read_only = true },
				      full = { .structured = true, .contexts = 1 }, no_ctx = { .structured = true };
	static const struct {
		const char *label;
		struct nbd_request q;
		const struct nbd_terms *t;
		int want;
	} cases[] = {
		{ "read", { .type = NBD_CMD_READ, .len = 512 }, &plain, 0 },
		{ "read_too_long", { .type = NBD_CMD_READ, .len = NBD_PAYLOAD_BYTES_MAX + 1 }, &plain, -EOVERFLOW },
		{ "read_df_simple", { .type = NBD_CMD_READ, .flags = NBD_CMD_DF, .len = 512 }, &plain, -EINVAL },
		{ "read_df", { .type = NBD_CMD_READ, .flags = NBD_CMD_DF, .len = 512 }, &full, 0 },
		{ "write_ro", { .type = NBD_CMD_WRITE, .len = 512 }, &ro, -EPERM },
		{ "trim_ro", { .type = NBD_CMD_TRIM, .len = 512 }, &ro, -EPERM },
		{ "zeroes_ro", { .type = NBD_CMD_WRITE_ZEROES, .len = 512 }, &ro, -EPERM },
		{ "cache_ro", { .type = NBD_CMD_CACHE, .len = 512 }, &ro, 0 },
		{ "flush_ro", { .type = NBD_CMD_FLUSH }, &ro, 0 },
		{ "zeroes_long", { .type = NBD_CMD_WRITE_ZEROES, .flags = NBD_CMD_NO_HOLE, .len = UINT32_MAX },
		  &plain, 0 },
		{ "write_no_hole", { .type = NBD_CMD_WRITE, .flags = NBD_CMD_NO_HOLE, .len = 512 }, &plain, -EINVAL },
		{ "unknown_flag", { .type = NBD_CMD_READ, .flags = 1 << 9, .len = 512 }, &plain, -EINVAL },
		{ "unknown_command", { .type = NBD_CMD_N }, &plain, -EINVAL },
		{ "unknown_command_max", { .type = 0xffff }, &plain, -EINVAL },
		{ "status", { .type = NBD_CMD_BLOCK_STATUS, .flags = NBD_CMD_REQ_ONE, .len = 512 }, &full, 0 },
		{ "status_simple", { .type = NBD_CMD_BLOCK_STATUS, .len = 512 }, &plain, -EINVAL },
		{ "status_no_context", { .type = NBD_CMD_BLOCK_STATUS, .len = 512 }, &no_ctx, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int rc = nbd_request_check(&cases[i].q, cases[i].t);

		if (rc != cases[i].want)
			fail_msg("%s: %d, not %d", cases[i].label, rc, cases[i].want);
	}
}

static void replies(void **state)
{
	static const uint8_t simple[] = { 0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 9 };
	static const uint8_t data[] = { 0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 2, 8,
					0, 0, 0, 0, 0, 0, 0x10, 0 };
	static const uint8_t error[] = { 0x66, 0x8e, 0x33, 0xef, 0, 1, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 6,
					 0, 0, 0, 5, 0, 0 };
	uint8_t p[NBD_HEAD_BYTES_MAX];

	(void)state;
	assert_int_equal(nbd_put_simple(p, 9, nbd_error(-ENOSPC)), sizeof(simple));
	assert_memory_equal(p, simple, sizeof(simple));
	assert_int_equal(nbd_put_data(p, 9, 0x1000, 512), sizeof(data));
	assert_memory_equal(p, data, sizeof(data));
	assert_int_equal(nbd_put_error(p, 9, nbd_error(-EUCLEAN)), sizeof(error));
	assert_memory_equal(p, error, sizeof(error));
}

static void errors(void **state)
{
	(void)state;
	assert_int_equal(nbd_error(0), 0);
	assert_int_equal(nbd_error(-EROFS), NBD_EPERM);
	assert_int_equal(nbd_error(-EDQUOT), NBD_ENOSPC);
	assert_int_equal(nbd_error(-EOPNOTSUPP), NBD_ENOTSUP);
	assert_int_equal(nbd_error(-EBADF), NBD_EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request),
		cmocka_unit_test(rules),
		cmocka_unit_test(replies),
		cmocka_unit_test(errors),
	};

	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CLI's HTTP client against answers written down here, given in pieces of
 * every size that matters.
 */
#include "tests/unit/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hvapi/cli/http.h"
#include "tests/unit/tmp.h"

/* A host: what it says, and what it was told. */
struct host {
	const char *says;
	size_t len, at, step;		/* step: bytes a read gives at most */
	int read_error;			/* -errno after all is said, or 0 */
	size_t takes;			/* bytes a write takes at most; 0: the connection is closed */
	struct buf told;
};

static ssize_t host_read(void *arg, void *p, size_t n)
{
	struct host *h = arg;
	size_t left = h->len - h->at, part = n < h->step ? n : h->step;

	part = part < left ? part : left;
	if (!left)
		return h->read_error;
	memcpy(p, h->says + h->at, part);
	h->at += part;
	return (ssize_t)part;
}

static ssize_t host_write(void *arg, const void *p, size_t n)
{
	struct host *h = arg;
	size_t part = n < h->takes ? n : h->takes;

	if (!part)
		return -EPIPE;
	buf_put(&h->told, p, part);
	return (ssize_t)part;
}

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

static const struct http_request get = { .method = "GET", .path = "/v1/host" };

/* Asks with q; the answer comes `step` bytes at a time. */
static int ask(struct host *h, const char *says, size_t len, size_t step, const struct http_request *q,
	       int (*fn)(void *arg, const void *p, size_t n), void *arg, struct http_response *r, struct err *e)
{
	struct http_stream s = { host_read, host_write, h };

	*h = (struct host){ .says = says, .len = len, .step = step, .takes = 7 };
	*e = (struct err)ERR_INIT;
	return http_do(&s, "hv1", q, fn, arg, r, e);
}

static const size_t steps[] = { 1, 2, 3, 17, 1 << 20 };

static void test_answers(void **state)
{
	static const struct {
		const char *label, *says;
		int status;
		const char *body, *type;
	} cases[] = {
		{ "length", OK "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello",
		  200, "hello", "text/plain" },
		{ "length_is_the_end", OK "Content-Length: 2\r\n\r\nhello", 200, "he", "" },
		{ "no_body", OK "Content-Length: 0\r\n\r\n", 200, "", "" },
		{ "no_content", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", "" },
		{ "no_content_all_the_same", "HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n",
		  204, "", "" },
		{ "up_to_the_end", OK "\r\nhello", 200, "hello", "" },
		{ "plain_newlines", "HTTP/1.1 404 Not Found\ncontent-length:3\n\nabc", 404, "abc", "" },
		{ "no_reason", "HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n", 500, "", "" },
		{ "chunked", CHUNKED "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
		  200, "hello world", "" },
		{ "chunked_wins", OK "Content-Length: 1\nTransfer-Encoding: Chunked\n\nA\r\n0123456789\r\n0\r\n\r\n",
		  200, "0123456789", "" },
		{ "chunked_empty", CHUNKED "0\r\n\r\n", 200, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
			struct http_response r = { 0 };
			struct host h;
			struct err e;

			if (ask(&h, cases[i].says, strlen(cases[i].says), steps[s], &get, NULL, NULL, &r, &e) < 0)
				fail_msg("%s by %zu: %s", cases[i].label, steps[s], e.detail);
			assert_int_equal(r.status, cases[i].status);
			assert_string_equal(r.content_type, cases[i].type);
			assert_int_equal(r.body.len, strlen(cases[i].body));
			assert_memory_equal(r.body.len ? (const char *)r.body.p : "", cases[i].body, r.body.len);
			http_response_fini(&r);
			buf_fini(&h.told);
		}
	}
}

static void test_bad_answers(void **state)
{
	static const struct {
		const char *label, *says;
		enum err_code code;
	} cases[] = {
		{ "nothing", "", ERR_NET },
		{ "half_a_status", "HTTP/1.1 2", ERR_NET },
		{ "half_a_head", OK "Content-Le", ERR_NET },
		{ "length_cut", OK "Content-Length: 5\r\n\r\nhell", ERR_NET },
		{ "chunk_cut", CHUNKED "5\r\nhel", ERR_NET },
		{ "last_chunk_missing", CHUNKED "5\r\nhello\r\n", ERR_NET },
		{ "no_http", "SSH-2.0-OpenSSH_9.2\r\n", ERR_CORRUPT },
		{ "http_1_0", "HTTP/1.0 200 OK\r\n\r\n", ERR_CORRUPT },
		{ "status_short", "HTTP/1.1 20\r\n\r\n", ERR_CORRUPT },
		{ "status_no_digit", "HTTP/1.1 1:0 OK\r\n\r\n", ERR_CORRUPT },
		{ "status_zero", "HTTP/1.1 000 OK\r\n\r\n", ERR_CORRUPT },
		{ "status_600", "HTTP/1.1 600 OK\r\n\r\n", ERR_CORRUPT },
		{ "no_colon", OK "what\r\n\r\n", ERR_CORRUPT },
		{ "length_empty", OK "Content-Length:\r\n\r\n", ERR_CORRUPT },
		{ "length_text", OK "Content-Length: 5x\r\n\r\nhello", ERR_CORRUPT },
		{ "length_negative", OK "Content-Length: -1\r\n\r\n", ERR_CORRUPT },
		{ "length_overflow", OK "Content-Length: 99999999999999999999\r\n\r\n", ERR_CORRUPT },
		{ "chunk_no_number", CHUNKED "xyz\r\n", ERR_CORRUPT },
		{ "chunk_negative", CHUNKED "-5\r\nhello", ERR_CORRUPT },
		{ "chunk_junk", CHUNKED "5 5\r\nhello", ERR_CORRUPT },
		{ "chunk_huge", CHUNKED "ffffffff\r\n", ERR_CORRUPT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
			struct http_response r = { .status = 42 };
			struct host h;
			struct err e;

			if (ask(&h, cases[i].says, strlen(cases[i].says), steps[s], &get, NULL, NULL, &r, &e) == 0)
				fail_msg("%s by %zu: taken", cases[i].label, steps[s]);
			if (e.code != cases[i].code)
				fail_msg("%s by %zu: %s: %s", cases[i].label, steps[s], err_name(e.code), e.detail);
			assert_int_equal(r.status, 42);
			buf_fini(&h.told);
		}
	}
}

/* head, then n times `unit`, until the limit must have been passed. */
static enum err_code endless(const char *head, const char *unit, size_t n)
{
	AUTO_BUF struct buf says = { 0 };
	struct http_response r = { 0 };
	struct host h;
	struct err e;

	buf_printf(&says, "%s", head);
	for (size_t i = 0; i < n; i++)
		buf_put(&says, unit, strlen(unit));
	int rc = ask(&h, (const char *)says.p, says.len, 1 << 20, &get, NULL, NULL, &r, &e);

	buf_fini(&h.told);
	http_response_fini(&r);
	return rc < 0 ? e.code : ERR_NONE;
}

static void test_limits(void **state)
{
	static const char row[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

	(void)state;
	assert_int_equal(endless(OK, "Name: value\r\n", HTTP_HEAD_BYTES_MAX / 12 + 1), ERR_LIMIT);
	assert_int_equal(endless(OK "Name: ", row, 1 << 14), ERR_LIMIT);
	assert_int_equal(endless(OK "\r\n", row, HTTP_BODY_BYTES_MAX / 64), ERR_NONE);
	assert_int_equal(endless(OK "\r\n", row, HTTP_BODY_BYTES_MAX / 64 + 1), ERR_LIMIT);
}

static void test_upgrade(void **state)
{
	static const char says[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: hv-console\r\n\r\nlogin: ";
	const struct http_request q = { .method = "GET", .path = "/c", .upgrade = "hv-console" };
	struct http_response r = { 0 };
	struct host h;
	struct err e;

	(void)state;
	assert_int_equal(ask(&h, says, sizeof(says) - 1, 1 << 20, &q, NULL, NULL, &r, &e), 0);
	assert_int_equal(r.status, 101);
	assert_int_equal(r.body.len, 7);
	assert_memory_equal(r.body.p, "login: ", 7);
	buf_put_u8(&h.told, 0);
	assert_non_null(strstr((const char *)h.told.p, "Connection: Upgrade\r\nUpgrade: hv-console\r\n"));
	http_response_fini(&r);
	buf_fini(&h.told);
	/* Byte by byte nothing is read too far: the rest belongs to the console. */
	assert_int_equal(ask(&h, says, sizeof(says) - 1, 1, &q, NULL, NULL, &r, &e), 0);
	assert_int_equal(r.body.len, 0);
	assert_int_equal(h.at, sizeof(says) - 1 - 7);
	http_response_fini(&r);
	buf_fini(&h.told);
}

struct seen {
	struct buf b;
	size_t enough;
};

static int see(void *arg, const void *p, size_t n)
{
	struct seen *s = arg;

	buf_put(&s->b, p, n);
	return s->b.len >= s->enough;
}

static void test_pieces(void **state)
{
	static const char says[] = CHUNKED "3\r\nabc\r\n3\r\ndef\r\n";
	static const char bad[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nwhy";
	struct seen s = { .enough = 4 };
	struct http_response r = { 0 };
	struct host h;
	struct err e;

	(void)state;
	assert_int_equal(ask(&h, says, sizeof(says) - 1, 1, &get, see, &s, &r, &e), 0);
	assert_int_equal(s.b.len, 4);
	assert_memory_equal(s.b.p, "abcd", 4);
	assert_int_equal(r.body.len, 0);
	buf_fini(&s.b);
	buf_fini(&h.told);
	/* A problem is never given to on_body. */
	assert_int_equal(ask(&h, bad, sizeof(bad) - 1, 5, &get, see, &s, &r, &e), 0);
	assert_int_equal(s.b.len, 0);
	assert_memory_equal(r.body.p, "why", 3);
	http_response_fini(&r);
	buf_fini(&h.told);
}

static void test_request(void **state)
{
	static const char says[] = "HTTP/1.1 204 No Content\r\n\r\n";
	const struct http_request q = {
		.method = "POST", .path = "/v1/vms", .content_type = "application/json",
		.body = { .p = (const uint8_t *)"{}", .len = 2 },
	};
	struct http_response r = { 0 };
	struct host h;
	struct err e;

	(void)state;
	assert_int_equal(ask(&h, says, sizeof(says) - 1, 9, &q, NULL, NULL, &r, &e), 0);
	buf_put_u8(&h.told, 0);
	assert_string_equal((const char *)h.told.p,
			    "POST /v1/vms HTTP/1.1\r\nHost: hv1\r\nAccept: application/json\r\nConnection: close\r\n"
			    "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
	buf_fini(&h.told);
}

static void test_file_as_body(void **state)
{
	static const char says[] = "HTTP/1.1 204 No Content\r\n\r\n";
	struct http_request q = { .method = "PUT", .path = "/f", .content_type = "application/octet-stream" };
	struct http_response r = { 0 };
	struct host h;
	struct err e;
	struct tmp t;

	(void)state;
	tmp_init(&t);
	FILE *f = fopen(tmp_path(&t, "k"), "w+");

	assert_non_null(f);
	for (int i = 0; i < 100000; i++)
		fputc(i % 251, f);
	rewind(f);
	q.body_fd = fileno(f);
	q.body_fd_bytes = 100000;
	assert_int_equal(ask(&h, says, sizeof(says) - 1, 9, &q, NULL, NULL, &r, &e), 0);
	assert_true(h.told.len > 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(h.told.p[h.told.len - 100000 + (size_t)i], i % 251);
	buf_fini(&h.told);
	/* The file has become shorter than was said. */
	rewind(f);
	q.body_fd_bytes = 100001;
	assert_int_equal(ask(&h, says, sizeof(says) - 1, 9, &q, NULL, NULL, &r, &e), -1);
	buf_fini(&h.told);
	fclose(f);
	tmp_fini(&t);
}

static void test_line_breaks(void **state)
{
	static const char half[] = OK "Content-Length: 9\r\n\r\nhalf";
	struct host h = { .says = half, .len = sizeof(half) - 1, .step = 8, .read_error = -ECONNRESET, .takes = 99 };
	struct http_stream s = { host_read, host_write, &h };
	struct http_response r = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(http_do(&s, "hv1", &get, NULL, NULL, &r, &e), -1);
	assert_int_equal(e.code, ERR_NET);
	buf_fini(&h.told);
	h = (struct host){ .says = half, .len = sizeof(half) - 1, .step = 8 };
	assert_int_equal(http_do(&s, "hv1", &get, NULL, NULL, &r, &e), -1);
	assert_int_equal(e.code, ERR_NET);
}

static void test_escape(void **state)
{
	AUTO_BUF struct buf b = { 0 };

	(void)state;
	http_escape(&b, "a-b_c.d~0 /?#%\xc3\xa4");
	assert_string_equal((const char *)b.p, "a-b_c.d~0%20%2F%3F%23%25%C3%A4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers), cmocka_unit_test(test_bad_answers), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_upgrade), cmocka_unit_test(test_pieces), cmocka_unit_test(test_request),
		cmocka_unit_test(test_file_as_body), cmocka_unit_test(test_line_breaks), cmocka_unit_test(test_escape),
	};

	return check_main(tests);
}

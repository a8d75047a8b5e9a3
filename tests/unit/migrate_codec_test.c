/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream codec: what goes in comes out, for every kind of page and record,
 * and a batch that lies is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/rd.h"
#include "migrate/stream/codec.h"
#include "migrate/stream/delta.h"
#include "migrate/stream/page_cache.h"
#include "migrate/stream/records.h"
#include "tests/unit/check.h"

static uint64_t rng = 88172645463325252u;

static uint64_t next_random(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

/* A PAGE_DATA record with a mix of zero, random, slightly changed and data-less pages of a small guest. */
static void make_record(struct buf *out, uint64_t memory[][PAGE_WORDS], unsigned guest_pages, unsigned count)
{
	size_t start = out->len, with_data = 0;
	uint64_t pfns[REC_PAGES_MAX];

	for (unsigned i = 0; i < count; i++) {
		pfns[i] = next_random() % guest_pages;
		if (next_random() % 16 == 0)
			pfns[i] |= UINT64_C(0xf) << PFN_TYPE_SHIFT;
		else
			with_data++;
	}
	buf_put_le32(out, LIBXC_REC_PAGE_DATA);
	buf_put_le32(out, (uint32_t)(PAGES_HDR_BYTES + count * 8 + with_data * PAGE_BYTES));
	buf_put_le32(out, count);
	buf_put_le32(out, 0);
	for (unsigned i = 0; i < count; i++)
		buf_put_le64(out, pfns[i]);
	for (unsigned i = 0; i < count; i++) {
		uint64_t *page = memory[pfns[i] & PFN_MASK];

		if (pfns[i] >> PFN_TYPE_SHIFT)
			continue;
		switch (next_random() % 4) {
		case 0:
			memset(page, 0, PAGE_BYTES);
			break;
		case 1:
			for (int w = 0; w < PAGE_WORDS; w++)
				page[w] = next_random();
			break;
		default:
			page[next_random() % PAGE_WORDS] = next_random();
			page[next_random() % PAGE_WORDS]++;
		}
		buf_put(out, page, PAGE_BYTES);
	}
	assert_true(out->len > start);
}

static void make_stream(struct buf *out, unsigned records)
{
	static uint64_t memory[64][PAGE_WORDS];

	memset(memory, 0, sizeof(memory));
	buf_put_be64(out, LIBXC_MARKER);
	buf_put_be32(out, LIBXC_ID);
	buf_put_be32(out, 3);
	buf_put_be64(out, 0);
	for (int i = 0; i < LIBXC_DHDR_BYTES; i++)
		buf_put_u8(out, (uint8_t)i);
	for (unsigned i = 0; i < records; i++) {
		make_record(out, memory, 64, (unsigned)(1 + next_random() % 40));
		if (i % 5 == 0) {	/* another record, padded */
			buf_put_le32(out, 0xd);
			buf_put_le32(out, 5);
			buf_put(out, "hello\0\0\0", 8);
		}
	}
	buf_put_le32(out, LIBXC_REC_END);
	buf_put_le32(out, 0);
}

static size_t batch_length(const struct buf *wire, size_t from);

/* Encodes what comes out of fd; each call of the encoder's batches is decoded at once. */
static void pass_through(int fd, enum stream_codec codec, uint32_t cache, struct buf *back)
{
	struct err e = ERR_INIT;
	struct rec_reader r;
	struct encoder *enc;
	struct decoder *dec;
	enum rec_kind kind;
	struct span piece;

	rec_reader_init(&r, fd);
	assert_int_equal(encoder_new(codec, cache, &enc, &e), 0);
	assert_int_equal(decoder_new(cache, &dec, &e), 0);
	do {
		AUTO_BUF struct buf wire = { 0 };

		assert_int_equal(rec_next(&r, &kind, &piece, &e), 0);
		if (kind == REC_PIECE_PAGES)
			encoder_pages(enc, piece.p, piece.len, &wire);
		else
			encoder_bytes(enc, piece.p, piece.len, &wire);
		size_t n = batch_length(&wire, 0);
		if (decoder_batch(dec, (struct span){ wire.p, n }, back, &e) < 0)
			fail_msg("%s", e.detail);
	} while (kind != REC_PIECE_END);
	assert_int_equal(encoder_counts(enc)->raw_bytes, back->len);
	assert_int_equal(encoder_counts(enc)->wire_bytes, decoder_counts(dec)->wire_bytes);
	if (cache)
		assert_true(encoder_counts(enc)->pages[PAGE_DELTA] > 0);
	assert_true(encoder_counts(enc)->pages[PAGE_ZERO] > 0);
	encoder_free(enc);
	decoder_free(dec);
	rec_reader_fini(&r);
}

/* These records are small, so each gives one batch, which ends where the buffer does. */
static size_t batch_length(const struct buf *wire, size_t from)
{
	return wire->len - from;
}

static int stream_on_fd(const struct buf *s)
{
	char path[] = "/tmp/codec-test-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(fd_write_full(fd, s->p, s->len), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void test_lossless(void **state)
{
	(void)state;
	static const struct {
		enum stream_codec codec;
		uint32_t cache;
	} cases[] = {
		{ CODEC_NONE, 0 }, { CODEC_NONE, 64 }, { CODEC_ZLIB, 16 }, { CODEC_ZLIB, 64 },
		{ CODEC_ZSTD, 0 }, { CODEC_ZSTD, 128 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_BUF struct buf in = { 0 };
		AUTO_BUF struct buf out = { 0 };

		make_stream(&in, 60);
		AUTO_FD int fd = stream_on_fd(&in);
		pass_through(fd, cases[i].codec, cases[i].cache, &out);
		assert_int_equal(out.len, in.len);
		assert_memory_equal(out.p, in.p, in.len);
	}
}

static void test_odd_record_goes_as_bytes(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct encoder *enc;
	struct decoder *dec;
	AUTO_BUF struct buf wire = { 0 };
	AUTO_BUF struct buf out = { 0 };
	static const uint8_t body[16] = { 9, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3 };	/* says 9 pages, has none */
	static const uint8_t hdr[8] = { LIBXC_REC_PAGE_DATA, 0, 0, 0, 16 };

	assert_int_equal(encoder_new(CODEC_ZLIB, 16, &enc, &e), 0);
	assert_int_equal(decoder_new(16, &dec, &e), 0);
	encoder_pages(enc, body, sizeof(body), &wire);
	assert_int_equal(decoder_batch(dec, (struct span){ wire.p, wire.len }, &out, &e), 0);
	assert_int_equal(out.len, sizeof(hdr) + sizeof(body));
	assert_memory_equal(out.p, hdr, sizeof(hdr));
	assert_memory_equal(out.p + sizeof(hdr), body, sizeof(body));
	encoder_free(enc);
	decoder_free(dec);
}

/* PAGES batches by hand: kind, codec, raw length, then a body of the given bytes. */
static void test_bad_batches(void **state)
{
	(void)state;
	static const struct {
		const char *label;
		const char *bytes;
		size_t len;
		enum err_code want;
	} cases[] = {
		{ "empty", "", 0, ERR_CORRUPT },
		{ "kind_zero", "\0\0\0\0\0\0\0\0", 8, ERR_CORRUPT },
		{ "kind_too_big", "\3\0\0\0\0\0\0\0", 8, ERR_CORRUPT },
		{ "codec_unknown", "\1\7\0\0\0\0\0\0", 8, ERR_CORRUPT },
		{ "raw_over_limit", "\1\1\0\0\xff\xff\xff\xff", 8, ERR_LIMIT },
		{ "raw_not_there", "\1\0\0\0\4\0\0\0" "ab", 10, ERR_CORRUPT },
		{ "zlib_garbage", "\1\1\0\0\4\0\0\0" "abcdef", 14, ERR_CORRUPT },
		{ "zstd_garbage", "\1\2\0\0\4\0\0\0" "abcdef", 14, ERR_CORRUPT },
		{ "no_pages", "\2\0\0\0\10\0\0\0" "\0\0\0\0\0\0\0\0", 16, ERR_CORRUPT },
		{ "pfns_missing", "\2\0\0\0\10\0\0\0" "\2\0\0\0\0\0\0\0", 16, ERR_CORRUPT },
		{ "class_unknown", "\2\0\0\0\21\0\0\0" "\1\0\0\0\0\0\0\0" "\1\0\0\0\0\0\0\0" "\11", 25, ERR_CORRUPT },
		{ "data_for_dataless", "\2\0\0\0\21\0\0\0" "\1\0\0\0\0\0\0\0" "\1\0\0\0\0\0\0\xf0" "\2",
		  25, ERR_CORRUPT },
		{ "delta_of_unknown", "\2\0\0\0\23\0\0\0" "\1\0\0\0\0\0\0\0" "\1\0\0\0\0\0\0\0" "\3" "\0\0",
		  27, ERR_CORRUPT },
		{ "full_cut_short", "\2\0\0\0\22\0\0\0" "\1\0\0\0\0\0\0\0" "\1\0\0\0\0\0\0\0" "\2" "x",
		  26, ERR_CORRUPT },
		{ "trailing", "\2\0\0\0\22\0\0\0" "\1\0\0\0\0\0\0\0" "\1\0\0\0\0\0\0\0" "\1" "x", 26, ERR_CORRUPT },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		struct decoder *dec;
		AUTO_BUF struct buf out = { 0 };
		struct span s = { (const uint8_t *)cases[i].bytes, cases[i].len };

		assert_int_equal(decoder_new(16, &dec, &e), 0);
		if (decoder_batch(dec, s, &out, &e) == 0)
			fail_msg("%s: accepted", cases[i].label);
		if (e.code != cases[i].want)
			fail_msg("%s: %s (%s)", cases[i].label, err_name(e.code), e.detail);
		decoder_free(dec);
	}
}

static void test_delta(void **state)
{
	(void)state;
	uint64_t old[PAGE_WORDS], now[PAGE_WORDS], got[PAGE_WORDS];
	uint8_t runs[DELTA_BYTES_MAX];
	struct err e = ERR_INIT;

	for (unsigned changes = 0; changes < 600; changes += 7) {
		for (int w = 0; w < PAGE_WORDS; w++)
			old[w] = now[w] = next_random();
		for (unsigned i = 0; i < changes; i++)
			now[next_random() % PAGE_WORDS] ^= 1 + (next_random() & 0xff);
		int len = delta_encode(old, now, runs);

		assert_true(len >= 0 || changes > 100);
		if (len < 0)
			continue;
		struct rd r = rd_of(runs, (size_t)len);
		memcpy(got, old, sizeof(got));
		assert_int_equal(delta_apply(&r, (size_t)len, got, &e), 0);
		assert_memory_equal(got, now, sizeof(now));
	}
}

static void test_delta_must_stay_in_page(void **state)
{
	(void)state;
	static const uint8_t over[] = { 0xff, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8 };
	static const uint8_t cut[] = { 0, 0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	uint64_t page[PAGE_WORDS + 2] = { 0 };
	struct err e = ERR_INIT;
	struct rd r = rd_of(over, sizeof(over));

	assert_int_equal(delta_apply(&r, sizeof(over), page, &e), -1);
	assert_int_equal(page[PAGE_WORDS], 0);
	r = rd_of(cut, sizeof(cut));
	assert_int_equal(delta_apply(&r, sizeof(cut), page, &e), -1);
	r = rd_of(cut, sizeof(cut));
	assert_int_equal(delta_apply(&r, sizeof(cut) + 1, page, &e), -1);
}

static void test_records_refuse(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	enum rec_kind kind;
	struct span piece;
	AUTO_BUF struct buf s = { 0 };

	make_stream(&s, 1);
	s.len -= 8;	/* END is missing */
	AUTO_FD int fd = stream_on_fd(&s);
	struct rec_reader r;

	rec_reader_init(&r, fd);
	while (rec_next(&r, &kind, &piece, &e) == 0)
		assert_int_not_equal(kind, REC_PIECE_END);
	assert_int_equal(e.code, ERR_NET);
	rec_reader_fini(&r);

	s.p[0] = 0;
	AUTO_FD int fd2 = stream_on_fd(&s);
	rec_reader_init(&r, fd2);
	assert_int_equal(rec_next(&r, &kind, &piece, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	rec_reader_fini(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lossless),
		cmocka_unit_test(test_odd_record_goes_as_bytes),
		cmocka_unit_test(test_bad_batches),
		cmocka_unit_test(test_delta),
		cmocka_unit_test(test_delta_must_stay_in_page),
		cmocka_unit_test(test_records_refuse),
	};
	return check_main(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make bench-codec: our page codec against zlib level 1 over the same bytes,
 * alternating, medians of ROUNDS.
 *
 * The memory is made like a guest's: a third of the pages zero (what
 * migrations here were seen to carry), a twentieth random (incompressible),
 * the rest from the shared libraries of this machine.  The delta figures
 * change 16 or 64 words of every page between two passes.
 */
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "migrate/stream/codec.h"

enum { PAGES = 12288, BATCH_PAGES_N = 1024, ROUNDS = 5, BODY_BYTES = 8 + BATCH_PAGES_N * (8 + PAGE_BYTES) };

static uint64_t rng = 88172645463325252u;

static uint64_t next_random(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static void read_libraries(struct buf *b)
{
	glob_t g;
	struct err e = ERR_INIT;

	if (glob("/usr/lib/x86_64-linux-gnu/*.so.*", 0, NULL, &g) != 0)
		return;
	for (size_t i = 0; i < g.gl_pathc && b->len < (size_t)PAGES * PAGE_BYTES; i++)
		if (fd_read_file(g.gl_pathv[i], 64u << 20, b, &e) < 0)
			continue;
	globfree(&g);
}

static uint8_t *make_memory(void)
{
	AUTO_BUF struct buf libs = { 0 };
	uint8_t *m = mem_alloc((size_t)PAGES * PAGE_BYTES);

	read_libraries(&libs);
	for (size_t i = 0; i < PAGES; i++) {
		uint64_t *page = (uint64_t *)(void *)(m + i * PAGE_BYTES);
		uint64_t dice = next_random() % 100;

		if (dice < 32)
			continue;
		if (dice < 37 || (i + 1) * PAGE_BYTES > libs.len)
			for (int w = 0; w < PAGE_WORDS; w++)
				page[w] = next_random();
		else
			memcpy(page, libs.p + i * PAGE_BYTES, PAGE_BYTES);
	}
	return m;
}

/* One PAGE_DATA body for the pages from `first` on. */
static void make_body(uint8_t *body, const uint8_t *m, size_t first)
{
	struct buf b = { .p = body, .cap = BODY_BYTES };

	buf_put_le32(&b, BATCH_PAGES_N);
	buf_put_le32(&b, 0);
	for (size_t i = 0; i < BATCH_PAGES_N; i++)
		buf_put_le64(&b, first + i);
	buf_put(&b, m + first * PAGE_BYTES, (size_t)BATCH_PAGES_N * PAGE_BYTES);
}

struct figures { double encode_s, decode_s; uint64_t bytes; };

static double seconds_since(uint64_t t0)
{
	return (double)(clock_mono_ns() - t0) / 1e9;
}

/* Whole memory through one encoder and decoder; `again` changes that many words of each page and measures the
 * second pass. */
static struct figures ours(uint8_t *m, unsigned again)
{
	struct encoder *enc;
	struct decoder *dec;
	struct err e = ERR_INIT;
	struct figures f = { 0 };
	AUTO_FREE uint8_t *body = mem_alloc(BODY_BYTES);
	AUTO_BUF struct buf wire = { 0 };
	AUTO_BUF struct buf back = { 0 };

	if (encoder_new(CODEC_ZSTD, 1 << 14, &enc, &e) < 0 || decoder_new(1 << 14, &dec, &e) < 0)
		abort();
	for (int pass = 0; pass < (again ? 2 : 1); pass++) {
		f = (struct figures){ 0 };
		for (size_t i = 0; pass && i < PAGES; i++)
			for (unsigned w = 0; w < again; w++)
				((uint64_t *)(void *)(m + i * PAGE_BYTES))[next_random() % PAGE_WORDS] =
					next_random() & 0xffff;
		for (size_t first = 0; first < PAGES; first += BATCH_PAGES_N) {
			make_body(body, m, first);
			wire.len = back.len = 0;
			uint64_t t0 = clock_mono_ns();
			encoder_pages(enc, body, BODY_BYTES, &wire);
			f.encode_s += seconds_since(t0);
			f.bytes += wire.len;
			t0 = clock_mono_ns();
			if (decoder_batch(dec, (struct span){ wire.p, wire.len }, &back, &e) < 0)
				abort();
			f.decode_s += seconds_since(t0);
			if (memcmp(back.p + 8, body, BODY_BYTES))
				abort();
		}
	}
	encoder_free(enc);
	decoder_free(dec);
	return f;
}

static struct figures zlib1(const uint8_t *m)
{
	struct figures f = { 0 };
	AUTO_FREE uint8_t *body = mem_alloc(BODY_BYTES);
	uLongf room = compressBound(BODY_BYTES);
	AUTO_FREE uint8_t *wire = mem_alloc(room);
	AUTO_FREE uint8_t *back = mem_alloc(BODY_BYTES);

	for (size_t first = 0; first < PAGES; first += BATCH_PAGES_N) {
		uLongf n = room, raw = BODY_BYTES;

		make_body(body, m, first);
		uint64_t t0 = clock_mono_ns();
		if (compress2(wire, &n, body, BODY_BYTES, 1) != Z_OK)
			abort();
		f.encode_s += seconds_since(t0);
		f.bytes += n;
		t0 = clock_mono_ns();
		if (uncompress(back, &raw, wire, n) != Z_OK)
			abort();
		f.decode_s += seconds_since(t0);
	}
	return f;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return v[ROUNDS / 2];
}

int main(void)
{
	AUTO_FREE uint8_t *m = make_memory();
	double enc[ROUNDS], dec[ROUNDS], size[ROUNDS], d16[ROUNDS], d64[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		struct figures z = zlib1(m), o = ours(m, 0);

		enc[i] = z.encode_s / o.encode_s;
		dec[i] = z.decode_s / o.decode_s;
		size[i] = (double)o.bytes / (double)z.bytes;
		printf("round %d: zlib-1 %.2f/%.2f s %.1f MB, ours %.2f/%.2f s %.1f MB (encode/decode)\n", i,
		       z.encode_s, z.decode_s, (double)z.bytes / 1e6, o.encode_s, o.decode_s, (double)o.bytes / 1e6);
	}
	for (int i = 0; i < ROUNDS; i++) {
		struct figures a = ours(m, 16);
		d16[i] = (double)a.bytes / (double)zlib1(m).bytes;
		struct figures b = ours(m, 64);
		d64[i] = (double)b.bytes / (double)zlib1(m).bytes;
	}
	printf("ratio encode_vs_zlib1 %.3f\n", median(enc));
	printf("ratio encode_ratio_vs_zlib1 %.3f\n", median(size));
	printf("ratio decode_vs_zlib %.3f\n", median(dec));
	printf("ratio delta16_bytes_vs_zlib1 %.3f\n", median(d16));
	printf("ratio delta64_bytes_vs_zlib1 %.3f\n", median(d64));
	return 0;
}

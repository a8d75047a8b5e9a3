/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fastest level of each: what counts is the time until the guest runs at the
 * other end, and a page that changes again is compressed again.
 */
#include <stdbool.h>

#include "migrate/stream/press.h"

#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

enum { ZLIB_LEVEL = 1, ZSTD_LEVEL = 1, ZLIB_WINDOW_BITS = 15, ZLIB_MEM_LEVEL = 9 };

struct press {
	enum stream_codec codec;
	z_stream deflate;
	z_stream inflate;
	ZSTD_CCtx *zc;
	ZSTD_DCtx *zd;
	bool deflating;
	bool inflating;
};

const char *press_name(enum stream_codec codec)
{
	static const char *const names[CODEC_N] = { "none", "zlib", "zstd" };
	return (unsigned)codec < CODEC_N ? names[codec] : "unknown";
}

struct press *press_new(enum stream_codec codec)
{
	struct press *p = mem_alloc(sizeof(*p));

	p->codec = codec;
	return p;
}

void press_free(struct press *p)
{
	if (!p)
		return;
	if (p->deflating)
		deflateEnd(&p->deflate);
	if (p->inflating)
		inflateEnd(&p->inflate);
	ZSTD_freeCCtx(p->zc);
	ZSTD_freeDCtx(p->zd);
	free(p);
}

static size_t pack_zlib(struct press *p, const void *in, size_t n, uint8_t *out, size_t room)
{
	if (!p->deflating) {
		if (deflateInit2(&p->deflate, ZLIB_LEVEL, Z_DEFLATED, ZLIB_WINDOW_BITS, ZLIB_MEM_LEVEL,
				 Z_DEFAULT_STRATEGY) != Z_OK)
			return 0;
		p->deflating = true;
	}
	deflateReset(&p->deflate);
	p->deflate.next_in = in;
	p->deflate.avail_in = (uInt)n;
	p->deflate.next_out = out;
	p->deflate.avail_out = (uInt)room;
	return deflate(&p->deflate, Z_FINISH) == Z_STREAM_END ? room - p->deflate.avail_out : 0;
}

static size_t pack_zstd(struct press *p, const void *in, size_t n, uint8_t *out, size_t room)
{
	if (!p->zc && !(p->zc = ZSTD_createCCtx()))
		return 0;
	size_t len = ZSTD_compressCCtx(p->zc, out, room, in, n, ZSTD_LEVEL);

	return ZSTD_isError(len) ? 0 : len;
}

bool press_pack(struct press *p, const void *in, size_t n, struct buf *out)
{
	size_t room = n - n / 16, len = 0;

	if (!n || p->codec == CODEC_NONE)
		return false;
	buf_reserve(out, room);
	if (p->codec == CODEC_ZLIB)
		len = pack_zlib(p, in, n, out->p + out->len, room);
	else
		len = pack_zstd(p, in, n, out->p + out->len, room);
	out->len += len;
	return len > 0;
}

static bool unpack_zlib(struct press *p, struct span in, uint8_t *out, size_t raw)
{
	if (!p->inflating) {
		if (inflateInit2(&p->inflate, ZLIB_WINDOW_BITS) != Z_OK)
			return false;
		p->inflating = true;
	}
	inflateReset(&p->inflate);
	p->inflate.next_in = in.p;
	p->inflate.avail_in = (uInt)in.len;
	p->inflate.next_out = out;
	p->inflate.avail_out = (uInt)raw;
	return inflate(&p->inflate, Z_FINISH) == Z_STREAM_END && !p->inflate.avail_out && !p->inflate.avail_in;
}

static bool unpack_zstd(struct press *p, struct span in, uint8_t *out, size_t raw)
{
	if (!p->zd && !(p->zd = ZSTD_createDCtx()))
		return false;
	return ZSTD_decompressDCtx(p->zd, out, raw, in.p, in.len) == raw;
}

int press_unpack(struct press *p, enum stream_codec codec, struct span in, size_t raw, struct buf *out,
		 struct err *e)
{
	bool ok = false;

	buf_reserve(out, raw);
	switch (codec) {
	case CODEC_ZLIB:
		ok = unpack_zlib(p, in, out->p + out->len, raw);
		break;
	case CODEC_ZSTD:
		ok = unpack_zstd(p, in, out->p + out->len, raw);
		break;
	case CODEC_NONE:
	case CODEC_N:
	default:
		return err_set(e, ERR_CORRUPT, "unknown codec %d", (int)codec);
	}
	if (!ok)
		return err_set(e, ERR_CORRUPT, "%s data does not unpack to %zu bytes", press_name(codec), raw);
	out->len += raw;
	return 0;
}

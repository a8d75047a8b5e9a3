/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options one by one, from a table.  A wrong option is answered and the
 * handshake goes on; only what leaves us without a common footing ends it.
 */
#include "blkd/nbd_opt.h"

#include <string.h>

#include "base/rd.h"

static const char *const context_names[NBD_CONTEXT_N] = {
	[NBD_CONTEXT_ALLOCATION] = NBD_CONTEXT_ALLOCATION_NAME,
	[NBD_CONTEXT_DIRTY] = NBD_CONTEXT_DIRTY_NAME,
};

void nbd_nego_init(struct nbd_nego *g, const struct nbd_exports *x)
{
	*g = (struct nbd_nego){ .exports = x };
}

static void put_be16(struct buf *out, unsigned v)
{
	buf_put_u8(out, (uint8_t)(v >> 8));
	buf_put_u8(out, (uint8_t)v);
}

void nbd_nego_hello(struct buf *out)
{
	buf_put_be64(out, NBD_MAGIC);
	buf_put_be64(out, NBD_IHAVEOPT);
	put_be16(out, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

static void reply(struct buf *out, uint32_t opt, uint32_t type, const void *p, size_t n)
{
	buf_put_be64(out, NBD_OPT_REPLY_MAGIC);
	buf_put_be32(out, opt);
	buf_put_be32(out, type);
	buf_put_be32(out, (uint32_t)n);
	buf_put(out, p, n);
}

static enum nbd_nego_step refuse(struct buf *out, uint32_t opt, uint32_t type, const char *why)
{
	reply(out, opt, type, why, strlen(why));
	return NBD_NEGO_MORE;
}

static enum nbd_nego_step ack(struct buf *out, uint32_t opt)
{
	reply(out, opt, NBD_REP_ACK, NULL, 0);
	return NBD_NEGO_MORE;
}

/* Index of the export of that name, the first one for "", -1: unknown. */
static int find_export(const struct nbd_nego *g, const uint8_t *name, size_t n)
{
	const struct nbd_exports *x = g->exports;

	for (unsigned i = 0; i < x->n; i++) {
		const char *s = x->name(x->arg, i);

		if (strlen(s) == n && !memcmp(s, name, n))
			return (int)i;
	}
	return n == 0 && x->n ? 0 : -1;
}

static unsigned export_flags(const struct nbd_nego *g, const struct nbd_facts *f)
{
	unsigned v = NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_CAN_MULTI_CONN | NBD_SEND_CACHE;

	v |= g->structured ? NBD_SEND_DF : 0u;
	if (f->read_only)
		return v | NBD_READ_ONLY;
	return v | NBD_SEND_FUA | NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES | NBD_SEND_FAST_ZERO;
}

static enum nbd_nego_step do_export_name(struct nbd_nego *g, uint32_t opt, struct rd *r, struct buf *out, struct err *e)
{
	size_t n = rd_left(r);
	const uint8_t *name = rd_bytes(r, n);
	int i = find_export(g, name, n);
	struct nbd_facts f;

	(void)opt;
	if (i < 0) {			/* this option has no way to say no */
		err_set(e, ERR_NOT_FOUND, "client asks for an export that there is not");
		return NBD_NEGO_END;
	}
	g->export = (unsigned)i;
	if (g->contexts_export != g->export)
		g->contexts = 0;
	g->exports->facts(g->exports->arg, g->export, &f);
	buf_put_be64(out, f.bytes);
	put_be16(out, export_flags(g, &f));
	for (unsigned k = 0; k < NBD_EXPORT_NAME_PAD_BYTES && !g->no_zeroes; k++)
		buf_put_u8(out, 0);
	return NBD_NEGO_GO;
}

static enum nbd_nego_step do_abort(struct nbd_nego *g, uint32_t opt, struct rd *r, struct buf *out, struct err *e)
{
	(void)g, (void)r, (void)e;
	ack(out, opt);
	return NBD_NEGO_END;
}

static enum nbd_nego_step do_list(struct nbd_nego *g, uint32_t opt, struct rd *r, struct buf *out, struct err *e)
{
	const struct nbd_exports *x = g->exports;

	(void)e;
	if (rd_left(r))
		return refuse(out, opt, NBD_REP_ERR_INVALID, "LIST takes no data");
	for (unsigned i = 0; i < x->n; i++) {
		const char *name = x->name(x->arg, i), *text = x->description(x->arg, i);
		struct buf b = { 0 };

		buf_put_be32(&b, (uint32_t)strlen(name));
		buf_put(&b, name, strlen(name));
		buf_put(&b, text, strlen(text));
		reply(out, opt, NBD_REP_SERVER, b.p, b.len);
		buf_fini(&b);
	}
	return ack(out, opt);
}

static void put_info(struct nbd_nego *g, uint32_t opt, unsigned i, enum nbd_info what, struct buf *out)
{
	const struct nbd_exports *x = g->exports;
	const char *text = what == NBD_INFO_NAME ? x->name(x->arg, i) : x->description(x->arg, i);
	AUTO_BUF struct buf b = { 0 };
	struct nbd_facts f;

	x->facts(x->arg, i, &f);
	put_be16(&b, what);
	if (what == NBD_INFO_EXPORT) {
		buf_put_be64(&b, f.bytes);
		put_be16(&b, export_flags(g, &f));
	} else if (what == NBD_INFO_BLOCK_SIZE) {
		buf_put_be32(&b, f.block_min_bytes);
		buf_put_be32(&b, f.block_preferred_bytes);
		buf_put_be32(&b, NBD_PAYLOAD_BYTES_MAX);
	} else {
		buf_put(&b, text, strlen(text));
	}
	reply(out, opt, NBD_REP_INFO, b.p, b.len);
}

static enum nbd_nego_step do_go(struct nbd_nego *g, uint32_t opt, struct rd *r, struct buf *out, struct err *e)
{
	uint32_t name_len = rd_be32(r);
	const uint8_t *name = name_len <= NBD_NAME_BYTES_MAX ? rd_bytes(r, name_len) : NULL;
	unsigned n = rd_be16(r), asked = BIT(NBD_INFO_BLOCK_SIZE);
	int i;

	(void)e;
	for (unsigned k = 0; k < n && !r->bad; k++) {
		unsigned what = rd_be16(r);

		asked |= what <= NBD_INFO_BLOCK_SIZE ? BIT(what) : 0u;
	}
	if (!name || r->bad || rd_left(r))
		return refuse(out, opt, NBD_REP_ERR_INVALID, "name or requests do not fit the option's length");
	i = find_export(g, name, name_len);
	if (i < 0)
		return refuse(out, opt, NBD_REP_ERR_UNKNOWN, "no such export: LIST tells which there are");
	put_info(g, opt, (unsigned)i, NBD_INFO_EXPORT, out);
	for (unsigned what = NBD_INFO_NAME; what <= NBD_INFO_BLOCK_SIZE; what++)
		if (asked & BIT(what))
			put_info(g, opt, (unsigned)i, (enum nbd_info)what, out);
	ack(out, opt);
	if (opt == NBD_OPT_INFO)
		return NBD_NEGO_MORE;
	g->export = (unsigned)i;
	if (g->contexts_export != g->export)
		g->contexts = 0;	/* chosen for another one */
	return NBD_NEGO_GO;
}

static enum nbd_nego_step do_structured(struct nbd_nego *g, uint32_t opt, struct rd *r, struct buf *out, struct err *e)
{
	(void)e;
	if (rd_left(r))
		return refuse(out, opt, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY takes no data");
	g->structured = true;
	return ack(out, opt);
}

/* Does the query ask for the context?  LIST also takes a namespace alone ("base:"). */
static bool asks_for(const char *name, const uint8_t *q, size_t n, bool list)
{
	bool prefix = n <= strlen(name) && !memcmp(name, q, n);

	return prefix && (n == strlen(name) || (list && n && q[n - 1] == ':'));
}

/* The contexts asked for, BIT by BIT; -1: malformed. */
static int read_queries(struct rd *r, bool list)
{
	uint32_t n = rd_be32(r);
	int got = n == 0 && list ? (1 << NBD_CONTEXT_N) - 1 : 0;

	for (uint32_t k = 0; k < n && !r->bad && n <= NBD_QUERIES_MAX; k++) {
		uint32_t len = rd_be32(r);
		const uint8_t *q = len <= NBD_NAME_BYTES_MAX ? rd_bytes(r, len) : NULL;

		for (int c = 0; c < NBD_CONTEXT_N && q; c++)
			got |= asks_for(context_names[c], q, len, list) << c;
		if (!q)
			return -1;
	}
	return r->bad || rd_left(r) ? -1 : got;
}

static enum nbd_nego_step do_meta(struct nbd_nego *g, uint32_t opt, struct rd *r, struct buf *out, struct err *e)
{
	bool list = opt == NBD_OPT_LIST_META_CONTEXT;
	uint32_t len = rd_be32(r);
	const uint8_t *name = len <= NBD_NAME_BYTES_MAX ? rd_bytes(r, len) : NULL;
	int i = name ? find_export(g, name, len) : -1, got = read_queries(r, list);
	struct nbd_facts f;

	(void)e;
	if (!list)
		g->contexts = 0;	/* also when this one fails */
	if (!g->structured)
		return refuse(out, opt, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY comes first");
	if (!name || got < 0)
		return refuse(out, opt, NBD_REP_ERR_INVALID, "name or queries do not fit the option's length");
	if (i < 0)
		return refuse(out, opt, NBD_REP_ERR_UNKNOWN, "no such export: LIST tells which there are");
	g->exports->facts(g->exports->arg, (unsigned)i, &f);
	if (!f.has_dirty)
		got &= ~(1 << NBD_CONTEXT_DIRTY);
	for (unsigned c = 0; c < NBD_CONTEXT_N; c++) {
		AUTO_BUF struct buf b = { 0 };

		if (!((unsigned)got & BIT(c)))
			continue;
		buf_put_be32(&b, list ? 0 : c + 1);
		buf_put(&b, context_names[c], strlen(context_names[c]));
		reply(out, opt, NBD_REP_META_CONTEXT, b.p, b.len);
	}
	if (!list) {
		g->contexts = (unsigned)got;
		g->contexts_export = (unsigned)i;
	}
	return ack(out, opt);
}

static const struct {
	uint32_t opt;
	enum nbd_nego_step (*fn)(struct nbd_nego *g, uint32_t opt, struct rd *r, struct buf *out, struct err *e);
} options[] = {
	{ NBD_OPT_EXPORT_NAME, do_export_name },
	{ NBD_OPT_ABORT, do_abort },
	{ NBD_OPT_LIST, do_list },
	{ NBD_OPT_INFO, do_go },
	{ NBD_OPT_GO, do_go },
	{ NBD_OPT_STRUCTURED_REPLY, do_structured },
	{ NBD_OPT_LIST_META_CONTEXT, do_meta },
	{ NBD_OPT_SET_META_CONTEXT, do_meta },
};

static enum nbd_nego_step read_flags(struct nbd_nego *g, const uint8_t *p, size_t n, size_t *used, struct err *e)
{
	struct rd r = rd_of(p, n);
	uint32_t flags = rd_be32(&r);

	if (r.bad)
		return NBD_NEGO_MORE;
	*used = NBD_CLIENT_FLAGS_BYTES;
	if (flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) {
		err_set(e, ERR_CORRUPT, "client flags 0x%x have bits that the protocol does not know", flags);
		return NBD_NEGO_END;
	}
	g->flags_seen = true;
	g->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	return NBD_NEGO_MORE;
}

enum nbd_nego_step nbd_nego_step(struct nbd_nego *g, const uint8_t *p, size_t n, size_t *used,
				 struct buf *out, struct err *e)
{
	struct rd r = rd_of(p, n), data;
	uint64_t magic;
	uint32_t opt, len;

	*used = 0;
	if (!g->flags_seen)
		return read_flags(g, p, n, used, e);
	magic = rd_be64(&r);
	opt = rd_be32(&r);
	len = rd_be32(&r);
	if (r.bad)
		return NBD_NEGO_MORE;
	if (magic != NBD_IHAVEOPT) {
		err_set(e, ERR_CORRUPT, "option without IHAVEOPT in front");
		return NBD_NEGO_END;
	}
	if (len > NBD_OPT_BYTES_MAX) {
		refuse(out, opt, NBD_REP_ERR_TOO_BIG, "the option's data is too long");
		err_set(e, ERR_LIMIT, "option %u of %u bytes, limit %d", opt, len, NBD_OPT_BYTES_MAX);
		return NBD_NEGO_END;
	}
	if (rd_left(&r) < len)
		return NBD_NEGO_MORE;
	*used = NBD_OPT_HEAD_BYTES + len;
	data = rd_of(r.p, len);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (options[i].opt == opt)
			return options[i].fn(g, opt, &data, out, e);
	return refuse(out, opt, NBD_REP_ERR_UNSUP, "hvblkd does not know this option");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of hv-migrate/1 to and from bytes.  One row of `types` says all that
 * is particular to a type: its limit, whether seq may be used, and the two
 * functions of its body.
 */
#include "migrate/mig_wire.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

/* ---- text that may name things ---- */

bool mig_session_ok(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)s[i]) && s[i] != '-')
			return false;
	}
	return n && n <= MIG_SESSION_BYTES_MAX;
}

bool mig_vm_ok(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i]))
			return false;
	}
	return n && n <= MIG_VM_BYTES_MAX && s[0] != '.' && s[0] != '-';
}

bool mig_uuid_ok(const char *s)
{
	if (strlen(s) != MIG_UUID_BYTES)
		return false;
	for (size_t i = 0; i < MIG_UUID_BYTES; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
			return false;
	}
	return true;
}

/* ---- pieces of bodies ---- */

/* A `text` that is too long or holds a NUL makes the body bad; out has room for max and its NUL. */
static void get_text(struct rd *r, char *out, size_t max)
{
	size_t n = rd_u8(r);
	const uint8_t *p = rd_bytes(r, n);

	if (!p || n > max || memchr(p, 0, n)) {
		r->bad = true;
		out[0] = 0;
		return;
	}
	memcpy(out, p, n);
	out[n] = 0;
}

static void put_text(struct buf *b, const char *s)
{
	size_t n = strlen(s);

	assert(n <= UINT8_MAX);
	buf_put_u8(b, (uint8_t)n);
	buf_put(b, s, n);
}

/* A `long`, for people: cut to what out holds, control characters replaced. */
static void get_long(struct rd *r, char *out, size_t bytes)
{
	size_t n = rd_le16(r);
	const uint8_t *p = rd_bytes(r, n);

	n = p ? n < bytes - 1 ? n : bytes - 1 : 0;
	for (size_t i = 0; i < n; i++)
		out[i] = p[i] < 0x20 || p[i] == 0x7f ? '?' : (char)p[i];
	out[n] = 0;
}

static void put_long(struct buf *b, const char *s, size_t bytes)
{
	size_t n = strnlen(s, bytes - 1);

	buf_put_le16(b, (uint16_t)n);
	buf_put(b, s, n);
}

static void get_session(struct rd *r, struct mig_msg *m)
{
	get_text(r, m->session, MIG_SESSION_BYTES_MAX);
	if (!mig_session_ok(m->session))
		r->bad = true;
}

static void put_session(const struct mig_msg *m, struct buf *b)
{
	assert(mig_session_ok(m->session));
	put_text(b, m->session);
}

/* ---- bodies, in the order of the header ---- */

static void get_hello(struct rd *r, struct mig_msg *m)
{
	m->version = rd_le16(r);
	m->codecs = rd_le16(r);
	m->streams = rd_le16(r);
	rd_skip(r, 2);
	get_session(r, m);
	if (!m->streams)
		r->bad = true;
	if (m->streams > MIG_STREAMS_MAX)
		m->streams = MIG_STREAMS_MAX;	/* a later version may be able to use more */
}

static void put_hello(const struct mig_msg *m, struct buf *b)
{
	assert(m->streams && m->streams <= MIG_STREAMS_MAX);
	buf_put_le16(b, m->version);
	buf_put_le16(b, m->codecs);
	buf_put_le16(b, m->streams);
	buf_put_le16(b, 0);
	put_session(m, b);
}

static void get_join(struct rd *r, struct mig_msg *m)
{
	m->index = rd_le16(r);
	get_session(r, m);
	if (!m->index || m->index >= MIG_STREAMS_MAX)
		r->bad = true;
}

static void put_join(const struct mig_msg *m, struct buf *b)
{
	assert(m->index && m->index < MIG_STREAMS_MAX);
	buf_put_le16(b, m->index);
	put_session(m, b);
}

static void get_accept(struct rd *r, struct mig_msg *m)
{
	unsigned codec = rd_u8(r);

	rd_skip(r, 1);
	m->streams = rd_le16(r);
	if (codec >= CODEC_N || !m->streams || m->streams > MIG_STREAMS_MAX)
		r->bad = true;
	else
		m->codec = (enum stream_codec)codec;
}

static void put_accept(const struct mig_msg *m, struct buf *b)
{
	assert(m->codec < CODEC_N && m->streams && m->streams <= MIG_STREAMS_MAX);
	buf_put_u8(b, (uint8_t)m->codec);
	buf_put_u8(b, 0);
	buf_put_le16(b, m->streams);
}

static void get_body(struct rd *r, struct mig_msg *m)
{
	m->body.len = rd_left(r);
	m->body.p = rd_bytes(r, m->body.len);
	if (!m->body.len)
		r->bad = true;
}

static void put_body(const struct mig_msg *m, struct buf *b)
{
	buf_put(b, m->body.p, m->body.len);
}

static void get_stream_end(struct rd *r, struct mig_msg *m)
{
	m->raw_bytes = rd_le64(r);
	m->sum = rd_le64(r);
}

static void put_stream_end(const struct mig_msg *m, struct buf *b)
{
	buf_put_le64(b, m->raw_bytes);
	buf_put_le64(b, m->sum);
}

static void get_commit(struct rd *r, struct mig_msg *m)
{
	m->generation = rd_le64(r);
	get_session(r, m);
}

static void put_commit(const struct mig_msg *m, struct buf *b)
{
	buf_put_le64(b, m->generation);
	put_session(m, b);
}

static void get_abort(struct rd *r, struct mig_msg *m)
{
	char code[32];

	get_text(r, code, sizeof(code) - 1);
	get_long(r, m->err.detail, sizeof(m->err.detail));
	get_long(r, m->err.remedy, sizeof(m->err.remedy));
	m->err.code = err_from_name(code);
	if (m->err.code == ERR_NONE)
		m->err.code = ERR_PEER;
}

static void put_abort(const struct mig_msg *m, struct buf *b)
{
	put_text(b, err_name(m->err.code));
	put_long(b, m->err.detail, sizeof(m->err.detail));
	put_long(b, m->err.remedy, sizeof(m->err.remedy));
}

static void get_query(struct rd *r, struct mig_msg *m)
{
	get_commit(r, m);
	get_text(r, m->vm, MIG_VM_BYTES_MAX);
	get_text(r, m->uuid, MIG_UUID_BYTES);
	if (!mig_vm_ok(m->vm) || !mig_uuid_ok(m->uuid))
		r->bad = true;
}

static void put_query(const struct mig_msg *m, struct buf *b)
{
	assert(mig_vm_ok(m->vm) && mig_uuid_ok(m->uuid));
	put_commit(m, b);
	put_text(b, m->vm);
	put_text(b, m->uuid);
}

static void get_answer(struct rd *r, struct mig_msg *m)
{
	unsigned outcome = rd_u8(r);

	get_session(r, m);
	if (!outcome || outcome >= MIG_OUTCOME_END)
		r->bad = true;
	else
		m->outcome = (enum mig_outcome)outcome;
}

static void put_answer(const struct mig_msg *m, struct buf *b)
{
	assert(m->outcome && m->outcome < MIG_OUTCOME_END);
	buf_put_u8(b, (uint8_t)m->outcome);
	put_session(m, b);
}

static void get_nothing(struct rd *r, struct mig_msg *m)
{
	(void)r;
	(void)m;
}

static void put_nothing(const struct mig_msg *m, struct buf *b)
{
	(void)m;
	(void)b;
}

/* ---- one row a type ---- */

static const struct {
	const char *name;
	uint32_t max_bytes;
	bool seq;		/* may be other than 0 */
	void (*get)(struct rd *r, struct mig_msg *m);
	void (*put)(const struct mig_msg *m, struct buf *b);
} types[MIG_TYPE_END] = {
	[MIG_HELLO] = { "hello", MIG_SMALL_BYTES_MAX, false, get_hello, put_hello },
	[MIG_JOIN] = { "join", MIG_SMALL_BYTES_MAX, false, get_join, put_join },
	[MIG_OFFER] = { "offer", MIG_JSON_BYTES_MAX, false, get_body, put_body },
	[MIG_REFUSE] = { "refuse", MIG_JSON_BYTES_MAX, false, get_body, put_body },
	[MIG_ACCEPT] = { "accept", MIG_SMALL_BYTES_MAX, false, get_accept, put_accept },
	[MIG_DATA] = { "data", MIG_DATA_BYTES_MAX, true, get_body, put_body },
	[MIG_STREAM_END] = { "stream-end", MIG_SMALL_BYTES_MAX, true, get_stream_end, put_stream_end },
	[MIG_READY] = { "ready", MIG_JSON_BYTES_MAX, false, get_body, put_body },
	[MIG_COMMIT] = { "commit", MIG_SMALL_BYTES_MAX, false, get_commit, put_commit },
	[MIG_TAKEN] = { "taken", MIG_JSON_BYTES_MAX, false, get_body, put_body },
	[MIG_ABORT] = { "abort", MIG_SMALL_BYTES_MAX, false, get_abort, put_abort },
	[MIG_QUERY] = { "query", MIG_SMALL_BYTES_MAX, false, get_query, put_query },
	[MIG_ANSWER] = { "answer", MIG_SMALL_BYTES_MAX, false, get_answer, put_answer },
	[MIG_PING] = { "ping", 0, true, get_nothing, put_nothing },
	[MIG_PONG] = { "pong", 0, true, get_nothing, put_nothing },
};

static bool known(unsigned t)
{
	return t > 0 && t < MIG_TYPE_END;
}

const char *mig_type_name(enum mig_type t)
{
	return known((unsigned)t) ? types[t].name : "?";
}

const char *mig_outcome_name(enum mig_outcome o)
{
	static const char *const names[MIG_OUTCOME_END] = { "?", "unknown", "taken", "refused" };

	return (unsigned)o < MIG_OUTCOME_END ? names[o] : "?";
}

int mig_hdr_decode(struct rd *r, struct mig_hdr *out, struct err *e)
{
	unsigned type = rd_u8(r);
	unsigned flags = rd_u8(r);
	unsigned zero = rd_le16(r);
	uint32_t len = rd_le32(r);
	uint64_t seq = rd_le64(r);

	if (r->bad)
		return err_set(e, ERR_CORRUPT, "header cut short");
	if (!known(type))
		return err_set(e, ERR_CORRUPT, "unknown message type %u", type);
	if (flags || zero)
		return err_set(e, ERR_CORRUPT, "%s with unknown flags 0x%x 0x%x", types[type].name, flags, zero);
	if (seq && !types[type].seq)
		return err_set(e, ERR_CORRUPT, "%s with a number", types[type].name);
	if (len > types[type].max_bytes)
		return err_set(e, ERR_LIMIT, "%s of %u bytes, limit %u", types[type].name, len, types[type].max_bytes);
	*out = (struct mig_hdr){ .type = (enum mig_type)type, .len_bytes = len, .seq = seq };
	return 0;
}

int mig_body_decode(const struct mig_hdr *h, const uint8_t *p, struct mig_msg *out, struct err *e)
{
	struct rd r = rd_of(p, h->len_bytes);
	struct mig_msg m = { .type = h->type, .seq = h->seq };

	types[h->type].get(&r, &m);
	if (h->type == MIG_HELLO && m.version && m.version != MIG_VERSION) {
		err_set(e, ERR_INCOMPATIBLE, "the other host speaks hv-migrate/%u, this one %d", m.version,
			MIG_VERSION);
		return err_remedy(e, "bring both hosts to the same version");
	}
	if (r.bad || rd_left(&r))
		return err_set(e, ERR_CORRUPT, "%s of %u bytes breaks the rules of its type", types[h->type].name,
			       h->len_bytes);
	*out = m;
	return 0;
}

void mig_hdr_encode(const struct mig_hdr *h, struct buf *out)
{
	assert(known((unsigned)h->type) && h->len_bytes <= types[h->type].max_bytes);
	buf_put_u8(out, (uint8_t)h->type);
	buf_put_u8(out, 0);
	buf_put_le16(out, 0);
	buf_put_le32(out, h->len_bytes);
	buf_put_le64(out, h->seq);
}

int mig_encode(const struct mig_msg *m, struct buf *out, struct err *e)
{
	AUTO_BUF struct buf body = { 0 };

	assert(known((unsigned)m->type) && (!m->seq || types[m->type].seq));
	if (m->body.len > types[m->type].max_bytes)
		return err_set(e, ERR_LIMIT, "%s of %zu bytes, limit %u", types[m->type].name, m->body.len,
			       types[m->type].max_bytes);
	types[m->type].put(m, &body);
	mig_hdr_encode(&(struct mig_hdr){ .type = m->type, .len_bytes = (uint32_t)body.len, .seq = m->seq }, out);
	buf_put(out, body.p, body.len);
	return 0;
}

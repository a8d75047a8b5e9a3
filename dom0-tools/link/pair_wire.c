/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoder and decoder of the pairing messages.  The decoder meets strangers:
 * every length is checked before use and every byte of a body is used.
 */
#include "link/pair_wire.h"

#include <string.h>

static void put_text(struct buf *b, const char *s)
{
	size_t n = strlen(s);

	buf_put_u8(b, (uint8_t)n);
	buf_put(b, s, n);
}

static void put_body(const struct pair_msg *m, struct buf *b)
{
	switch (m->type) {
	case PAIR_HELLO:
		buf_put_u8(b, m->hello.version);
		buf_put_u8(b, (uint8_t)m->hello.kind);
		buf_put_le16(b, m->hello.port);
		buf_put(b, m->hello.nonce, sizeof(m->hello.nonce));
		buf_put(b, m->hello.code_id, sizeof(m->hello.code_id));
		put_text(b, m->hello.name);
		break;
	case PAIR_PROOF:
		buf_put(b, m->proof, sizeof(m->proof));
		break;
	case PAIR_GRANT:
		buf_put_u8(b, (uint8_t)m->grant.role);
		put_text(b, m->grant.name);
		buf_put(b, m->grant.mac, sizeof(m->grant.mac));
		break;
	case PAIR_REFUSE:
		buf_put_u8(b, (uint8_t)m->refuse.why);
		put_text(b, m->refuse.text);
		break;
	case PAIR_DONE:
	case PAIR_TYPE_END:
		break;
	}
}

void pair_encode(const struct pair_msg *m, struct buf *b)
{
	AUTO_BUF struct buf body = { 0 };

	put_body(m, &body);
	buf_put_le16(b, (uint16_t)body.len);
	buf_put_u8(b, (uint8_t)m->type);
	if (body.len)
		buf_put(b, body.p, body.len);
}

/* Length byte and that many bytes, into room for max with the NUL. */
static void get_text(struct rd *r, char *out, size_t max)
{
	size_t n = rd_u8(r);

	if (n >= max) {
		r->bad = true;
		n = 0;
	}
	rd_copy(r, out, n);
	out[n] = '\0';
	if (strlen(out) != n)
		r->bad = true;
}

static int get_hello(struct rd *r, struct pair_msg *m, struct err *e)
{
	m->hello.version = rd_u8(r);
	m->hello.kind = (enum pair_kind)rd_u8(r);
	m->hello.port = rd_le16(r);
	rd_copy(r, m->hello.nonce, sizeof(m->hello.nonce));
	rd_copy(r, m->hello.code_id, sizeof(m->hello.code_id));
	if (!r->bad && m->hello.version != PAIR_VERSION)
		return err_set(e, ERR_INCOMPATIBLE, "the other side speaks version %u of pairing, this is %d",
			       m->hello.version, PAIR_VERSION);
	get_text(r, m->hello.name, sizeof(m->hello.name));
	if (r->bad)
		return 0;
	if (m->hello.kind != PAIR_HOST && m->hello.kind != PAIR_OPERATOR)
		return err_set(e, ERR_CORRUPT, "pairing: unknown kind %d of party", (int)m->hello.kind);
	if (!name_is_valid(m->hello.name))
		return err_set(e, ERR_CORRUPT, "pairing: the other side's name is no name");
	return 0;
}

static int get_grant(struct rd *r, struct pair_msg *m, struct err *e)
{
	m->grant.role = (enum role)rd_u8(r);
	get_text(r, m->grant.name, sizeof(m->grant.name));
	rd_copy(r, m->grant.mac, sizeof(m->grant.mac));
	if (r->bad)
		return 0;
	if (m->grant.role <= ROLE_NONE || m->grant.role >= ROLE_END || !name_is_valid(m->grant.name))
		return err_set(e, ERR_CORRUPT, "pairing: a grant of an unknown role or name");
	return 0;
}

static int get_refuse(struct rd *r, struct pair_msg *m)
{
	m->refuse.why = (enum pair_why)rd_u8(r);
	get_text(r, m->refuse.text, sizeof(m->refuse.text));
	/* It comes from somebody who has proved nothing, and is shown to people. */
	for (char *p = m->refuse.text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return 0;
}

static int get_body(struct rd *r, struct pair_msg *m, struct err *e)
{
	switch (m->type) {
	case PAIR_HELLO:
		return get_hello(r, m, e);
	case PAIR_PROOF:
		rd_copy(r, m->proof, sizeof(m->proof));
		return 0;
	case PAIR_GRANT:
		return get_grant(r, m, e);
	case PAIR_REFUSE:
		return get_refuse(r, m);
	case PAIR_DONE:
		return 0;
	case PAIR_TYPE_END:
		break;
	}
	return err_set(e, ERR_CORRUPT, "pairing: unknown message");
}

static enum pair_got bad(struct err *e, const char *what)
{
	err_set(e, ERR_CORRUPT, "pairing: %s", what);
	return PAIR_GOT_BAD;
}

enum pair_got pair_decode(struct rd *r, struct pair_msg *out, struct span *out_body, struct err *e)
{
	struct rd at = *r, body;
	struct pair_msg m = { .type = PAIR_TYPE_END };
	size_t len = rd_le16(&at);
	uint8_t type = rd_u8(&at);
	const uint8_t *p;

	if (at.bad)
		return PAIR_GOT_PART;
	if (len > PAIR_BODY_BYTES_MAX)
		return bad(e, "a message that is too long");
	if (type < PAIR_HELLO || type >= PAIR_TYPE_END)
		return bad(e, "an unknown message");
	p = rd_bytes(&at, len);
	if (!p)
		return PAIR_GOT_PART;
	m.type = (enum pair_type)type;
	body = rd_of(p, len);
	if (get_body(&body, &m, e) < 0)
		return PAIR_GOT_BAD;
	if (body.bad || rd_left(&body))
		return bad(e, "a message of the wrong length");
	*out = m;
	*out_body = (struct span){ .p = p, .len = len };
	*r = at;
	return PAIR_GOT_MSG;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pairing machine.  One row a message that is awaited; anything else is
 * a protocol error.  The listener pins before it sends GRANT, the dialer
 * before it sends DONE: whoever proved the code is known from then on, and a
 * connection that breaks between the two leaves one side that knows the
 * other, which a second pairing with a new code puts right.
 */
#include "link/pair.h"

#include <string.h>
#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>

enum { WAIT_HELLO, WAIT_PROOF, WAIT_GRANT, WAIT_DONE, ENDED };

static const struct { enum pair_why why; enum err_code code; const char *text, *remedy; } whys[] = {
	{ PAIR_WHY_CODE, ERR_DENIED, "the host has no such code: mistyped, used already, or expired",
	  "have it show a new one: hvapi host code" },
	{ PAIR_WHY_PROOF, ERR_DENIED, "the code does not prove this connection: somebody may sit in the middle",
	  "check the address and the network between, then try with a new code" },
	{ PAIR_WHY_KIND, ERR_REFUSED, "the code is not for this kind of party",
	  "hosts pair with codes of role peer, operators enrol with codes of the other roles" },
	{ PAIR_WHY_NAME, ERR_EXISTS, "the name is taken there by another key",
	  "choose another name, or unpair the old one first: hvapi host unpair NAME" },
	{ PAIR_WHY_PROTOCOL, ERR_CORRUPT, "the other side did not understand us", "" },
	{ PAIR_WHY_LOCAL, ERR_PEER, "the other side failed", "" },
};

static enum pair_step refuse(struct pair *p, enum pair_why why, const char *text)
{
	struct pair_msg m = { .type = PAIR_REFUSE };

	m.refuse.why = why;
	for (size_t i = 0; i < PAIR_TEXT_BYTES - 1 && text[i]; i++)
		m.refuse.text[i] = text[i];
	pair_encode(&m, &p->out);
	p->state = ENDED;
	return PAIR_STEP_FAILED;
}

/* Refuses for a reason of the table, and says the same here. */
static enum pair_step refuse_as(struct pair *p, enum pair_why why, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(whys); i++) {
		if (whys[i].why != why)
			continue;
		err_set(e, whys[i].code, "%s", whys[i].text);
		err_remedy(e, "%s", whys[i].remedy);
	}
	return refuse(p, why, "");
}

static enum pair_step protocol_error(struct pair *p, struct err *e)
{
	if (e->code == ERR_NONE)
		err_set(e, ERR_CORRUPT, "pairing: a message at the wrong moment");
	return refuse(p, PAIR_WHY_PROTOCOL, e->detail);
}

/* The other side refused. */
static enum pair_step refused(struct pair *p, const struct pair_msg *m, struct err *e)
{
	p->state = ENDED;
	err_set(e, ERR_PEER, "the other side refused: %s", m->refuse.text);
	for (size_t i = 0; i < ARRAY_LEN(whys); i++) {
		if (whys[i].why != m->refuse.why)
			continue;
		err_set(e, whys[i].code, "%s%s%s", whys[i].text, m->refuse.text[0] ? ": " : "", m->refuse.text);
		err_remedy(e, "%s", whys[i].remedy);
	}
	return PAIR_STEP_FAILED;
}

/* grant NULL: the dialer's proof. */
static int mac_of(const struct pair *p, const struct pair_msg *grant, uint8_t out[PAIR_MAC_BYTES])
{
	const mbedtls_md_info_t *sha = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
	AUTO_BUF struct buf b = { 0 };

	if (grant)
		buf_put(&b, PAIR_LABEL_LISTENER, sizeof(PAIR_LABEL_LISTENER));
	else
		buf_put(&b, PAIR_LABEL_DIALER, sizeof(PAIR_LABEL_DIALER));
	buf_put(&b, p->dialer, sizeof(p->dialer));
	buf_put(&b, p->listener, sizeof(p->listener));
	for (int i = 0; i < 2; i++) {
		buf_put_le16(&b, (uint16_t)p->hello[i].len);
		buf_put(&b, p->hello[i].p, p->hello[i].len);
	}
	if (grant) {
		buf_put_u8(&b, (uint8_t)grant->grant.role);
		buf_put(&b, grant->grant.name, strlen(grant->grant.name) + 1);
	}
	return mbedtls_md_hmac(sha, p->offer.secret, sizeof(p->offer.secret), b.p, b.len, out);
}

static bool same(const uint8_t *a, const uint8_t *b, size_t n)
{
	uint8_t diff = 0;

	for (size_t i = 0; i < n; i++)
		diff |= (uint8_t)(a[i] ^ b[i]);
	return diff == 0;
}

static void send_hello(struct pair *p)
{
	struct buf *body = &p->hello[p->side == PAIR_LISTENER];
	size_t at = p->out.len;

	pair_encode(&p->mine, &p->out);
	buf_put(body, p->out.p + at + PAIR_HEAD_BYTES, p->out.len - at - PAIR_HEAD_BYTES);
}

static enum pair_why why_of(const struct err *e)
{
	return e->code == ERR_EXISTS ? PAIR_WHY_NAME : PAIR_WHY_LOCAL;
}

static enum pair_step pin(struct pair *p, bool try, struct err *e)
{
	if (p->hooks->pin(p->arg, &p->result, p->id, try, e) == 0)
		return PAIR_STEP_MORE;
	return refuse(p, why_of(e), why_of(e) == PAIR_WHY_NAME ? p->result.name : "");
}

static enum pair_step listener_hello(struct pair *p, const struct pair_msg *m, struct err *e)
{
	bool wants_host;

	memcpy(p->id, m->hello.code_id, sizeof(p->id));
	if (!p->hooks->find(p->arg, p->id, &p->offer))
		return refuse_as(p, PAIR_WHY_CODE, e);
	wants_host = p->offer.role == ROLE_PEER;
	if (wants_host != (m->hello.kind == PAIR_HOST))
		return refuse_as(p, PAIR_WHY_KIND, e);
	p->result.role = p->offer.role;
	if (p->offer.name[0])
		memcpy(p->result.name, p->offer.name, sizeof(p->offer.name));
	send_hello(p);
	p->state = WAIT_PROOF;
	return PAIR_STEP_MORE;
}

static enum pair_step dialer_hello(struct pair *p, const struct pair_msg *m, struct err *e)
{
	struct pair_msg proof = { .type = PAIR_PROOF };

	if (m->hello.kind != PAIR_HOST)
		return protocol_error(p, e);
	p->result.role = ROLE_PEER;
	/* Better to find out now than when the other side has pinned us. */
	if (pin(p, true, e) == PAIR_STEP_FAILED)
		return PAIR_STEP_FAILED;
	if (mac_of(p, NULL, proof.proof))
		return refuse_as(p, PAIR_WHY_LOCAL, e);
	pair_encode(&proof, &p->out);
	p->state = WAIT_GRANT;
	return PAIR_STEP_MORE;
}

static enum pair_step on_hello(struct pair *p, const struct pair_msg *m, struct span body, struct err *e)
{
	buf_put(&p->hello[p->side != PAIR_LISTENER], body.p, body.len);
	p->result.kind = m->hello.kind;
	p->result.port = m->hello.port;
	if (p->side == PAIR_LISTENER || !p->result.name[0])
		memcpy(p->result.name, m->hello.name, sizeof(m->hello.name));
	return p->side == PAIR_LISTENER ? listener_hello(p, m, e) : dialer_hello(p, m, e);
}

static enum pair_step on_proof(struct pair *p, const struct pair_msg *m, struct err *e)
{
	struct pair_msg grant = { .type = PAIR_GRANT };
	uint8_t want[PAIR_MAC_BYTES];

	if (mac_of(p, NULL, want) || !same(want, m->proof, sizeof(want))) {
		p->hooks->failed(p->arg, p->id);
		return refuse_as(p, PAIR_WHY_PROOF, e);
	}
	if (pin(p, false, e) == PAIR_STEP_FAILED)
		return PAIR_STEP_FAILED;
	p->pinned = true;
	grant.grant.role = p->result.role;
	memcpy(grant.grant.name, p->result.name, sizeof(grant.grant.name));
	if (mac_of(p, &grant, grant.grant.mac))
		return refuse_as(p, PAIR_WHY_LOCAL, e);
	pair_encode(&grant, &p->out);
	p->state = WAIT_DONE;
	return PAIR_STEP_MORE;
}

static enum pair_step on_grant(struct pair *p, const struct pair_msg *m, struct err *e)
{
	static const struct pair_msg done = { .type = PAIR_DONE };
	uint8_t want[PAIR_MAC_BYTES];

	if (mac_of(p, m, want) || !same(want, m->grant.mac, sizeof(want)))
		return refuse_as(p, PAIR_WHY_PROOF, e);
	p->result.role_there = m->grant.role;
	if (pin(p, false, e) == PAIR_STEP_FAILED)
		return PAIR_STEP_FAILED;
	p->pinned = true;
	pair_encode(&done, &p->out);
	p->state = ENDED;
	return PAIR_STEP_DONE;
}

static enum pair_step on_msg(struct pair *p, const struct pair_msg *m, struct span body, struct err *e)
{
	if (m->type == PAIR_REFUSE)
		return refused(p, m, e);
	if (p->state == WAIT_HELLO && m->type == PAIR_HELLO)
		return on_hello(p, m, body, e);
	if (p->state == WAIT_PROOF && m->type == PAIR_PROOF)
		return on_proof(p, m, e);
	if (p->state == WAIT_GRANT && m->type == PAIR_GRANT)
		return on_grant(p, m, e);
	if (p->state == WAIT_DONE && m->type == PAIR_DONE) {
		p->state = ENDED;
		return PAIR_STEP_DONE;
	}
	return protocol_error(p, e);
}

enum pair_step pair_feed(struct pair *p, const void *bytes, size_t n, struct err *e)
{
	enum pair_step step = PAIR_STEP_MORE;
	struct rd r;

	if (p->state == ENDED || n > PAIR_IN_BYTES_MAX - p->in.len)
		return protocol_error(p, e);
	buf_put(&p->in, bytes, n);
	r = rd_of(p->in.p, p->in.len);
	while (step == PAIR_STEP_MORE) {
		struct pair_msg m;
		struct span body;
		enum pair_got got = pair_decode(&r, &m, &body, e);

		if (got == PAIR_GOT_PART)
			break;
		step = got == PAIR_GOT_BAD ? protocol_error(p, e) : on_msg(p, &m, body, e);
	}
	buf_consume(&p->in, p->in.len - rd_left(&r));
	return step;
}

int pair_init(struct pair *p, const struct pair_setup *s, struct err *e)
{
	bool dials = s->side == PAIR_DIALER;

	*p = (struct pair){ .side = s->side, .hooks = s->hooks, .arg = s->arg, .state = WAIT_HELLO };
	memcpy(p->dialer, dials ? s->own : s->other, sizeof(p->dialer));
	memcpy(p->listener, dials ? s->other : s->own, sizeof(p->listener));
	memcpy(p->result.fingerprint, s->other, sizeof(s->other));
	p->mine = (struct pair_msg){ .type = PAIR_HELLO };
	p->mine.hello.version = PAIR_VERSION;
	p->mine.hello.kind = s->kind;
	p->mine.hello.port = s->port;
	if (!name_is_valid(s->name) || (s->call_it && !name_is_valid(s->call_it)))
		return err_set(e, ERR_USAGE, "'%.80s' is no name: 1 to %d letters, digits, '.', '_', '-'",
			       s->call_it && name_is_valid(s->name) ? s->call_it : s->name, IDENTITY_NAME_BYTES - 1);
	memcpy(p->mine.hello.name, s->name, strlen(s->name) + 1);
	if (s->call_it)
		memcpy(p->result.name, s->call_it, strlen(s->call_it) + 1);
	if (s->hooks->random(s->arg, p->mine.hello.nonce, PAIR_NONCE_BYTES))
		return err_set(e, ERR_INTERNAL, "no random bytes");
	if (!dials)
		return 0;
	memcpy(p->offer.secret, s->secret, sizeof(p->offer.secret));
	pair_code_id(s->secret, p->id);
	memcpy(p->mine.hello.code_id, p->id, sizeof(p->id));
	send_hello(p);
	return 0;
}

void pair_fini(struct pair *p)
{
	mbedtls_platform_zeroize(&p->offer, sizeof(p->offer));
	buf_fini(&p->in);
	buf_fini(&p->out);
	buf_fini(&p->hello[0]);
	buf_fini(&p->hello[1]);
	p->state = ENDED;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of live codes.  A code that cannot be written as spent is still
 * spent in memory: using it twice is worse than losing it.
 */
#include "link/codes.h"

#include <stdio.h>
#include <string.h>
#include <mbedtls/platform_util.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/js.h"
#include "base/record.h"

struct codes {
	char *path;
	struct code v[CODES_MAX];
	unsigned n;
};

static int code_of(const json_t *o, struct code *out, struct err *e)
{
	const char *code, *role, *name = "";
	uint64_t left;

	if (js_text(o, "code", &code, e) < 0 || js_text(o, "role", &role, e) < 0 ||
	    js_opt_text(o, "name", &name, e) < 0 || js_u64(o, "attempts_left", CODE_ATTEMPTS_MAX, &left, e) < 0 ||
	    js_u64(o, "expires_ms", INT64_MAX, &out->expires_ms, e) < 0 ||
	    pair_code_parse(code, out->offer.secret, e) < 0 || role_parse(role, &out->offer.role, e) < 0)
		return -1;
	if (name[0] && !name_is_valid(name))
		return err_set(e, ERR_CORRUPT, "a code for the name '%.80s'", name);
	snprintf(out->offer.name, sizeof(out->offer.name), "%s", name);
	out->attempts_left = (unsigned)left;
	pair_code_id(out->offer.secret, out->id);
	return 0;
}

static json_t *code_json(const struct code *c)
{
	char text[PAIR_CODE_TEXT_BYTES];

	pair_code_text(c->offer.secret, text);
	return json_pack("{ss ss ss sI sI}", "code", text, "role", role_name(c->offer.role), "name", c->offer.name,
			 "attempts_left", (json_int_t)c->attempts_left, "expires_ms", (json_int_t)c->expires_ms);
}

int codes_open(const char *path, struct codes **out, struct err *e)
{
	struct codes *c = mem_alloc(sizeof(*c));
	AUTO_JSON json_t *o = NULL;
	json_t *list = NULL;
	int rc = record_load(path, &o, e);

	c->path = mem_strdup(path);
	if (rc < 0 && e->code == ERR_NOT_FOUND) {
		*out = c;
		return 0;
	}
	if (rc == 0)
		rc = js_arr(o, "codes", &list, e);
	for (size_t i = 0; rc == 0 && i < json_array_size(list) && c->n < CODES_MAX; i++) {
		rc = code_of(json_array_get(list, i), &c->v[c->n], e);
		c->n += rc == 0;
	}
	if (rc < 0) {
		codes_free(c);
		return err_wrap(e, "%s", path);
	}
	*out = c;
	return 0;
}

void codes_free(struct codes *c)
{
	if (!c)
		return;
	free(c->path);
	mbedtls_platform_zeroize(c, sizeof(*c));
	free(c);
}

static int save(const struct codes *c, struct err *e)
{
	AUTO_JSON json_t *o = json_pack("{s[]}", "codes");
	json_t *list = json_object_get(o, "codes");

	for (unsigned i = 0; i < c->n; i++)
		json_array_append_new(list, code_json(&c->v[i]));
	return record_save(c->path, o, e);
}

static void drop(struct codes *c, unsigned i)
{
	c->v[i] = c->v[--c->n];
	mbedtls_platform_zeroize(&c->v[c->n], sizeof(c->v[c->n]));
}

static void drop_expired(struct codes *c)
{
	uint64_t now = clock_real_ms();

	for (unsigned i = c->n; i-- > 0;)
		if (c->v[i].expires_ms && c->v[i].expires_ms <= now)
			drop(c, i);
}

static struct code *find(struct codes *c, const uint8_t id[PAIR_ID_BYTES])
{
	drop_expired(c);
	for (unsigned i = 0; i < c->n; i++)
		if (memcmp(c->v[i].id, id, PAIR_ID_BYTES) == 0)
			return &c->v[i];
	return NULL;
}

int codes_add(struct codes *c, const struct pair_offer *offer, uint64_t expires_ms, struct err *e)
{
	struct code *at;

	drop_expired(c);
	if (c->n == CODES_MAX) {
		err_set(e, ERR_LIMIT, "%d codes are waiting to be used", CODES_MAX);
		return err_remedy(e, "use one, or wait until one expires");
	}
	at = &c->v[c->n++];
	*at = (struct code){ .offer = *offer, .expires_ms = expires_ms, .attempts_left = CODE_ATTEMPTS_MAX };
	pair_code_id(offer->secret, at->id);
	if (save(c, e) == 0)
		return 0;
	drop(c, c->n - 1);
	return -1;
}

const struct code *codes_find(struct codes *c, const uint8_t id[PAIR_ID_BYTES])
{
	return find(c, id);
}

const struct code *codes_lasting(struct codes *c, enum role role)
{
	for (unsigned i = 0; i < c->n; i++)
		if (!c->v[i].expires_ms && c->v[i].offer.role == role)
			return &c->v[i];
	return NULL;
}

int codes_spend(struct codes *c, const uint8_t id[PAIR_ID_BYTES], struct err *e)
{
	struct code *at = find(c, id);

	if (!at)
		return err_set(e, ERR_DENIED, "the code is spent");
	drop(c, (unsigned)(at - c->v));
	return save(c, e);
}

bool codes_failed(struct codes *c, const uint8_t id[PAIR_ID_BYTES])
{
	struct code *at = find(c, id);
	struct err e = ERR_INIT;
	bool burnt;

	if (!at)
		return false;
	burnt = --at->attempts_left == 0;
	if (burnt)
		drop(c, (unsigned)(at - c->v));
	if (save(c, &e) < 0)
		return burnt;	/* the count in memory holds until a restart */
	return burnt;
}

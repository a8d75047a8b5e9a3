/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of pins: an array in memory, written whole at each change.
 */
#include "link/pins.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/js.h"
#include "base/record.h"

struct pins {
	char *path;
	struct pin *v;
	unsigned n;
};

json_t *pin_json(const struct pin *pin)
{
	char fp[FINGERPRINT_TEXT_BYTES];

	fingerprint_text(pin->fingerprint, fp);
	return json_pack("{ss ss ss ss sI}", "name", pin->name, "fingerprint", fp, "role", role_name(pin->role),
			 "address", pin->address, "not_after_ms", (json_int_t)pin->not_after_ms);
}

static int pin_of(const json_t *o, struct pin *out, struct err *e)
{
	const char *name, *fp, *role, *address = "";

	if (js_text(o, "name", &name, e) < 0 || js_text(o, "fingerprint", &fp, e) < 0 ||
	    js_text(o, "role", &role, e) < 0 || js_opt_text(o, "address", &address, e) < 0 ||
	    js_opt_u64(o, "not_after_ms", INT64_MAX, &out->not_after_ms, e) < 0)
		return -1;
	if (!name_is_valid(name) || strlen(address) >= sizeof(out->address))
		return err_set(e, ERR_CORRUPT, "pin '%.80s': name or address is not valid", name);
	snprintf(out->name, sizeof(out->name), "%s", name);
	snprintf(out->address, sizeof(out->address), "%s", address);
	if (role_parse(role, &out->role, e) < 0)
		return -1;
	return fingerprint_parse(fp, out->fingerprint, e);
}

static int load(struct pins *p, struct err *e)
{
	AUTO_JSON json_t *o = NULL;
	json_t *list;

	if (record_load(p->path, &o, e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : -1;
	if (js_arr(o, "pins", &list, e) < 0)
		return err_wrap(e, "%s", p->path);
	if (json_array_size(list) > PINS_MAX)
		return err_set(e, ERR_LIMIT, "%s: over %d pins", p->path, PINS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (pin_of(json_array_get(list, i), &p->v[p->n], e) < 0)
			return err_wrap(e, "%s", p->path);
		p->n++;
	}
	return 0;
}

int pins_open(const char *path, struct pins **out, struct err *e)
{
	struct pins *p = mem_alloc(sizeof(*p));

	p->path = mem_strdup(path);
	p->v = mem_alloc(PINS_MAX * sizeof(*p->v));
	if (load(p, e) < 0) {
		pins_free(p);
		return -1;
	}
	*out = p;
	return 0;
}

void pins_free(struct pins *p)
{
	if (!p)
		return;
	free(p->path);
	free(p->v);
	free(p);
}

static struct pin *find_name(const struct pins *p, const char *name)
{
	for (unsigned i = 0; i < p->n; i++)
		if (strcmp(p->v[i].name, name) == 0)
			return &p->v[i];
	return NULL;
}

static struct pin *find_key(const struct pins *p, const uint8_t fp[FINGERPRINT_BYTES])
{
	for (unsigned i = 0; i < p->n; i++)
		if (memcmp(p->v[i].fingerprint, fp, FINGERPRINT_BYTES) == 0)
			return &p->v[i];
	return NULL;
}

const struct pin *pins_by_name(const struct pins *p, const char *name)
{
	return find_name(p, name);
}

const struct pin *pins_by_fingerprint(const struct pins *p, const uint8_t fp[FINGERPRINT_BYTES])
{
	return find_key(p, fp);
}

const struct pin *pins_at(const struct pins *p, unsigned i)
{
	return i < p->n ? &p->v[i] : NULL;
}

unsigned pins_count(const struct pins *p, enum role role)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->n; i++)
		n += p->v[i].role == role;
	return n;
}

static int save(const struct pins *p, struct err *e)
{
	AUTO_JSON json_t *o = json_pack("{s[]}", "pins");
	json_t *list = json_object_get(o, "pins");

	for (unsigned i = 0; i < p->n; i++)
		json_array_append_new(list, pin_json(&p->v[i]));
	return record_save(p->path, o, e);
}

int pins_check(const struct pins *p, const struct pin *pin, struct err *e)
{
	const struct pin *named = find_name(p, pin->name);

	if (named && memcmp(named->fingerprint, pin->fingerprint, FINGERPRINT_BYTES) != 0) {
		err_set(e, ERR_EXISTS, "the name '%s' is taken by another key", pin->name);
		return err_remedy(e, "choose another name, or unpair the old one: hvapi host unpair %s", pin->name);
	}
	if (p->n == PINS_MAX && !find_key(p, pin->fingerprint))
		return err_set(e, ERR_LIMIT, "there are %d pins already", PINS_MAX);
	return 0;
}

int pins_put(struct pins *p, const struct pin *pin, struct err *e)
{
	struct pin old, *at = find_key(p, pin->fingerprint);
	bool added = !at;

	if (pins_check(p, pin, e) < 0)
		return -1;
	if (added)
		at = &p->v[p->n++];
	old = *at;
	*at = *pin;
	if (save(p, e) == 0)
		return 0;
	*at = old;
	p->n -= added;
	return -1;
}

int pins_remove(struct pins *p, const char *name, struct err *e)
{
	struct pin old, *at = find_name(p, name);

	if (!at)
		return err_set(e, ERR_NOT_FOUND, "there is no pin '%.80s'", name);
	old = *at;
	*at = p->v[--p->n];
	if (save(p, e) == 0)
		return 0;
	p->v[p->n++] = *at;
	*at = old;
	return -1;
}

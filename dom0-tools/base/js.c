/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked reading of JSON.  Everything wrong with it is ERR_USAGE and names
 * the field: the other side wrote it, the other side can mend it.
 */
#include "base/js.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* What a value is, in words that a person who wrote the JSON knows. */
static const char *kind_of(const json_t *v)
{
	if (!v)
		return "absent";
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "text";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		return "null";
	}
	return "unknown";
}

static int wrong_kind(const char *key, const char *want, const json_t *v, struct err *e)
{
	return err_set(e, ERR_USAGE, "field '%s' must be %s, is %s", key, want, kind_of(v));
}

/* NULL for absent and null alike. */
static json_t *member(const json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_null(v) ? NULL : v;
}

int js_parse(const char *text, size_t n, json_t **out, struct err *e)
{
	json_error_t je;
	json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);

	if (!o)
		return err_set(e, ERR_USAGE, "not valid JSON: %s at line %d column %d", je.text, je.line, je.column);
	*out = o;
	return 0;
}

int js_text(const json_t *o, const char *key, const char **out, struct err *e)
{
	json_t *v = member(o, key);

	if (!json_is_string(v))
		return wrong_kind(key, "text", v, e);
	*out = json_string_value(v);
	return 0;
}

int js_u64(const json_t *o, const char *key, uint64_t max, uint64_t *out, struct err *e)
{
	json_t *v = member(o, key);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v))
		return wrong_kind(key, "a whole number", v, e);
	if (n < 0 || (uint64_t)n > max)
		return err_set(e, ERR_USAGE, "field '%s' is %" JSON_INTEGER_FORMAT ", must be 0 to %" PRIu64,
			       key, n, max);
	*out = (uint64_t)n;
	return 0;
}

int js_obj(const json_t *o, const char *key, json_t **out, struct err *e)
{
	json_t *v = member(o, key);

	if (!json_is_object(v))
		return wrong_kind(key, "an object", v, e);
	*out = v;
	return 0;
}

int js_arr(const json_t *o, const char *key, json_t **out, struct err *e)
{
	json_t *v = member(o, key);

	if (!json_is_array(v))
		return wrong_kind(key, "an array", v, e);
	*out = v;
	return 0;
}

int js_opt_text(const json_t *o, const char *key, const char **out, struct err *e)
{
	return member(o, key) ? js_text(o, key, out, e) : 0;
}

int js_opt_u64(const json_t *o, const char *key, uint64_t max, uint64_t *out, struct err *e)
{
	return member(o, key) ? js_u64(o, key, max, out, e) : 0;
}

int js_opt_bool(const json_t *o, const char *key, bool *out, struct err *e)
{
	json_t *v = member(o, key);

	if (!v)
		return 0;
	if (!json_is_boolean(v))
		return wrong_kind(key, "true or false", v, e);
	*out = json_is_true(v);
	return 0;
}

const char *js_get_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static bool listed(const char *const *known, const char *key)
{
	for (; *known; known++)
		if (!strcmp(*known, key))
			return true;
	return false;
}

int js_only(const json_t *o, const char *const *known, struct err *e)
{
	/* jansson's iterator takes a non-const object but changes nothing. */
	union { const json_t *in; json_t *out; } u = { .in = o };

	for (void *it = json_object_iter(u.out); it; it = json_object_iter_next(u.out, it)) {
		const char *key = json_object_iter_key(it);

		if (!listed(known, key))
			return err_set(e, ERR_USAGE, "field '%s' is not known here", key);
	}
	return 0;
}

json_t *js_from_err(const struct err *e)
{
	/* Details may quote foreign bytes that are not UTF-8; an error must get through all the same. */
	json_t *o = json_pack("{ss ss ss}", "code", err_name(e->code), "detail", e->detail, "remedy", e->remedy);

	return o ? o : json_pack("{ss ss ss}", "code", err_name(e->code),
				 "detail", "(the detail is not UTF-8 text)", "remedy", "");
}

void js_to_err(const json_t *o, struct err *e)
{
	const char *code = json_string_value(json_object_get(o, "code"));
	const char *detail = json_string_value(json_object_get(o, "detail"));
	const char *remedy = json_string_value(json_object_get(o, "remedy"));
	enum err_code c = err_from_name(code ? code : "");

	/* "none" in an error object is a liar's: failing stays failing. */
	err_set(e, c == ERR_NONE ? ERR_INTERNAL : c, "%s", detail ? detail : "(no detail given)");
	err_remedy(e, "%s", remedy ? remedy : "");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON that somebody else wrote (jansson), with errors that name the
 * field.  Getters of optional fields leave *out alone when the field is
 * absent or null.  Text borrowed from an object lives as long as the object.
 */
#ifndef BASE_JS_H
#define BASE_JS_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "base/err.h"

static inline void js_auto_decref_(json_t **j) { json_decref(*j); }
#define AUTO_JSON __attribute__((cleanup(js_auto_decref_)))

MUSTUSE int js_parse(const char *text, size_t n, json_t **out, struct err *e);	/* objects and arrays only */

MUSTUSE int js_text(const json_t *o, const char *key, const char **out, struct err *e);
MUSTUSE int js_u64(const json_t *o, const char *key, uint64_t max, uint64_t *out, struct err *e);
MUSTUSE int js_obj(const json_t *o, const char *key, json_t **out, struct err *e);
MUSTUSE int js_arr(const json_t *o, const char *key, json_t **out, struct err *e);

MUSTUSE int js_opt_text(const json_t *o, const char *key, const char **out, struct err *e);
MUSTUSE int js_opt_u64(const json_t *o, const char *key, uint64_t max, uint64_t *out, struct err *e);
MUSTUSE int js_opt_bool(const json_t *o, const char *key, bool *out, struct err *e);

/* What is shown or compared, not checked: "" when it is absent or no text. */
const char *js_get_text(const json_t *o, const char *key);

/* ERR_USAGE naming the first key of o that is not in the NULL-terminated list. */
MUSTUSE int js_only(const json_t *o, const char *const *known, struct err *e);

/* {"code","detail","remedy"} and back. */
json_t *js_from_err(const struct err *e);
void js_to_err(const json_t *o, struct err *e);

#endif

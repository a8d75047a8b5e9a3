/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document says everything about every route: role, body, answer,
 * parameters, and schemas that exist and use only schemas that exist.
 */
#include "tests/unit/check.h"

#include <ctype.h>
#include <string.h>

#include "base/js.h"
#include "hvapi/api/routes.h"

static const json_t *operation_of(const json_t *doc, const struct route *r)
{
	char method[16] = "";
	json_t *paths = json_object_get(doc, "paths"), *op;

	for (size_t i = 0; r->method[i] && i < sizeof(method) - 1; i++)
		method[i] = (char)tolower((unsigned char)r->method[i]);
	op = json_object_get(json_object_get(paths, r->pattern), method);
	if (!op)
		fail_msg("%s %s is not documented", r->method, r->pattern);
	return op;
}

static void check_route(const json_t *doc, const json_t *schemas, const struct route *r)
{
	const json_t *op = operation_of(doc, r);
	char status[8];
	size_t params = 0;

	assert_string_equal(json_string_value(json_object_get(op, "x-hvapi-role")), api_role_name(r->role));
	assert_true(strlen(json_string_value(json_object_get(op, "summary"))) > 3);
	snprintf(status, sizeof(status), "%d", r->status);
	assert_non_null(json_object_get(json_object_get(op, "responses"), status));
	assert_non_null(json_object_get(json_object_get(op, "responses"), "default"));
	assert_int_equal(r->body != BODY_NONE, json_object_get(op, "requestBody") != NULL);
	if (r->body == BODY_JSON || r->body == BODY_VM)
		assert_non_null(json_object_get(schemas, r->takes));
	if (r->gives)
		assert_non_null(json_object_get(schemas, r->gives));
	for (const char *p = r->pattern; *p; p++)
		params += *p == '{';
	for (const char *q = r->query; q && *q; q++)
		params += q == r->query || q[-1] == ' ';
	assert_int_equal(json_array_size(json_object_get(op, "parameters")), params);
}

static void test_every_route(void **state)
{
	AUTO_JSON json_t *doc = openapi_document(api_routes);
	const json_t *schemas = json_object_get(json_object_get(doc, "components"), "schemas");

	(void)state;
	for (const struct route *r = api_routes; r->method; r++)
		check_route(doc, schemas, r);
}

static void check_refs(const json_t *schemas, const json_t *v)
{
	union { const json_t *in; json_t *out; } u = { .in = v };
	const char *ref = json_string_value(json_object_get(v, "$ref"));
	const char *key;
	json_t *m;
	size_t i;

	if (ref && !json_object_get(schemas, strrchr(ref, '/') + 1))
		fail_msg("%s does not exist", ref);
	json_object_foreach(u.out, key, m)
		check_refs(schemas, m);
	json_array_foreach(v, i, m)
		check_refs(schemas, m);
}

static void test_schemas(void **state)
{
	AUTO_JSON json_t *doc = openapi_document(api_routes), *schemas = api_schemas();
	const json_t *vm = json_object_get(json_object_get(schemas, "VM"), "properties");
	AUTO_JSON json_t *want = json_pack("{ss s[ss]}", "type", "string", "enum", "pvh", "pv");

	(void)state;
	check_refs(schemas, doc);
	assert_true(json_equal(json_object_get(vm, "type"), want));
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(json_object_get(vm, "disks"), "items"), "$ref")),
		"#/components/schemas/Disk");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_route),
		cmocka_unit_test(test_schemas),
	};

	return check_main(tests);
}

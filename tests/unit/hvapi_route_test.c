/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: matching, names, and the table of the API itself.
 */
#include "tests/unit/check.h"

#include <string.h>

#include "base/err.h"
#include "hvapi/api/routes.h"
#include "hvapi/http/route.h"

static void test_find(void **state)
{
	static const struct {
		const char *label, *method, *path;
		enum route_found want;
		const char *pattern, *param, *allow;
	} cases[] = {
		{ "plain", "GET", "/v1/host", ROUTE_OK, "/v1/host", NULL, NULL },
		{ "param", "GET", "/v1/vms/web1", ROUTE_OK, "/v1/vms/{name}", "web1", NULL },
		{ "param_inside", "POST", "/v1/vms/a.b_c-d/start", ROUTE_OK, "/v1/vms/{name}/start", "a.b_c-d",
		  NULL },
		{ "method", "PUT", "/v1/vms/web1", ROUTE_NO_METHOD, NULL, NULL, "GET, PATCH, DELETE" },
		{ "unknown_method", "BREW", "/v1/host", ROUTE_NO_METHOD, NULL, NULL, "GET" },
		{ "longer", "GET", "/v1/host/x", ROUTE_NO_PATH, NULL, NULL, NULL },
		{ "shorter", "GET", "/v1", ROUTE_NO_PATH, NULL, NULL, NULL },
		{ "prefix", "GET", "/v1/hostx", ROUTE_NO_PATH, NULL, NULL, NULL },
		{ "trailing_slash", "GET", "/v1/vms/", ROUTE_NO_PATH, NULL, NULL, NULL },
		{ "double_slash", "GET", "/v1//vms", ROUTE_NO_PATH, NULL, NULL, NULL },
		{ "empty_param", "POST", "/v1/vms//start", ROUTE_NO_PATH, NULL, NULL, NULL },
		{ "empty", "GET", "", ROUTE_NO_PATH, NULL, NULL, NULL },
		{ "star", "OPTIONS", "*", ROUTE_NO_PATH, NULL, NULL, NULL },
		{ "dot", "GET", "/v1/vms/..", ROUTE_BAD_NAME, NULL, NULL, NULL },
		{ "dash", "GET", "/v1/vms/-x", ROUTE_BAD_NAME, NULL, NULL, NULL },
		{ "space", "GET", "/v1/vms/a b", ROUTE_BAD_NAME, NULL, NULL, NULL },
		{ "not_ascii", "GET", "/v1/vms/\xc3\xa4", ROUTE_BAD_NAME, NULL, NULL, NULL },
		{ "name_63", "GET", "/v1/vms/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  ROUTE_OK, "/v1/vms/{name}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  NULL },
		{ "name_64", "GET", "/v1/vms/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  ROUTE_BAD_NAME, NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct route *r = NULL;
		struct route_params par = { .n = 0 };
		char allow[ROUTE_ALLOW_BYTES];
		enum route_found got = route_find(api_routes, cases[i].method, cases[i].path, &r, &par, allow);

		if (got != cases[i].want)
			fail_msg("%s: %d, want %d", cases[i].label, (int)got, (int)cases[i].want);
		if (cases[i].pattern)
			assert_string_equal(r->pattern, cases[i].pattern);
		if (cases[i].param)
			assert_string_equal(par.v[0], cases[i].param);
		if (cases[i].allow)
			assert_string_equal(allow, cases[i].allow);
	}
}

static void test_roles(void **state)
{
	(void)state;
	assert_int_equal(api_role_parse("admin"), API_ADMIN);
	assert_int_equal(api_role_parse("viewer"), API_VIEWER);
	/* Another host's key gives no right to the API. */
	assert_int_equal(api_role_parse("peer"), API_NONE);
	assert_int_equal(api_role_parse("none"), API_NONE);
	assert_int_equal(api_role_parse(""), API_NONE);
	assert_string_equal(api_role_name(API_OPERATOR), "operator");
}

/* Two routes must not answer the same request, and each needs a role. */
static void test_table(void **state)
{
	(void)state;
	for (const struct route *a = api_routes; a->method; a++) {
		assert_non_null(a->fn);
		assert_true(a->role >= API_VIEWER && a->role <= API_ADMIN);
		if (strcmp(a->method, "GET"))
			assert_true(a->role >= API_OPERATOR);
		for (const struct route *b = a + 1; b->method; b++)
			if (!strcmp(a->method, b->method) && !strcmp(a->pattern, b->pattern))
				fail_msg("%s %s is there twice", a->method, a->pattern);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_roles),
		cmocka_unit_test(test_table),
	};

	return check_main(tests);
}

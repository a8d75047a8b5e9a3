/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: a method, a pattern, who may, what it takes and gives, and the
 * function.  The table (api/routes.c) is the API's only list: it routes, says
 * 404 and 405, and documents itself (api/openapi.c).
 */
#ifndef HVAPI_HTTP_ROUTE_H
#define HVAPI_HTTP_ROUTE_H

#include <stdbool.h>

struct req;

enum api_role { API_NONE, API_VIEWER, API_OPERATOR, API_ADMIN };

enum body_kind {
	BODY_NONE,
	BODY_JSON,		/* an object; an empty body counts as {} */
	BODY_VM,		/* JSON, or the text of an xl.cfg */
	BODY_FILE,		/* bytes, streamed to a temporary file */
};

enum { ROUTE_PARAMS_MAX = 2, ROUTE_PARAM_BYTES = 64, ROUTE_ALLOW_BYTES = 64 };

struct route {
	const char *method;
	const char *pattern;		/* "/v1/vms/{name}/start" */
	enum api_role role;			/* the least one */
	enum body_kind body;
	void (*fn)(struct req *r);
	const char *summary;
	const char *takes;		/* name of the body's schema (api/schemas.c), or NULL */
	const char *gives;		/* name of the answer's schema, or NULL: no content, or no JSON */
	int status;			/* of success */
	const char *query;		/* "since limit": names of query parameters, or NULL */
};

struct route_params {
	char v[ROUTE_PARAMS_MAX][ROUTE_PARAM_BYTES];
	unsigned n;
};

enum route_found { ROUTE_OK, ROUTE_NO_PATH, ROUTE_NO_METHOD, ROUTE_BAD_NAME };

/* table ends with method == NULL.  *out and *par only for ROUTE_OK; allow ("GET, POST") for ROUTE_NO_METHOD. */
enum route_found route_find(const struct route *table, const char *method, const char *path,
			    const struct route **out, struct route_params *par, char allow[ROUTE_ALLOW_BYTES]);

/* Names of VMs, files and peers: 1 to 63 of letters, digits, '.', '_', '-', not starting with '.' or '-'. */
bool route_name_ok(const char *s);

/* "viewer" and back; API_NONE for words that give no right here ("peer" among them). */
const char *api_role_name(enum api_role r);
enum api_role api_role_parse(const char *s);

#endif

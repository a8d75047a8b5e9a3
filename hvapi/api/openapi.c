/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/openapi.json, made from the table of routes and the named schemas.
 */
#include <string.h>

#include "base/buf.h"
#include "hvapi/api/routes.h"
#include "hvapi/http/problem.h"
#include "hvapi/hvapid.h"

static json_t *ref(const char *schema)
{
	return json_pack("{so}", "$ref", json_sprintf("#/components/schemas/%s", schema));
}

static json_t *content(const char *type, json_t *schema)
{
	return json_pack("{s{so}}", type, "schema", schema);
}

static json_t *parameter(const char *where, const char *name, size_t n)
{
	json_t *o = json_pack("{ss% ss s{ss}}", "name", name, n, "in", where, "schema", "type", "string");

	if (!strcmp(where, "path"))
		json_object_set_new(o, "required", json_true());
	return o;
}

static json_t *parameters(const struct route *r)
{
	json_t *list = json_array();

	for (const char *p = strchr(r->pattern, '{'); p; p = strchr(p + 1, '{'))
		json_array_append_new(list, parameter("path", p + 1, strcspn(p + 1, "}")));
	for (const char *q = r->query; q && *q; q += strcspn(q, " "), q += *q == ' ')
		json_array_append_new(list, parameter("query", q, strcspn(q, " ")));
	return list;
}

static json_t *body(const struct route *r)
{
	json_t *c;

	if (r->body == BODY_FILE)
		c = content("application/octet-stream", json_pack("{ss ss}", "type", "string", "format", "binary"));
	else
		c = content("application/json", ref(r->takes));
	if (r->body == BODY_VM)
		json_object_set_new(c, "text/x-xlcfg", json_pack("{s{ss}}", "schema", "type", "string"));
	return json_pack("{so sb}", "content", c, "required", r->body != BODY_JSON || strcmp(r->takes, "Empty"));
}

static json_t *responses(const struct route *r)
{
	AUTO_FREE char *status = mem_printf("%d", r->status);
	json_t *ok = json_pack("{ss}", "description", r->summary);
	json_t *problem = content(PROBLEM_CONTENT_TYPE, ref("Problem"));

	if (r->gives)
		json_object_set_new(ok, "content", content("application/json", ref(r->gives)));
	return json_pack("{so s{ss so}}", status, ok, "default", "description",
			 "A problem: what failed, why, what to do", "content", problem);
}

/* "get /v1/vms/{name}" -> "getVmsName" */
static json_t *operation_id(const struct route *r)
{
	AUTO_BUF struct buf b = { 0 };
	bool upper = true;

	for (const char *m = r->method; *m; m++)
		buf_put_u8(&b, (uint8_t)(*m + 'a' - 'A'));
	for (const char *p = strncmp(r->pattern, "/v1/", 4) ? r->pattern : r->pattern + 3; *p; p++) {
		bool letter = (*p >= 'a' && *p <= 'z');

		if (letter)
			buf_put_u8(&b, (uint8_t)(upper ? *p - 'a' + 'A' : *p));
		upper = !letter;
	}
	buf_put_u8(&b, 0);
	return json_string((const char *)b.p);
}

static json_t *operation(const struct route *r)
{
	json_t *o = json_pack("{ss so so so ss}", "summary", r->summary, "operationId", operation_id(r), "parameters",
			      parameters(r), "responses", responses(r), "x-hvapi-role", api_role_name(r->role));

	if (r->body != BODY_NONE)
		json_object_set_new(o, "requestBody", body(r));
	return o;
}

json_t *openapi_document(const struct route *routes)
{
	json_t *paths = json_object();

	for (const struct route *r = routes; r->method; r++) {
		json_t *path = json_object_get(paths, r->pattern);
		char method[8] = "";

		for (size_t i = 0; r->method[i] && i < sizeof(method) - 1; i++)
			method[i] = (char)(r->method[i] + 'a' - 'A');
		if (!path) {
			path = json_object();
			json_object_set_new(paths, r->pattern, path);
		}
		json_object_set_new(path, method, operation(r));
	}
	return json_pack("{ss s{ss ss ss} so s{so}}", "openapi", "3.1.0", "info", "title", "hvapi", "version",
			 HVAPID_VERSION, "description",
			 "One host: its VMs, their moves, its peers. Roles: viewer < operator < admin.", "paths",
			 paths, "components", "schemas", api_schemas());
}

void api_openapi(struct req *r)
{
	req_json(r, 200, openapi_document(api_routes));
}

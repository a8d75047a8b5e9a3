/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matches segment by segment; a name from a path is checked here, once, so
 * handlers may make file names and units of it.
 */
#include "hvapi/http/route.h"

#include <stdio.h>
#include <string.h>

bool route_name_ok(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n < ROUTE_PARAM_BYTES && s[0] != '.' && s[0] != '-' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

/* One segment "{name}" against the path's; false if it is too long to be one of our names. */
static bool take_param(const char *seg, size_t n, struct route_params *par)
{
	if (n >= ROUTE_PARAM_BYTES || par->n == ROUTE_PARAMS_MAX)
		return false;
	memcpy(par->v[par->n], seg, n);
	par->v[par->n][n] = '\0';
	return route_name_ok(par->v[par->n++]);
}

/* True if the shape fits; *names_ok tells whether the names in it are names. */
static bool match(const char *pattern, const char *path, struct route_params *par, bool *names_ok)
{
	*names_ok = true;
	par->n = 0;
	while (*pattern && *path) {
		size_t np = strcspn(pattern + 1, "/") + 1, n = strcspn(path + 1, "/") + 1;

		if (pattern[1] == '{') {
			if (n == 1)
				return false;
			*names_ok = take_param(path + 1, n - 1, par) && *names_ok;
		} else if (np != n || memcmp(pattern, path, n) != 0) {
			return false;
		}
		pattern += np;
		path += n;
	}
	return !*pattern && !*path;
}

enum route_found route_find(const struct route *table, const char *method, const char *path,
			    const struct route **out, struct route_params *par, char allow[ROUTE_ALLOW_BYTES])
{
	enum route_found found = ROUTE_NO_PATH;

	allow[0] = '\0';
	if (path[0] != '/')
		return ROUTE_NO_PATH;
	for (const struct route *r = table; r->method; r++) {
		struct route_params p;
		bool names_ok;
		size_t used = strlen(allow);

		if (!match(r->pattern, path, &p, &names_ok))
			continue;
		if (strcmp(r->method, method) != 0) {
			snprintf(allow + used, ROUTE_ALLOW_BYTES - used, "%s%s", used ? ", " : "", r->method);
			found = found == ROUTE_NO_PATH ? ROUTE_NO_METHOD : found;
			continue;
		}
		if (!names_ok)
			return ROUTE_BAD_NAME;
		*out = r;
		*par = p;
		return ROUTE_OK;
	}
	return found;
}

static const char *const roles[] = { "none", "viewer", "operator", "admin" };

const char *api_role_name(enum api_role r)
{
	return roles[r];
}

enum api_role api_role_parse(const char *s)
{
	for (enum api_role r = API_VIEWER; r <= API_ADMIN; r++)
		if (!strcmp(roles[r], s))
			return r;
	return API_NONE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client or a peer sends as the definition of a VM, and as a path.
 * A definition that passes must pass again unchanged, and hold only names
 * that may become paths; a path must never give a name that may not.
 * sources: hvapi/vm/vm_check.c hvapi/http/route.c dom0-tools/base/js.c dom0-tools/base/err.c dom0-tools/base/buf.c
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "hvapi/http/route.h"
#include "hvapi/vm/vm_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const struct route routes[] = {
	{ .method = "GET", .pattern = "/v1/vms/{name}/console" },
	{ .method = "GET", .pattern = "/{name}/{id}" },
	{ .method = NULL },
};

static void try_path(const uint8_t *p, size_t n)
{
	char path[256], allow[ROUTE_ALLOW_BYTES];
	const struct route *r;
	struct route_params par;
	size_t len = n < sizeof(path) - 1 ? n : sizeof(path) - 1;

	memcpy(path, p, len);
	path[len] = '\0';
	if (route_find(routes, "GET", path, &r, &par, allow) != ROUTE_OK)
		return;
	for (unsigned i = 0; i < par.n; i++)
		if (!route_name_ok(par.v[i]))
			abort();
}

static void try_vm(const uint8_t *p, size_t n)
{
	AUTO_JSON json_t *in = NULL, *vm = NULL, *again = NULL;
	struct err e = ERR_INIT;
	const char *target;

	if (js_parse((const char *)p, n, &in, &e) < 0 || vm_check(in, &vm, &e) < 0)
		return;
	if (vm_check(vm, &again, &e) < 0 || !json_equal(vm, again))
		abort();
	if (!route_name_ok(json_string_value(json_object_get(vm, "name"))))
		abort();
	target = json_string_value(json_object_get(json_array_get(json_object_get(vm, "disks"), 0), "target"));
	if (target && (strncmp(target, "/dev/", 5) || strstr(target, "/../")))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	try_path(p, n);
	try_vm(p, n);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as an xl.cfg: nothing ends the process, an error has a code and
 * a detail, and a VM has its fields and dumps as JSON.
 * sources: dom0-tools/xen/xl_cfg.c dom0-tools/xen/xl_cfg_scan.c
 * sources: dom0-tools/base/buf.c dom0-tools/base/err.c dom0-tools/base/js.c
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/js.h"
#include "xen/xl_cfg.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
const char *__lsan_default_suppressions(void);

/* libxlutil 4.17 leaks some values of a text with syntax errors; that is its own. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libxlutil.so\n";
}

static void check_vm(const json_t *vm)
{
	static const char *const texts[] = { "name", "uuid", "type", "boot", "cmdline", "on_poweroff", "on_reboot",
		"on_crash" };
	const char *kernel = json_string_value(json_object_get(vm, "kernel"));
	AUTO_FREE char *dump = json_dumps(vm, 0);

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (!json_is_string(json_object_get(vm, texts[i])))
			abort();
	if (!dump || !json_is_array(json_object_get(vm, "disks")) || !json_is_array(json_object_get(vm, "vifs")) ||
	    json_integer_value(json_object_get(vm, "memory_mib")) < 1 || (kernel && strchr(kernel, '/')))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	json_t *vm = NULL;
	struct err e = ERR_INIT;

	if (xl_cfg_parse((const char *)p, n, &vm, &e) == 0)
		check_vm(vm);
	else if (vm || e.code == ERR_NONE || e.code == ERR_INTERNAL || !*e.detail)
		abort();
	json_decref(vm);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libxl frees what it is given, so every string is a copy from malloc.
 */
#include "xen/xl_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxl_utils.h>

#include "base/buf.h"
#include "base/js.h"

enum { KIB_PER_MIB = 1024 };

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static int put_uuid(const json_t *vm, libxl_domain_config *c, struct err *e)
{
	const char *uuid;

	if (js_text(vm, "uuid", &uuid, e) < 0)
		return -1;
	if (libxl_uuid_from_string(&c->c_info.uuid, uuid))
		return err_set(e, ERR_USAGE, "uuid '%s' is none", uuid);
	return 0;
}

/* A file of the boot folder.  The definition may come from another host: it names no other file. */
static int put_file(const json_t *vm, const char *key, const char *boot_dir, char **out, struct err *e)
{
	const char *name = text_of(vm, key);

	if (!name || !*name)
		return 0;
	if (*name == '.' || strchr(name, '/'))
		return err_set(e, ERR_USAGE, "%s '%s' is not the name of a boot file", key, name);
	*out = mem_printf("%s/%s", boot_dir, name);
	return 0;
}

/* Guests that boot from their disk get the GRUB that does it. */
static int put_kernel(const json_t *vm, const char *boot_dir, bool pvh, libxl_domain_build_info *b, struct err *e)
{
	const char *boot = text_of(vm, "boot"), *cmdline = text_of(vm, "cmdline");

	if (boot && !strcmp(boot, "disk")) {
		b->kernel = mem_strdup(pvh ? XL_GRUB_PVH : XL_GRUB_PV);
		return 0;
	}
	if (cmdline && *cmdline)
		b->cmdline = mem_strdup(cmdline);
	if (put_file(vm, "kernel", boot_dir, &b->kernel, e) < 0 ||
	    put_file(vm, "ramdisk", boot_dir, &b->ramdisk, e) < 0)
		return -1;
	return b->kernel ? 0 : err_set(e, ERR_USAGE, "the VM names no kernel and does not boot from its disk");
}

static int put_build(libxl_ctx *ctx, const json_t *vm, const char *boot_dir, libxl_domain_config *c, struct err *e)
{
	libxl_domain_build_info *b = &c->b_info;
	uint64_t vcpus = 1, mib;

	if (js_u64(vm, "vcpus", 512, &vcpus, e) < 0 || js_u64(vm, "memory_mib", 1 << 24, &mib, e) < 0)
		return -1;
	libxl_domain_build_info_init_type(b, c->c_info.type);
	if (libxl_cpu_bitmap_alloc(ctx, &b->avail_vcpus, (int)vcpus))
		return err_set(e, ERR_XEN, "libxl cannot make a map of %llu vCPUs", (unsigned long long)vcpus);
	libxl_bitmap_set_none(&b->avail_vcpus);
	for (int i = 0; i < (int)vcpus; i++)
		libxl_bitmap_set(&b->avail_vcpus, i);
	b->max_vcpus = (int)vcpus;
	b->max_memkb = b->target_memkb = mib * KIB_PER_MIB;
	return put_kernel(vm, boot_dir, c->c_info.type == LIBXL_DOMAIN_TYPE_PVH, b, e);
}

static libxl_action_on_shutdown action_of(const json_t *vm, const char *key)
{
	const char *v = text_of(vm, key);

	/* hvdomd acts on the end of a domain by itself; libxl only records what was asked. */
	if (v && !strcmp(v, "restart"))
		return LIBXL_ACTION_ON_SHUTDOWN_RESTART;
	if (v && !strcmp(v, "preserve"))
		return LIBXL_ACTION_ON_SHUTDOWN_PRESERVE;
	return LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
}

int xl_build(libxl_ctx *ctx, const json_t *vm, const char *boot_dir, libxl_domain_config *out, struct err *e)
{
	const char *name, *type;

	libxl_domain_config_init(out);
	if (js_text(vm, "name", &name, e) < 0 || js_text(vm, "type", &type, e) < 0 || put_uuid(vm, out, e) < 0)
		return -1;
	out->c_info.name = mem_strdup(name);
	out->c_info.type = strcmp(type, "pv") ? LIBXL_DOMAIN_TYPE_PVH : LIBXL_DOMAIN_TYPE_PV;
	out->on_poweroff = action_of(vm, "on_poweroff");
	out->on_reboot = action_of(vm, "on_reboot");
	out->on_crash = action_of(vm, "on_crash");
	return put_build(ctx, vm, boot_dir, out, e);
}

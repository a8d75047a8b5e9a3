/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field by field.  Disk targets must be absolute paths below /dev: this
 * daemon's word makes hvdomd open them as root.
 */
#include "hvapi/vm/vm_check.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/js.h"
#include "hvapi/http/route.h"

static const char *const vm_keys[] = { "name", "uuid", "type", "memory_mib", "vcpus", "boot", "kernel", "ramdisk",
	"cmdline", "disks", "vifs", "on_poweroff", "on_reboot", "on_crash", NULL };
static const char *const disk_keys[] = { "vdev", "target", "mode", "format", NULL };
static const char *const vif_keys[] = { "mac", "bridge", NULL };
static const char *const types[] = { "pvh", "pv", NULL };
static const char *const boots[] = { "kernel", "disk", NULL };
static const char *const modes[] = { "rw", "ro", NULL };
static const char *const formats[] = { "raw", NULL };
static const char *const poweroffs[] = { "destroy", NULL };
static const char *const reboots[] = { "restart", "destroy", NULL };
static const char *const crashes[] = { "destroy", "restart", "preserve", NULL };

/* Text of [1, max) bytes without control characters. */
static int take_text(const json_t *in, const char *key, const char *fallback, size_t max, json_t *out, struct err *e)
{
	const char *s = fallback;

	if (js_opt_text(in, key, &s, e) < 0)
		return -1;
	if (!s)
		return err_set(e, ERR_USAGE, "field '%s' is missing", key);
	if (strlen(s) >= max)
		return err_set(e, ERR_USAGE, "field '%s' is longer than %zu bytes", key, max - 1);
	for (const char *p = s; *p; p++)
		if (iscntrl((unsigned char)*p))
			return err_set(e, ERR_USAGE, "field '%s' holds a control character", key);
	json_object_set_new(out, key, json_string(s));
	return 0;
}

static int take_choice(const json_t *in, const char *key, const char *fallback, const char *const *choices, json_t *out,
		       struct err *e)
{
	const char *s = fallback;

	if (js_opt_text(in, key, &s, e) < 0)
		return -1;
	for (size_t i = 0; s && choices[i]; i++) {
		if (strcmp(choices[i], s))
			continue;
		json_object_set_new(out, key, json_string(s));
		return 0;
	}
	err_set(e, ERR_USAGE, "field '%s' is '%.40s'", key, s ? s : "(missing)");
	return err_remedy(e, "it must be %s%s%s%s%s", choices[0], choices[1] ? ", " : "", choices[1] ? choices[1] : "",
			  choices[1] && choices[2] ? ", " : "", choices[1] && choices[2] ? choices[2] : "");
}

static int take_number(const json_t *in, const char *key, uint64_t fallback, uint64_t min, uint64_t max, json_t *out,
		       struct err *e)
{
	uint64_t v = fallback;

	if (js_opt_u64(in, key, max, &v, e) < 0)
		return -1;
	if (v < min)
		return err_set(e, ERR_USAGE, "field '%s' must be %llu to %llu", key, (unsigned long long)min,
			       (unsigned long long)max);
	json_object_set_new(out, key, json_integer((json_int_t)v));
	return 0;
}

/* A name of ours: of a VM, a boot file, a bridge. */
static int take_name(const json_t *in, const char *key, json_t *out, struct err *e)
{
	const char *s;

	if (js_text(in, key, &s, e) < 0)
		return -1;
	if (!route_name_ok(s)) {
		err_set(e, ERR_USAGE, "field '%s' is '%.70s'", key, s);
		return err_remedy(
			e, "it must be 1 to %d of letters, digits, '.', '_', '-', and not start with '.' or '-'",
			ROUTE_PARAM_BYTES - 1);
	}
	json_object_set_new(out, key, json_string(s));
	return 0;
}

static void random_bytes(uint8_t *p, size_t n)
{
	if (getrandom(p, n, 0) != (ssize_t)n)
		abort();	/* cannot fail for so few bytes once the system has booted */
}

static bool uuid_ok(const char *s)
{
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
			return false;
	}
	return s[36] == '\0';
}

static int take_uuid(const json_t *in, json_t *out, struct err *e)
{
	const char *s = NULL;
	uint8_t r[16];
	char text[37];

	if (js_opt_text(in, "uuid", &s, e) < 0)
		return -1;
	if (s && !uuid_ok(s))
		return err_set(e, ERR_USAGE, "field 'uuid' is '%.40s', not 8-4-4-4-12 hex digits", s);
	random_bytes(r, sizeof(r));
	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-4%01x%02x-a%01x%02x-%02x%02x%02x%02x%02x%02x", r[0],
		 r[1], r[2], r[3], r[4], r[5], r[6] & 15, r[7], r[8] & 15, r[9], r[10], r[11], r[12], r[13], r[14],
		 r[15]);
	for (size_t i = 0; s && i < sizeof(text); i++)
		text[i] = (char)tolower((unsigned char)s[i]);
	json_object_set_new(out, "uuid", json_string(text));
	return 0;
}

static int check_mac(const char *s, struct err *e)
{
	unsigned b[6];
	int n = 0;

	if (strlen(s) != 17 ||
	    sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &n) != 6 || n != 17)
		return err_set(e, ERR_USAGE, "field 'mac' is '%.20s', not six hex pairs with ':'", s);
	if (b[0] & 1)
		return err_set(e, ERR_USAGE, "field 'mac' is '%s', a group address", s);
	return 0;
}

static int take_mac(const json_t *in, json_t *out, struct err *e)
{
	const char *s = NULL;
	uint8_t r[3];
	char text[18];

	random_bytes(r, sizeof(r));
	snprintf(text, sizeof(text), "00:16:3e:%02x:%02x:%02x", r[0] & 0x7f, r[1], r[2]);
	if (js_opt_text(in, "mac", &s, e) < 0 || (s && check_mac(s, e) < 0))
		return -1;
	json_object_set_new(out, "mac", json_string(s ? s : text));
	return 0;
}

static int take_vif(const json_t *in, json_t *out, struct err *e)
{
	if (js_only(in, vif_keys, e) < 0 || take_mac(in, out, e) < 0)
		return -1;
	return take_name(in, "bridge", out, e);
}

static int check_target(const json_t *disk, struct err *e)
{
	const char *s = json_string_value(json_object_get(disk, "target"));

	if (!strncmp(s, "/dev/", 5) && s[5] && !strstr(s, "/../") && s[strlen(s) - 1] != '/')
		return 0;
	err_set(e, ERR_USAGE, "disk target '%.200s' is not a device", s);
	return err_remedy(e, "give a block device by its path below /dev, best one of /dev/disk/by-id");
}

static int take_disk(const json_t *in, json_t *out, struct err *e)
{
	if (js_only(in, disk_keys, e) < 0 || take_name(in, "vdev", out, e) < 0 ||
	    take_text(in, "target", NULL, VM_TEXT_BYTES_MAX, out, e) < 0 || check_target(out, e) < 0 ||
	    take_choice(in, "mode", "rw", modes, out, e) < 0)
		return -1;
	return take_choice(in, "format", "raw", formats, out, e);
}

static int take_list(const json_t *in, const char *key, size_t max,
		     int (*one)(const json_t *in, json_t *out, struct err *e), json_t *out, struct err *e)
{
	json_t *list = json_object_get(in, key), *made = json_array(), *v;
	size_t i;

	json_object_set_new(out, key, made);
	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return err_set(e, ERR_USAGE, "field '%s' must be a list", key);
	if (json_array_size(list) > max)
		return err_set(e, ERR_USAGE, "field '%s' has %zu entries, limit %zu", key, json_array_size(list), max);
	json_array_foreach(list, i, v) {
		json_t *o = json_object();

		json_array_append_new(made, o);
		if (!json_is_object(v))
			return err_set(e, ERR_USAGE, "%s[%zu] must be an object", key, i);
		if (one(v, o, e) < 0)
			return err_wrap(e, "%s[%zu]", key, i);
	}
	return 0;
}

static int check_vdevs(const json_t *vm, struct err *e)
{
	json_t *disks = json_object_get(vm, "disks");

	for (size_t i = 0; i < json_array_size(disks); i++) {
		json_t *a = json_object_get(json_array_get(disks, i), "vdev");

		for (size_t j = 0; j < i; j++)
			if (json_equal(a, json_object_get(json_array_get(disks, j), "vdev")))
				return err_set(e, ERR_USAGE, "two disks are '%s'", json_string_value(a));
	}
	return 0;
}

/* What it boots: kernel and ramdisk of ours, or the disk's own. */
static int take_boot(const json_t *in, json_t *out, struct err *e)
{
	const char *boot;

	if (take_choice(in, "boot", "kernel", boots, out, e) < 0 ||
	    take_text(in, "cmdline", "", VM_TEXT_BYTES_MAX, out, e) < 0)
		return -1;
	boot = json_string_value(json_object_get(out, "boot"));
	if (!strcmp(boot, "disk")) {
		if (json_object_get(in, "kernel") || json_object_get(in, "ramdisk"))
			return err_set(e, ERR_USAGE, "boot is 'disk', so 'kernel' and 'ramdisk' must not be there");
		if (!json_array_size(json_object_get(out, "disks")))
			return err_set(e, ERR_USAGE, "boot is 'disk', but there is no disk");
		return 0;
	}
	if (take_name(in, "kernel", out, e) < 0)
		return err_remedy(e, "name a file that PUT /v1/boot-files/NAME brought here");
	return json_object_get(in, "ramdisk") ? take_name(in, "ramdisk", out, e) : 0;
}

int vm_check(const json_t *vm, json_t **out, struct err *e)
{
	AUTO_JSON json_t *o = json_object();

	if (!json_is_object(vm))
		return err_set(e, ERR_USAGE, "the definition of a VM must be a JSON object");
	if (js_only(vm, vm_keys, e) < 0)
		return err_remedy(e, "docs/interfaces.md lists the fields of a VM; remove this one");
	if (take_name(vm, "name", o, e) < 0 || take_uuid(vm, o, e) < 0 ||
	    take_choice(vm, "type", "pvh", types, o, e) < 0 ||
	    take_number(vm, "memory_mib", 0, VM_MEMORY_MIB_MIN, VM_MEMORY_MIB_MAX, o, e) < 0 ||
	    take_number(vm, "vcpus", 1, 1, VM_VCPUS_MAX, o, e) < 0 ||
	    take_list(vm, "disks", VM_DISKS_MAX, take_disk, o, e) < 0 || check_vdevs(o, e) < 0 ||
	    take_list(vm, "vifs", VM_VIFS_MAX, take_vif, o, e) < 0 || take_boot(vm, o, e) < 0 ||
	    take_choice(vm, "on_poweroff", "destroy", poweroffs, o, e) < 0 ||
	    take_choice(vm, "on_reboot", "restart", reboots, o, e) < 0 ||
	    take_choice(vm, "on_crash", "destroy", crashes, o, e) < 0)
		return -1;
	*out = json_incref(o);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text -> scan of the keys (xl_cfg_scan.h) -> libxlutil -> VM, one take_*
 * function a part of the VM.
 */
#include "xen/xl_cfg.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <libxl.h>
#include <libxlutil.h>

#include "base/buf.h"
#include "base/js.h"
#include "xen/xl_cfg_scan.h"

#define BOOT_DIR "/data/boot/"

enum { UUID_BYTES = 16, NUMBER_MAX = 1 << 30 };

struct cfg {
	struct buf text;		/* a copy that ends with a newline */
	struct xl_cfg_keys keys;
	XLU_Config *xlu;
	FILE *report;			/* libxlutil's messages, into msg */
	char *msg;
	size_t msg_len;
};

static void cfg_fini(struct cfg *c)
{
	if (c->xlu)
		xlu_cfg_destroy(c->xlu);
	if (c->report)
		fclose(c->report);
	free(c->msg);
	buf_fini(&c->text);
}

static bool key_there(const struct cfg *c, const char *name)
{
	return xl_cfg_key_line(&c->keys, name) > 0;
}

/* An error about the value of a key: detail starts with file and line. */
static int refuse(const struct cfg *c, const char *key, struct err *e, const char *fmt, ...) PRINTF_LIKE(4, 5);
static int refuse(const struct cfg *c, const char *key, struct err *e, const char *fmt, ...)
{
	AUTO_BUF struct buf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return err_set(e, ERR_USAGE, "xl.cfg:%d: %s", xl_cfg_key_line(&c->keys, key), (const char *)b.p);
}

/* What libxlutil says is wrong: the first line of it, as the detail. */
static int refuse_reported(struct cfg *c, struct err *e)
{
	size_t n;

	fflush(c->report);
	n = c->msg ? strcspn(c->msg, "\n") : 0;
	if (!n)
		return err_set(e, ERR_INTERNAL, "libxlutil refused the file without a reason");
	for (size_t i = 0; i < n; i++)
		if (c->msg[i] < ' ' || c->msg[i] > '~')
			c->msg[i] = '?';
	err_set(e, ERR_USAGE, "%.*s", (int)n, c->msg);
	if (strstr(c->msg + n, "Python"))
		err_remedy(e, "an xl.cfg is a list of key = value, not Python; write the values out");
	return -1;
}

static int cfg_read(struct cfg *c, const char *text, size_t n, struct err *e)
{
	if (n > XL_CFG_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "xl.cfg of %zu bytes, limit %d", n, XL_CFG_BYTES_MAX);
	buf_put(&c->text, text, n);
	buf_put(&c->text, "\n", 2);
	c->text.len--;			/* the NUL is for the scan */
	if (xl_cfg_scan((const char *)c->text.p, c->text.len, &c->keys, e) < 0)
		return -1;
	c->report = open_memstream(&c->msg, &c->msg_len);
	c->xlu = c->report ? xlu_cfg_init(c->report, "xl.cfg") : NULL;
	if (!c->xlu)
		return err_sys(e, ENOMEM, "set up libxlutil");
	if (xlu_cfg_readdata(c->xlu, (const char *)c->text.p, (int)c->text.len))
		return refuse_reported(c, e);
	return xl_cfg_check_keys(&c->keys, e);
}

/* ---- values ----------------------------------------------------------------------------- */

/* Leaves *out alone if the key is not there.  Lives as long as c. */
static int get_text(struct cfg *c, const char *key, const char **out, struct err *e)
{
	int rc = xlu_cfg_get_string(c->xlu, key, out, 0);

	return rc && rc != ESRCH ? refuse_reported(c, e) : 0;
}

static int get_number(struct cfg *c, const char *key, long *out, struct err *e)
{
	int rc = xlu_cfg_get_bounded_long(c->xlu, key, 1, NUMBER_MAX, out, 0);

	return rc && rc != ESRCH ? refuse_reported(c, e) : 0;
}

static void put_text(json_t *o, const char *key, const char *s)
{
	json_object_set_new(o, key, json_string(s));
}

static int random_bytes(void *p, size_t n, struct err *e)
{
	return getrandom(p, n, 0) == (ssize_t)n ? 0 : err_sys(e, errno, "getrandom");
}

static int put_random_uuid(json_t *vm, struct err *e)
{
	uint8_t r[UUID_BYTES];
	AUTO_BUF struct buf b = { 0 };

	if (random_bytes(r, sizeof(r), e) < 0)
		return -1;
	r[6] = (uint8_t)(0x40 | (r[6] & 0x0f));		/* version 4, random */
	r[8] = (uint8_t)(0x80 | (r[8] & 0x3f));
	for (size_t i = 0; i < sizeof(r); i++)
		buf_printf(&b, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", r[i]);
	put_text(vm, "uuid", (const char *)b.p);
	return 0;
}

static int put_random_mac(json_t *vif, struct err *e)
{
	char mac[sizeof("00:16:3e:00:00:00")];
	uint8_t r[3];

	if (random_bytes(r, sizeof(r), e) < 0)
		return -1;
	snprintf(mac, sizeof(mac), "00:16:3e:%02x:%02x:%02x", r[0] & 0x7f, r[1], r[2]);
	put_text(vif, "mac", mac);
	return 0;
}

static int take_identity(struct cfg *c, json_t *vm, struct err *e)
{
	const char *name = NULL, *uuid = NULL;

	if (get_text(c, "name", &name, e) < 0 || get_text(c, "uuid", &uuid, e) < 0)
		return -1;
	if (!name)
		return err_set(e, ERR_USAGE, "xl.cfg: key 'name' is missing");
	put_text(vm, "name", name);
	if (!uuid)
		return put_random_uuid(vm, e);
	put_text(vm, "uuid", uuid);
	return 0;
}

static int take_type(struct cfg *c, json_t *vm, struct err *e)
{
	const char *type = "pv";	/* as xl has it */

	if (get_text(c, "type", &type, e) < 0)
		return -1;
	if (!strcmp(type, "hvm")) {
		refuse(c, "type", e, "type 'hvm' needs a device model, which this host does not run");
		return err_remedy(e, "write type = \"pvh\": Linux 4.11 and later run so; the console is hvc0");
	}
	if (strcmp(type, "pvh") && strcmp(type, "pv")) {
		refuse(c, "type", e, "type '%.40s' is not supported", type);
		return err_remedy(e, "it must be pvh or pv");
	}
	put_text(vm, "type", type);
	return 0;
}

static int take_size(struct cfg *c, json_t *vm, struct err *e)
{
	long memory = 0, maxmem, vcpus = 1;

	if (get_number(c, "memory", &memory, e) < 0 || get_number(c, "vcpus", &vcpus, e) < 0)
		return -1;
	maxmem = memory;
	if (get_number(c, "maxmem", &maxmem, e) < 0)
		return -1;
	if (!memory)
		return err_set(e, ERR_USAGE, "xl.cfg: key 'memory' is missing");
	if (maxmem != memory) {
		refuse(c, "maxmem", e, "maxmem %ld is not memory %ld: ballooning is not supported", maxmem, memory);
		return err_remedy(e, "remove maxmem, or set memory to what the guest may need at most");
	}
	json_object_set_new(vm, "memory_mib", json_integer(memory));
	json_object_set_new(vm, "vcpus", json_integer(vcpus));
	return 0;
}

typedef int take_one(struct cfg *c, const char *s, json_t *list, struct err *e);

static int take_list(struct cfg *c, const char *key, take_one *one, json_t *list, struct err *e)
{
	XLU_ConfigList *l;
	int n, rc = xlu_cfg_get_list(c->xlu, key, &l, &n, 0);

	if (rc)
		return rc == ESRCH ? 0 : refuse_reported(c, e);
	if (n > XL_CFG_ITEMS_MAX)
		return err_set(e, ERR_LIMIT, "xl.cfg: %s has %d entries, limit %d", key, n, XL_CFG_ITEMS_MAX);
	for (int i = 0; i < n; i++) {
		const char *s = xlu_cfg_get_listitem(l, i);

		if (!s)
			return refuse(c, key, e, "%s[%d] is a list, not text", key, i);
		if (one(c, s, list, e) < 0)
			return err_wrap(e, "%s[%d]", key, i);
	}
	return 0;
}

/* ---- disks ------------------------------------------------------------------------------ */

/* The first option that a disk of ours has no place for, or NULL. */
static const char *disk_option(const libxl_device_disk *d)
{
	bool colo = !libxl_defbool_is_default(d->colo_enable) || !libxl_defbool_is_default(d->colo_restore_enable);
	const struct { bool there; const char *name; } options[] = {
		{ d->script, "script" },
		{ d->backend_domname, "backend" },
		{ d->is_cdrom || d->removable, "devtype=cdrom" },
		{ d->direct_io_safe, "direct-io-safe" },
		{ !libxl_defbool_is_default(d->discard_enable), "discard" },
		{ !libxl_defbool_is_default(d->trusted), "trusted" },
		{ colo || d->colo_host || d->colo_port || d->colo_export, "colo" },
		{ d->active_disk, "active-disk" },
		{ d->hidden_disk, "hidden-disk" },
		{ d->specification == LIBXL_DISK_SPECIFICATION_VIRTIO, "specification=virtio" },
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (options[i].there)
			return options[i].name;
	return NULL;
}

static int put_disk(const struct cfg *c, const libxl_device_disk *d, json_t *list, struct err *e)
{
	const char *option = disk_option(d);

	if (option) {
		refuse(c, "disk", e, "disk option '%s' is not supported", option);
		return err_remedy(e, "a disk has target, vdev, access, format, backendtype; remove '%s'", option);
	}
	if (d->format != LIBXL_DISK_FORMAT_RAW) {
		refuse(c, "disk", e, "disk format '%s' is not supported", libxl_disk_format_to_string(d->format));
		return err_remedy(e, "copy the image to a block device (qemu-img convert -O raw) and name that");
	}
	if (d->backend != LIBXL_DISK_BACKEND_UNKNOWN && d->backend != LIBXL_DISK_BACKEND_PHY) {
		refuse(c, "disk", e, "disk backendtype '%s' is not supported",
		       libxl_disk_backend_to_string(d->backend));
		return err_remedy(e, "only phy is: name a block device by its path below /dev");
	}
	if (strncmp(d->pdev_path, "/dev/", 5)) {
		refuse(c, "disk", e, "disk target '%.200s' is not a device", d->pdev_path);
		return err_remedy(e, "give a block device by its whole path below /dev, best one of /dev/disk/by-id");
	}
	if (strncmp(d->vdev, "xvd", 3) || d->vdev[3] < 'a' || d->vdev[3] > 'p' || d->vdev[4]) {
		refuse(c, "disk", e, "disk vdev '%.40s' is not supported", d->vdev);
		return err_remedy(e, "it must be one of xvda to xvdp");
	}
	json_array_append_new(list, json_pack("{ss ss ss ss}", "vdev", d->vdev, "target", d->pdev_path,
					      "mode", d->readwrite ? "rw" : "ro", "format", "raw"));
	return 0;
}

static int take_disk(struct cfg *c, const char *spec, json_t *list, struct err *e)
{
	libxl_device_disk d;
	int rc;

	libxl_device_disk_init(&d);
	rc = xlu_disk_parse(c->xlu, 1, &spec, &d) ? refuse_reported(c, e) : put_disk(c, &d, list, e);
	libxl_device_disk_dispose(&d);
	return rc;
}

/* ---- vifs: the one syntax that libxlutil leaves to its caller --------------------------- */

static int take_vif_option(const struct cfg *c, char *option, json_t *vif, struct err *e)
{
	char *value = strchr(option, '=');

	if (value)
		*value++ = '\0';
	option[strcspn(option, " \t")] = '\0';
	if (strcmp(option, "mac") && strcmp(option, "bridge")) {
		refuse(c, "vif", e, "vif option '%.40s' is not supported", option);
		return err_remedy(e, "a vif has mac and bridge; remove '%.40s'", option);
	}
	if (!value || !value[strspn(value, " \t")])
		return refuse(c, "vif", e, "vif option '%s' has no value", option);
	if (json_object_get(vif, option))
		return refuse(c, "vif", e, "vif option '%s' is set twice", option);
	value += strspn(value, " \t");
	value[strcspn(value, " \t")] = '\0';
	put_text(vif, option, value);
	return 0;
}

static int take_vif(struct cfg *c, const char *text, json_t *list, struct err *e)
{
	AUTO_FREE char *copy = mem_strdup(text);
	AUTO_JSON json_t *vif = json_object();
	char *rest = copy, *option;

	while ((option = strsep(&rest, ","))) {
		option += strspn(option, " \t");
		if (*option && take_vif_option(c, option, vif, e) < 0)
			return -1;
	}
	if (!json_object_get(vif, "mac") && put_random_mac(vif, e) < 0)
		return -1;
	if (!json_object_get(vif, "bridge"))
		put_text(vif, "bridge", "xenbr0");
	json_array_append(list, vif);
	return 0;
}

static int take_devices(struct cfg *c, json_t *vm, struct err *e)
{
	json_t *disks = json_array(), *vifs = json_array();

	json_object_set_new(vm, "disks", disks);
	json_object_set_new(vm, "vifs", vifs);
	if (take_list(c, "disk", take_disk, disks, e) < 0)
		return -1;
	return take_list(c, "vif", take_vif, vifs, e);
}

/* ---- boot ------------------------------------------------------------------------------- */

/* "vmlinuz", "boot/vmlinuz" and "/data/boot/vmlinuz" are the same file. */
static int take_boot_file(struct cfg *c, const char *key, json_t *vm, struct err *e)
{
	static const char *const folders[] = { BOOT_DIR, "boot/" };
	const char *path = NULL, *name;

	if (get_text(c, key, &path, e) < 0)
		return -1;
	if (!path)
		return 0;
	name = path;
	for (size_t i = 0; i < ARRAY_LEN(folders) && name == path; i++)
		if (!strncmp(path, folders[i], strlen(folders[i])))
			name = path + strlen(folders[i]);
	if (!*name || strchr(name, '/')) {
		refuse(c, key, e, "%s '%.200s' is not a file of " BOOT_DIR, key, path);
		if (strstr(path, "grub"))
			return err_remedy(e, "remove it: a pvh guest without kernel boots with GRUB from its disk");
		return err_remedy(e, "bring it here with PUT /v1/boot-files/NAME, then write %s = \"NAME\"", key);
	}
	put_text(vm, key, name);
	return 0;
}

/* As xl: cmdline, or else root and extra joined.  Beside cmdline xl drops those two; here that is an error. */
static int take_cmdline(struct cfg *c, json_t *vm, struct err *e)
{
	const char *cmdline = NULL, *root = NULL, *extra = NULL;
	AUTO_BUF struct buf b = { 0 };

	if (get_text(c, "cmdline", &cmdline, e) < 0 || get_text(c, "root", &root, e) < 0 ||
	    get_text(c, "extra", &extra, e) < 0)
		return -1;
	if (cmdline && (root || extra)) {
		refuse(c, root ? "root" : "extra", e, "'%s' has no effect beside 'cmdline'", root ? "root" : "extra");
		return err_remedy(e, "put all of it into cmdline");
	}
	if (root)
		buf_printf(&b, "root=%s%s", root, extra ? " " : "");
	buf_printf(&b, "%s", extra ? extra : "");
	put_text(vm, "cmdline", cmdline ? cmdline : (const char *)b.p);
	return 0;
}

static int check_bootloader(struct cfg *c, struct err *e)
{
	const char *path = "pygrub", *slash;

	if (get_text(c, "bootloader", &path, e) < 0)
		return -1;
	slash = strrchr(path, '/');
	if (slash)
		path = slash + 1;
	if (!strcmp(path, "pygrub") || !strcmp(path, "pvgrub"))
		return 0;
	refuse(c, "bootloader", e, "bootloader '%.100s' is not supported", path);
	return err_remedy(e, "only pygrub and pvgrub are: both mean GRUB from the guest's first disk");
}

static int take_disk_boot(struct cfg *c, json_t *vm, struct err *e)
{
	static const char *const needs_kernel[] = { "ramdisk", "cmdline", "root", "extra" };

	for (size_t i = 0; i < ARRAY_LEN(needs_kernel); i++) {
		if (!key_there(c, needs_kernel[i]))
			continue;
		refuse(c, needs_kernel[i], e, "'%s' has no effect without 'kernel'", needs_kernel[i]);
		return err_remedy(e, "remove it: a guest that boots from its disk has it in its own grub.cfg");
	}
	if (!json_array_size(json_object_get(vm, "disks")))
		return err_set(e, ERR_USAGE, "xl.cfg: neither 'kernel' nor 'disk' is there: nothing to boot");
	if (strcmp(json_string_value(json_object_get(vm, "type")), "pvh")) {
		err_set(e, ERR_USAGE, "xl.cfg: 'kernel' is missing: a pv guest cannot boot from its disk");
		return err_remedy(e, "write type = \"pvh\" to boot from the disk, or name a kernel");
	}
	put_text(vm, "boot", "disk");
	put_text(vm, "cmdline", "");
	return 0;
}

static int take_boot(struct cfg *c, json_t *vm, struct err *e)
{
	if (check_bootloader(c, e) < 0)
		return -1;
	if (!key_there(c, "kernel"))
		return take_disk_boot(c, vm, e);
	if (key_there(c, "bootloader")) {
		refuse(c, "bootloader", e, "'bootloader' and 'kernel' exclude each other");
		return err_remedy(e, "remove kernel to boot from the disk, or bootloader to boot the kernel");
	}
	put_text(vm, "boot", "kernel");
	if (take_boot_file(c, "kernel", vm, e) < 0 || take_boot_file(c, "ramdisk", vm, e) < 0)
		return -1;
	return take_cmdline(c, vm, e);
}

/* ---- what happens at the guest's end ---------------------------------------------------- */

static int take_actions(struct cfg *c, json_t *vm, struct err *e)
{
	/* The first is xl's default. */
	static const struct { const char *key, *remedy, *allowed[3]; } actions[] = {
		{ "on_poweroff", "it must be destroy", { "destroy" } },
		{ "on_reboot", "it must be restart or destroy", { "restart", "destroy" } },
		{ "on_crash", "it must be destroy, restart or preserve", { "destroy", "restart", "preserve" } },
	};

	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		const char *const *allowed = actions[i].allowed, *key = actions[i].key, *s = allowed[0];
		bool ok = false;

		if (get_text(c, key, &s, e) < 0)
			return -1;
		for (size_t j = 0; j < ARRAY_LEN(actions[i].allowed) && allowed[j]; j++)
			ok = ok || !strcmp(allowed[j], s);
		if (!ok) {
			refuse(c, key, e, "%s '%.40s' is not supported", key, s);
			return err_remedy(e, "%s", actions[i].remedy);
		}
		put_text(vm, key, s);
	}
	return 0;
}

static int to_vm(struct cfg *c, json_t *vm, struct err *e)
{
	/* Devices before boot, which looks at them. */
	if (take_identity(c, vm, e) < 0 || take_type(c, vm, e) < 0 || take_size(c, vm, e) < 0 ||
	    take_devices(c, vm, e) < 0 || take_boot(c, vm, e) < 0)
		return -1;
	return take_actions(c, vm, e);
}

int xl_cfg_parse(const char *text, size_t n, json_t **out_vm, struct err *e)
{
	AUTO_JSON json_t *vm = json_object();
	struct cfg c = { .xlu = NULL };
	int rc = cfg_read(&c, text, n, e);

	if (rc == 0)
		rc = to_vm(&c, vm, e);
	cfg_fini(&c);
	if (rc == 0)
		*out_vm = json_incref(vm);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks are a table: each looks at one member of the OFFER and appends
 * what is wrong, so the operator hears of everything at once.
 */
#include "migrate/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <mbedtls/base64.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "xen/xhost.h"

enum {
	/* Xen needs page tables, grant and vCPU state beside the guest's own memory. */
	OVERHEAD_KIB = 8 << 10,
	OVERHEAD_PERCENT = 1,
	SERIAL_BYTES_MAX = 128,
	HOST_NAME_BYTES = 65,
};

static void problem(json_t *problems, const char *code, const char *severity, const char *remedy, const char *fmt, ...)
	PRINTF_LIKE(5, 6);

static void problem(json_t *problems, const char *code, const char *severity, const char *remedy, const char *fmt, ...)
{
	char detail[ERR_DETAIL_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	json_array_append_new(problems, json_pack("{s:s, s:s, s:s, s:s}", "code", code, "severity", severity,
						  "detail", detail, "remedy", remedy));
}

/* ---- disks: the same disk is the same size and the same serial or WWN ---- */

/* First line of a sysfs file of the block device; "" if there is none. */
static void sysfs_text(dev_t dev, const char *file, char out[SERIAL_BYTES_MAX])
{
	char path[128];
	AUTO_BUF struct buf b = { 0 };
	struct err ignored = ERR_INIT;

	*out = '\0';
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(dev), minor(dev), file);
	if (fd_read_file(path, 4096, &b, &ignored) < 0 || !b.len)
		return;
	const char *s = (const char *)b.p + strspn((const char *)b.p, " \n");

	snprintf(out, SERIAL_BYTES_MAX, "%.*s", (int)strcspn(s, "\n"), s);
}

static json_t *disk_id(const char *target, struct err *e)
{
	AUTO_FD int fd = open(target, O_RDONLY | O_CLOEXEC);
	char serial[SERIAL_BYTES_MAX], wwn[SERIAL_BYTES_MAX];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(e, errno, "open '%s'", target);
		return NULL;
	}
	if (!S_ISBLK(st.st_mode)) {
		err_set(e, ERR_REFUSED, "'%s' is no block device", target);
		return NULL;
	}
	off_t size = lseek(fd, 0, SEEK_END);

	sysfs_text(st.st_rdev, "serial", serial);
	sysfs_text(st.st_rdev, "device/wwid", wwn);
	return json_pack("{s:I, s:s, s:s}", "size", (json_int_t)size, "serial", serial, "wwn", wwn);
}

static json_t *disks_of(const json_t *vm, struct err *e)
{
	json_t *list = json_array();
	size_t i;
	const json_t *d;

	json_array_foreach(json_object_get(vm, "disks"), i, d) {
		json_t *id = disk_id(js_get_text(d, "target"), e);

		if (!id) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "vdev", js_get_text(d, "vdev"), "target",
						      js_get_text(d, "target"), "id", id));
	}
	return list;
}

static void check_disk(const json_t *d, json_t *problems)
{
	const char *vdev = js_get_text(d, "vdev"), *target = js_get_text(d, "target");
	const json_t *theirs = json_object_get(d, "id");
	struct err e = ERR_INIT;
	AUTO_JSON json_t *ours = disk_id(target, &e);

	if (!ours) {
		problem(problems, "disk-missing", "error", "connect the storage to this host, under the same name",
			"disk %s: %s", vdev, e.detail);
		return;
	}
	if (!*js_get_text(theirs, "serial") && !*js_get_text(theirs, "wwn")) {
		problem(problems, "disk-unknown", "error", "use storage that has a serial number or WWN",
			"disk %s: '%s' has no identity, so it cannot be told whether both hosts see the same", vdev,
			target);
		return;
	}
	if (!json_equal(json_object_get(theirs, "size"), json_object_get(ours, "size")) ||
	    strcmp(js_get_text(theirs, "serial"), js_get_text(ours, "serial")) ||
	    strcmp(js_get_text(theirs, "wwn"), js_get_text(ours, "wwn")))
		problem(problems, "disk-other", "error", "make the same disk reachable here under that name",
			"disk %s: '%s' is another disk here: serial '%s', there '%s'", vdev, target,
			js_get_text(ours, "serial"), js_get_text(theirs, "serial"));
}

static void check_disks(const json_t *offer, json_t *problems)
{
	size_t i;
	const json_t *d;

	json_array_foreach(json_object_get(offer, "disks"), i, d)
		check_disk(d, problems);
}

/* ---- memory, Xen, CPU, bridges ---- */

static void check_memory(const json_t *offer, json_t *problems)
{
	struct xhost_info info;
	struct err e = ERR_INIT;
	uint64_t need = 0;

	if (js_u64(offer, "memory_kib", INT64_MAX, &need, &e) < 0 || xhost_info(&info, &e) < 0) {
		problem(problems, "memory-unknown", "error", "look at the host's log", "%s", e.detail);
		return;
	}
	if (info.free_kib < need)
		problem(problems, "memory-short", "error", "stop or move away a guest of this host",
			"the guest needs %llu MiB, this host has %llu MiB free", (unsigned long long)need >> 10,
			(unsigned long long)info.free_kib >> 10);
}

/* "4.17" of "4.17.7": a stream of an older Xen is understood, one of a newer is not promised to be. */
static void check_xen(const json_t *offer, json_t *problems)
{
	struct xhost_info info;
	struct err e = ERR_INIT;
	const char *theirs = js_get_text(json_object_get(offer, "host"), "xen");
	unsigned a = 0, b = 0, c = 0, d = 0;

	if (xhost_info(&info, &e) < 0 || sscanf(theirs, "%u.%u", &a, &b) != 2 ||
	    sscanf(info.xen_version, "%u.%u", &c, &d) != 2) {
		problem(problems, "xen-version", "error", "update both hosts to one version",
			"Xen versions cannot be compared: '%.64s' there", theirs);
		return;
	}
	if (a > c || (a == c && b > d))
		problem(problems, "xen-version", "error", "update this host first",
			"Xen is %s here and %.64s there, which is newer", info.xen_version, theirs);
}

static void check_cpu(const json_t *offer, json_t *problems)
{
	const char *text = js_get_text(json_object_get(offer, "host"), "cpu_policy");
	uint8_t policy[XHOST_POLICY_BYTES_MAX];
	size_t n = 0;
	struct err e = ERR_INIT;

	if (mbedtls_base64_decode(policy, sizeof(policy), &n, (const uint8_t *)text, strlen(text)) != 0 || !n) {
		problem(problems, "cpu-incompatible", "error", "update both hosts to one version",
			"the guest's CPU policy is not readable");
		return;
	}
	if (xhost_policy_fits((struct span){ policy, n }, true, &e) < 0)
		problem(problems, "cpu-incompatible", "error", e.remedy, "%s", e.detail);
}

static void check_bridges(const json_t *offer, json_t *problems)
{
	size_t i;
	const json_t *v;

	json_array_foreach(json_object_get(json_object_get(offer, "vm"), "vifs"), i, v) {
		const char *bridge = js_get_text(v, "bridge");
		char path[64 + IFNAMSIZ];
		struct stat st;

		if (strlen(bridge) < IFNAMSIZ && *bridge && !strchr(bridge, '/') && *bridge != '.') {
			snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", bridge);
			if (stat(path, &st) == 0)
				continue;
		}
		problem(problems, "bridge-missing", "error",
			"make the bridge here, or give the guest's vif another one",
			"vif %zu: bridge '%.32s' is not on this host", i, bridge);
	}
}

static void check_type(const json_t *offer, json_t *problems)
{
	if (!strcmp(js_get_text(json_object_get(offer, "vm"), "type"), "pv"))
		problem(problems, "pv-guest", "error", "save it there and restore it here, or make it a PVH guest",
			"PV guests cannot move while they run: Xen without shadow paging cannot track what they write");
}

void facts_check(const json_t *offer, json_t *problems)
{
	static void (*const checks[])(const json_t *offer, json_t *problems) = {
		check_type, check_memory, check_xen, check_cpu, check_bridges, check_disks,
	};

	for (size_t i = 0; i < ARRAY_LEN(checks); i++)
		checks[i](offer, problems);
}

/* ---- the source ---- */

static json_t *host_facts(uint32_t domid, struct err *e)
{
	AUTO_BUF struct buf policy = { 0 };
	struct xhost_info info;
	char name[HOST_NAME_BYTES] = "";
	size_t n = 0;

	if (xhost_info(&info, e) < 0 || xhost_policy_of(domid, &policy, e) < 0)
		return NULL;
	gethostname(name, sizeof(name) - 1);
	size_t room = policy.len * 2 + 8;
	AUTO_FREE uint8_t *text = mem_alloc(room);

	if (mbedtls_base64_encode(text, room, &n, policy.p, policy.len) != 0) {
		err_set(e, ERR_INTERNAL, "encode a CPU policy of %zu bytes", policy.len);
		return NULL;
	}
	return json_pack("{s:s, s:s, s:s}", "xen", info.xen_version, "name", name, "cpu_policy", (const char *)text);
}

json_t *facts_offer(const json_t *vm, uint32_t domid, struct err *e)
{
	AUTO_JSON json_t *host = host_facts(domid, e);
	AUTO_JSON json_t *disks = host ? disks_of(vm, e) : NULL;
	uint64_t kib = (uint64_t)json_integer_value(json_object_get(vm, "memory_mib")) << 10;

	if (!disks)
		return NULL;
	kib += kib * OVERHEAD_PERCENT / 100 + OVERHEAD_KIB;
	return json_pack("{s:O, s:O, s:I}", "host", host, "disks", disks, "memory_kib", (json_int_t)kib);
}

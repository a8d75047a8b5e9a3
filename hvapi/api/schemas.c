/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The named JSON shapes of the API, as JSON Schema.  Short texts: `T` a
 * string, `N` an integer, `B` a boolean, `O` any object; `[X]` a list, `@X`
 * another schema; a trailing `?` may be absent or null; `a|b` one of these
 * words.
 */
#include <string.h>

#include "base/buf.h"
#include "hvapi/api/routes.h"

struct member {
	const char *name;
	const char *type;
};

enum { MEMBERS_MAX = 20 };

static const struct {
	const char *name;
	struct member m[MEMBERS_MAX];
} schemas[] = {
	{ "Empty", { { NULL, NULL } } },
	{ "Problem", { { "type", "T" }, { "code", "T" }, { "title", "T" }, { "status", "N" },
		{ "detail", "T" }, { "remedy", "T" }, { "problems", "[@Finding]?" } } },
	{ "Finding", { { "code", "T" }, { "detail", "T" }, { "remedy", "T" },
		{ "severity", "error|warning" } } },
	{ "Error", { { "code", "T" }, { "detail", "T" }, { "remedy", "T" }, { "problems", "[@Finding]?" } } },
	{ "Host", { { "name", "T?" }, { "version", "T" }, { "fingerprint", "T?" }, { "boot_id", "T?" },
		{ "uptime_ms", "N?" }, { "cpus", "N" }, { "memory", "@Memory" }, { "xen", "O?" },
		{ "network", "[O]?" }, { "data", "O" }, { "pins", "N?" }, { "ktls", "B?" }, { "vms", "O" },
		{ "units", "[O]?" }, { "phases", "[O]?" } } },
	{ "Memory", { { "dom0_total_mib", "N" }, { "dom0_available_mib", "N" }, { "guests_mib", "N" } } },
	{ "KillUnit", { { "unit", "text" } } },
	{ "Shutdown", { { "mode", "poweroff|reboot" }, { "guests", "shutdown|destroy?" } } },
	{ "PairingCodeRequest", { { "role", "peer|admin|operator|viewer" }, { "name", "T?" },
		{ "ttl_s", "N?" } } },
	{ "PairingCode", { { "code", "T" }, { "expires_ms", "N" }, { "role", "peer|admin|operator|viewer" } } },
	{ "Peer", { { "name", "T" }, { "fingerprint", "T" }, { "role", "peer|admin|operator|viewer" },
		{ "address", "T?" }, { "not_after_ms", "N?" } } },
	{ "Peers", { { "peers", "[@Peer]" } } },
	{ "PairRequest", { { "address", "T" }, { "code", "T" }, { "name", "T?" } } },
	{ "PeerChange", { { "address", "T" } } },
	{ "Identity", { { "name", "T" }, { "fingerprint", "T" }, { "not_after_ms", "N?" }, { "ktls", "B?" },
		{ "listen", "[T]?" } } },
	{ "Certs", { { "identity", "@Identity" }, { "pins", "[@Peer]" } } },
	{ "Disk", { { "vdev", "T" }, { "target", "T" }, { "mode", "rw|ro?" }, { "format", "raw?" } } },
	{ "Vif", { { "mac", "T?" }, { "bridge", "T" } } },
	{ "VM", { { "name", "T" }, { "uuid", "T?" }, { "type", "pvh|pv?" }, { "memory_mib", "N" },
		{ "vcpus", "N?" }, { "boot", "kernel|disk?" }, { "kernel", "T?" }, { "ramdisk", "T?" },
		{ "cmdline", "T?" }, { "disks", "[@Disk]?" }, { "vifs", "[@Vif]?" },
		{ "on_poweroff", "destroy?" }, { "on_reboot", "restart|destroy?" },
		{ "on_crash", "destroy|restart|preserve?" } } },
	{ "VmInfo", { { "name", "T" }, { "uuid", "T" }, { "state", "T" }, { "domid", "N?" },
		{ "generation", "N" }, { "autostart", "B" }, { "since_ms", "N?" }, { "reason", "T?" },
		{ "saved", "B" }, { "peer", "T?" }, { "job", "T?" }, { "config", "@VM" } } },
	{ "Vms", { { "vms", "[@VmInfo]" } } },
	{ "VmChange", { { "autostart", "B?" } } },
	{ "MigrateRequest", { { "to", "T" }, { "check_only", "B?" }, { "max_downtime_ms", "N?" },
		{ "max_rounds", "N?" }, { "on_stall", "throttle|stop|abort?" }, { "streams", "N?" },
		{ "compress", "auto|none|zlib|zstd?" }, { "rate", "N?" } } },
	{ "ResolveRequest", { { "outcome", "ask|here|away?" }, { "accept_risk", "B?" } } },
	{ "Job", { { "id", "T" }, { "kind", "start|restore|save|migrate|check|receive" }, { "vm", "T" },
		{ "who", "T" }, { "state", "queued|running|in-doubt|done|failed|cancelled" },
		{ "progress", "O" }, { "result", "O?" }, { "error", "@Error?" }, { "peer", "T?" },
		{ "created_ms", "N" }, { "started_ms", "N" }, { "ended_ms", "N" } } },
	{ "JobAnswer", { { "job", "@Job" } } },
	{ "Jobs", { { "jobs", "[@Job]" } } },
	{ "Event", { { "id", "N" }, { "time_ms", "N" }, { "type", "T" }, { "vm", "T?" }, { "job", "T?" },
		{ "text", "T" }, { "data", "O" } } },
	{ "Events", { { "events", "[@Event]" }, { "last", "N" } } },
	{ "BootFile", { { "name", "T" }, { "bytes", "N" }, { "modified_ms", "N?" }, { "used_by", "[T]?" } } },
	{ "BootFiles", { { "boot_files", "[@BootFile]" } } },
};

static json_t *words(const char *s, size_t n)
{
	json_t *list = json_array();

	while (n) {
		const char *bar = memchr(s, '|', n);
		size_t len = bar ? (size_t)(bar - s) : n;

		json_array_append_new(list, json_stringn(s, len));
		s += len + (bar != NULL);
		n -= len + (bar != NULL);
	}
	return json_pack("{ss so}", "type", "string", "enum", list);
}

/* One type text of n bytes, without its '?'. */
static json_t *type_of(const char *s, size_t n)
{
	if (*s == '[')
		return json_pack("{ss so}", "type", "array", "items", type_of(s + 1, n - 2));
	if (*s == '@')
		return json_pack("{so}", "$ref", json_sprintf("#/components/schemas/%.*s", (int)n - 1, s + 1));
	if (n > 1)
		return words(s, n);
	return json_pack("{ss}", "type",
			 *s == 'T' ? "string" : *s == 'N' ? "integer" : *s == 'B' ? "boolean" : "object");
}

static json_t *schema_of(const struct member *m)
{
	json_t *properties = json_object(), *required = json_array();

	for (size_t i = 0; i < MEMBERS_MAX && m[i].name; i++) {
		size_t n = strlen(m[i].type);
		bool optional = m[i].type[n - 1] == '?';

		json_object_set_new(properties, m[i].name, type_of(m[i].type, n - optional));
		if (!optional)
			json_array_append_new(required, json_string(m[i].name));
	}
	return json_pack("{ss so so}", "type", "object", "properties", properties, "required", required);
}

json_t *api_schemas(void)
{
	json_t *o = json_object();

	for (size_t i = 0; i < ARRAY_LEN(schemas); i++)
		json_object_set_new(o, schemas[i].name, schema_of(schemas[i].m));
	return o;
}

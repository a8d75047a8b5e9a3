/* SPDX-License-Identifier: Apache-2.0 */
/* Validation of host.json and of the command line; every error names its field. */
#include "init/host_cfg.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/js.h"

void host_cfg_init(struct host_cfg *c)
{
	*c = (struct host_cfg){ .bridge = "xenbr0", .hostname = "hvapi" };
	c->uplink = (struct host_nic){ .wanted = true, .dhcp = true };
}

static int set_hostname(struct host_cfg *c, const char *text, struct err *e)
{
	size_t n = strlen(text);

	if (n == 0 || n > 63 || text[0] == '-' || text[n - 1] == '-' ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != n)
		return err_set(e, ERR_USAGE, "hostname '%.70s': must be 1 to 63 letters, digits and '-', "
			       "'-' not first or last", text);
	snprintf(c->hostname, sizeof(c->hostname), "%s", text);
	return 0;
}

static int parse_ip(const char *field, const char *text, uint32_t *out, struct err *e)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		return err_set(e, ERR_USAGE, "%s '%.60s': must be an IPv4 address", field, text);
	*out = a.s_addr;
	return 0;
}

int host_cfg_address(const char *text, uint32_t *ip, unsigned *prefix, struct err *e)
{
	char addr[20];
	const char *slash = strchr(text, '/');
	char *end = NULL;
	unsigned long len = slash ? strtoul(slash + 1, &end, 10) : 0;

	if (!slash || (size_t)(slash - text) >= sizeof(addr) || *end || len < 1 || len > 32 ||
	    slash[1] < '0' || slash[1] > '9')
		return err_set(e, ERR_USAGE, "address '%.60s': must be like 10.77.0.1/24", text);
	snprintf(addr, sizeof(addr), "%.*s", (int)(slash - text), text);
	if (parse_ip("address", addr, ip, e) < 0)
		return -1;
	*prefix = (unsigned)len;
	return 0;
}

static bool mac_ok(const char *s)
{
	size_t i;

	for (i = 0; i < 17; i++) {
		char c = s[i];
		bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');

		if (i % 3 == 2 ? c != ':' : !hex)
			return false;
	}
	return s[17] == '\0';
}

static bool ifname_ok(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n < 16 && s[0] != '.' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int set_mac(const char *field, const char *text, char out[HOST_IF_BYTES], struct err *e)
{
	if (!mac_ok(text))
		return err_set(e, ERR_USAGE, "%s '%.40s': must be a MAC like 52:54:00:77:00:01", field, text);
	snprintf(out, HOST_IF_BYTES, "%s", text);
	for (char *p = out; *p; p++)
		if (*p >= 'A' && *p <= 'F')
			*p = (char)(*p - 'A' + 'a');
	return 0;
}

/* What the uplink and the management NIC have in common. */
static int read_nic(const json_t *o, struct host_nic *n, struct err *e)
{
	const char *address = NULL, *gateway = NULL;

	if (js_opt_text(o, "address", &address, e) < 0 || js_opt_text(o, "gateway", &gateway, e) < 0)
		return -1;
	n->dhcp = !address;
	if (js_opt_bool(o, "dhcp", &n->dhcp, e) < 0)
		return -1;
	if (address && n->dhcp)
		return err_set(e, ERR_USAGE, "'address' and 'dhcp': true exclude each other");
	if (gateway && !address)
		return err_set(e, ERR_USAGE, "'gateway' needs an 'address'");
	if (address && host_cfg_address(address, &n->ip, &n->prefix, e) < 0)
		return -1;
	return gateway ? parse_ip("gateway", gateway, &n->gateway, e) : 0;
}

static int read_dns(const json_t *o, struct host_cfg *c, struct err *e)
{
	const json_t *list = json_object_get(o, "dns");

	if (!list)
		return 0;
	if (!json_is_array(list) || json_array_size(list) > HOST_DNS_MAX)
		return err_set(e, ERR_USAGE, "'dns': must be a list of at most %d addresses", HOST_DNS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));

		if (!s)
			return err_set(e, ERR_USAGE, "'dns[%zu]': must be text", i);
		if (parse_ip("dns", s, &c->dns[i], e) < 0)
			return -1;
		c->n_dns = (unsigned)i + 1;
	}
	return 0;
}

static int read_network(const json_t *o, struct host_cfg *c, struct err *e)
{
	static const char *const known[] = { "bridge", "uplink_mac", "address", "gateway", "dns", "dhcp", NULL };
	const char *bridge = NULL, *mac = NULL;

	if (js_only(o, known, e) < 0 || js_opt_text(o, "bridge", &bridge, e) < 0 ||
	    js_opt_text(o, "uplink_mac", &mac, e) < 0 || read_nic(o, &c->uplink, e) < 0 || read_dns(o, c, e) < 0)
		return -1;
	if (bridge && !ifname_ok(bridge))
		return err_set(e, ERR_USAGE, "bridge '%.40s': must be 1 to 15 letters, digits, '.', '_', '-'", bridge);
	if (bridge)
		snprintf(c->bridge, sizeof(c->bridge), "%s", bridge);
	return mac ? set_mac("uplink_mac", mac, c->uplink.match, e) : 0;
}

static int read_management(const json_t *o, struct host_cfg *c, struct err *e)
{
	static const char *const known[] = { "mac", "address", "gateway", "dhcp", NULL };
	const char *mac = NULL;

	if (js_only(o, known, e) < 0 || js_text(o, "mac", &mac, e) < 0 || read_nic(o, &c->management, e) < 0)
		return -1;
	c->management.wanted = true;
	return set_mac("mac", mac, c->management.match, e);
}

static int read_data(const json_t *o, struct host_cfg *c, struct err *e)
{
	static const char *const known[] = { "disk", "format_if_empty", NULL };
	const char *disk = NULL;

	if (js_only(o, known, e) < 0 || js_opt_text(o, "disk", &disk, e) < 0 ||
	    js_opt_bool(o, "format_if_empty", &c->data_format, e) < 0)
		return -1;
	if (disk && (!disk[0] || strlen(disk) >= sizeof(c->data_disk)))
		return err_set(e, ERR_USAGE, "disk '%.60s': must be a serial number or a path below /dev", disk);
	if (disk)
		snprintf(c->data_disk, sizeof(c->data_disk), "%s", disk);
	return 0;
}

static const struct {
	const char *name;
	int (*read)(const json_t *o, struct host_cfg *c, struct err *e);
} sections[] = {
	{ "network", read_network },
	{ "management", read_management },
	{ "data", read_data },
};

static int read_sections(const json_t *o, struct host_cfg *c, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
		const json_t *s = json_object_get(o, sections[i].name);

		if (!s || json_is_null(s))
			continue;
		if (!json_is_object(s))
			return err_set(e, ERR_USAGE, "'%s': must be an object", sections[i].name);
		if (sections[i].read(s, c, e) < 0)
			return err_wrap(e, "%s", sections[i].name);
	}
	return 0;
}

int host_cfg_read(struct host_cfg *c, const char *json, size_t n, struct err *e)
{
	static const char *const known[] = { "hostname", "network", "management", "data", NULL };
	struct host_cfg t = *c;
	const char *hostname = NULL;
	AUTO_JSON json_t *o = NULL;

	if (n > HOST_JSON_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "larger than %d bytes", HOST_JSON_BYTES_MAX);
	if (js_parse(json, n, &o, e) < 0)
		return -1;
	if (!json_is_object(o))
		return err_set(e, ERR_USAGE, "must be an object");
	if (js_only(o, known, e) < 0 || js_opt_text(o, "hostname", &hostname, e) < 0 ||
	    (hostname && set_hostname(&t, hostname, e) < 0) || read_sections(o, &t, e) < 0)
		return -1;
	t.from_file = true;
	*c = t;
	return 0;
}

static int cmd_hostname(struct host_cfg *c, const char *v, struct err *e)
{
	return set_hostname(c, v, e);
}

static int cmd_address(struct host_cfg *c, const char *v, struct err *e)
{
	if (host_cfg_address(v, &c->uplink.ip, &c->uplink.prefix, e) < 0)
		return -1;
	c->uplink.dhcp = false;
	c->from_cmdline = true;
	return 0;
}

static int cmd_gateway(struct host_cfg *c, const char *v, struct err *e)
{
	return parse_ip("gateway", v, &c->uplink.gateway, e);
}

static int cmd_uplink(struct host_cfg *c, const char *v, struct err *e)
{
	if (strchr(v, ':'))
		return set_mac("uplink", v, c->uplink.match, e);
	if (!ifname_ok(v))
		return err_set(e, ERR_USAGE, "uplink '%.40s': must be a MAC or an interface's name", v);
	snprintf(c->uplink.match, sizeof(c->uplink.match), "%s", v);
	return 0;
}

static int cmd_data(struct host_cfg *c, const char *v, struct err *e)
{
	if (strcmp(v, "format") != 0)
		return err_set(e, ERR_USAGE, "data '%.40s': the only value is 'format'", v);
	c->data_format = true;
	return 0;
}

static int cmd_debug(struct host_cfg *c, const char *v, struct err *e)
{
	(void)v;
	(void)e;
	c->debug = true;
	return 0;
}

static const struct {
	const char *key;
	int (*set)(struct host_cfg *c, const char *v, struct err *e);
} cmd_keys[] = {
	{ "hvapi.hostname=", cmd_hostname }, { "hvapi.address=", cmd_address }, { "hvapi.gateway=", cmd_gateway },
	{ "hvapi.uplink=", cmd_uplink },     { "hvapi.data=", cmd_data },       { "hvapi.debug", cmd_debug },
};

static int cmd_word(struct host_cfg *c, const char *word, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(cmd_keys); i++) {
		size_t n = strlen(cmd_keys[i].key);

		if (strncmp(word, cmd_keys[i].key, n) != 0 || (cmd_keys[i].key[n - 1] != '=' && word[n]))
			continue;
		return cmd_keys[i].set(c, word + n, e) < 0 ? err_wrap(e, "hvapi") : 0;
	}
	return err_set(e, ERR_USAGE, "'%.60s' is no key of ours", word);
}

int host_cfg_cmdline(struct host_cfg *c, const char *cmdline, struct err *e)
{
	char word[256];
	struct err first = ERR_INIT;

	while (*cmdline) {
		size_t n = strcspn(cmdline, " \t\n");

		snprintf(word, sizeof(word), "%.*s", (int)(n < sizeof(word) ? n : sizeof(word) - 1), cmdline);
		cmdline += n;
		cmdline += strspn(cmdline, " \t\n");
		if (strncmp(word, "hvapi.", 6) == 0 && cmd_word(c, word, e) < 0 && first.code == ERR_NONE)
			first = *e;
	}
	if (first.code == ERR_NONE)
		return 0;
	*e = first;
	return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the same tokens as libxlutil's lexer (libxlu_cfg_l.l).
 */
#include "xen/xl_cfg_scan.h"

#include <stdio.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static const char *const supported[] = { "name", "uuid", "type", "memory", "maxmem", "vcpus", "kernel", "ramdisk",
	"cmdline", "root", "extra", "bootloader", "disk", "vif", "on_poweroff", "on_reboot", "on_crash" };

/* Keys that many files have: what to do instead. */
static const struct { const char *key, *remedy; } refused[] = {
	{ "builder", "write type = \"pvh\" or \"pv\"; hvm guests need a device model, which this host does not run" },
	{ "maxvcpus", "remove it: a VM keeps the number of vCPUs it starts with; set vcpus" },
	{ "pci", "remove it: a VM with a passed-through device could not move to another host" },
	{ "vfb", "remove it: the guest's console is text; `hvapi console` shows it" },
	{ "vnc", "remove it: the guest's console is text; `hvapi console` shows it" },
	{ "serial", "remove it: the guest's console is hvc0; `hvapi console` shows it" },
	{ "cpus", "remove it: vCPUs are not pinned, so that the VM can move to another host" },
	{ "firmware", "remove it: firmware is for hvm guests; without kernel a pvh guest boots from its disk" },
	{ "boot", "remove it: without kernel a pvh guest boots from its first disk" },
};

static int scan_byte(const char *p, int line, struct err *e)
{
	if ((*p >= ' ' && *p <= '~') || *p == '\t' || *p == '\n')
		return 0;
	err_set(e, ERR_USAGE, "xl.cfg:%d: byte 0x%02x is not plain text", line, (unsigned char)*p);
	return err_remedy(e, "%s", *p == '\r' ? "write the file with Unix line ends" :
					       "use ASCII only; comments may hold any text");
}

/* p: at the quote.  *out: behind the closing one. */
static int scan_string(const char *p, int line, const char **out, struct err *e)
{
	char quote = *p++;

	for (; *p != quote; p++) {
		if (*p == '\n')
			return err_set(e, ERR_USAGE, "xl.cfg:%d: string does not end on its line", line);
		if (scan_byte(p, line, e) < 0)
			return -1;
		if (*p != '\\')
			continue;
		if (!strchr("\\\"'", *++p) || !*p) {
			err_set(e, ERR_USAGE, "xl.cfg:%d: escape '\\%c' in a string is not supported", line,
				*p >= ' ' && *p <= '~' ? *p : '?');
			return err_remedy(e, "only \\\\, \\\" and \\' may be written with a backslash");
		}
	}
	*out = p + 1;
	return 0;
}

/* p: at a key of n bytes. */
static int scan_key(struct xl_cfg_keys *keys, const char *p, size_t n, int line, struct err *e)
{
	struct xl_cfg_key *k = &keys->v[keys->n];

	if (n >= XL_CFG_KEY_BYTES)
		return err_set(e, ERR_USAGE, "xl.cfg:%d: key '%.20s...' is not supported", line, p);
	if (keys->n == XL_CFG_KEYS_MAX)
		return err_set(e, ERR_LIMIT, "xl.cfg:%d: more than %d keys", line, XL_CFG_KEYS_MAX);
	memcpy(k->name, p, n);
	k->name[n] = '\0';
	k->line = line;
	k->add = p[n + strspn(p + n, " \t")] == '+';
	keys->n++;
	return 0;
}

int xl_cfg_scan(const char *text, size_t n_text, struct xl_cfg_keys *keys, struct err *e)
{
	const char *p = text, *end = text + n_text;

	for (int line = 1; p < end;) {
		if (scan_byte(p, line, e) < 0)
			return -1;
		if (*p == '\n') {
			line++;
			p++;
		} else if (*p == '#') {
			p = memchr(p, '\n', (size_t)(end - p));
		} else if (*p == '"' || *p == '\'') {
			if (scan_string(p, line, &p, e) < 0)
				return -1;
		} else if (*p >= '0' && *p <= '9') {
			p += strspn(p, DIGITS "abcdefx");
		} else if (*p >= 'a' && *p <= 'z') {
			size_t n = strspn(p, LOWER DIGITS "_.");

			if (scan_key(keys, p, n, line, e) < 0)
				return -1;
			p += n;
		} else {
			p++;
		}
	}
	return 0;
}

static int check_key(const struct xl_cfg_keys *keys, const struct xl_cfg_key *k, struct err *e)
{
	for (const struct xl_cfg_key *o = keys->v; o < k; o++)
		if (!k->add && !strcmp(o->name, k->name))
			return err_set(e, ERR_USAGE, "xl.cfg:%d: '%s' is set already in line %d", k->line, k->name,
				       o->line);
	for (size_t i = 0; i < ARRAY_LEN(supported); i++)
		if (!strcmp(k->name, supported[i]))
			return 0;
	err_set(e, ERR_USAGE, "xl.cfg:%d: key '%s' is not supported", k->line, k->name);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (!strcmp(k->name, refused[i].key))
			return err_remedy(e, "%s", refused[i].remedy);
	err_remedy(e, "remove it; supported are");
	for (size_t i = 0; i < ARRAY_LEN(supported); i++) {
		size_t n = strlen(e->remedy);

		snprintf(e->remedy + n, sizeof(e->remedy) - n, "%s %s", i ? "," : "", supported[i]);
	}
	return -1;
}

int xl_cfg_check_keys(const struct xl_cfg_keys *keys, struct err *e)
{
	for (size_t i = 0; i < keys->n; i++)
		if (check_key(keys, &keys->v[i], e) < 0)
			return -1;
	return 0;
}

int xl_cfg_key_line(const struct xl_cfg_keys *keys, const char *name)
{
	for (size_t i = keys->n; i-- > 0;)
		if (!strcmp(keys->v[i].name, name))
			return keys->v[i].line;
	return 0;
}

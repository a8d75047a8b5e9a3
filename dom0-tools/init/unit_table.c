/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unit table of the appliance.  xenstored is not restarted: its database
 * dies with it and every domain holds state there, so a second one would lie.
 */
#include "init/unit_table.h"

#include <string.h>

#define XEN_BIN "/usr/lib/xen-4.17/bin/"

const struct unit_def unit_table[] = {
	{ .pattern = "xenstored", .program = XEN_BIN "xenstored",
	  .args = { "--no-fork", "--pid-file", "/run/xenstored.pid", "--internal-db" },
	  .restart = UNIT_NEVER, .oom_adj = -1000 },
	{ .pattern = "xen-init-dom0", .program = XEN_BIN "xen-init-dom0", .restart = UNIT_NEVER },
	{ .pattern = "xenconsoled", .program = XEN_BIN "xenconsoled",
	  .args = { "--interactive", "--log=guest", "--log-dir=/var/log/xen/console" },
	  .restart = UNIT_ALWAYS, .oom_adj = -900 },
	{ .pattern = "mkfs", .program = "/usr/sbin/mkfs.xfs",
	  .args = { "-q", "-K", "-m", "reflink=1", "-L", "HVDATA" },
	  .restart = UNIT_NEVER, .args_max = 4 },
	/* The rest of the drivers: seconds under emulation, so not inside the manager. */
	{ .pattern = "drivers", .program = "hvinit", .args = { "--drivers" }, .restart = UNIT_NEVER },
	{ .pattern = "hvtls", .program = "hvtls", .uid = USER_HVTLS, .flags = UNIT_DIRS | UNIT_SPAWN,
	  .restart = UNIT_ALWAYS, .args_max = 8, .oom_adj = -500 },
	{ .pattern = "hvapid", .program = "hvapid", .uid = USER_HVAPID, .flags = UNIT_DIRS,
	  .restart = UNIT_ALWAYS, .args_max = 8, .oom_adj = -500 },
	{ .pattern = "domd/", .program = "hvdomd", .flags = UNIT_DIRS | UNIT_SPAWN,
	  .restart = UNIT_ON_FAILURE, .args_max = 16, .oom_adj = -900 },
	{ .pattern = "blkd/", .program = "hvblkd", .args = { "run" }, .flags = UNIT_DIRS | UNIT_SPAWN,
	  .restart = UNIT_ON_FAILURE, .args_max = 8, .oom_adj = -900 },
	{ .pattern = "migrate/", .program = "hvmigrate", .flags = UNIT_DIRS | UNIT_SPAWN,
	  .restart = UNIT_NEVER, .args_max = UNIT_ARGS_MAX, .oom_adj = -500 },
	/* Only where the debug image has busybox and the kernel's command line says hvapi.debug. */
	{ .pattern = "shell", .program = "/bin/busybox", .args = { "sh", "-i" }, .flags = UNIT_TTY,
	  .restart = UNIT_ALWAYS },
	{ .pattern = NULL },
};

static const char *const restart_names[UNIT_RESTART_N] = {
	[UNIT_NEVER] = "never",
	[UNIT_ON_FAILURE] = "on-failure",
	[UNIT_ALWAYS] = "always",
};

bool unit_def_is_pattern(const struct unit_def *d)
{
	return d->pattern[strlen(d->pattern) - 1] == '/';
}

/* Names become file names of logs and sockets: letters, digits, "._-", no leading dot. */
static bool tail_ok(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > UNIT_TAIL_CHARS_MAX || s[0] == '.')
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

int unit_table_find(const struct unit_def *table, const char *name, const struct unit_def **out,
		    struct err *e)
{
	for (const struct unit_def *d = table; d->pattern; d++) {
		size_t n = strlen(d->pattern);

		if (!unit_def_is_pattern(d)) {
			if (strcmp(d->pattern, name) != 0)
				continue;
			*out = d;
			return 0;
		}
		if (strncmp(d->pattern, name, n) != 0)
			continue;
		if (!tail_ok(name + n))
			return err_set(e, ERR_USAGE, "unit '%.100s': the part behind '%s' must be 1 to %d of "
				       "letters, digits, '.', '_', '-'", name, d->pattern, UNIT_TAIL_CHARS_MAX);
		*out = d;
		return 0;
	}
	return err_set(e, ERR_NOT_FOUND, "unit '%.100s' is not in hvinit's table", name);
}

const char *unit_restart_name(enum unit_restart r)
{
	return restart_names[r];
}

int unit_restart_parse(const char *text, enum unit_restart *out, struct err *e)
{
	for (int i = 0; i < UNIT_RESTART_N; i++) {
		if (strcmp(text, restart_names[i]) != 0)
			continue;
		*out = (enum unit_restart)i;
		return 0;
	}
	return err_set(e, ERR_USAGE, "restart '%.40s': must be always, on-failure or never", text);
}

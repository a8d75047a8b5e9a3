/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other bytes PID 1's manager reads from outside: superblocks, host.json,
 * the kernel's command line, device events.  The first byte picks which.
 * sources: dom0-tools/init/label.c dom0-tools/init/host_cfg.c dom0-tools/init/uevent.c dom0-tools/base/js.c
 * sources: dom0-tools/base/err.c dom0-tools/base/rd.c dom0-tools/base/buf.c
 */
#include <stdlib.h>
#include <string.h>

#include "init/host_cfg.h"
#include "init/label.h"
#include "init/uevent.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void label(const uint8_t *p, size_t n)
{
	struct label l;

	label_probe(p, n, &l);
	if (strchr(l.text, '/') || l.text[0] == '.')
		abort();
}

static void text(const uint8_t *p, size_t n, char kind)
{
	char *s = malloc(n + 1);
	struct host_cfg c;
	struct uevent u;
	struct err e = ERR_INIT;

	memcpy(s, p, n);
	s[n] = '\0';
	host_cfg_init(&c);
	if (kind == 1 && host_cfg_read(&c, s, n, &e) == 0 && !c.from_file)
		abort();
	if (kind == 2 && host_cfg_cmdline(&c, s, &e) == 0 && !c.hostname[0])
		abort();
	if (kind == 3 && uevent_parse(s, n, &u, &e) == 0 && (u.action < s || u.action > s + n) && u.action[0])
		abort();
	free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n < 1)
		return 0;
	if (p[0] % 4 == 0)
		label(p + 1, n - 1);
	else
		text(p + 1, n - 1, (char)(p[0] % 4));
	return 0;
}

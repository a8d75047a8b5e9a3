/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkmod, and the walk over /sys/devices.  Many devices share a modalias, so
 * a small hash set of those already handled saves the look-ups.
 */
#include "init/modules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <libkmod.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

enum {
	SEEN_SLOTS = 4096,		/* power of two; when it is full aliases are just handled again */
	DEPTH_MAX = 24,			/* of /sys/devices */
	ALIAS_BYTES_MAX = 1024,
	SLOW_MS = 20,
};

struct modules {
	struct kmod_ctx *ctx;
	uint64_t seen[SEEN_SLOTS];
	unsigned n_seen;
};

int modules_new(struct modules **out, struct err *e)
{
	struct modules *m = calloc(1, sizeof(*m));

	if (!m)
		return err_set(e, ERR_NO_SPACE, "no memory for the module loader");
	m->ctx = kmod_new(NULL, NULL);
	if (!m->ctx) {
		free(m);
		return err_set(e, ERR_IO, "libkmod cannot start");
	}
	/* The indexes stay mapped; without them each look-up reads files.  Missing ones show at the first load. */
	if (kmod_load_resources(m->ctx) < 0)
		log_warn("no module index for this kernel below /lib/modules");
	*out = m;
	return 0;
}

void modules_free(struct modules *m)
{
	if (!m)
		return;
	kmod_unref(m->ctx);
	free(m);
}

/* FNV-1a. */
static uint64_t hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3u;
	return h ? h : 1;
}

bool modules_seen(struct modules *m, const char *alias)
{
	uint64_t h = hash(alias);
	size_t i = (size_t)h % SEEN_SLOTS;

	for (; m->seen[i]; i = (i + 1) % SEEN_SLOTS)
		if (m->seen[i] == h)
			return true;
	if (m->n_seen < SEEN_SLOTS - 1) {
		m->seen[i] = h;
		m->n_seen++;
	}
	return false;
}

/* Slow ones are worth a line when somebody looks for where a boot spends its time. */
static int insert(struct kmod_module *mod)
{
	uint64_t t0 = clock_mono_ms(), ms;
	int rc = kmod_module_probe_insert_module(mod, KMOD_PROBE_APPLY_BLACKLIST, NULL, NULL, NULL, NULL);

	ms = clock_mono_ms() - t0;
	if (ms >= SLOW_MS)
		log_debug("module %s and what it needs: %llu ms", kmod_module_get_name(mod), (unsigned long long)ms);
	return rc;
}

int modules_load(struct modules *m, const char *alias, struct err *e)
{
	struct kmod_list *list = NULL, *it;
	int failed = 0;

	if (kmod_module_new_from_lookup(m->ctx, alias, &list) < 0)
		return err_set(e, ERR_IO, "look up module '%.200s'", alias);
	if (!list)
		return err_set(e, ERR_NOT_FOUND, "this kernel has no module for '%.200s'", alias);
	kmod_list_foreach(it, list) {
		struct kmod_module *mod = kmod_module_get_module(it);
		int rc = insert(mod);

		/* ENODEV: the driver looked and found none of its devices. */
		if (rc < 0 && rc != -EEXIST && rc != -ENODEV && !failed) {
			err_sys(e, -rc, "load module '%s'", kmod_module_get_name(mod));
			failed = 1;
		}
		kmod_module_unref(mod);
	}
	kmod_module_unref_list(list);
	return failed ? -1 : 0;
}

enum modules_kind modules_kind_of(const char *alias)
{
	static const struct { const char *pattern; enum modules_kind kind; } kinds[] = {
		{ "virtio:*", MODULES_FIRST },
		{ "pci:v00001AF4*", MODULES_FIRST },	/* virtio behind PCI */
		{ "pci:*bc02*", MODULES_FIRST },	/* network controllers */
		{ "pci:*bc01sc08*", MODULES_FIRST },	/* NVMe */
		{ "cpu:*", MODULES_ALL },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (fnmatch(kinds[i].pattern, alias, 0) == 0)
			return kinds[i].kind;
	return MODULES_DEVICES;
}

static unsigned load_modalias_of(struct modules *m, int dir, enum modules_kind most)
{
	char alias[ALIAS_BYTES_MAX];
	struct err e = ERR_INIT;
	AUTO_FD int fd = openat(dir, "modalias", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 || (n = read(fd, alias, sizeof(alias) - 1)) <= 0)
		return 0;
	alias[n] = '\0';
	alias[strcspn(alias, "\n")] = '\0';
	if (!alias[0] || modules_kind_of(alias) > most || modules_seen(m, alias))
		return 0;
	if (modules_load(m, alias, &e) == 0)
		return 1;
	if (e.code != ERR_NOT_FOUND)
		log_fail(&e, "driver for %s", alias);
	return 0;
}

/* Takes fd. */
static unsigned walk(struct modules *m, int fd, enum modules_kind most, unsigned depth)
{
	DIR *d = fdopendir(fd);
	struct dirent *ent;
	unsigned n;

	if (!d) {
		close(fd);
		return 0;
	}
	n = load_modalias_of(m, fd, most);
	while (depth < DEPTH_MAX && (ent = readdir(d))) {
		int sub;

		if (ent->d_type != DT_DIR || ent->d_name[0] == '.')
			continue;
		sub = openat(fd, ent->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (sub >= 0)
			n += walk(m, sub, most, depth + 1);
	}
	closedir(d);
	return n;
}

unsigned modules_load_devices(struct modules *m, enum modules_kind most)
{
	int fd = open("/sys/devices", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? 0 : walk(m, fd, most, 0);
}

int modules_main(int argc, char **argv)
{
	struct modules *m = NULL;
	struct err e = ERR_INIT;
	int rc = 1, n, fd;
	char line[160];

	/* The name is the last argument; options before it (-q --) are the kernel's and change nothing. */
	if (argc < 2 || argv[argc - 1][0] == '-' || modules_new(&m, &e) < 0)
		return 1;
	if (modules_load(m, argv[argc - 1], &e) == 0)
		rc = 0;
	modules_free(m);
	n = snprintf(line, sizeof(line), "<6>hvinit: module '%.100s' for the kernel: %s\n", argv[argc - 1],
		     rc == 0 ? "loaded" : e.detail);
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && n > 0 && write(fd, line, strlen(line)) < 0)
		errno = 0;
	fd_close(&fd);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of a test's own, which goes with all that is in it, and what the
 * tests of files and descriptors look at.
 */
#ifndef TESTS_UNIT_TMP_H
#define TESTS_UNIT_TMP_H

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TMP_PATH_BYTES = 256 };

struct tmp {
	char dir[TMP_PATH_BYTES / 2];
	char path[TMP_PATH_BYTES];	/* what tmp_path made last */
};

static inline void tmp_init(struct tmp *t)
{
	const char *base = getenv("TMPDIR");

	snprintf(t->dir, sizeof(t->dir), "%.80s/hvapi-test.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(t->dir))
		abort();
}

static inline const char *tmp_path(struct tmp *t, const char *name)
{
	snprintf(t->path, sizeof(t->path), "%s/%.100s", t->dir, name);
	return t->path;
}

static inline int tmp_remove_(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st, (void)type, (void)f;
	return remove(path);
}

static inline void tmp_fini(struct tmp *t)
{
	nftw(t->dir, tmp_remove_, 8, FTW_DEPTH | FTW_PHYS);
}

/* Names in a folder, without . and .. */
static inline unsigned tmp_count(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

/* Open descriptors of this process. */
static inline unsigned tmp_open_fds(void)
{
	return tmp_count("/proc/self/fd");
}

#endif

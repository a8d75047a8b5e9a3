/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Labels, from the exact bytes and, where the tools are installed, from file
 * systems that mkfs.fat, mkfs.xfs and xorriso made.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/label.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

static uint8_t head[LABEL_PROBE_BYTES];

static void put(size_t at, const char *bytes, size_t n)
{
	memcpy(head + at, bytes, n);
}

static struct label probe(size_t n)
{
	struct label l;

	label_probe(head, n, &l);
	return l;
}

static void golden(void **state)
{
	struct label l;

	(void)state;
	memset(head, 0, sizeof(head));
	put(0, "XFSB", 4);
	put(108, "HVDATA\0\0\0\0\0\0", 12);
	l = probe(sizeof(head));
	assert_string_equal(l.fs, "xfs");
	assert_string_equal(l.text, "HVDATA");

	memset(head, 0, sizeof(head));
	put(510, "\x55\xaa", 2);
	put(54, "FAT12   ", 8);
	put(43, "HVAPI      ", 11);
	l = probe(512);
	assert_string_equal(l.fs, "vfat");
	assert_string_equal(l.text, "HVAPI");

	put(82, "FAT32   ", 8);
	put(71, "A B/C\x01 ... ", 11);
	l = probe(512);
	assert_string_equal(l.text, "A B_C_ ...");

	memset(head, 0, sizeof(head));
	put(32768, "\1CD001", 6);
	put(32808, "ISO LABEL                       ", 32);
	l = probe(sizeof(head));
	assert_string_equal(l.fs, "iso9660");
	assert_string_equal(l.text, "ISO LABEL");
}

/* A label becomes the name of a link: it must not lead elsewhere. */
static void hostile_labels(void **state)
{
	struct label l;

	(void)state;
	memset(head, 0, sizeof(head));
	put(0, "XFSB", 4);
	put(108, "../../etc/xx", 12);
	l = probe(sizeof(head));
	assert_string_equal(l.text, "_._.._etc_xx");
}

static void short_and_empty(void **state)
{
	(void)state;
	memset(head, 0, sizeof(head));
	assert_string_equal(probe(0).fs, "");
	assert_string_equal(probe(sizeof(head)).fs, "");
	put(0, "XFSB", 4);
	for (size_t n = 0; n < 130; n++)
		assert_int_equal(strlen(probe(n).text), 0);
	put(510, "\x55\xaa", 2);
	put(0, "\0\0\0\0", 4);
	assert_string_equal(probe(512).fs, "");		/* a boot record is no FAT */
	put(54, "FAT16   NO NAME    ", 8);
	put(43, "NO NAME    ", 11);
	assert_string_equal(probe(512).text, "");
}

/* Runs `command` on a new file of `mib` MiB and probes what it made; false: the tool is not there. */
static int made(struct tmp *t, const char *tool, const char *const *argv, unsigned mib, struct label *out)
{
	int fd, status = 0;
	pid_t pid;

	if (access(tool, X_OK) < 0)
		return 0;
	fd = open(t->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)mib << 20), 0);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		dup2(null, 2);
		execv(tool, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd);
	fd = open(t->path, O_RDONLY | O_CLOEXEC);	/* xorriso makes the file anew */
	memset(head, 0, sizeof(head));
	assert_true(pread(fd, head, sizeof(head), 0) > 0);
	close(fd);
	*out = probe(sizeof(head));
	return 1;
}

static void real_tools(void **state)
{
	struct tmp t;
	struct label l;
	int n = 0;

	(void)state;
	tmp_init(&t);
	tmp_path(&t, "disk");
	if (made(&t, "/usr/sbin/mkfs.fat", (const char *[]){ "mkfs.fat", "-n", "HVAPI", t.path, NULL }, 4, &l)) {
		n++;
		assert_string_equal(l.text, "HVAPI");
		assert_string_equal(l.fs, "vfat");
	}
	if (made(&t, "/usr/sbin/mkfs.fat", (const char *[]){ "mkfs.fat", "-F", "32", "-n", "HVAPI", t.path, NULL },
		 64, &l)) {
		n++;
		assert_string_equal(l.text, "HVAPI");
	}
	if (made(&t, "/usr/sbin/mkfs.xfs", (const char *[]){ "mkfs.xfs", "-q", "-K", "-L", "HVDATA", t.path, NULL },
		 320, &l)) {
		n++;
		assert_string_equal(l.text, "HVDATA");
		assert_string_equal(l.fs, "xfs");
	}
	if (made(&t, "/usr/bin/xorriso", (const char *[]){ "xorriso", "-as", "mkisofs", "-quiet", "-V", "HVAPI", "-o",
							   t.path, "/dev/null", NULL }, 0, &l)) {
		n++;
		assert_string_equal(l.text, "HVAPI");
		assert_string_equal(l.fs, "iso9660");
	}
	tmp_fini(&t);
	if (n == 0)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),
		cmocka_unit_test(hostile_labels),
		cmocka_unit_test(short_and_empty),
		cmocka_unit_test(real_tools),
	};

	return check_main(tests);
}

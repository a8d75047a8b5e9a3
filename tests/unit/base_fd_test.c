/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: who owns them, that they all are O_CLOEXEC, that passing does
 * not leak, and that a replaced file is either old or new.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static bool is_cloexec(int fd)
{
	return fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

static void make_pair(int p[2])
{
	struct err e = ERR_INIT;

	assert_int_equal(fd_pair(p, &e), 0);
	assert_true(is_cloexec(p[0]) && is_cloexec(p[1]));
}

static void ownership(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), taken, copy = fd;

	(void)state;
	taken = fd_take(&fd);
	assert_int_equal(fd, -1);
	assert_int_equal(taken, copy);
	errno = 1234;
	fd_close(&fd);			/* nothing to close */
	fd_close(&taken);
	assert_int_equal(errno, 1234);
	assert_int_equal(taken, -1);
	assert_false(is_open(copy));
	{
		AUTO_FD int scoped = open("/dev/null", O_RDONLY | O_CLOEXEC);

		copy = scoped;
	}
	assert_false(is_open(copy));
}

static void whole_transfers(void **state)
{
	int p[2];
	char out[5] = "";

	(void)state;
	make_pair(p);
	assert_int_equal(fd_write_full(p[0], "hel", 3) + fd_write_full(p[0], "lo", 2), 0);
	assert_int_equal(fd_read_full(p[1], out, 5), 0);
	assert_memory_equal(out, "hello", 5);
	assert_int_equal(fd_write_full(p[0], "ab", 2), 0);
	fd_close(&p[0]);
	assert_int_equal(fd_read_full(p[1], out, 3), -EPIPE);
	assert_int_equal(fd_read_full(-1, out, 1), -EBADF);
	fd_close(&p[1]);
}

static void nonblocking(void **state)
{
	int p[2];
	char c;
	struct err e = ERR_INIT;

	(void)state;
	make_pair(p);
	assert_int_equal(fd_set_nonblock(p[1], true, &e), 0);
	assert_int_equal(fd_recv_with(p[1], &c, 1, NULL, NULL), -EAGAIN);
	assert_int_equal(fd_set_nonblock(p[1], false, &e), 0);
	assert_int_equal(fcntl(p[1], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fd_set_nonblock(-1, true, &e), -1);
	fd_close(&p[0]);
	fd_close(&p[1]);
}

static void listen_and_connect(void **state)
{
	struct tmp t;
	int l = -1, c = -1, s;
	struct stat st;
	char path[TMP_PATH_BYTES], text[2];
	struct err e = ERR_INIT;

	(void)state;
	tmp_init(&t);
	snprintf(path, sizeof(path), "%s", tmp_path(&t, "sock"));
	assert_int_equal(fd_unix_connect(path, &c, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(fd_unix_listen(path, 0600, &l, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	fd_close(&l);
	assert_int_equal(fd_unix_connect(path, &c, &e), -1);
	assert_int_equal(e.code, ERR_NET);		/* left over, nobody listens */
	assert_int_equal(fd_unix_listen(path, 0660, &l, &e), 0);	/* replaced */
	assert_int_equal(fd_unix_connect(path, &c, &e), 0);
	s = accept(l, NULL, NULL);
	assert_int_equal(fd_write_full(c, "ok", 2) + fd_read_full(s, text, 2), 0);
	assert_true(is_cloexec(l) && is_cloexec(c));
	fd_close(&l);
	fd_close(&c);
	fd_close(&s);
	tmp_fini(&t);
}

static void listen_spares_files(void **state)
{
	struct tmp t;
	int l = -1;
	char path[TMP_PATH_BYTES], longer[300];
	struct err e = ERR_INIT;

	(void)state;
	tmp_init(&t);
	snprintf(path, sizeof(path), "%s", tmp_path(&t, "file"));
	assert_int_equal(fd_write_file(path, "x", 1, 0600, &e), 0);
	assert_int_equal(fd_unix_listen(path, 0600, &l, &e), -1);
	assert_int_equal(e.code, ERR_EXISTS);
	assert_int_equal(access(path, F_OK), 0);
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(fd_unix_listen(longer, 0600, &l, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_true(e.remedy[0] != '\0');
	assert_int_equal(l, -1);
	tmp_fini(&t);
}

static void passing(void **state)
{
	unsigned before = tmp_open_fds();
	int p[2], fds[FD_PASS_MAX], got[FD_PASS_MAX];
	size_t n = FD_PASS_MAX;
	struct stat a, b;
	char c;

	(void)state;
	make_pair(p);
	for (int i = 0; i < FD_PASS_MAX; i++)
		fds[i] = i % 2 ? p[0] : STDERR_FILENO;
	assert_int_equal(fd_send_with(p[0], "x", 1, fds, FD_PASS_MAX), 1);
	assert_int_equal(fd_recv_with(p[1], &c, 1, got, &n), 1);
	assert_int_equal(n, FD_PASS_MAX);
	for (int i = 0; i < FD_PASS_MAX; i++) {
		assert_true(is_cloexec(got[i]));
		assert_int_equal(fstat(fds[i], &a) + fstat(got[i], &b), 0);
		assert_true(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
		fd_close(&got[i]);
	}
	assert_int_equal(fd_send_with(p[0], "x", 1, fds, FD_PASS_MAX + 1), -E2BIG);
	fd_close(&p[0]);
	n = 1;
	assert_int_equal(fd_recv_with(p[1], &c, 1, got, &n), 0);
	assert_int_equal(n, 0);
	fd_close(&p[1]);
	assert_int_equal(tmp_open_fds(), before);
}

static void passing_more_than_asked_for(void **state)
{
	unsigned before = tmp_open_fds();
	int p[2], fds[3] = { 0, 1, 2 }, got[3];
	size_t n = 1;
	char c;

	(void)state;
	make_pair(p);
	assert_int_equal(fd_send_with(p[0], "x", 1, fds, 3), 1);
	assert_int_equal(fd_recv_with(p[1], &c, 1, got, &n), 1);
	assert_int_equal(n, 1);
	fd_close(&got[0]);
	assert_int_equal(fd_send_with(p[0], "x", 1, fds, 3), 1);
	assert_int_equal(fd_recv_with(p[1], &c, 1, NULL, NULL), 1);
	fd_close(&p[0]);
	assert_int_equal(fd_send_with(p[1], "x", 1, NULL, 0), -EPIPE);	/* and no SIGPIPE */
	fd_close(&p[1]);
	assert_int_equal(tmp_open_fds(), before);
}

static void read_file(void **state)
{
	struct tmp t;
	AUTO_BUF struct buf b = { 0 };
	AUTO_FREE char *big = mem_alloc(100000);
	char path[TMP_PATH_BYTES];
	struct err e = ERR_INIT;

	(void)state;
	tmp_init(&t);
	snprintf(path, sizeof(path), "%s", tmp_path(&t, "big"));
	assert_int_equal(fd_read_file(path, 100, &b, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_non_null(strstr(e.detail, path));
	memset(big, 'b', 100000);
	assert_int_equal(fd_write_file(path, big, 100000, 0640, &e), 0);
	buf_put(&b, "a", 1);
	assert_int_equal(fd_read_file(path, 100000, &b, &e), 0);
	assert_int_equal(b.len, 100001);
	assert_int_equal(strspn((char *)b.p + 1, "b"), 100000);		/* ends with the NUL */
	assert_int_equal(fd_read_file(path, 99999, &b, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	tmp_fini(&t);
}

static void write_file_replaces(void **state)
{
	struct tmp t;
	AUTO_BUF struct buf b = { 0 };
	unsigned before = tmp_open_fds();
	char path[TMP_PATH_BYTES];
	struct stat st;
	struct err e = ERR_INIT;

	(void)state;
	tmp_init(&t);
	snprintf(path, sizeof(path), "%s", tmp_path(&t, "f"));
	assert_int_equal(fd_write_file(path, "old content", 11, 0600, &e), 0);
	assert_int_equal(fd_write_file(path, "new", 3, 0644, &e), 0);
	assert_int_equal(fd_read_file(path, 100, &b, &e), 0);
	assert_string_equal((char *)b.p, "new");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(tmp_count(t.dir), 1);
	assert_int_equal(tmp_open_fds(), before);
	tmp_fini(&t);
}

static void write_file_that_fails_leaves_nothing(void **state)
{
	struct tmp t;
	char path[TMP_PATH_BYTES];
	unsigned before = tmp_open_fds();
	struct err e = ERR_INIT;

	(void)state;
	tmp_init(&t);
	snprintf(path, sizeof(path), "%s", tmp_path(&t, "a-folder"));
	assert_int_equal(fd_make_dirs(path, 0700, &e), 0);
	assert_int_equal(fd_write_file(path, "x", 1, 0600, &e), -1);	/* rename onto a folder */
	assert_int_equal(tmp_count(t.dir), 1);
	assert_int_equal(fd_write_file(tmp_path(&t, "no/such"), "x", 1, 0600, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(tmp_count(t.dir), 1);
	assert_int_equal(tmp_open_fds(), before);
	tmp_fini(&t);
}

static void make_dirs(void **state)
{
	static const char *const names[] = { "a/b//c/", "a/b/c", "a" };
	struct tmp t;
	struct stat st;
	struct err e = ERR_INIT;

	(void)state;
	tmp_init(&t);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(fd_make_dirs(tmp_path(&t, names[i]), 0750, &e), 0);
	assert_int_equal(stat(tmp_path(&t, "a/b/c"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0750);
	assert_int_equal(fd_write_file(tmp_path(&t, "a/file"), "x", 1, 0600, &e), 0);
	assert_int_equal(fd_make_dirs(tmp_path(&t, "a/file"), 0750, &e), -1);
	assert_int_equal(e.code, ERR_EXISTS);
	assert_int_equal(fd_make_dirs(tmp_path(&t, "a/file/x"), 0750, &e), -1);
	tmp_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ownership), cmocka_unit_test(whole_transfers), cmocka_unit_test(nonblocking),
		cmocka_unit_test(listen_and_connect), cmocka_unit_test(listen_spares_files),
		cmocka_unit_test(passing), cmocka_unit_test(passing_more_than_asked_for),
		cmocka_unit_test(read_file), cmocka_unit_test(write_file_replaces),
		cmocka_unit_test(write_file_that_fails_leaves_nothing), cmocka_unit_test(make_dirs),
	};

	return check_main(tests);
}

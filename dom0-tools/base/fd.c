/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors and durable files.  A write is durable when the data, the name
 * and the folder that holds the name have all been synced.
 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 64, READ_STEP_BYTES = 16 << 10, PATH_BYTES_MAX = 4096 };

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	errno = saved;
}

int fd_read_full(int fd, void *p, size_t n)
{
	uint8_t *at = p;

	while (n) {
		ssize_t got = read(fd, at, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EPIPE;
		at += got;
		n -= (size_t)got;
	}
	return 0;
}

int fd_write_full(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n) {
		ssize_t put = write(fd, at, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		n -= (size_t)put;
	}
	return 0;
}

int fd_set_nonblock(int fd, bool on, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return err_sys(e, errno, "flags of descriptor %d", fd);
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	if (fcntl(fd, F_SETFL, flags) < 0)
		return err_sys(e, errno, "flags of descriptor %d", fd);
	return 0;
}

int fd_pair(int out_fd[2], struct err *e)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out_fd) < 0)
		return err_sys(e, errno, "socket pair");
	return 0;
}

static int unix_addr(const char *path, struct sockaddr_un *out, struct err *e)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(out->sun_path)) {
		err_set(e, ERR_LIMIT, "socket path '%s' is longer than %zu bytes", path, sizeof(out->sun_path) - 1);
		return err_remedy(e, "use a folder with a shorter path");
	}
	memcpy(out->sun_path, path, strlen(path) + 1);
	return 0;
}

/* Only a socket is removed: a mistyped path must not cost somebody a file. */
static int remove_old_socket(const char *path, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "stat '%s'", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_EXISTS, "'%s' is there and is not a socket", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove the old socket '%s'", path);
	return 0;
}

int fd_unix_listen(const char *path, mode_t mode, int *out_fd, struct err *e)
{
	AUTO_FD int fd = -1;
	struct sockaddr_un addr;

	if (unix_addr(path, &addr, e) < 0 || remove_old_socket(path, e) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	/* Nobody can connect before listen, so the mode is in force before the first client. */
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(e, errno, "bind '%s'", path);
	if (chmod(path, mode) < 0)
		return err_sys(e, errno, "set the mode of '%s'", path);
	if (listen(fd, LISTEN_BACKLOG) < 0)
		return err_sys(e, errno, "listen at '%s'", path);
	*out_fd = fd_take(&fd);
	return 0;
}

int fd_unix_connect(const char *path, int *out_fd, struct err *e)
{
	AUTO_FD int fd = -1;
	struct sockaddr_un addr;

	if (unix_addr(path, &addr, e) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "connect to '%s'", path);
	*out_fd = fd_take(&fd);
	return 0;
}

union fd_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
};

ssize_t fd_send_with(int sock, const void *p, size_t n, const int *fds, size_t n_fds)
{
	union fd_control control;
	union { const void *in; void *out; } bytes = { .in = p };	/* iovec is not const */
	struct iovec iov = { .iov_base = bytes.out, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t put;

	if (n_fds > FD_PASS_MAX)
		return -E2BIG;
	if (n_fds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do {
		put = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : put;
}

/* Moves the descriptors of one control message to fds; what does not fit is closed. */
static void keep_fds(struct cmsghdr *c, int *fds, size_t max, size_t *n)
{
	size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		if (*n < max)
			fds[(*n)++] = fd;
		else
			fd_close(&fd);
	}
}

ssize_t fd_recv_with(int sock, void *p, size_t n, int *fds, size_t *n_fds)
{
	union fd_control control;
	struct iovec iov = { .iov_base = p, .iov_len = n };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	size_t max = n_fds ? *n_fds : 0, count = 0;
	ssize_t got;

	do {
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			keep_fds(c, fds, max, &count);
	if (n_fds)
		*n_fds = count;
	return got;
}

int fd_read_file(const char *path, size_t max, struct buf *b, struct err *e)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t total = 0;

	if (fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	for (;;) {
		ssize_t got;

		buf_reserve(b, READ_STEP_BYTES + 1);
		got = read(fd, b->p + b->len, READ_STEP_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, errno, "read '%s'", path);
		if (got == 0)
			break;
		b->len += (size_t)got;
		total += (size_t)got;
		if (total > max)
			return err_set(e, ERR_LIMIT, "'%s' is larger than %zu bytes", path, max);
	}
	b->p[b->len] = '\0';
	return 0;
}

/* The folder that holds path, for fsync. */
static int open_folder(const char *path, struct err *e)
{
	AUTO_FREE char *folder = mem_strdup(path);
	char *slash = strrchr(folder, '/');
	const char *name = ".";
	int fd;

	if (slash) {
		slash[slash == folder] = '\0';
		name = folder;
	}
	fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		err_sys(e, errno, "open folder '%s'", name);
	return fd;
}

static int write_temp(int fd, const char *temp, const void *p, size_t n, mode_t mode, struct err *e)
{
	int rc = fd_write_full(fd, p, n);

	if (rc < 0)
		return err_sys(e, -rc, "write '%s'", temp);
	if (fchmod(fd, mode) < 0)
		return err_sys(e, errno, "set the mode of '%s'", temp);
	if (fsync(fd) < 0)
		return err_sys(e, errno, "sync '%s'", temp);
	return 0;
}

int fd_write_file(const char *path, const void *p, size_t n, mode_t mode, struct err *e)
{
	AUTO_FREE char *temp = mem_printf("%s.XXXXXX", path);
	AUTO_FD int folder = open_folder(path, e);
	AUTO_FD int fd = -1;

	if (folder < 0)
		return -1;
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "make a temporary file beside '%s'", path);
	if (write_temp(fd, temp, p, n, mode, e) < 0)
		goto out_unlink;
	if (rename(temp, path) < 0) {
		err_sys(e, errno, "rename '%s' to '%s'", temp, path);
		goto out_unlink;
	}
	if (fsync(folder) < 0)
		return err_sys(e, errno, "sync the folder of '%s'", path);
	return 0;

out_unlink:
	(void)unlink(temp);
	return -1;
}

static int make_dir(const char *path, mode_t mode, struct err *e)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return err_sys(e, errno, "make folder '%s'", path);
}

int fd_make_dirs(const char *path, mode_t mode, struct err *e)
{
	char at[PATH_BYTES_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(at))
		return err_set(e, ERR_LIMIT, "path of %zu bytes, limit %zu", len, sizeof(at) - 1);
	memcpy(at, path, len + 1);
	for (size_t i = 1; i < len; i++) {
		if (at[i] != '/' || at[i - 1] == '/')
			continue;
		at[i] = '\0';
		if (make_dir(at, mode, e) < 0)
			return -1;
		at[i] = '/';
	}
	return make_dir(at, mode, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: ownership, whole reads and writes, passing over unix sockets,
 * and files that survive a power cut.  Every descriptor made here is O_CLOEXEC.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

enum { FD_PASS_MAX = 16 };		/* descriptors in one message */

void fd_close(int *fd);			/* closes if >= 0, sets -1; never retried */
static inline int fd_take(int *fd) { int v = *fd; *fd = -1; return v; }
#define AUTO_FD __attribute__((cleanup(fd_close)))

/* Whole transfers on blocking descriptors; -errno on failure, -EPIPE when the peer ends early. */
int fd_read_full(int fd, void *p, size_t n) MUSTUSE;
int fd_write_full(int fd, const void *p, size_t n) MUSTUSE;

MUSTUSE int fd_set_nonblock(int fd, bool on, struct err *e);

/* A connected AF_UNIX stream pair. */
MUSTUSE int fd_pair(int out_fd[2], struct err *e);
/* Listens at `path` (an old socket there is replaced), mode as given. */
MUSTUSE int fd_unix_listen(const char *path, mode_t mode, int *out_fd, struct err *e);
/* Blocks until connected or refused. */
MUSTUSE int fd_unix_connect(const char *path, int *out_fd, struct err *e);

/* sendmsg/recvmsg with descriptors on a unix socket.  Return bytes moved, 0 at end of file, or -errno
 * (-EAGAIN on a non-blocking socket).  The receiver owns what arrives; *n_fds is capacity in, count out. */
ssize_t fd_send_with(int sock, const void *p, size_t n, const int *fds, size_t n_fds) MUSTUSE;
ssize_t fd_recv_with(int sock, void *p, size_t n, int *fds, size_t *n_fds) MUSTUSE;

/* Reads a whole file of at most `max` bytes into b (appended, NUL behind). */
MUSTUSE int fd_read_file(const char *path, size_t max, struct buf *b, struct err *e);
/* Replaces `path` so that after a power cut either the old or the new content is there: temporary
 * file, fsync, rename, fsync of the folder. */
MUSTUSE int fd_write_file(const char *path, const void *p, size_t n, mode_t mode, struct err *e);
/* mkdir -p. */
MUSTUSE int fd_make_dirs(const char *path, mode_t mode, struct err *e);

#endif

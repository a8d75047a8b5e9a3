/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The activity log in a plain file: blocking reads and writes on its
 * descriptor, for act_log.h's ops.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "feed/act_log.h"

static int file_read(void *arg, uint64_t off, void *p, size_t n)
{
	uint8_t *at = p;

	while (n > 0) {
		ssize_t got = pread((int)(intptr_t)arg, at, n, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EIO;
		at += got;
		off += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

static int file_write(void *arg, uint64_t off, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n > 0) {
		ssize_t put = pwrite((int)(intptr_t)arg, at, n, (off_t)off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		off += (uint64_t)put;
		n -= (size_t)put;
	}
	return 0;
}

static int file_flush(void *arg)
{
	return fdatasync((int)(intptr_t)arg) < 0 ? -errno : 0;
}

static int file_set_bytes(void *arg, uint64_t bytes)
{
	return ftruncate((int)(intptr_t)arg, (off_t)bytes) < 0 ? -errno : 0;
}

static int file_zero(void *arg, uint64_t off, uint64_t n)
{
	(void)arg, (void)off, (void)n;
	return -EOPNOTSUPP;
}

static void file_close(void *arg)
{
	close((int)(intptr_t)arg);
}

const struct blob_ops act_log_file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.set_bytes = file_set_bytes,
	.zero = file_zero,
	.close = file_close,
};

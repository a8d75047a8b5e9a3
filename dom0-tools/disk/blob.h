/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes under an image: a file, a block device, or (in tests) memory that
 * loses power.  Image formats do their metadata through it; the data of the
 * guest goes by io_uring straight to blob_fd.
 *
 * Whole transfers or -errno; nothing is durable before blob_flush.  One call
 * at a time per blob, except blob_read, which may run beside any other.
 */
#ifndef DISK_BLOB_H
#define DISK_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct blob;

struct blob_ops {
	int (*read)(void *arg, uint64_t off, void *p, size_t n);
	int (*write)(void *arg, uint64_t off, const void *p, size_t n);
	int (*flush)(void *arg);
	int (*set_bytes)(void *arg, uint64_t bytes);	/* grows with zeroes */
	int (*zero)(void *arg, uint64_t off, uint64_t n);	/* reads as zeroes then; may release space */
	void (*close)(void *arg);
};

/* Owns arg.  name is copied (for messages).  fd: what io_uring may use, -1: none; stays the property of arg.
 * align: of offsets and lengths on fd (1, 512, 4096). */
struct blob *blob_new(const struct blob_ops *ops, void *arg, const char *name, uint64_t bytes, int fd,
		      uint32_t align, bool read_only);
void blob_close(struct blob *b);		/* NULL is fine; does not flush */

/* A regular file or block device that is open as fd (owned from now on, also on failure).  Uses O_DIRECT on the
 * data path where the file system has it and `direct` asks for it; metadata may be unaligned. */
MUSTUSE int blob_from_fd(int fd, const char *name, bool direct, bool read_only, struct blob **out, struct err *e);

/* -EINVAL outside [0, bytes); -EROFS on a read-only blob. */
int blob_read(struct blob *b, uint64_t off, void *p, size_t n) MUSTUSE;
int blob_write(struct blob *b, uint64_t off, const void *p, size_t n) MUSTUSE;
int blob_flush(struct blob *b) MUSTUSE;
int blob_set_bytes(struct blob *b, uint64_t bytes) MUSTUSE;
int blob_zero(struct blob *b, uint64_t off, uint64_t n) MUSTUSE;

uint64_t blob_bytes(const struct blob *b);
int blob_fd(const struct blob *b);
uint32_t blob_align(const struct blob *b);
bool blob_read_only(const struct blob *b);
const char *blob_name(const struct blob *b);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No file is opened, no program or connection started, nothing mounted or
 * traced.  What goes by io_uring is outside this filter; the ring has its own
 * list (queue.c).
 */
#include "blkd/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "base/log.h"

/* The sanitizers' run-time makes calls of its own. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { CALLS_MAX = 28 };

static const struct {
	const char *why;
	const char *calls[CALLS_MAX];
} allowed[] = {
	{ "images: data and metadata",
	  { "pread64", "pwrite64", "preadv", "pwritev", "fsync", "fdatasync", "fallocate", "ftruncate", "lseek",
	    "fstat", "newfstatat", "fstatfs", "fadvise64", "sync_file_range", "ioctl", NULL } },
	{ "the queue", { "io_uring_enter", "io_uring_register", NULL } },
	{ "clients and control: sockets that come from those that are open",
	  { "accept4", "read", "write", "readv", "writev", "recvmsg", "sendmsg", "recvfrom", "sendto", "setsockopt",
	    "getsockopt", "shutdown", "close", "fcntl", "dup", NULL } },
	{ "the loop",
	  { "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "signalfd4", "timerfd_settime", "poll",
	    "ppoll", NULL } },
	{ "the feed, begun later: its server's loop, a consumer's ring and wake sockets",
	  { "epoll_create1", "timerfd_create", "socketpair", "memfd_create", NULL } },
	{ "memory", { "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", NULL } },
	{ "the metadata thread, and work of the loop",
	  { "clone", "clone3", "futex", "set_robust_list", "rseq", "gettid", "getpid", "exit", "sched_yield",
	    "sched_getaffinity", NULL } },
	{ "signals, and the end",
	  { "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "tgkill", "exit_group",
	    NULL } },
	{ "the socket's name goes with us", { "unlink", NULL } },
	{ "time and chance", { "clock_gettime", "clock_nanosleep", "gettimeofday", "getrandom", "prlimit64", NULL } },
};

static int add_rules(scmp_filter_ctx ctx, const char **out_name)
{
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
		for (const char *const *name = allowed[i].calls; *name; name++) {
			int nr = seccomp_syscall_resolve_name(*name), rc;

			*out_name = *name;
			rc = nr == __NR_SCMP_ERROR ? -ENOSYS : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
			if (rc < 0)
				return rc;
		}
	}
	*out_name = "for all threads";
	return seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
}

int sandbox_enter(struct err *e)
{
	const char *name = "?";
	scmp_filter_ctx ctx;
	int rc;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "no_new_privs");
	if (SANITIZED) {
		log_info("built with sanitizers: system calls are not filtered");
		return 0;
	}
	ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	rc = ctx ? add_rules(ctx, &name) : -ENOMEM;
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc < 0 ? err_sys(e, -rc, "system call filter (%s)", name) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No program is started, nothing mounted, loaded or traced, and no network is
 * reached: the line to the peer came as a descriptor, and others are asked
 * for on hvtls's unix socket.
 */
#include "migrate/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>

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
	{ "descriptors: the line, the stream, records and reports (base/fd.h)",
	  { "read", "write", "readv", "writev", "pread64", "close", "fcntl", "fstat", "newfstatat", "lseek", "dup",
	    "pipe2", "openat", "open", "stat", "lstat", "statx", "access", "faccessat", "faccessat2", "fsync", "rename",
	    "unlink", "mkdir", "chmod", "fchmod", NULL } },
	{ "Xen: privcmd, foreign memory, event channels; disks' sizes and identities in sysfs",
	  { "ioctl", "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "mlock", "munlock", "readlink",
	    "readlinkat", "getdents64", NULL } },
	{ "control sockets: ours, hvdomd's, hvapid's, hvtls's, xenstored's",
	  { "bind", "listen", "connect", "accept", "accept4", "sendto", "sendmsg", "recvfrom", "recvmsg", "shutdown",
	    "getsockopt", "setsockopt", "getsockname", "getpeername", "socketpair", NULL } },
	{ "the loop",
	  { "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "signalfd4", "timerfd_create",
	    "timerfd_settime", "poll", "ppoll", NULL } },
	{ "threads of the saver, the loader and the dial",
	  { "clone", "clone3", "futex", "set_robust_list", "rseq", "gettid", "getpid", "exit", "sched_yield",
	    "sched_getaffinity", NULL } },
	{ "signals, and the end",
	  { "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "tgkill", "exit_group",
	    NULL } },
	{ "time, chance, and who we are",
	  { "clock_gettime", "clock_nanosleep", "gettimeofday", "getrandom", "getuid", "geteuid", "getgid", "getegid",
	    "uname", "prlimit64", "sysinfo", NULL } },
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
	*out_name = "socket";
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
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

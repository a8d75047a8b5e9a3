/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User and system call filter.  A call that is not in the table fails with
 * EPERM instead of killing the process: a library that asks for something new
 * then takes its fallback, and an intruder is stopped all the same.
 */
#include "link/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

/* Allowed with any argument; one row a reason. */
static const struct { const char *why; const char *calls[24]; } allowed[] = {
	{ "descriptors that are open already",
	  { "read", "write", "readv", "writev", "close", "fcntl", "fstat", "newfstatat", "lseek", "dup", NULL } },
	{ "the sockets: peers, workers, hvapid",
	  { "accept4", "connect", "bind", "listen", "getsockname", "getpeername", "getsockopt", "setsockopt",
	    "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "shutdown", "socketpair", NULL } },
	{ "the loop",
	  { "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "signalfd4",
	    "timerfd_create", "timerfd_settime", "poll", "ppoll", NULL } },
	{ "pins, codes and certificate: new file, sync, rename (base/fd.h); files of the resolver",
	  { "openat", "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat",
	    "stat", "access", "faccessat", "faccessat2", "fchmod", "readlink", "statx", NULL } },
	{ "memory", { "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", NULL } },
	{ "threads that look up names",
	  { "clone", "clone3", "futex", "set_robust_list", "rseq", "gettid", "getpid", "exit", "sched_yield",
	    "sched_getaffinity", NULL } },
	{ "the resolver: how much is in its socket", { "ioctl", "uname", NULL } },
	{ "signals, and the end",
	  { "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "tgkill", "exit_group",
	    NULL } },
	{ "time and chance",
	  { "clock_gettime", "clock_nanosleep", "gettimeofday", "time", "getrandom", NULL } },
	{ "who am I (libraries)", { "getuid", "geteuid", "getgid", "getegid", "prlimit64", NULL } },
};

/* Kinds of sockets that may be made; NETLINK: the resolver asks which addresses this host has. */
static const int families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };

static int add_rules(scmp_filter_ctx ctx, const char **out_name)
{
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
		for (const char *const *name = allowed[i].calls; *name; name++) {
			int nr = seccomp_syscall_resolve_name(*name), rc;

			*out_name = *name;
			if (nr == __NR_SCMP_ERROR)
				return -ENOSYS;
			rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
			if (rc < 0)
				return rc;
		}
	}
	*out_name = "socket";
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
					  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));

		if (rc < 0)
			return rc;
	}
	return 0;
}

int sandbox_enter(struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	const char *name = "";
	int rc;

	if (!ctx)
		return err_set(e, ERR_INTERNAL, "seccomp_init");
	rc = add_rules(ctx, &name);
	if (rc == 0) {
		name = "load";
		rc = seccomp_load(ctx);		/* sets no_new_privs too */
	}
	seccomp_release(ctx);
	return rc < 0 ? err_sys(e, -rc, "system call filter: %s", name) : 0;
}

static int parse_id(const char *text, char end, const char **out_rest, unsigned *out)
{
	char *rest;
	unsigned long v = strtoul(text, &rest, 10);

	if (*text < '0' || *text > '9' || v > INT32_MAX || (*rest && *rest != end))
		return -1;
	*out = (unsigned)v;
	*out_rest = *rest ? rest + 1 : rest;
	return 0;
}

static int find_user(const char *user, uid_t *out_uid, gid_t *out_gid, struct err *e)
{
	const struct passwd *pw;
	const char *rest;
	unsigned uid, gid;

	if (parse_id(user, ':', &rest, &uid) == 0) {
		gid = uid;
		if (*rest && parse_id(rest, '\0', &rest, &gid) < 0)
			return err_set(e, ERR_USAGE, "--user '%s': the group is no number", user);
	} else {
		pw = getpwnam(user);
		if (!pw)
			return err_set(e, ERR_NOT_FOUND, "--user '%s': there is no such user", user);
		uid = pw->pw_uid;
		gid = pw->pw_gid;
	}
	*out_uid = uid;
	*out_gid = gid;
	return 0;
}

int sandbox_become(const char *user, const char *dir, struct err *e)
{
	uid_t uid = 0;
	gid_t gid = 0;

	if (find_user(user, &uid, &gid, e) < 0 || fd_make_dirs(dir, 0700, e) < 0)
		return -1;
	if (chown(dir, uid, gid) < 0 || chmod(dir, 0700) < 0)
		return err_sys(e, errno, "give '%s' to user %u", dir, uid);
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return err_sys(e, errno, "become user %u", uid);
	return 0;
}

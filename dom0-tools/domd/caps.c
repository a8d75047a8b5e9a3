/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list is of what stays: a capability that a later kernel adds goes too.
 */
#include "domd/caps.h"

#include <errno.h>
#include <stdint.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	unsigned cap;
	const char *why;
} kept[] = {
	{ CAP_DAC_OVERRIDE, "the folders of records and saved guests belong to other users too" },
	{ CAP_FOWNER, "modes of what lies there" },
	{ CAP_CHOWN, "libxl's own files below /var/lib/xen" },
	{ CAP_KILL, "libxl ends its helpers" },
	{ CAP_NET_ADMIN, "vifs onto their bridge" },
	{ CAP_NET_RAW, "announcements" },
	{ CAP_IPC_LOCK, "hypercall buffers" },
	{ CAP_SYS_ADMIN, "privcmd and foreign memory" },
	{ CAP_SYS_RAWIO, "memory of the machine" },
	{ CAP_SYS_RESOURCE, "limits of the restore's memory" },
	{ CAP_SYS_NICE, "libxl's threads" },
};

static uint64_t mask_of_kept(void)
{
	uint64_t m = 0;

	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		m |= UINT64_C(1) << kept[i].cap;
	return m;
}

int caps_drop(struct err *e)
{
	uint64_t keep = mask_of_kept();
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct set[2] = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "no_new_privs");
	/* What execve of root's programs gives back comes from the bounding set, which ends with an error. */
	for (unsigned c = 0; c < 64 && prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		if (!(keep >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			return err_sys(e, errno, "drop capability %u", c);
	if (syscall(SYS_capget, &head, set) < 0)
		return err_sys(e, errno, "read capabilities");
	for (unsigned i = 0; i < 2; i++) {
		set[i].permitted &= (uint32_t)(keep >> 32 * i);
		set[i].effective = set[i].permitted;
		set[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, set) < 0 ? err_sys(e, errno, "set capabilities") : 0;
}

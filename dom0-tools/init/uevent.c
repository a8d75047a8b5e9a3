/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NETLINK_KOBJECT_UEVENT.  Only the kernel (port 0) is believed: any local
 * process could send to the group.
 */
#include "init/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int uevent_open(int *out_fd, struct err *e)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int size = UEVENT_RCVBUF_BYTES;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd < 0)
		return err_sys(e, errno, "socket for device events");
	/* Not allowed outside PID 1's rights: the default then has to do. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		size = 0;
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		err_sys(e, errno, "bind socket for device events");
		close(fd);
		return -1;
	}
	*out_fd = fd;
	return 0;
}

int uevent_parse(const char *p, size_t n, struct uevent *out, struct err *e)
{
	const struct { const char *key; const char **at; } keys[] = {
		{ "ACTION=", &out->action }, { "SUBSYSTEM=", &out->subsystem }, { "DEVNAME=", &out->devname },
		{ "MODALIAS=", &out->modalias }, { "INTERFACE=", &out->interface },
	};
	const char *end = p + n;

	*out = (struct uevent){ "", "", "", "", "" };
	if (n == 0 || !memchr(p, '@', strnlen(p, n)))
		return err_set(e, ERR_CORRUPT, "a device event without '@' in its head");
	for (p += strnlen(p, n) + 1; p < end; p += strnlen(p, (size_t)(end - p)) + 1)
		for (size_t i = 0; i < ARRAY_LEN(keys); i++)
			if (strncmp(p, keys[i].key, strlen(keys[i].key)) == 0)
				*keys[i].at = p + strlen(keys[i].key);
	return 0;
}

int uevent_next(int fd, char buf[UEVENT_BYTES_MAX], struct uevent *out)
{
	struct sockaddr_nl from;
	struct err e = ERR_INIT;

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, UEVENT_BYTES_MAX - 1, 0, (struct sockaddr *)&from, &len);

		if (n < 0 && (errno == ENOBUFS || errno == EINTR))
			continue;	/* events were lost; disks are scanned whole at the next one */
		if (n <= 0)
			return 0;
		buf[n] = '\0';
		if (from.nl_pid == 0 && uevent_parse(buf, (size_t)n, out, &e) == 0)
			return 1;
	}
}

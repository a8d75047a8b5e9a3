/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that are not data travel as control messages (linux/tls.h).
 */
#include "link/stream.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/tls.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

enum { RECORD_ALERT = 21, RECORD_DATA = 23, ALERT_WARNING = 1, ALERT_CLOSE_NOTIFY = 0 };

/* The record's type; data where the socket says nothing. */
static int type_of(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == SOL_TLS && c->cmsg_type == TLS_GET_RECORD_TYPE)
			return *CMSG_DATA(c);
	return RECORD_DATA;
}

ssize_t stream_read(int fd, void *p, size_t n)
{
	union { char b[CMSG_SPACE(sizeof(unsigned char))]; struct cmsghdr align; } u;
	struct iovec v = { .iov_base = p, .iov_len = n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.b, .msg_controllen = sizeof(u.b) };
	uint8_t alert[2] = { 0 };
	ssize_t got = recvmsg(fd, &m, 0);

	if (got < 0)
		return -errno;
	if (type_of(&m) == RECORD_DATA)
		return got;
	memcpy(alert, p, got < 2 ? (size_t)got : 2);
	if (type_of(&m) == RECORD_ALERT && (got < 2 || alert[1] == ALERT_CLOSE_NOTIFY))
		return 0;
	return -EPROTO;		/* a fatal alert, or a handshake that nobody here may begin */
}

static int send_close_notify(int fd)
{
	union { char b[CMSG_SPACE(sizeof(unsigned char))]; struct cmsghdr align; } u = { .b = { 0 } };
	uint8_t alert[2] = { ALERT_WARNING, ALERT_CLOSE_NOTIFY };
	struct iovec v = { .iov_base = alert, .iov_len = sizeof(alert) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.b, .msg_controllen = sizeof(u.b) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_TLS;
	c->cmsg_type = TLS_SET_RECORD_TYPE;
	c->cmsg_len = CMSG_LEN(sizeof(unsigned char));
	*CMSG_DATA(c) = RECORD_ALERT;
	return sendmsg(fd, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Only a socket with the upper layer protocol "tls" may be sent control messages of it. */
static int is_ktls(int fd)
{
	char name[8] = "";
	socklen_t len = sizeof(name) - 1;

	return getsockopt(fd, IPPROTO_TCP, TCP_ULP, name, &len) == 0 && strcmp(name, "tls") == 0;
}

int stream_end(int fd, struct err *e)
{
	int rc = is_ktls(fd) ? send_close_notify(fd) : 0;

	if (rc < 0)
		return err_sys(e, -rc, "say goodbye");
	if (shutdown(fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return err_sys(e, errno, "end the stream");
	return 0;
}

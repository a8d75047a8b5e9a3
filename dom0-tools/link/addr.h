/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network addresses as text: "host", "host:port", "1.2.3.4:port",
 * "[v6]:port", or a bare v6 address without port.
 */
#ifndef LINK_ADDR_H
#define LINK_ADDR_H

#include <netdb.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum { ADDR_HOST_BYTES = 256, ADDR_TEXT_BYTES = 64 };

struct addr {
	char host[ADDR_HOST_BYTES];
	uint16_t port;
};

MUSTUSE int addr_parse(const char *text, uint16_t default_port, struct addr *out, struct err *e);
/* Blocks for a name; with numeric_only a name is ERR_NOT_FOUND and it does not block.  freeaddrinfo(*out). */
MUSTUSE int addr_resolve(const struct addr *a, int numeric_only, struct addrinfo **out, struct err *e);
/* "1.2.3.4:8443", "[fe80::1]:8443"; v4 inside v6 is shown as v4.  port 0: the one in sa. */
void addr_text(const struct sockaddr_storage *sa, uint16_t port, char out[ADDR_TEXT_BYTES]);
/* Without port, and v6 cut to its /64: what one party has many of counts as one. */
void addr_group(const struct sockaddr_storage *sa, uint8_t out[16]);

#endif

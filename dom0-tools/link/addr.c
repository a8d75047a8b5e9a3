/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing and printing of addresses.
 */
#include "link/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bad(const char *text, const char *why, struct err *e)
{
	err_set(e, ERR_USAGE, "address '%.100s': %s", text, why);
	return err_remedy(e, "write host:port, 1.2.3.4:8443 or [2001:db8::1]:8443");
}

static int parse_port(const char *text, const char *at, uint16_t *out, struct err *e)
{
	char *end;
	unsigned long v = strtoul(at, &end, 10);

	if (*at < '0' || *at > '9' || *end || v < 1 || v > UINT16_MAX)
		return bad(text, "the port must be a number from 1 to 65535", e);
	*out = (uint16_t)v;
	return 0;
}

int addr_parse(const char *text, uint16_t default_port, struct addr *out, struct err *e)
{
	const char *host = text, *end, *port = NULL;
	struct addr a = { .port = default_port };
	size_t n;

	if (text[0] == '[') {
		host = text + 1;
		end = strchr(host, ']');
		if (!end || (end[1] && end[1] != ':'))
			return bad(text, "a '[' without ']' or with something behind it", e);
		port = end[1] ? end + 2 : NULL;
	} else {
		end = strchr(text, ':');
		if (end && !strchr(end + 1, ':'))
			port = end + 1;
		else
			end = text + strlen(text);	/* none, or a bare v6 address */
	}
	n = (size_t)(end - host);
	if (n == 0 || n >= sizeof(a.host))
		return bad(text, "the host is missing or too long", e);
	memcpy(a.host, host, n);
	if (port && parse_port(text, port, &a.port, e) < 0)
		return -1;
	*out = a;
	return 0;
}

int addr_resolve(const struct addr *a, int numeric_only, struct addrinfo **out, struct err *e)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (numeric_only ? AI_NUMERICHOST : 0),
	};
	char port[8];
	int rc;

	snprintf(port, sizeof(port), "%u", a->port);
	rc = getaddrinfo(a->host, port, &hints, out);
	if (!rc)
		return 0;
	err_set(e, rc == EAI_NONAME || rc == EAI_FAIL ? ERR_NOT_FOUND : ERR_NET, "look up '%.100s': %s", a->host,
		gai_strerror(rc));
	return err_remedy(e, "use the host's IP address, or give this host a name server that knows it");
}

/* The v4 address inside, or NULL. */
static const uint8_t *v4_of(const struct sockaddr_storage *sa)
{
	if (sa->ss_family == AF_INET)
		return (const uint8_t *)&((const struct sockaddr_in *)sa)->sin_addr;
	if (sa->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *)sa)->sin6_addr))
		return ((const struct sockaddr_in6 *)sa)->sin6_addr.s6_addr + 12;
	return NULL;
}

static uint16_t port_of(const struct sockaddr_storage *sa)
{
	return sa->ss_family == AF_INET ? ntohs(((const struct sockaddr_in *)sa)->sin_port) :
					  ntohs(((const struct sockaddr_in6 *)sa)->sin6_port);
}

void addr_text(const struct sockaddr_storage *sa, uint16_t port, char out[ADDR_TEXT_BYTES])
{
	char host[INET6_ADDRSTRLEN] = "?";
	const uint8_t *v4 = v4_of(sa);

	if (sa->ss_family != AF_INET && sa->ss_family != AF_INET6) {
		snprintf(out, ADDR_TEXT_BYTES, "unknown");
		return;
	}
	if (v4)
		inet_ntop(AF_INET, v4, host, sizeof(host));
	else
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)sa)->sin6_addr, host, sizeof(host));
	snprintf(out, ADDR_TEXT_BYTES, v4 ? "%s:%u" : "[%s]:%u", host, port ? port : port_of(sa));
}

void addr_group(const struct sockaddr_storage *sa, uint8_t out[16])
{
	const uint8_t *v4 = v4_of(sa);

	memset(out, 0, 16);
	if (v4)
		memcpy(out + 12, v4, 4);
	else if (sa->ss_family == AF_INET6)
		memcpy(out, &((const struct sockaddr_in6 *)sa)->sin6_addr, 8);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's network: an address on eth0, echo by UDP and TCP, the command
 * port, and `tcp`: one connection to another guest's echo port, held open.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/guest.h"

enum { NIC_WAIT_MS = 10000, NIC_AGAIN_MS = 50, TCP_EVERY_MS = 20, TCP_TIMEOUT_S = 120, BACKLOG = 16 };

static struct {
	pthread_mutex_t lock;
	char ip[16], peer[16], error[64];
	uint64_t udp_echoes, tcp_conns, tcp_sent, tcp_echoed, tcp_slowest_ms;
	unsigned run;
} net = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool set_address(int s, struct ifreq *r, const char *ip, unsigned long request)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	if (inet_pton(AF_INET, ip, &in.sin_addr) != 1)
		return false;
	memcpy(&r->ifr_addr, &in, sizeof(in));
	return ioctl(s, request, r) == 0;
}

static bool nic_up(int s, const char *name, const char *ip)
{
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (!set_address(s, &r, ip, SIOCSIFADDR) || !set_address(s, &r, "255.255.255.0", SIOCSIFNETMASK))
		return false;
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	return ioctl(s, SIOCSIFFLAGS, &r) == 0;
}

/* The interface comes some time after its driver: xenbus asks the other side first. */
static void bring_up(void)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned waited = 0;
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "lo");
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	ioctl(s, SIOCSIFFLAGS, &r);
	boot_arg("guest.ip", "", net.ip, sizeof(net.ip));
	if (net.ip[0]) {
		while (!nic_up(s, "eth0", net.ip) && waited < NIC_WAIT_MS) {
			wait_ms(NIC_AGAIN_MS);
			waited += NIC_AGAIN_MS;
		}
		say("guest: eth0 %s %s", net.ip, waited < NIC_WAIT_MS ? "up" : strerror(errno));
	}
	close(s);
}

static int listen_on(int type, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = socket(AF_INET, type | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s, (const struct sockaddr *)&in, sizeof(in)) < 0 || (type == SOCK_STREAM && listen(s, BACKLOG) < 0))
		say("guest: port %u: %s", port, strerror(errno));
	return s;
}

static void *udp_echo(void *arg)
{
	int s = listen_on(SOCK_DGRAM, PORT_ECHO);
	char b[TEXT_MAX];

	(void)arg;
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(s, b, sizeof(b), 0, (struct sockaddr *)&from, &len);

		if (n > 0 && sendto(s, b, (size_t)n, 0, (const struct sockaddr *)&from, len) == n)
			net.udp_echoes++;
	}
	return NULL;
}

static void *tcp_echo_one(void *arg)
{
	int s = (int)(intptr_t)arg;
	char b[4096];
	ssize_t n;

	while ((n = recv(s, b, sizeof(b), 0)) > 0 && send(s, b, (size_t)n, MSG_NOSIGNAL) == n)
		;
	close(s);
	return NULL;
}

static void *tcp_echo(void *arg)
{
	int s = listen_on(SOCK_STREAM, PORT_ECHO);

	(void)arg;
	for (;;) {
		int c = accept(s, NULL, NULL);

		if (c < 0)
			continue;
		net.tcp_conns++;
		run_thread(tcp_echo_one, (void *)(intptr_t)c);
	}
	return NULL;
}

/* A question that comes again (same number, same port) gets the same answer and is not carried out again. */
static void *command_port(void *arg)
{
	static char question[TEXT_MAX + 1], answered[TEXT_MAX + 1], reply[TEXT_MAX + 32];
	int s = listen_on(SOCK_DGRAM, PORT_COMMAND);
	uint16_t last_port = 0;
	struct answer a;

	(void)arg;
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(s, question, TEXT_MAX, 0, (struct sockaddr *)&from, &len);

		if (n <= 0)
			continue;
		question[n] = '\0';
		size_t digits = strspn(question, "0123456789");

		if (strcmp(question, answered) || from.sin_port != last_port) {
			command_run(question + digits + (question[digits] == ' '), &a);
			snprintf(reply, sizeof(reply), "%.*s %s", (int)(digits < 20 ? digits : 20), question, a.text);
			memcpy(answered, question, (size_t)n + 1);
			last_port = from.sin_port;
		}
		sendto(s, reply, strlen(reply), 0, (const struct sockaddr *)&from, len);
	}
	return NULL;
}

/* One question and its echo on the held connection; NULL or what went wrong. */
static const char *tcp_round(int s, uint64_t n)
{
	uint64_t back = 0, t0 = now_ms(CLOCK_BOOTTIME);

	if (send(s, &n, sizeof(n), MSG_NOSIGNAL) != sizeof(n))
		return strerror(errno);
	net.tcp_sent = n;
	if (recv(s, &back, sizeof(back), MSG_WAITALL) != sizeof(back))
		return errno ? strerror(errno) : "closed by the other side";
	if (back != n)
		return "wrong bytes came back";
	uint64_t took = now_ms(CLOCK_BOOTTIME) - t0;

	net.tcp_echoed = n;
	if (took > net.tcp_slowest_ms)
		net.tcp_slowest_ms = took;
	return NULL;
}

static void *tcp_hold(void *arg)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT_ECHO) };
	struct timeval limit = { .tv_sec = TCP_TIMEOUT_S };
	unsigned run = (unsigned)(uintptr_t)arg;
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *bad = NULL;

	inet_pton(AF_INET, net.peer, &to.sin_addr);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(s, (const struct sockaddr *)&to, sizeof(to)) < 0)
		bad = strerror(errno);
	for (uint64_t n = 1; !bad && net.run == run; n++) {
		errno = 0;
		bad = tcp_round(s, n);
		wait_ms(TCP_EVERY_MS);
	}
	pthread_mutex_lock(&net.lock);
	if (bad && net.run == run)
		snprintf(net.error, sizeof(net.error), "%s", bad);
	pthread_mutex_unlock(&net.lock);
	close(s);
	return NULL;
}

void net_tcp(struct answer *a, const char *verb, const char *ip)
{
	struct in_addr in;

	pthread_mutex_lock(&net.lock);
	if (!strcmp(verb, "start") && inet_pton(AF_INET, ip, &in) == 1) {
		net.run++;
		net.error[0] = '\0';
		net.tcp_sent = net.tcp_echoed = net.tcp_slowest_ms = 0;
		snprintf(net.peer, sizeof(net.peer), "%s", ip);
		run_thread(tcp_hold, (void *)(uintptr_t)net.run);
	} else if (!strcmp(verb, "stop")) {
		net.run++;
	} else if (strcmp(verb, "stat")) {
		answer_error(a, "tcp start IP | stop | stat");
		pthread_mutex_unlock(&net.lock);
		return;
	}
	answer_add(a, "\"peer\": \"%s\", \"sent\": %llu, \"echoed\": %llu, \"slowest_ms\": %llu, \"failed\": \"%s\"",
		   net.peer, (unsigned long long)net.tcp_sent, (unsigned long long)net.tcp_echoed,
		   (unsigned long long)net.tcp_slowest_ms, net.error);
	pthread_mutex_unlock(&net.lock);
}

void net_stat(struct answer *a)
{
	answer_add(a, "\"ip\": \"%s\", \"udp_echoes\": %llu, \"tcp_conns\": %llu", net.ip,
		   (unsigned long long)net.udp_echoes, (unsigned long long)net.tcp_conns);
}

void net_start(void)
{
	bring_up();
	run_thread(udp_echo, NULL);
	run_thread(tcp_echo, NULL);
	run_thread(command_port, NULL);
}

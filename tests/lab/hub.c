/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lab's network as one process: a switch between the hosts (ports.h), a
 * probe inside (probe.h, ask.h), control beside (base/ctl.h).
 *
 *	lab-hub DIR PORT...       DIR/PORT.sock for QEMU, DIR/hub.ctl for control
 *
 * Prints "ready" when both can be connected.  The verbs are the table below.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ctl.h"
#include "base/js.h"
#include "base/log.h"
#include "tests/lab/ask.h"
#include "tests/lab/ports.h"
#include "tests/lab/probe.h"

enum { WAIT_MS_MAX = 600000, RATE_MAX = 1 << 30 };

static int arg_port(const json_t *in, const char *key, int *out, struct err *e)
{
	const char *name;

	if (js_text(in, key, &name, e) < 0)
		return -1;
	int port = ports_find(name);

	if (port < 0)
		return err_set(e, ERR_NOT_FOUND, "%s '%s': no port is called that", key, name);
	*out = port;
	return 0;
}

static int arg_ip(const json_t *in, uint8_t ip[4], struct err *e)
{
	const char *text;

	if (js_text(in, "ip", &text, e) < 0)
		return -1;
	if (inet_pton(AF_INET, text, ip) != 1)
		return err_set(e, ERR_USAGE, "ip '%s' is no IPv4 address", text);
	return 0;
}

static int verb_stat(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { NULL };

	(void)arg;
	(void)c;
	if (js_only(in, known, e) < 0)
		return -1;
	*out = json_pack("{s:o}", "ports", ports_stat());
	return 0;
}

static int verb_cut(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	int a, b;

	(void)arg;
	(void)c;
	(void)out;
	if (arg_port(in, "a", &a, e) < 0)
		return -1;
	b = a;
	if (json_object_get(in, "b") && arg_port(in, "b", &b, e) < 0)
		return -1;
	ports_cut(a, b);
	return 0;
}

static int verb_heal(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	static const char *const known[] = { NULL };

	(void)arg;
	(void)c;
	(void)out;
	if (js_only(in, known, e) < 0)
		return -1;
	ports_heal();
	return 0;
}

static int verb_rate(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	uint64_t bytes_s;
	int port;

	(void)arg;
	(void)c;
	(void)out;
	if (arg_port(in, "port", &port, e) < 0 || js_u64(in, "bytes_s", RATE_MAX, &bytes_s, e) < 0)
		return -1;
	ports_rate(port, bytes_s);
	return 0;
}

static int verb_ping(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	uint64_t every_ms = 10, gap_ms = 100;
	uint8_t ip[4];

	(void)arg;
	(void)c;
	(void)out;
	if (arg_ip(in, ip, e) < 0 || js_opt_u64(in, "every_ms", WAIT_MS_MAX, &every_ms, e) < 0 ||
	    js_opt_u64(in, "gap_ms", WAIT_MS_MAX, &gap_ms, e) < 0)
		return -1;
	if (!every_ms)
		return err_set(e, ERR_USAGE, "every_ms must be 1 or more");
	probe_ping(ip, (unsigned)every_ms, (unsigned)gap_ms);
	return 0;
}

static int verb_ping_stat(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	bool stop = false;

	(void)arg;
	(void)c;
	if (js_opt_bool(in, "stop", &stop, e) < 0)
		return -1;
	if (stop)
		probe_ping_stop();
	*out = probe_ping_stat();
	return 0;
}

static int verb_who_has(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	uint64_t wait_ms = 1000;
	uint8_t ip[4];

	(void)arg;
	(void)out;
	if (arg_ip(in, ip, e) < 0 || js_opt_u64(in, "wait_ms", WAIT_MS_MAX, &wait_ms, e) < 0)
		return -1;
	probe_who_has(ip, (unsigned)wait_ms, c);
	return 0;
}

static int verb_announces(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	bool clear = false;

	(void)arg;
	(void)c;
	if (js_opt_bool(in, "clear", &clear, e) < 0)
		return -1;
	*out = probe_announces(clear);
	return 0;
}

static int verb_udp(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	uint64_t port, timeout_ms = 10000;
	const char *text;
	uint8_t ip[4];

	(void)arg;
	(void)out;
	if (arg_ip(in, ip, e) < 0 || js_u64(in, "port", 65535, &port, e) < 0 || js_text(in, "text", &text, e) < 0 ||
	    js_opt_u64(in, "timeout_ms", WAIT_MS_MAX, &timeout_ms, e) < 0)
		return -1;
	if (strlen(text) > UDP_TEXT_MAX)
		return err_set(e, ERR_LIMIT, "text of %zu bytes, limit %d", strlen(text), UDP_TEXT_MAX);
	return ask_start(ip, (unsigned)port, text, (unsigned)timeout_ms, c, e);
}

static const struct ctl_verb verbs[] = {
	{ "stat", verb_stat, "{ports}: connections and counters" },
	{ "cut", verb_cut, "{a, b?}: frames between a and b are lost; without b all of a's" },
	{ "heal", verb_heal, "undoes all cuts" },
	{ "rate", verb_rate, "{port, bytes_s}: limits what the port sends; 0: no limit" },
	{ "ping", verb_ping, "{ip, every_ms?, gap_ms?}: starts anew" },
	{ "ping-stat", verb_ping_stat, "{stop?}: counters, gaps, which port answered" },
	{ "who-has", verb_who_has, "{ip, wait_ms?}: who answers for the address" },
	{ "announces", verb_announces, "{clear?}: gratuitous ARP and RARP seen" },
	{ "udp", verb_udp, "{ip, port, text, timeout_ms?}: the answer's text" },
	{ NULL, NULL, NULL },
};

static void on_tap(int from, const uint8_t *f, size_t n)
{
	struct frame r = frame_read(f, n);

	probe_frame(from, &r);
	ask_frame(&r);
}

static void on_signal(void *arg, int signo)
{
	(void)signo;
	loop_stop(arg, 0);
}

static int start(struct loop *l, int argc, char **argv, struct err *e)
{
	struct ctl_server *server;

	if (argc < 3)
		return err_set(e, ERR_USAGE, "lab-hub DIR PORT...");
	AUTO_FREE char *path = mem_printf("%s/hub.ctl", argv[1]);

	probe_init(l);
	ask_init(l);
	if (loop_signal(l, SIGTERM, on_signal, l, e) < 0 || loop_signal(l, SIGINT, on_signal, l, e) < 0 ||
	    ports_open(l, argv[1], argv + 2, (unsigned)argc - 2, on_tap, e) < 0)
		return -1;
	return ctl_server_new(l, path, 0600, (uid_t)-1, verbs, NULL, &server, e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct loop *l;

	log_init("lab-hub", LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	if (loop_new(&l, &e) < 0 || start(l, argc, argv, &e) < 0) {
		log_fail(&e, "start");
		return err_exit_status(e.code);
	}
	puts("ready");
	fflush(stdout);
	return loop_run(l);
}

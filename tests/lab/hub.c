/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lab's network: a learning switch between QEMU's stream netdevs, one unix
 * socket a port, with a probe inside and a control socket beside.
 *
 *	hub DIR PORT...       DIR/PORT.sock for QEMU, DIR/hub.sock for control
 *
 * On a port each frame follows its length, 4 bytes big-endian (QEMU's format).
 * On the control socket one line is one command, one line of JSON the answer:
 *
 *	stat | cut A [B] | heal | rate A BYTES_S | ping IP EVERY_MS | ping stop | ping stat | udp IP PORT TEXT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "tests/lab/probe.h"

enum { PORTS_MAX = 8, MACS_MAX = 256, LINE_BYTES_MAX = 2048, OUT_BYTES_MAX = 8 << 20, READ_BYTES = 256 << 10, BURST_MS = 20 };

struct port {
	const char *name;
	int listen_fd, fd;
	struct loop_src *listen_src, *src;
	struct buf in, out;
	uint64_t rx_bytes, tx_bytes, rx_frames, tx_frames, dropped;
	uint64_t rate_bytes_s, paid_until_ns;
	struct loop_timer *rate_timer;
};

struct client {
	int fd;
	struct loop_src *src;
	struct buf in;
};

static struct loop *loop;
static struct port ports[PORTS_MAX];
static unsigned n_ports;
static bool cut[PORTS_MAX][PORTS_MAX];
static struct { uint8_t mac[6]; unsigned port; } macs[MACS_MAX];
static unsigned n_macs;
static struct probe *probe;

/* ---- switching ---- */

static void watch_port(struct port *p, bool read)
{
	if (p->src)
		loop_set_events(p->src, (read ? LOOP_READ : 0u) | (p->out.len ? LOOP_WRITE : 0u));
}

static void close_port(struct port *p)
{
	loop_unwatch(&p->src);
	fd_close(&p->fd);
	p->in.len = p->out.len = 0;
}

static void flush_port(struct port *p)
{
	if (!p->out.len)
		return;
	ssize_t n = send(p->fd, p->out.p, p->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n > 0)
		buf_consume(&p->out, (size_t)n);
	else if (n < 0 && errno != EAGAIN)
		close_port(p);
	watch_port(p, true);
}

static void to_port(struct port *p, const uint8_t *f, size_t n)
{
	if (p->fd < 0)
		return;
	if (p->out.len > OUT_BYTES_MAX) {
		p->dropped++;
		return;
	}
	buf_put_be32(&p->out, (uint32_t)n);
	buf_put(&p->out, f, n);
	p->tx_bytes += n;
	p->tx_frames++;
}

static int port_of(const uint8_t *mac)
{
	for (unsigned i = 0; i < n_macs; i++)
		if (!memcmp(macs[i].mac, mac, 6))
			return (int)macs[i].port;
	return -1;
}

static void learn(const uint8_t *mac, unsigned port)
{
	unsigned i = 0;

	while (i < n_macs && memcmp(macs[i].mac, mac, 6))
		i++;
	if (i == MACS_MAX)
		return;
	n_macs += i == n_macs;
	memcpy(macs[i].mac, mac, 6);
	macs[i].port = port;
}

/* from: a port's number, or -1 for the probe. */
static void switch_frame(int from, const uint8_t *f, size_t n)
{
	int to = f[0] & 1 ? -1 : port_of(f);

	if (from >= 0 && (f[0] & 1 || probe_is_me(f)))
		probe_frame(probe, f, n);
	if (from >= 0 && probe_is_me(f))
		return;
	for (int i = 0; i < (int)n_ports; i++) {
		if (i == from || (to >= 0 && i != to))
			continue;
		if (cut[i][i] || (from >= 0 && (cut[from][i] || cut[from][from])))
			continue;
		to_port(&ports[i], f, n);
	}
}

static void flush_all(void)
{
	for (unsigned i = 0; i < n_ports; i++)
		if (ports[i].fd >= 0)
			flush_port(&ports[i]);
}

static void from_probe(void *arg, const uint8_t *f, size_t n)
{
	(void)arg;
	switch_frame(-1, f, n);
	flush_all();
}

/* Whole frames out of what has arrived.  False: the port sent nonsense. */
static bool take_frames(unsigned no)
{
	struct port *p = &ports[no];
	size_t at = 0;

	while (p->in.len - at >= 4) {
		const uint8_t *b = p->in.p + at;
		size_t n = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];

		if (n < 14 || n > FRAME_BYTES_MAX * 8)
			return false;
		if (p->in.len - at < 4 + n)
			break;
		p->rx_bytes += n;
		p->rx_frames++;
		learn(b + 4 + 6, no);
		switch_frame((int)no, b + 4, n);
		at += 4 + n;
	}
	buf_consume(&p->in, at);
	return true;
}

/* With a rate, reading stops until what was read is paid for. */
static bool pay(struct port *p, size_t n)
{
	uint64_t now = clock_mono_ns();

	if (!p->rate_bytes_s)
		return true;
	p->paid_until_ns = (p->paid_until_ns > now ? p->paid_until_ns : now) + n * 1000000000ull / p->rate_bytes_s;
	if (p->paid_until_ns < now + BURST_MS * 1000000ull)
		return true;
	loop_timer_set(p->rate_timer, (p->paid_until_ns - now) / 1000000, 0);
	return false;
}

static void rate_over(void *arg)
{
	watch_port(arg, true);
}

static void on_port(void *arg, unsigned events)
{
	struct port *p = arg;
	unsigned no = (unsigned)(p - ports);
	size_t want = p->rate_bytes_s ? 16 << 10 : READ_BYTES;

	if (events & LOOP_WRITE)
		flush_port(p);
	if (p->fd < 0 || !(events & (LOOP_READ | LOOP_HUP)))
		return;
	buf_reserve(&p->in, want);
	ssize_t n = recv(p->fd, p->in.p + p->in.len, want, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		p->in.len += (size_t)n;
	if (n <= 0 || !take_frames(no)) {
		close_port(p);
		return;
	}
	flush_all();
	if (p->fd >= 0 && !pay(p, (size_t)n))
		watch_port(p, false);
}

static void on_port_connect(void *arg, unsigned events)
{
	struct port *p = arg;
	struct err e = ERR_INIT;
	int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	close_port(p);
	p->fd = fd;
	if (loop_watch(loop, fd, LOOP_READ, on_port, p, &p->src, &e) < 0)
		close_port(p);
}

/* ---- control ---- */

static int port_number(const char *name)
{
	for (unsigned i = 0; i < n_ports; i++)
		if (!strcmp(ports[i].name, name))
			return (int)i;
	return -1;
}

static json_t *say_error(const char *what)
{
	return json_pack("{s:s}", "error", what);
}

static json_t *cmd_stat(void)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < n_ports; i++) {
		const struct port *p = &ports[i];

		json_object_set_new(o, p->name, json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:I}", "connected", p->fd >= 0,
			"isolated", cut[i][i], "rx_bytes", (json_int_t)p->rx_bytes, "tx_bytes", (json_int_t)p->tx_bytes,
			"rx_frames", (json_int_t)p->rx_frames, "tx_frames", (json_int_t)p->tx_frames, "dropped",
			(json_int_t)p->dropped));
	}
	return json_pack("{s:o}", "ports", o);
}

static json_t *cmd_cut(char **w, int n)
{
	int a = n > 1 ? port_number(w[1]) : -1, b = n > 2 ? port_number(w[2]) : a;

	if (a < 0 || b < 0)
		return say_error("no such port");
	cut[a][b] = cut[b][a] = true;
	return json_object();
}

static json_t *cmd_rate(char **w, int n)
{
	int a = n > 2 ? port_number(w[1]) : -1;

	if (a < 0)
		return say_error("rate PORT BYTES_S");
	ports[a].rate_bytes_s = strtoull(w[2], NULL, 10);
	watch_port(&ports[a], true);
	return json_object();
}

static json_t *cmd_ping(char **w, int n)
{
	uint8_t ip[4];

	if (n > 1 && !strcmp(w[1], "stat"))
		return probe_ping_stat(probe);
	if (n > 1 && !strcmp(w[1], "stop")) {
		probe_ping_stop(probe);
		return probe_ping_stat(probe);
	}
	unsigned long every = n > 2 ? strtoul(w[2], NULL, 10) : 0;

	if (n < 3 || inet_pton(AF_INET, w[1], ip) != 1 || !every)
		return say_error("ping IP EVERY_MS");
	probe_ping_start(probe, ip, (uint32_t)every);
	return json_object();
}

static void reply(struct client *c, json_t *answer)
{
	AUTO_FREE char *text = json_dumps(answer, JSON_COMPACT);
	AUTO_FREE char *line = mem_printf("%s\n", text ? text : "{}");

	json_decref(answer);
	if (fd_write_full(c->fd, line, strlen(line)) < 0)
		shutdown(c->fd, SHUT_RDWR);
}

static void udp_answered(void *arg, const char *answer)
{
	reply(arg, answer ? json_pack("{s:s%}", "answer", answer, strlen(answer)) : say_error("no answer"));
}

static json_t *cmd_udp(struct client *c, char **w, int n, const char *text)
{
	uint8_t ip[4];

	if (n < 4 || inet_pton(AF_INET, w[1], ip) != 1)
		return say_error("udp IP PORT TEXT");
	if (!probe_udp(probe, ip, (uint16_t)strtoul(w[2], NULL, 10), text, udp_answered, c))
		return say_error("a command is under way");
	return NULL;
}

static json_t *run_command(struct client *c, char *line)
{
	char copy[LINE_BYTES_MAX], *w[4] = { 0 }, *save = NULL;
	int n = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *p = strtok_r(copy, " ", &save); p && n < 4; p = strtok_r(NULL, " ", &save))
		w[n++] = p;
	if (!n)
		return say_error("empty");
	if (!strcmp(w[0], "stat"))
		return cmd_stat();
	if (!strcmp(w[0], "heal")) {
		memset(cut, 0, sizeof(cut));
		return json_object();
	}
	if (!strcmp(w[0], "cut"))
		return cmd_cut(w, n);
	if (!strcmp(w[0], "rate"))
		return cmd_rate(w, n);
	if (!strcmp(w[0], "ping"))
		return cmd_ping(w, n);
	if (!strcmp(w[0], "udp"))
		return cmd_udp(c, w, n, n > 3 ? line + (w[3] - copy) : "");
	return say_error("unknown command");
}

static void on_client(void *arg, unsigned events)
{
	struct client *c = arg;
	char b[LINE_BYTES_MAX];
	ssize_t n = recv(c->fd, b, sizeof(b), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || c->in.len + (size_t)n >= LINE_BYTES_MAX) {
		/* An UDP answer may still come for it: the struct stays, the descriptor goes. */
		loop_unwatch(&c->src);
		shutdown(c->fd, SHUT_RDWR);
		fd_close(&c->fd);
		buf_fini(&c->in);
		return;
	}
	buf_put(&c->in, b, (size_t)n);
	for (char *nl; c->in.len && (nl = memchr(c->in.p, '\n', c->in.len));) {
		size_t len = (size_t)(nl - (char *)c->in.p) + 1;

		*nl = '\0';
		json_t *answer = run_command(c, (char *)c->in.p);

		if (answer)
			reply(c, answer);
		buf_consume(&c->in, len);
	}
}

static void on_control(void *arg, unsigned events)
{
	int fd = accept4(*(int *)arg, NULL, NULL, SOCK_CLOEXEC);
	struct err e = ERR_INIT;

	(void)events;
	if (fd < 0)
		return;
	struct client *c = mem_alloc(sizeof(*c));

	c->fd = fd;
	if (loop_watch(loop, fd, LOOP_READ, on_client, c, &c->src, &e) < 0) {
		fd_close(&c->fd);
		free(c);
	}
}

static void on_signal(void *arg, int signo)
{
	(void)arg;
	(void)signo;
	loop_stop(loop, 0);
}

static int setup(int argc, char **argv, int *control_fd, struct loop_src **control_src, struct err *e)
{
	char path[108];

	if (argc < 3 || argc - 2 > PORTS_MAX)
		return err_set(e, ERR_USAGE, "hub DIR PORT... (at most %d ports)", PORTS_MAX);
	if (loop_new(&loop, e) < 0 || loop_signal(loop, SIGTERM, on_signal, NULL, e) < 0)
		return -1;
	probe = probe_new(loop, from_probe, NULL);
	for (; (int)n_ports < argc - 2; n_ports++) {
		struct port *p = &ports[n_ports];

		p->name = argv[n_ports + 2];
		p->fd = -1;
		p->rate_timer = loop_timer_new(loop, rate_over, p);
		snprintf(path, sizeof(path), "%s/%s.sock", argv[1], p->name);
		if (fd_unix_listen(path, 0600, &p->listen_fd, e) < 0 ||
		    loop_watch(loop, p->listen_fd, LOOP_READ, on_port_connect, p, &p->listen_src, e) < 0)
			return -1;
	}
	snprintf(path, sizeof(path), "%s/hub.sock", argv[1]);
	if (fd_unix_listen(path, 0600, control_fd, e) < 0)
		return -1;
	return loop_watch(loop, *control_fd, LOOP_READ, on_control, control_fd, control_src, e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct loop_src *control_src = NULL;
	int control_fd = -1;

	log_init("hub", LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	if (setup(argc, argv, &control_fd, &control_src, &e) < 0) {
		log_fail(&e, "start");
		return err_exit_status(e.code);
	}
	return loop_run(loop);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The switch.  A rate is kept by not reading from the port until what was
 * read is paid for: the sender's socket fills, QEMU stops taking frames from
 * its guest, and the line looks slow, not lossy.
 */
#include "tests/lab/ports.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "tests/lab/frames.h"

enum { MACS_MAX = 256, READ_BYTES = 256 << 10, RATED_READ_BYTES = 16 << 10 };

struct port {
	const char *name;
	int listen_fd, fd;
	struct loop_src *listen_src, *src;
	struct buf in, out;
	uint64_t rx_bytes, tx_bytes, rx_frames, tx_frames, dropped;
	uint64_t rate_bytes_s, paid_until_ns;
	struct loop_timer *rate_timer;
	bool unpaid;			/* reading stopped until rate_timer */
};

static struct loop *loop;
static struct port ports[PORTS_MAX];
static int n_ports;
static bool cut[PORTS_MAX][PORTS_MAX];
static struct { uint8_t mac[6]; int port; } macs[MACS_MAX];
static int n_macs;
static void (*tap)(int from, const uint8_t *f, size_t n);

static void port_events(struct port *p)
{
	if (p->src)
		loop_set_events(p->src, (p->unpaid ? 0u : LOOP_READ) | (p->out.len ? LOOP_WRITE : 0u));
}

static void port_close(struct port *p)
{
	loop_unwatch(&p->src);
	fd_close(&p->fd);
	p->in.len = p->out.len = 0;
	p->unpaid = false;
}

static void port_flush(struct port *p)
{
	if (p->fd < 0 || !p->out.len)
		return;
	ssize_t n = send(p->fd, p->out.p, p->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n > 0)
		buf_consume(&p->out, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		port_close(p);
	port_events(p);
}

static void flush_all(void)
{
	for (int i = 0; i < n_ports; i++)
		port_flush(&ports[i]);
}

static void port_put(struct port *p, const uint8_t *f, size_t n)
{
	if (p->fd < 0)
		return;
	if (p->out.len + n > PORT_OUT_BYTES_MAX) {
		p->dropped++;
		return;
	}
	buf_put_be32(&p->out, (uint32_t)n);
	buf_put(&p->out, f, n);
	p->tx_bytes += n;
	p->tx_frames++;
}

static int mac_port(const uint8_t *mac)
{
	for (int i = 0; i < n_macs; i++)
		if (!memcmp(macs[i].mac, mac, 6))
			return macs[i].port;
	return -1;
}

static void mac_learn(const uint8_t *mac, int port)
{
	int i = 0;

	while (i < n_macs && memcmp(macs[i].mac, mac, 6))
		i++;
	if (i == MACS_MAX)
		return;
	n_macs += i == n_macs;
	memcpy(macs[i].mac, mac, 6);
	macs[i].port = port;
}

static bool parted(int from, int to)
{
	return cut[to][to] || (from != PORT_PROBE && (cut[from][from] || cut[from][to]));
}

static void forward(int from, const uint8_t *f, size_t n)
{
	int to = f[0] & 1 ? -1 : mac_port(f);

	for (int i = 0; i < n_ports; i++)
		if (i != from && (to < 0 || i == to) && !parted(from, i))
			port_put(&ports[i], f, n);
}

static void port_frame(int no, const uint8_t *f, size_t n)
{
	bool for_probe = !memcmp(f, frame_my_mac, 6);

	ports[no].rx_bytes += n;
	ports[no].rx_frames++;
	if (cut[no][no])
		return;
	mac_learn(f + 6, no);
	if (for_probe || f[0] & 1)
		tap(no, f, n);
	if (!for_probe)
		forward(no, f, n);
}

/* Whole frames out of what has arrived.  False: the port sent nonsense. */
static bool port_take_frames(int no)
{
	struct port *p = &ports[no];
	size_t at = 0;

	while (p->in.len - at >= 4) {
		const uint8_t *b = p->in.p + at;
		size_t n = (size_t)frame_get16(b) << 16 | frame_get16(b + 2);

		if (n < FRAME_BYTES_MIN || n > FRAME_BYTES_MAX)
			return false;
		if (p->in.len - at < 4 + n)
			break;
		port_frame(no, b + 4, n);
		at += 4 + n;
	}
	buf_consume(&p->in, at);
	return true;
}

static void port_pay(struct port *p, size_t n)
{
	uint64_t now = clock_mono_ns();

	if (!p->rate_bytes_s)
		return;
	p->paid_until_ns = (p->paid_until_ns > now ? p->paid_until_ns : now) + n * 1000000000ull / p->rate_bytes_s;
	if (p->paid_until_ns < now + PORT_BURST_MS * 1000000ull)
		return;
	p->unpaid = true;
	loop_timer_set(p->rate_timer, (p->paid_until_ns - now) / 1000000, 0);
	port_events(p);
}

static void on_paid(void *arg)
{
	struct port *p = arg;

	p->unpaid = false;
	port_events(p);
}

static void on_port(void *arg, unsigned events)
{
	struct port *p = arg;
	size_t want = p->rate_bytes_s ? RATED_READ_BYTES : READ_BYTES;

	if (events & LOOP_WRITE)
		port_flush(p);
	if (p->fd < 0 || !(events & (LOOP_READ | LOOP_HUP)))
		return;
	buf_reserve(&p->in, want);
	ssize_t n = recv(p->fd, p->in.p + p->in.len, want, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		p->in.len += (size_t)n;
	if (n <= 0 || !port_take_frames((int)(p - ports))) {
		port_close(p);
		return;
	}
	flush_all();
	port_pay(p, (size_t)n);
}

static void on_connect(void *arg, unsigned events)
{
	struct port *p = arg;
	struct err e = ERR_INIT;
	int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	port_close(p);
	p->fd = fd;
	if (loop_watch(loop, fd, LOOP_READ, on_port, p, &p->src, &e) < 0)
		port_close(p);
}

static int port_open(struct port *p, const char *dir, const char *name, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/%s.sock", dir, name);

	p->name = name;
	p->fd = p->listen_fd = -1;
	p->rate_timer = loop_timer_new(loop, on_paid, p);
	if (fd_unix_listen(path, 0600, &p->listen_fd, e) < 0)
		return -1;
	return loop_watch(loop, p->listen_fd, LOOP_READ, on_connect, p, &p->listen_src, e);
}

int ports_open(struct loop *l, const char *dir, char **names, unsigned n,
	       void (*to_probe)(int from, const uint8_t *f, size_t n), struct err *e)
{
	loop = l;
	tap = to_probe;
	if (n > PORTS_MAX)
		return err_set(e, ERR_LIMIT, "%u ports, limit %d", n, PORTS_MAX);
	for (; n_ports < (int)n; n_ports++)
		if (port_open(&ports[n_ports], dir, names[n_ports], e) < 0)
			return -1;
	return 0;
}

void ports_send(const uint8_t *f, size_t n)
{
	forward(PORT_PROBE, f, n);
	flush_all();
}

int ports_find(const char *name)
{
	for (int i = 0; i < n_ports; i++)
		if (!strcmp(ports[i].name, name))
			return i;
	return -1;
}

const char *ports_name(int port)
{
	return port == PORT_PROBE ? "probe" : ports[port].name;
}

void ports_cut(int a, int b)
{
	cut[a][b] = cut[b][a] = true;
}

void ports_heal(void)
{
	memset(cut, 0, sizeof(cut));
}

void ports_rate(int port, uint64_t bytes_s)
{
	struct port *p = &ports[port];

	p->rate_bytes_s = bytes_s;
	p->paid_until_ns = 0;
	loop_timer_stop(p->rate_timer);
	on_paid(p);
}

static json_t *port_stat(int no)
{
	const struct port *p = &ports[no];
	json_t *cuts = json_array();

	for (int i = 0; i < n_ports; i++)
		if (i != no && cut[no][i])
			json_array_append_new(cuts, json_string(ports[i].name));
	return json_pack("{s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "connected", p->fd >= 0,
			 "isolated", cut[no][no], "cut_from", cuts, "rate_bytes_s", (json_int_t)p->rate_bytes_s,
			 "rx_bytes", (json_int_t)p->rx_bytes, "tx_bytes", (json_int_t)p->tx_bytes,
			 "rx_frames", (json_int_t)p->rx_frames, "tx_frames", (json_int_t)p->tx_frames,
			 "dropped", (json_int_t)p->dropped);
}

json_t *ports_stat(void)
{
	json_t *o = json_object();

	for (int i = 0; i < n_ports; i++)
		json_object_set_new(o, ports[i].name, port_stat(i));
	return o;
}
